"""The contract of a model: all checks, run one after the other, without a side effect."""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from capsbench.conformance import construction, execution, learning, prediction
from capsbench.conformance.subject import NotApplicable, Subject, Violation
from capsbench.errors import UserError, in_one_line

Check = Callable[[Subject], str]

# What the rest builds on comes first: where it fails, the rest has nothing to say.
FUNDAMENTAL: tuple[Check, ...] = (construction.constructor, prediction.forward)
CHECKS: tuple[Check, ...] = (
    *FUNDAMENTAL,
    prediction.prediction,
    prediction.log_probabilities,
    prediction.batch_independence,
    prediction.image_gradient,
    prediction.determinism,
    prediction.layers_of_interest,
    learning.loss,
    learning.targets,
    learning.batch_average,
    learning.gradients,
    learning.one_image,
    learning.learning,
    construction.seeding,
    construction.image_shapes,
    construction.smallest_size,
    construction.checkpoint,
    execution.compilation,
    execution.autocast,
)


@dataclass(frozen=True)
class Result:
    """What a check found.

    Attributes:
        check: Its name.
        sentence: What the contract says.
        status: How it ended.
        detail: What was measured, what is wrong and what to do, or why it does not apply.
        traceback: Of an error in the model's own code; empty otherwise.
        seconds: How long it took.
    """

    check: str
    sentence: str
    status: Literal["passed", "failed", "not applicable"]
    detail: str
    traceback: str = ""
    seconds: float = 0.0


def check_contract(subject: Subject) -> Iterator[Result]:
    """Run every check, each on models of its own; where a fundamental one fails, none after it.

    Args:
        subject: The model.

    Yields:
        What each check found, as soon as it did.
    """
    for check in CHECKS:
        result = run_check(check, subject)
        yield result
        if check in FUNDAMENTAL and result.status == "failed":
            return


def run_check(check: Check, subject: Subject) -> Result:
    """Run one check; an error inside the model's code is a failure that names its place.

    Raises:
        UserError: The model refuses the subject's images or arguments.
    """
    started = time.perf_counter()
    with _same_randomness_after():
        try:
            result = _result(check, "passed", check(subject))
        except NotApplicable as reason:
            result = _result(check, "not applicable", str(reason))
        except Violation as violation:
            cause = violation.__cause__
            result = _result(check, "failed", str(violation), _traceback(cause))
        except UserError as refusal:
            if check is construction.constructor:
                raise  # of these images or arguments: bad input, and no broken contract
            result = _result(check, "failed", str(refusal), _traceback(refusal))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's code may raise anything
            told = in_one_line(error, subject.cls.__module__)
            result = _result(check, "failed", told, _traceback(error))
    return Result(**{**vars(result), "seconds": round(time.perf_counter() - started, 3)})


def _result(
    check: Check,
    status: Literal["passed", "failed", "not applicable"],
    detail: str,
    traceback: str = "",
) -> Result:
    sentence = (check.__doc__ or "").partition("\n")[0]
    return Result(check.__name__.replace("_", " "), sentence, status, detail, traceback)


def _traceback(error: BaseException | None) -> str:
    return "".join(traceback.format_exception(error)) if error else ""


@contextmanager
def _same_randomness_after() -> Iterator[None]:
    """Put every generator of random numbers back to where it was."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - only kept
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002 - only put back
