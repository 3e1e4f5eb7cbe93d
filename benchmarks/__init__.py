"""The benchmarks: one YAML file per protocol, with its published numbers."""

if not __name__.startswith("capsbench."):
    raise ImportError("import capsbench.benchmarks, not benchmarks")
