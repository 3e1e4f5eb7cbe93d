"""docs/benchmarks.md and docs/claims.md name every benchmark and field, and their examples fit."""

import re
from pathlib import Path

from capsbench.files.yaml import parse_yaml
from capsbench.names import table
from capsbench.running.plan import select_models
from capsbench.schema import load_benchmark
from capsbench.schema.claims import Claim, ClaimTest
from capsbench.schema.parts import Published

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
CLAIMS = (DOCS / "claims.md").read_text(encoding="utf-8")
EXAMPLES = dict[str, list[dict[str, object]]]()
for block in re.findall(r"```yaml\n(.*?)```", PAGE + CLAIMS, flags=re.DOTALL):
    EXAMPLES |= parse_yaml(block)


def test_every_benchmark_is_named():
    section = PAGE.partition("## The file")[0]
    rows = [line.split("|")[2] for line in section.splitlines() if line.startswith("| ")]
    names = [name for row in rows for name in re.findall(r"`([a-z0-9-]+)`", row)]
    assert sorted(names) == sorted(table("benchmarks"))


def test_commands_name_models_of_their_benchmark_and_scale():
    lines = re.findall(
        r"^capsbench run (\S+) (.*--models (?!'?\+)(\S+).*?)(?:#|$)", PAGE, re.MULTILINE
    )
    assert len(lines) >= 3
    for name, options, models in lines:
        scale = re.search(r"--scale (\S+)", options)
        entries = load_benchmark(name, scale=scale and scale[1]).models
        select_models(entries, [m for m in models.split(",") if not m.startswith("+")])


def test_examples_fit_the_schema():
    (published,) = EXAMPLES["published"]
    (claim,) = EXAMPLES["claims"]
    assert Published.model_validate(published).quantity.condition == {"crops": "averaged"}
    assert Claim.model_validate(claim).tests[0].quantity.split == "novel"


def test_every_field_of_a_claim_test_is_described():
    section = CLAIMS.partition("| field of a test |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    fields = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(fields) == sorted(ClaimTest.model_fields)
