"""docs/models.md against the code: names, and every number of parameters."""

import re
from importlib.metadata import entry_points
from itertools import takewhile
from pathlib import Path

import pytest
import torch

from capsbench.arguments import resolve
from capsbench.files.yaml import parse_yaml
from capsbench.names import find

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"

# Counts from the papers and their released code, so that no row is lost or changed unnoticed.
PUBLISHED = {
    "cnn-hinton2018": {4_253_349, 1_697_445},
    "cnn-multimnist": {24_563_978},
    "cnn-sabour2017": {35_445_522, 13_277_970},
    "cnn-sabour2017-code": {7_495_946, 16_146_698},
    "capsnet": {1_094_448, 498_532},  # as in the code of Hahn et al. (2019)
    "capsnet-dr": {8_215_568, 6_804_224, 11_361_808, 9_425_664, 13_475_648, 11_227_904},
    "capsnet-dr-code": {8_215_728, 6_804_384, 11_361_968, 9_425_824, 13_475_808, 11_228_064},
    "capsnet-em": {316_650},
    "capsnet-em-code": {316_650},
    "capsnet-em-paper": {316_650, 68_618},
    "capsnet-em-small": {68_618},
    "efficient-capsnet": {161_824},
    "linear-stem": {144_954},  # as the averaging network of the code of Hahn et al. (2019)
    "lenet5": {60_850},  # 60,000 up to F6, and ten classes of 84 weights and a bias
    "resnet20": {269_722},
}


def rows(heading):
    """Return the cells of the rows of the table with these headings."""
    lines = PAGE.read_text(encoding="utf-8").split(f"| {heading} |", 1)[1].splitlines()
    table_lines = takewhile(lambda line: line.startswith("|"), lines[2:])
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table_lines]


NAMED = rows("model | architecture | what is different | source | published | measured")
COUNTED = rows("model | arguments | images | classes | parameters | the paper")


def test_the_page_names_every_registered_model_once():
    registered = entry_points(group="capsbench.models")  # may include plug-ins
    ours = [point.name for point in registered if point.dist and point.dist.name == "capsbench"]
    assert sorted(row[0] for row in NAMED) == sorted(f"`{name}`" for name in ours)
    assert all(all(row) for row in NAMED)


def test_the_page_has_every_published_count():
    counts: dict[str, set[int]] = {}
    for name, *_, parameters, _ in COUNTED:
        counts.setdefault(name.strip("`"), set()).add(int(parameters.replace(",", "")))
    assert counts == PUBLISHED


@pytest.mark.parametrize(
    ("name", "arguments", "images", "classes", "parameters", "paper"),
    COUNTED,
    ids=[" ".join(row[:3]) for row in COUNTED],
)
def test_parameters_match_the_page(name, arguments, images, classes, parameters, paper):
    cls = find("models", name.strip("`")).load()
    given = dict(pair.split("=", 1) for pair in re.findall(r"`(.+?)`", arguments))
    shape = tuple(int(side) for side in images.split("x"))
    with torch.device("meta"):
        model = cls(
            image_shape=shape,
            num_classes=int(classes),
            **resolve(
                cls,
                {argument: parse_yaml(value) for argument, value in given.items()},
                what=name,
                supplied=("image_shape", "num_classes"),
            ),
        )
    count = sum(parameter.numel() for parameter in model.parameters())
    assert f"{count:,}" == parameters
