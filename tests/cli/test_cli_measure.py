"""`capsbench measure`: further measures of a finished training, from its checkpoint."""

from pathlib import Path
from threading import Timer

import pytest

import capsbench
from capsbench.files.atomic import temporary_path
from capsbench.files.lease import lease
from capsbench.records import CellFolder, MeasureRecord
from capsbench.values import Value, select

CONSISTENCY = "{measure: consistency, grid: {rotation: {start: -90, stop: 90, step: 90}}}"


@pytest.fixture
def cell(cells):
    """A finished training's folder."""
    return cells["small"]


def values(record):
    return [Value.model_validate(value) for value in record["values"]]


def test_a_measure_is_added_without_training(cli, cell, tiny):
    before = (cell / "training.json").stat().st_mtime_ns
    code, (printed,), _ = cli("measure", str(cell), "--measures", CONSISTENCY, "--json")
    assert code == 0
    assert printed["measure"] == "consistency"
    (unchanged,) = select(values(printed), metric="consistency", factor="rotation", view=0)
    assert unchanged.value == 1
    assert (cell / "training.json").stat().st_mtime_ns == before
    (path,) = (cell / "measures").glob("consistency-*.json")
    assert path.with_suffix(".npz").is_file()
    assert MeasureRecord.load(path).model_dump(mode="json") == printed
    # A finished measure is not repeated, and a benchmark that names it uses its record.
    written = path.stat().st_mtime_ns
    code, text, _ = cli("measure", str(cell), "--measures", f"[{CONSISTENCY}]")
    assert code == 0
    assert f"{unchanged.name} 1 n = {unchanged.n}" in " ".join(text.split())
    protocol = Path(tiny).read_text("utf-8").partition("measures:")[0]
    Path("more.yaml").write_text(f"{protocol}measures: [{CONSISTENCY}]", encoding="utf-8")
    line = "run more.yaml --models small --seeds 0 --device cpu --wandb off"
    code, text, _ = cli(*line.split())
    assert code == 0
    assert "(already done)" in text
    assert path.stat().st_mtime_ns == written
    page = Path("runs/tiny/report/index.html").read_text("utf-8")
    assert "consistency" in page.lower()


def test_the_untrained_network_stands_beside_the_trained_one(cli, cell):
    measure = "{measure: invariance-error, grid: {rotation: {start: 0, stop: 9, step: 9}}}"
    code, text, _ = cli("measure", str(cell), "--measures", measure)
    assert code == 0
    (path,) = (cell / "measures").glob("invariance-error-*.json")
    record = MeasureRecord.load(path)
    (trained,) = record.select(metric="invariance_error", layer="hidden", view=9, network=None)
    before = record.get(trained.of_untrained())
    assert before is not None
    assert before != trained.value
    both = f"{trained.name} {trained.value:.4g} n = {trained.n} before training {before:.4g}"
    assert both in " ".join(text.split())
    assert "network=untrained" not in text


def test_joint_views_are_measured_drawn_and_refused(cli, cell, tiny):
    measure = "{measure: accuracy-by-joint-view, grid: {rotation: %s, %s}}"
    sweep = "{start: -90, stop: 90, step: 90}"
    joint = measure % (sweep, "scale: {start: 0.5, stop: 1, step: 0.5}")
    protocol = Path(tiny).read_text("utf-8").partition("measures:")[0]
    Path("joint.yaml").write_text(f"{protocol}measures: [{joint}]", encoding="utf-8")
    line = "run joint.yaml --models small --seeds 0 --device cpu --wandb off"
    code, text, _ = cli(*line.split())
    assert code == 0
    assert "rotation and scale change together" in " ".join(text.split())
    (path,) = (cell / "measures").glob("accuracy-by-joint-view-*.json")
    at_views = [each for each in MeasureRecord.load(path).values if each.view is not None]
    assert [(each.view, each.condition["scale"]) for each in at_views] == [
        (rotation, scale) for rotation in (-90, 0, 90) for scale in (0.5, 1)
    ]
    assert 'id="accuracy-by-joint-view"' in Path("runs/tiny/report/index.html").read_text("utf-8")
    for other, words in (("", "exactly two factors"), (f"azimuth: {sweep}", "records no view")):
        code, _, message = cli("measure", str(cell), "--measures", measure % (sweep, other))
        assert code == 2
        assert words in " ".join(message.split())


def test_a_checkpoint_is_evaluated_like_the_run(cli, cell, tiny):
    (path,) = (cell / "measures").glob("accuracy-by-view-*.json")
    evaluation = capsbench.evaluate(cell / "checkpoints" / "validation", tiny)
    assert tuple(evaluation.results["accuracy-by-view"].values) == MeasureRecord.load(path).values


def test_measures_of_a_file(cli, cell):
    Path("more.yaml").write_text("measures: [{measure: filters, sets: 2}]", encoding="utf-8")
    code, (record,), _ = cli("measure", str(cell), "--measures", "more.yaml", "--json")
    assert code == 0
    assert record["arguments"]["sets"] == 2
    assert [value.value for value in select(values(record), metric="filters")] == [2]


