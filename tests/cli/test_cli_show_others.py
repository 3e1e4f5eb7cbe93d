"""`capsbench show` of data modules, benchmarks and measures."""

from pathlib import Path

import pytest

from capsbench.measures import load_measure
from capsbench.names import table


def test_data_module(cli, tmp_path):
    code, facts, _ = cli("show", "mnist", "--data-root", str(tmp_path), "--json")
    assert code == 0
    assert (facts["kind"], facts["image_shape"], facts["classes"]) == (
        "data module",
        [1, 28, 28],
        10,
    )
    assert str(tmp_path) in facts["data"]
    assert {"views", "limit", "data_root"} <= {argument["name"] for argument in facts["arguments"]}
    same = cli("show", "capsbench.datamodules.mnist:MNIST", "--json")[1]
    assert (same["kind"], same["summary"]) == ("data module", facts["summary"])


def test_benchmark(cli, tiny):
    code, facts, _ = cli("show", tiny, "--json")
    assert code == 0
    assert (facts["name"], facts["kind"]) == ("tiny", "benchmark")
    assert facts["summary"] == "A tiny benchmark"
    assert facts["file"] == "tiny.yaml"
    assert facts["recipe"]["optimizer"] == "adam"
    assert [model["label"] for model in facts["models"]] == ["small", "smaller"]
    code, text, _ = cli("show", tiny)
    assert code == 0
    assert "Does it run?" in text


def test_measure(cli):
    code, facts, _ = cli("show", "invariance-error", "--json")
    assert code == 0
    assert (facts["name"], facts["kind"]) == ("invariance-error", "measure")
    measure = load_measure("invariance-error")
    assert facts["summary"] == (measure.__doc__ or "").partition("\n")[0]
    assert "d²(f(Tx), f(x))" in facts["description"]
    assert (facts["source"], facts["revision"]) == (measure.source, measure.revision)
    assert Path(facts["file"]).name == "invariance_error.py"
    arguments = {argument["name"]: argument for argument in facts["arguments"]}
    assert set(arguments) == set(measure.config.model_fields) - {"measure"}
    assert all(argument["documentation"] for argument in facts["arguments"])
    assert (arguments["grid"]["type"], arguments["grid"]["required"]) == ("ViewGrid", True)
    assert (arguments["images"]["type"], arguments["images"]["default"]) == ("int", 500)
    assert facts["metrics"] == [
        {"name": name, "unit": spec.unit, "documentation": spec.description}
        for name, spec in measure.metrics.items()
    ]
    assert "invariance_error" in [metric["name"] for metric in facts["metrics"]]


def test_measure_as_text(cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    code, text, _ = cli("show", "accuracy-by-view")
    assert code == 0
    assert text.startswith("accuracy-by-view (measure): ")
    lines = [line.split() for line in text.splitlines()]
    assert ["argument", "type", "default"] in lines
    assert ["grid", "ViewGrid", "required"] in [line[:3] for line in lines]
    assert ["metric", "unit"] in lines
    assert ["accuracy", "share"] in [line[:2] for line in lines]


@pytest.mark.parametrize("name", table("measures"))
def test_every_argument_and_metric_of_a_measure_is_documented(cli, name):
    _, facts, _ = cli("show", name, "--json")
    assert facts["summary"]
    assert facts["metrics"]
    rows = [*facts["arguments"], *facts["metrics"]]
    assert [row["name"] for row in rows if not row["documentation"]] == []


MEASURE = '''
from typing import Literal

from capsbench.measures import Measure, MeasureConfig, MeasureResult, ValueSpec


class EmptyConfig(MeasureConfig):
    """Arguments.

    Attributes:
        repeats: Number of repetitions.
    """

    measure: Literal["mymeasure.py:Empty"]
    repeats: int = 3


class Empty(Measure[EmptyConfig]):
    """No values at all."""

    config = EmptyConfig
    metrics = {"nothing": ValueSpec("Never returned.", "count")}

    @classmethod
    def compute(cls, config, model, data, context):
        return MeasureResult([], {})


class Abstract(Measure[EmptyConfig]):
    """Compute is missing."""


class Unrelated:
    """Not a measure."""
'''


@pytest.fixture
def measure_file(tmp_path, monkeypatch):
    """A file of a user's own measures in the working directory."""
    monkeypatch.chdir(tmp_path)
    path = Path("mymeasure.py")
    path.write_text(MEASURE, encoding="utf-8")
    return path


def test_measure_in_a_file(cli, measure_file):
    code, facts, _ = cli("show", "mymeasure.py:Empty", "--json")
    assert code == 0
    assert (facts["kind"], facts["summary"]) == ("measure", "No values at all.")
    assert facts["file"] == "mymeasure.py"
    assert facts["arguments"] == [
        {
            "name": "repeats",
            "type": "int",
            "required": False,
            "default": 3,
            "documentation": "Number of repetitions.",
        }
    ]
    assert facts["metrics"] == [
        {"name": "nothing", "unit": "count", "documentation": "Never returned."}
    ]


@pytest.mark.parametrize(
    ("name", "key_words"),
    {
        "mymeasure.py": (":Class",),
        "mymeasure.py:Emptty": ("no class", "'Emptty'", "mymeasure.py"),
        "mymeasure.py:Abstract": ("'mymeasure.py:Abstract'", "abstract", "compute"),
        "mymeasure.py:Unrelated": ("'mymeasure.py:Unrelated'", "capsbench.measures.Measure"),
        "mymeasures.py:Empty": ("no file", "'mymeasures.py'"),
        "broken.py:Empty": ("broken.py", "line 1"),
        "imports.py:Empty": ("no_such_package", "imports.py:1"),
    }.items(),
)
def test_a_bad_measure_file_is_refused(refusal, measure_file, name, key_words):
    Path("broken.py").write_text("class Empty(:\n", encoding="utf-8")
    Path("imports.py").write_text("import no_such_package\n", encoding="utf-8")
    message = refusal("show", name)
    assert [word for word in key_words if word not in message] == []
