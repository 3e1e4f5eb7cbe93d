"""Claims on made-up records: three networks whose differences are known."""

from __future__ import annotations

from capsbench.reporting.comparisons.claims import judge
from capsbench.schema.claims import Claims
from capsbench.values import Quantity

MODELS = (("CNN", "cnn-small"), ("Caps", "capsnet-dr"), ("Same", "capsnet-em"))
SPLITS = {"measure": "accuracy-by-split"}
FAMILIAR = Quantity(metric="accuracy", split="familiar")
NOVEL = Quantity(metric="accuracy", split="novel")
ERROR = "expected_calibration_error"
GAIN = Quantity(metric="gain_over_control", layer="poses")
FAMILIAR_ACCURACY = {"quantity": {"metric": "accuracy", "split": "familiar"}}
NOVEL_ACCURACY = {"quantity": {"metric": "accuracy", "split": "novel"}}
ACCURACY = {
    "part": "one",
    "against": "CNN",
    "primary": True,
    "measure": "accuracy-by-split",
    **FAMILIAR_ACCURACY,
}
SEEDS = tuple(range(5))


def claims(*tests, bound=0.02, name="claims"):
    claim = {"claim": "Capsules are <better>", "source": "a test", "bound": bound}
    return Claims.model_validate(
        {
            "name": name,
            "version": 1,
            "title": "Do they?",
            "question": "Who knows?",
            "source": "a test",
            "expected": "at once",
            "parts": {"one": {"benchmark": "quick"}, "two": {"benchmark": "quick"}},
            "claims": [claim | {"tests": list(tests)}],
        }
    )


def judged_claim(parts, *tests, scale="small", **keywords):
    (judged,) = judge(claims(*tests, **keywords), parts, scale)
    return judged
