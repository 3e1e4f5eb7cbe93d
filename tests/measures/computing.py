"""Short ways to compute a measure in a test, and to pick one of its values."""

from capsbench.measures import MeasureContext, load_measure
from capsbench.values import select


def compute(name, model, data, *, sources=None, **arguments):
    """Compute a registered measure on the CPU, with its arguments as a YAML file gives them."""
    measure = load_measure(name)
    labels = {"sources": [*sources]} if sources else {}
    config = measure.config.model_validate({"measure": name, **arguments, **labels})
    steps = []
    context = MeasureContext("cpu", lambda: steps.append(1), sources or {})
    result = measure.compute(config, model, data, context)
    assert len(steps) == config.num_progress_steps
    assert len({value.name for value in result.values}) == len(result.values)
    assert {value.metric for value in result.values} <= measure.metrics.keys()
    return result


def numbers(result):
    """Return all values of a result by the names of their quantities."""
    return {value.name: value.value for value in result.values}


def number(result, **fields):
    """Return the only value of a result whose fields are exactly these."""
    metric = fields.pop("metric")
    matches = [v for v in select(result.values, metric=metric) if v.fields == fields]
    assert len(matches) == 1, [value.name for value in result.values]
    return matches[0].value
