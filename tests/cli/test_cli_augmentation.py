"""`capsbench run` with augmentation: a real training, its records and its page."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

AUGMENTED = "recipe.augmentation=[RandAugment, {RandomErasing: {p: 0.5}}]"
LINE = ["run", "tiny.yaml", "--seeds", "0", "--models", "smaller", "--device", "cpu"]


def record(output, name):
    (path,) = Path(output, "digits/cnn-small").glob(f"*/{name}")
    return json.loads(path.read_text("utf-8"))


def test_a_training_with_augmentation(cli, tiny):
    for output, options in (("plain", []), ("augmented", ["--set", AUGMENTED])):
        code, _, err = cli(*LINE, "--wandb", "off", "--output", output, *options)
        assert (code, err) == (0, "")
    plain, augmented = (record(name, "config.json") for name in ("plain", "augmented"))
    assert plain["recipe"].pop("augmentation") == []
    operations = [{"RandAugment": {"n": 2, "m": 9}}, {"RandomErasing": {"p": 0.5}}]
    assert augmented["recipe"].pop("augmentation") == operations
    assert plain.pop("checksum") != augmented.pop("checksum")
    assert augmented == plain | {"kornia": version("kornia")}
    training = record("augmented", "training.json")
    assert training["status"] == "trained"
    assert "kornia" in training["provenance"]["versions"]
    assert [path.name for path in Path("plain/digits/cnn-small").iterdir()] != [
        path.name for path in Path("augmented/digits/cnn-small").iterdir()
    ]
    for name in ("index.html", "report.md"):
        text = Path("augmented/tiny/report", name).read_text(encoding="utf-8")
        words = "augmented by RandAugment(n=2, m=9) and RandomErasing(p=0.5)"
        assert text.count(words) == 2  # with the views, and with the recipe
        assert "shows none of them" not in text
        other = Path("plain/tiny/report", name).read_text(encoding="utf-8")
        assert "augmented" not in other
        assert "shows none of them" in other

    # The same command again trains nothing; one without augmentation is another training.
    code, cells, _ = cli(*LINE, "--output", "augmented", "--set", AUGMENTED, "--dry-run", "--json")
    assert (code, [cell["state"] for cell in cells]) == (0, ["done"])
    code, cells, _ = cli(*LINE, "--output", "augmented", "--dry-run", "--json")
    assert (code, [cell["state"] for cell in cells]) == (0, ["to do"])


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("[RandAugmentt]", "did you mean 'RandAugment'"),
        ("[RandomHue]", "1x32x32 do not fit"),
        ("[{RandomErasing: {scal: 1}}]", "did you mean 'scale'"),
        ("[RandomMixUpV2]", "mixes images"),
        ("RandAugment", "expected a list of operations, such as [RandAugment]"),
        ("[{RandomErasing: {p: abc}}]", "p of RandomErasing should be a number from 0 to 1"),
    ],
)
def test_a_wrong_augmentation_is_refused_before_training(refusal, tiny, value, words):
    assert words in refusal(*LINE, "--set", f"recipe.augmentation={value}")
    assert not Path("runs").exists()


def test_show_prints_the_cases_of_a_benchmark(cli):
    code, text, _ = cli("show", "augmentation")
    assert code == 0
    for words in ("our views", "RandomElasticTransform", "RandAugment"):
        assert words in " ".join(text.split())
