"""Contract of a model: all checks, run in sequence without side effects."""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from capsbench.conformance import (
    construction,
    execution,
    learning,
    prediction,
    transformations,
)
from capsbench.conformance.subject import NotApplicable, Subject, Violation
from capsbench.errors import UserError, in_one_line

Check = Callable[[Subject], str]

# Run first; if one of them fails, the other checks are meaningless.
FUNDAMENTAL: tuple[Check, ...] = (construction.constructor, prediction.forward)
CHECKS: tuple[Check, ...] = (
    *FUNDAMENTAL,
    prediction.prediction,
    prediction.logits,
    prediction.batch_independence,
    prediction.image_gradient,
    prediction.determinism,
    prediction.layers_of_interest,
    transformations.declared_transformations,
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
class CheckResult:
    """Result of a check.

    Attributes:
        check: Name of the check.
        sentence: Requirement of the contract.
        status: Outcome.
        detail: Measured value, the fault and its remedy, or the reason why the check does not
            apply.
        traceback: Traceback of an error in the model's own code; empty otherwise.
        seconds: Duration.
    """

    check: str
    sentence: str
    status: Literal["passed", "failed", "not applicable"]
    detail: str
    traceback: str = ""
    seconds: float = 0.0


def check_contract(subject: Subject) -> Iterator[CheckResult]:
    """Run every check on new models; stop after a fundamental check that fails.

    Args:
        subject: Model to check.

    Yields:
        The result of each check as soon as it is available.
    """
    for check in CHECKS:
        result = run_check(check, subject)
        yield result
        if check in FUNDAMENTAL and result.status == "failed":
            return


def run_check(check: Check, subject: Subject) -> CheckResult:
    """Run one check; an error in the model's code is a failure with its file and line.

    Raises:
        UserError: The model refuses the subject's images or arguments.
    """
    started = time.perf_counter()
    with _preserved_random_state():
        try:
            result = _result(check, "passed", check(subject))
        except NotApplicable as reason:
            result = _result(check, "not applicable", str(reason))
        except Violation as violation:
            cause = violation.__cause__
            result = _result(check, "failed", str(violation), _traceback(cause))
        except UserError as refusal:
            if check is construction.constructor:
                raise  # invalid images or arguments, not a violation of the contract
            result = _result(check, "failed", str(refusal), _traceback(refusal))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's code may raise anything
            message = in_one_line(error, subject.cls.__module__)
            result = _result(check, "failed", message, _traceback(error))
    return replace(result, seconds=round(time.perf_counter() - started, 3))


def _result(
    check: Check,
    status: Literal["passed", "failed", "not applicable"],
    detail: str,
    traceback: str = "",
) -> CheckResult:
    sentence = (check.__doc__ or "").partition("\n")[0]
    return CheckResult(check.__name__.replace("_", " "), sentence, status, detail, traceback)


def _traceback(error: BaseException | None) -> str:
    return "".join(traceback.format_exception(error)) if error else ""


@contextmanager
def _preserved_random_state() -> Iterator[None]:
    """Restore the state of every global random number generator afterwards."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - only saved
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002 - only restored
