"""The protocol in words, made from the resolved benchmark and what the cells recorded."""

from __future__ import annotations

from capsbench.measures import (
    AccuracyBySplit,
    AccuracyByView,
    AveragedAccuracy,
    MeasureEntry,
    RenderingError,
)
from capsbench.reporting.results import ACCURACY_BY_VIEW, Results
from capsbench.reporting.formatting import FACTORS, counted, listed, number, spread, sweep
from capsbench.schema import Benchmark
from capsbench.training.recipe import Recipe
from capsbench.viewpoint.factors import FACTORS as VIEW_FACTORS
from capsbench.viewpoint.part import Window
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.spread import Spread


def in_words(results: Results) -> list[tuple[str, str]]:
    """Pairs of a term and its explanation."""
    benchmark = results.benchmark
    novel = ("Novel views", "All views outside those ranges. No model has seen them in training.")
    return [
        ("Data", _data(results)),
        (
            "Familiar views",
            f"{_sentence(_ranges(benchmark.views))} Training images are drawn from these ranges.",
        ),
        *([novel] if results.asks(ACCURACY_BY_VIEW) else []),
        ("Test", " ".join(map(_test, benchmark.measures))),
        *([("Varied", _varied(benchmark))] if benchmark.vary else []),
        ("Recipe", _recipes(benchmark)),
        ("Selection", _selection(benchmark)),
        ("Seeds", _seeds(results)),
        *([("Choices", " ".join(benchmark.conflicts))] if benchmark.conflicts else []),
        *([("Elsewhere", " ".join(benchmark.related))] if benchmark.related else []),
    ]


def _data(results: Results) -> str:
    data = results.data()
    if data is None:
        return f"{results.benchmark.data.name}."
    channels, height, width = data.image_shape
    identity = " ".join(
        str(data.identity[key]) for key in ("name", "version") if key in data.identity
    )
    counted_images = [cell.training.images for cell in results.cells if cell.training]
    used = next(iter(counted_images), {})
    if any(images != used for images in counted_images):  # as many as the value says
        used = {}
    tested = {m.n for cell in results.cells for m in cell.measurements.values() if m.n}
    counts = [f"{n:,} {split} images" for split, n in used.items()]
    counts += [f"{n:,} test images" for n in sorted(tested)]
    images = f"; {listed(counts)}" if counts else ""
    limit = results.benchmark.recipe.limit
    limited = f"; at most {counted(limit, 'image')} of each split are used" if limit else ""
    return (
        f"{identity or data.name}: {counted(data.num_classes, 'class', 'classes')}, "
        f"{height} × {width} pixels, {counted(channels, 'channel')}{images}{limited}."
    )


def _ranges(views: ViewRange) -> str:
    told, still = [], []
    for name, values in views:
        factor = "shift_x" if name == "shift" else name
        if not isinstance(values, Spread):
            continue
        kind, _, identity, _ = VIEW_FACTORS[factor]
        if kind == "recorded" or values.constant != identity:
            told.append(f"{name} {spread(factor, values)}")
        elif kind == "warp":
            still.append(name)
    if isinstance(views.part, Window):
        told.append(f"of a window of {number(views.part.width)} × {number(views.part.height)} px")
    elif views.part:
        told.append("of the object before its background")
    return "; ".join([*told, *([f"no change of {listed(still)}"] if still else [])])


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _test(entry: MeasureEntry) -> str:
    if isinstance(entry, RenderingError):
        told = " ".join(
            _sentence(f"{name}: {_ranges(views)}") for name, views in entry.views.items()
        )
        return (
            "A model that can draw is told views taken at random from a range and draws every test "
            f"image as it looks from there. {told}"
        )
    if isinstance(entry, AveragedAccuracy):
        crops = counted(len(entry.shifts), "crop")
        return f"The probabilities that a model gives {crops} of each test image are averaged."
    if isinstance(entry, AccuracyBySplit):
        ranges = " ".join(_sentence(f"{name}: {_ranges(at)}") for name, at in entry.ranges.items())
        splits = f"{_sentence(listed(entry.splits))[:-1]} test images." if entry.splits else ""
        return " ".join(filter(None, [splits, ranges]))
    if not isinstance(entry, AccuracyByView):
        return str(type(entry).__doc__).partition("\n\n")[0].replace("\n", " ")
    sweeps = ((factor, getattr(entry.grid, factor)) for factor in entry.grid.factors())
    text = "; ".join(
        f"{FACTORS[factor].lower()} {sweep(factor, values)}" for factor, values in sweeps
    )
    return (
        f"Every test image is shown at {counted(len(entry.grid), 'view')}, one factor "
        f"changed at a time: {text}."
    )


def _varied(benchmark: Benchmark) -> str:
    vary = benchmark.vary
    assert vary is not None
    values = listed([number(value) for value in vary.values])
    return f"{_sentence(vary.name)[:-1]} ({vary.place}): {values}. All else is the same."


def _recipes(benchmark: Benchmark) -> str:
    own = [entry for entry in benchmark.models if entry.recipe]
    text = f"{_recipe(benchmark.recipe)}, the same for every model{' but' * bool(own)}"
    told = (
        f"{entry.label} ({', '.join(f'{key} {value}' for key, value in entry.recipe.items())}: "
        f"{entry.reason})"
        for entry in own
    )
    return f"{text} {listed(list(told))}." if own else f"{text}."


def _recipe(recipe: Recipe) -> str:
    end = f"{number(100 * recipe.final_learning_rate)} % of it"
    schedule = {
        "constant": "held constant",
        "cosine": f"falling along a cosine to {end}",
        "exponential": f"falling exponentially to {end}",
    }[recipe.schedule]
    decay = f", weight decay {number(recipe.weight_decay)}" if recipe.weight_decay else ""
    return (
        f"{counted(recipe.steps, 'step')} of {counted(recipe.batch_size, 'image')}, "
        f"{recipe.optimizer} with learning rate {number(recipe.learning_rate)} "
        f"{schedule}{decay}, precision {recipe.precision}"
    )


def _selection(benchmark: Benchmark) -> str:
    if benchmark.selection == "last":
        return "The weights after the last step; nothing is selected."
    every = counted(benchmark.recipe.evaluate_every, "step")
    beside = " The matched rule beside it sees test labels." if benchmark.matched else ""
    return (
        "The weights with the best accuracy on a validation split seen at familiar views, looked "
        f"at every {every}. Test images and novel views play no part.{beside}"
    )


def _seeds(results: Results) -> str:
    seeds = sorted({cell.seed for cell in results.cells})
    drawn = {
        1: "Of one seed alone, the spread over seeds is unknown.",
        2: "Each seed's value is shown: an interval needs three seeds or more.",
    }.get(len(seeds), "Intervals are 95 % t intervals of the mean over seeds.")
    return f"{listed([str(seed) for seed in seeds])}. {drawn}"
