"""Files whose doctests cannot be collected here."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("triton") else ["capsbench/capsules/kernels/*triton*.py"]
