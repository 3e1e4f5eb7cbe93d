"""docs/lightning.md: its program runs, its configuration is valid, its options exist."""

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from capsbench.files.yaml import parse_yaml
from capsbench.training.recipe import Recipe

PAGE = (Path(__file__).parents[1] / "docs" / "lightning.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
PROGRAM, (CLI,) = (
    [block for language, block in BLOCKS if language == "python" and cli == ("TaskCLI" in block)]
    for cli in (False, True)
)


@pytest.mark.filterwarnings("ignore::UserWarning")  # advice of Lightning on tiny trainings
def test_the_program_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(PROGRAM)
    code = re.sub(r"max_epochs=\d", "max_epochs=1, limit_train_batches=2", code)
    code = code.replace("batch_size=64)", "batch_size=4, limit=60)").replace(
        "lr_find(task, ", "lr_find(task, num_training=5, "
    )
    space: dict[str, Any] = {"__name__": "lightning"}
    exec(compile(code, "docs/lightning.md", "exec"), space)
    assert re.search(r"epoch=0-validation_accuracy=0\.\d{3}", space["best"].best_model_path)
    assert space["data"].batch_size == 8
    assert "capsbench.models.cnn_small.CNNSmall" in capsys.readouterr().out


def test_the_configuration_and_the_options_are_valid(tmp_path, monkeypatch):
    pytest.importorskip("jsonargparse")
    # Lightning calls functions that jsonargparse deprecates.
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    monkeypatch.chdir(tmp_path)
    (block,) = [block for language, block in BLOCKS if language == "yaml"]
    Path("config.yaml").write_text(block)
    (commands,) = [block for language, block in BLOCKS if not language]
    space: dict[str, Any] = {"__name__": "train"}
    exec(compile(CLI, "train.py", "exec"), space)

    class ParsedOnly(space["TaskCLI"]):  # type: ignore[misc,name-defined,valid-type]  # of the page
        def instantiate_classes(self):
            pass

        def _run_subcommand(self, subcommand):
            pass

    for command in commands.splitlines():
        _, program, *arguments = shlex.split(command)
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        if "--print_config" in arguments:
            with pytest.raises(SystemExit, match="0"):
                ParsedOnly(space["Task"], space["Digits"])
            continue
        config = ParsedOnly(space["Task"], space["Digits"]).config
        config = config[config.subcommand]
        assert config.model.model.init_args.width == 16
        assert config.data.views.rotation.intervals == ((-15, 15),)


def test_the_places_of_settings_are_complete():
    rows = re.findall(r"^\| (.*) \| `Recipe` \|$", PAGE, flags=re.MULTILINE)
    assert rows[0].replace(" ", "_").split(",_") == [*Recipe.model_fields]
    config = parse_yaml(next(block for language, block in BLOCKS if language == "yaml"))
    Recipe.model_validate(config["model"]["recipe"])
