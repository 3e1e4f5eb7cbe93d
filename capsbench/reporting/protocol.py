"""The protocol in words, made from the resolved benchmark and the records of the cells."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from capsbench.data.augmentation import AugmentationOperation
from capsbench.measures import MeasureConfig, load_measure
from capsbench.measures.accuracy_by_joint_view import AccuracyByJointViewConfig
from capsbench.measures.accuracy_by_split import AccuracyBySplitConfig
from capsbench.measures.accuracy_by_view import AccuracyByViewConfig
from capsbench.measures.averaged_accuracy import AveragedAccuracyConfig
from capsbench.measures.rendering_error import RenderingErrorConfig
from capsbench.records import Results
from capsbench.reporting.comparisons.aggregate import ACCURACY_BY_VIEW, SHOWN_SEEDS
from capsbench.reporting.comparisons.joint_views import ACCURACY_BY_JOINT_VIEW
from capsbench.reporting.formatting import (
    FACTORS,
    counted,
    counted_range,
    listed,
    number,
    spread,
    sweep,
)
from capsbench.reporting.networks import not_run
from capsbench.reporting.overlap import overlap_sentences
from capsbench.reporting.tuning import tuning
from capsbench.schema import Benchmark, variants
from capsbench.training.recipe import ProtocolRecipe
from capsbench.viewpoint.factors import FACTORS as VIEW_FACTORS
from capsbench.viewpoint.limits import FIELD_OF_VIEW
from capsbench.viewpoint.part import Window
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.spread import Spread

DRAWN = "Training images are drawn from these ranges."
NOT_SEEN = "Training under this protocol shows none of them."
ELSEWHERE = (
    "not trained under this protocol. The test images, views and measures are the same, but the "
    "training data, views and tuning are unknown, so that a comparison with other models is not "
    "controlled: a difference may come from the training."
)
CAMERA = (
    "The image's plane turns out of the picture, about its centre, and is seen by a camera with a "
    f"field of view of {number(FIELD_OF_VIEW)}° of the image's longer side. A positive tilt about "
    "the x axis brings the upper edge nearer, one about the y axis moves the right edge away."
)
BY_VIEW = (ACCURACY_BY_VIEW, ACCURACY_BY_JOINT_VIEW)


def protocol_terms(results: Results) -> list[tuple[str, str]]:
    """Describe the protocol: return pairs of a term and its explanation."""
    benchmark = results.benchmark
    ran = [entry for entry in benchmark.models if entry.label not in not_run(results)]
    labels = [entry.label for entry in ran or benchmark.models]
    augmented = _augmented(benchmark, labels)
    seen = "The augmentation may have shown some of them." if augmented else NOT_SEEN
    familiar = f"{_sentence(_ranges(benchmark.views))} {DRAWN}"
    familiar += _augmentations_and_cases(benchmark, labels)
    elsewhere = [cell.label for cell in results.cells if cell.trained_elsewhere]
    novel = ("Novel views", f"All views outside those ranges. {seen}")
    return [
        ("Data", _data(results)),
        ("Familiar views", familiar),
        *([novel] if any(map(results.has_measure, BY_VIEW)) else []),
        ("Test", " ".join(map(_measure, benchmark.measures))),
        *([("Tilts", CAMERA)] if "tilt_" in benchmark.model_dump_json() else []),
        *([("Varied", _varied(benchmark))] if benchmark.vary else []),
        ("Recipe", _recipes(benchmark, labels)),
        ("Tuning", tuning(results.record, labels)),
        ("Selection", _selection(benchmark)),
        ("Seeds", _seeds(results)),
        *([("Trained elsewhere", f"{listed(elsewhere)}: {ELSEWHERE}")] if elsewhere else []),
        *([("Choices", _choices(results))] if benchmark.conflicts else []),
        *([("Related reports", " ".join(benchmark.related))] if benchmark.related else []),
    ]


def _data(results: Results) -> str:
    data = results.data()
    if data is None:
        return f"{results.benchmark.data.name}."
    channels, height, width = data.image_shape
    identity = " ".join(
        str(data.identity[key]) for key in ("name", "version") if key in data.identity
    )
    trainings = [cell.training for cell in results.cells if cell.training]
    by_cell = [training.images for training in trainings]
    images_by_split = next(iter(by_cell), {})
    if any(images != images_by_split for images in by_cell):  # the benchmark varies their number
        images_by_split = {}
    records = [record for cell in results.cells for record in cell.measures.values()]
    tested = frozenset[int]().union(*(record.image_counts for record in records))
    counts = [f"{n:,} {split} images" for split, n in images_by_split.items()]
    if tested:
        same = len(tested) == 1
        text = counted_range(tested, "test image" if same else "image")
        counts.append(text if same else f"{text} behind each value")
    images = f"; {listed(counts)}" if counts else ""
    limit = results.benchmark.recipe.limit
    limited = f"; at most {counted(limit, 'image')} of each split are used" if limit else ""
    seen = overlap_sentences([each.overlap for each in trainings if each.overlap])
    return (
        f"{identity or data.name}: {counted(data.num_classes, 'class', 'classes')}, "
        f"{height} × {width} pixels, {counted(channels, 'channel')}{images}{limited}. {seen}"
    ).rstrip()


def _ranges(views: ViewRange, names: Collection[str] = tuple(ViewRange.model_fields)) -> str:
    """Return the range of each factor, or of those that are named."""
    varying, constant = [], []
    for name, values in views:
        if name not in names:
            continue
        factor = "shift_x" if name == "shift" else name
        if not isinstance(values, Spread):
            continue
        kind, _, identity, _ = VIEW_FACTORS[factor]
        words = FACTORS[factor].lower() if name == factor else name
        if kind == "recorded" or values.constant != identity:
            varying.append(f"{words} {spread(factor, values)}")
        elif kind == "warp":
            constant.append(words)
    if not views.tilts and {"tilt_x", "tilt_y"} <= set(names):
        constant = [*(words for words in constant if not words.startswith("tilt")), "tilt"]
    part = views.part if "part" in names else None
    if isinstance(part, Window):
        varying.append(f"of a window of {number(part.width)} × {number(part.height)} px")
    elif part:
        varying.append("of the object, its background unchanged")
    return "; ".join([*varying, *([f"no change of {listed(constant)}"] if constant else [])])


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _measure(config: MeasureConfig) -> str:
    """Return what is done with the test images, or the definition of the measure."""
    match config:
        case AccuracyByViewConfig():
            sweeps = ((factor, getattr(config.grid, factor)) for factor in config.grid.factors())
            text = "; ".join(
                f"{FACTORS[factor].lower()} {sweep(factor, values)}" for factor, values in sweeps
            )
            views = config.grid.views()
            is_recorded = any(view.recorded for view in views)
            shown = "Test images are" if is_recorded else "Every test image is"
            chosen = " Each recorded view has the images from that view." if is_recorded else ""
            return (
                f"{shown} shown at {counted(len(views), 'view')}, one factor changed at a time: "
                f"{text}.{chosen}"
            )
        case AccuracyByJointViewConfig():
            first, second = (
                f"{FACTORS[factor].lower()} {sweep(factor, getattr(config.grid, factor))}"
                for factor in config.grid.factors()
            )
            return (
                f"Test images are shown at {counted(len(config.grid), 'joint view')}, two factors "
                f"changed at once: each {first} with each {second}."
            )
        case AccuracyBySplitConfig():
            sentences = [_sentence(f"{listed(config.splits)} test images")] if config.splits else []
            return " ".join([*sentences, *_named_ranges(config.ranges)])
        case AveragedAccuracyConfig():
            crops = counted(len(config.shifts), "crop")
            return f"The probabilities that a model gives {crops} of each test image are averaged."
        case RenderingErrorConfig():
            return (
                "A model that can draw is given random views from a range and draws every test "
                f"image from there. {' '.join(_named_ranges(config.views))}"
            )
    return str(load_measure(config.measure).__doc__).partition("\n\n")[0].replace("\n", " ")


def _named_ranges(ranges: Mapping[str, ViewRange]) -> list[str]:
    return [_sentence(f"{name}: {_ranges(views)}") for name, views in ranges.items()]


def _varied(benchmark: Benchmark) -> str:
    vary = benchmark.vary
    assert vary is not None
    if vary.cases is None:
        values = listed([number(value) for value in vary.values or ()])
        return f"{_sentence(vary.name)[:-1]} ({vary.place}): {values}. All else is the same."
    cases = "; ".join(
        f"{name} ({_changes(changes, variant.views)})"
        for (name, changes), variant in zip(
            vary.cases.items(), variants(benchmark).values(), strict=True
        )
    )
    return f"{_sentence(f'{vary.name}: {cases}')} All else is the same."


def _changes(changes: Mapping[str, Any], views: ViewRange) -> str:
    """Return the changes of a case; views and augmentations as in the other terms.

    Args:
        changes: The changes by dotted place.
        views: Training views of the case.
    """
    changed = [place.split(".")[1] for place in changes if place.startswith("views.")]
    if "views" in changes:
        texts = [_ranges(views).replace(";", ",")]
    else:
        texts = [_ranges(views, changed).replace(";", ",")] if changed else []
    texts += [
        _setting(place, value)
        for place, value in changes.items()
        if place.partition(".")[0] != "views"
    ]
    return ", ".join(texts) or "as stated here"


def _setting(place: str, value: Any) -> str:
    """Return a changed setting with its value."""
    if place.removeprefix("recipe.") != "augmentation":
        return f"{place} {value}"
    operations = _operations(map(AugmentationOperation.model_validate, value))
    return f"augmentation by {operations}" if operations else "no augmentation"


def _operations(operations: Iterable[AugmentationOperation]) -> str:
    return listed([str(operation) for operation in operations])


def _augmentations_and_cases(benchmark: Benchmark, labels: Collection[str]) -> str:
    """Return sentences about augmentations, and about cases with other views, if any."""
    text = ""
    augmentations, views = _training_images(benchmark, labels)
    if any(each != augmentations[0] for each in augmentations):
        text = (
            " They are then augmented, in ways that differ between models; see the recipe."
            if all(augmentations)
            else " Those of some models are then augmented; see the recipe."
        )
    elif augmentations[0]:
        operations = _operations(augmentations[0])
        text = f" They are then augmented by {operations}, as kornia defines them."
    if benchmark.vary is not None and benchmark.vary.cases is not None:
        cases = (_training_images(each, labels) for each in variants(benchmark).values())
        if any(case != (augmentations, views) for case in cases):
            text += " Some cases have other views, or augment the images; see what is varied."
    return text


def _training_images(
    benchmark: Benchmark, labels: Collection[str]
) -> tuple[list[tuple[AugmentationOperation, ...]], ViewRange]:
    """Return the augmentation of each of some models, and the views."""
    entries = (entry for entry in benchmark.models if entry.label in labels)
    augmentations = [benchmark.recipe_of(entry).augmentation for entry in entries]
    return augmentations, benchmark.views


def _augmented(benchmark: Benchmark, labels: Collection[str]) -> bool:
    """Return True if any of some models, in any case, is trained on augmented images."""
    cases = variants(benchmark).values()
    return any(any(_training_images(variant, labels)[0]) for variant in cases)


def _recipes(benchmark: Benchmark, labels: Collection[str]) -> str:
    own = [entry for entry in benchmark.models if entry.recipe and entry.label in labels]
    text = f"{_recipe(benchmark.recipe)}, the same for every model{' but' * bool(own)}"
    exceptions = [
        f"{entry.label} ({', '.join(_setting(*item) for item in entry.recipe.items())}: "
        f"{entry.reason or 'tuned'})"
        for entry in own
    ]
    return f"{text} {listed(exceptions)}." if own else f"{text}."


def _choices(results: Results) -> str:
    """Return the choices of the protocol, which also concern models that were not run."""
    choices = " ".join(results.benchmark.conflicts)
    if not not_run(results):
        return choices
    return f"These concern all models of the protocol, also those that were not run. {choices}"


def _recipe(recipe: ProtocolRecipe) -> str:
    end = f"{number(100 * recipe.final_learning_rate)} % of it"
    schedule = {
        "constant": "held constant",
        "cosine": f"falling along a cosine to {end}",
        "exponential": f"falling exponentially to {end}",
    }[recipe.schedule]
    if recipe.warmup:
        warmup = f"rising during the first {number(100 * recipe.warmup)} % of the steps"
        schedule = f"{warmup}, then {schedule}"
    decay = f", weight decay {number(recipe.weight_decay)}" if recipe.weight_decay else ""
    operations = _operations(recipe.augmentation)
    augmented = f", images augmented by {operations}" if recipe.augmentation else ""
    return (
        f"{counted(recipe.steps, 'step')} of {counted(recipe.batch_size, 'image')}, "
        f"{recipe.optimizer} with learning rate {number(recipe.learning_rate)} "
        f"{schedule}{decay}, precision {recipe.precision}{augmented}"
    )


def _selection(benchmark: Benchmark) -> str:
    if benchmark.selection == "last":
        return "The weights after the last step; nothing is selected."
    every = counted(benchmark.recipe.evaluate_every, "step")
    matched = " The matched rule, reported apart, sees test labels." if benchmark.matched else ""
    return (
        "The weights with the best accuracy on validation images at familiar views, validated "
        f"every {every}. Test images and novel views play no part.{matched}"
    )


def _seeds(results: Results) -> str:
    seeds = sorted({cell.seed for cell in results.cells if cell.seed is not None})
    if not seeds:
        return "No model has been trained under this protocol yet."
    intervals = {
        1: "With one seed, the spread over seeds is unknown.",
        2: "The value of each seed is shown; an interval needs three seeds or more.",
    }.get(
        len(seeds),
        "Intervals are 95 % t intervals of the mean over seeds, those of shares within 0 to 100 %.",
    )
    if len(seeds) > SHOWN_SEEDS:
        intervals += (
            f" Means and intervals come from all of them; the first {SHOWN_SEEDS} of each model "
            "are shown one by one, and results.csv has every value."
        )
        return f"{len(seeds):,} seeds, {seeds[0]} to {seeds[-1]}. {intervals}"
    return f"{listed([str(seed) for seed in seeds])}. {intervals}"
