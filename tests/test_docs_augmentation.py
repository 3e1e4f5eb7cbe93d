"""docs/augmentation.md: its recipe is valid, its commands can be planned, its names exist."""

import re
import shlex
from pathlib import Path

import pytest

from capsbench.cli import main
from capsbench.data.augmenter import build_operation, find_operation
from capsbench.errors import UserError
from capsbench.files.yaml import parse_yaml
from capsbench.running.plan import plan
from capsbench.schema import load_benchmark, parse_changes
from capsbench.training.recipe import ProtocolRecipe

PAGE = (Path(__file__).parents[1] / "docs" / "augmentation.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
COMMANDS = [
    shlex.split(line) for language, block in BLOCKS if not language for line in block.splitlines()
]


def test_the_recipe_is_valid():
    (block,) = [block for language, block in BLOCKS if language == "yaml"]
    recipe = ProtocolRecipe.model_validate(parse_yaml(block)["recipe"])
    assert len([*map(build_operation, recipe.augmentation)]) == 3
    assert recipe.augmentation[0].arguments == {"n": 2, "m": 9}


def test_the_commands_can_be_planned():
    commands = [command for command in COMMANDS if command[1] == "run"]
    for command, augmented in zip(commands, ({"CNN", "others"}, {"CNN"}), strict=True):
        _, _, name, *options = command
        assert set(options[::2]) == {"--set"}
        cells = plan(load_benchmark(name, parse_changes(options[1::2])))
        labels = {c.label if c.label == "CNN" else "others" for c in cells if c.recipe.augmentation}
        assert labels == augmented


def test_the_commands_show_augmented_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands = [command for command in COMMANDS if command[1] == "data"]
    assert len(commands) == 2
    for command in commands:
        assert main(command[1:]) == 0
    assert Path("runs/digits/contact-sheets/train.png").is_file()


def test_the_names_exist():
    taken, refused = PAGE.split("Refused are")[0], PAGE.split("Refused are")[1].split("\n\n")[0]
    names = re.compile(r"`([A-Z]\w+)`")
    assert len([find_operation(name) for name in names.findall(taken)]) > 4
    for name in names.findall(refused):
        with pytest.raises(UserError, match=f"augmentation {name} m"):  # mixes, or moves pixels
            find_operation(name)
