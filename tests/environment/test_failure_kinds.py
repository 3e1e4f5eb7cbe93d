"""Kinds of failures: memory of the host and of devices, code, and signals."""

import pytest
import torch

from capsbench.environment.failure_kinds import TRACEBACK, classify, killed
from capsbench.files.strict_json import require_plain

DEVICE = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("MPS backend out of memory (MPS allocated: 18 GB)"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]
HOST = [
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes."),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
]
CODE = [
    ValueError("x"),
    KeyError("CUDA out of memory"),
    RuntimeError("CUDA error: device-side assert triggered"),
    ZeroDivisionError(),
]


@pytest.mark.parametrize("error", DEVICE, ids=repr)
def test_memory_of_a_device(error):
    failure = classify(error)
    assert failure.kind == "out of device memory"
    assert "larger device" in failure.reason
    assert "batch_size" in failure.reason


@pytest.mark.parametrize("error", HOST, ids=repr)
def test_memory_of_the_host(error):
    failure = classify(error)
    assert failure.kind == "out of host memory"
    assert "fewer jobs" in failure.reason


def test_a_real_request_of_too_much_memory():
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 60)
    assert classify(error.value).kind == "out of host memory"


@pytest.mark.parametrize("error", CODE, ids=repr)
def test_any_other_error_is_that_of_code(error):
    failure = classify(error)
    assert failure.kind == "user code"
    assert failure.reason.startswith(type(error).__name__)


def test_the_cause_of_an_error_counts():
    error = RuntimeError("the measure failed")
    error.__cause__ = MemoryError()
    assert classify(error).kind == "out of host memory"


def test_reason_and_traceback_name_the_place():
    def forward():
        raise ValueError("shapes differ\nby one")

    with pytest.raises(ValueError, match="shapes") as error:
        forward()
    failure = classify(error.value)
    assert "test_failure_kinds.py:" in failure.reason
    assert "\n" not in failure.reason
    assert "in forward" in failure.traceback
    assert "by one" in failure.traceback


def test_a_record_takes_every_text():
    hostile = ValueError("\x1b[31mred" + "x" * 100_000)
    failure = classify(hostile)
    require_plain(failure.reason)
    require_plain(failure.traceback)
    assert len(failure.reason) < 500
    assert len(failure.traceback) < TRACEBACK + 10
    assert failure.traceback.endswith("x\n")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, ("SIGKILL", "out-of-memory")),
        (-11, ("SIGSEGV",)),
        (-40, ("40",)),
        (3, ("exit code 3",)),
        (None, ("without an answer",)),
    ],
)
def test_processes_that_died(code, words):
    failure = killed(code)
    assert (failure.kind, failure.traceback) == ("killed", "")
    assert all(word in failure.reason for word in words)
    assert ("memory" in failure.reason) == (code == -9)