def test_attacks_from_another_training(cli, refusal, cells):
    attacks = "{measure: attacks, methods: [fgsm], epsilons: [0.1], images: 20, sources: [other]}"
    line = ["measure", str(cells["small"]), "--measures", attacks]
    message = refusal(*line)
    assert "attacks" in message
    assert "'other'" in message
    assert "--source" in message
    code, (record,), err = cli(*line, "--source", f"other={cells['smaller']}", "--json")
    assert code == 0, err
    (accuracy,) = select(
        values(record), metric="accuracy", source="other", method="fgsm", epsilon=0.1
    )
    assert accuracy.n == 20
    assert "LABEL=FOLDER" in refusal(*line, "--source", "other")
    assert "given already" in refusal(*line, *2 * ("--source", f"other={cells['smaller']}"))


@pytest.mark.parametrize(
    ("arguments", "key_words"),
    [
        (["--measures", "{measure: filter}"], ("--measures", "'filter'", "did you mean 'filters'")),
        (["--measures", "{measure"], ("--measures", "YAML", "'{measure: filters}'")),
        (["--measures", "gone.yaml"], ("--measures", "gone.yaml")),
        (["--measures", "2001-99-99"], ("--measures", "mapping", "2001-99-99")),
        (["--measures", "[]"], ("--measures", "no measure")),
        (["--measures", "{sets: 2}"], ("--measures", "'measure'")),
        (["--measures", "{measure: filters, setz: 2}"], ("filters", "setz")),
        (
            ["--measures", "{measure: averaged-accuracy, shifts: [[.nan, 0]]}"],
            ("averaged-accuracy", "finite number"),
        ),
        (
            ["--measures", "{measure: accuracy-by-split, splits: [novel]}"],
            ("digits", "novel test images"),
        ),
        (
            ["--measures", "{measure: filters}", "--model", "resnet20"],
            ("--model", "cnn-small", "resnet20"),
        ),
    ],
    ids=[
        *("measure", "yaml", "file", "date", "empty", "no name", "argument", "number", "split"),
        "model",
    ],
)
def test_bad_input_is_refused_in_one_line(refusal, cell, arguments, key_words):
    message = refusal("measure", str(cell), *arguments)
    assert [word for word in key_words if word not in message] == []


def test_nothing_is_measured_nor_recorded_and_tried_again(cli, cell):
    line = ["measure", str(cell), "--measures", "{measure: filters, layer: gone}"]
    before = sorted((cell / "measures").iterdir())
    for _ in range(2):
        code, text, _ = cli(*line)
        assert code == 1
        assert "not measured" in text
        assert "'gone'" in text
        assert sorted((cell / "measures").iterdir()) == before
    # A measure with values is recorded all the same.
    both = "[{measure: filters, layer: gone}, {measure: filters, sets: 2}]"
    code, records, _ = cli("measure", str(cell), "--measures", both, "--json")
    assert code == 0
    assert [bool(record["values"]) for record in records] == [False, True]
    assert len(list((cell / "measures").glob("filters-*.json"))) == 1


def test_reasons_that_a_run_recorded_are_tried_again(cli, cell, tiny):
    protocol = Path(tiny).read_text("utf-8").partition("measures:")[0]
    measure = "{measure: filters, layer: gone}"
    Path("more.yaml").write_text(f"{protocol}measures: [{measure}]", encoding="utf-8")
    line = "run more.yaml --models small --seeds 0 --device cpu --wandb off"
    assert cli(*line.split())[0] == 0
    (path,) = (cell / "measures").glob("filters-*.json")
    assert "not measured" in MeasureRecord.load(path).notes[0]
    assert "not measured" in Path("runs/tiny/report/index.html").read_text("utf-8")
    written = path.stat().st_mtime_ns
    code, text, _ = cli("measure", str(cell), "--measures", measure)
    assert code == 1
    assert "'gone'" in text
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_a_folder_without_a_training(refusal, tiny, folder):
    message = refusal("measure", folder, "--measures", "{measure: filters}")
    assert "no finished training" in message


def test_a_measure_that_another_process_computes_is_waited_for(cli, cell):
    line = "measure", str(cell), "--measures", "{measure: filters}"
    assert cli(*line)[0] == 0
    (path,) = (cell / "measures").glob("filters-*.json")
    path.unlink()
    unfinished = temporary_path(path)
    unfinished.write_text("half written", encoding="utf-8")
    held = lease(CellFolder(cell).measure_lease(path.stem), "measure it")
    release = Timer(1.0, held.release)
    release.start()
    code, _, errors = cli(*line)
    assert code == 0
    assert not release.is_alive()
    assert "(measure it)" in errors
    assert path.is_file()
    assert unfinished.is_file()


def test_records_of_one_measure_are_told_apart_by_their_arguments(cli, cell):
    line = "{measure: consistency, grid: {rotation: {start: -%d, stop: %d, step: %d}}}"
    both = f"[{line % (2, 2, 2)}, {line % (4, 4, 4)}]"
    code, text, _ = cli("measure", str(cell), "--measures", both)
    assert code == 0
    headings = " ".join(text.split()).split("consistency {")[1:]
    assert len(headings) == 2
    assert headings[0].startswith("grid: {rotation: {start: -2.0")
    assert headings[1].startswith("grid: {rotation: {start: -4.0")
    code, text, _ = cli("measure", str(cell), "--measures", f"[{line % (2, 2, 2)}]")
    assert text.startswith("consistency\n")


def test_the_message_names_a_finished_training(refusal, cells):
    finished = {str(cell) for cell in cells.values()}
    for folder in ("runs/digits/cnn-small/0-...", "runs/tiny", "runs", "runs/digits"):
        message = refusal("measure", folder, "--measures", "{measure: filters}")
        assert any(cell in message for cell in finished), folder
