"""Short ways to compute a measure in a test, and to pick one of its values."""

from capsbench.measures import MeasureContext, load_measure
from capsbench.values import select


def compute(name, model, data, *, sources=None, **arguments):
    """Compute a registered measure on the CPU, with its arguments as a YAML file gives them."""
    measure = load_measure(name)
    config = measure.config.model_validate({"measure": name, **arguments})
    context = MeasureContext(device="cpu", sources=sources or {})
    return measure.compute(config, model, data, context)


def number(result, **fields):
    """Return the only value of a result whose fields are exactly these."""
    metric = fields.pop("metric")
    matches = [v for v in select(result.values, metric=metric) if v.fields == fields]
    assert len(matches) == 1, [value.name for value in result.values]
    return matches[0].value
