"""Description of the machine."""

import pytest
import torch

from capsbench.errors import UserError
from capsbench.speed import machine
from capsbench.speed.limits import Limits


def cpu_with(monkeypatch, **capabilities):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)


def test_bf16_needs_instructions(monkeypatch):
    cpu_with(monkeypatch, avx2=True, amx_bf16=False, architecture="x86_64")
    assert machine.bf16_instructions("cpu") == ()
    assert machine.native_precisions("cpu") == ("fp32",)
    assert machine.missing_precision("fp32", "cpu") is None
    assert "bf16 instructions" in str(machine.missing_precision("bf16", "cpu"))


@pytest.mark.parametrize("name", ["amx_bf16", "avx512_bf16", "bf16"])
def test_bf16_instructions_of_several_makers(monkeypatch, name):
    cpu_with(monkeypatch, **{name: True})
    assert machine.bf16_instructions("cpu") == (name,)
    assert machine.missing_precision("bf16", "cpu") is None


def test_auto_is_cuda_or_cpu(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert machine.bench_device("auto") == machine.bench_device("cpu") == "cpu"
    with pytest.raises(UserError, match="'cuda' is not available"):
        machine.bench_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert machine.bench_device("auto") == "cuda"


def test_description():
    described = machine.describe_machine("cpu", Limits({"fp32": 2e9}, copy=3e9))
    assert described.device == "cpu" and described.threads == torch.get_num_threads()
    assert described.cpu and described.settings and described.provenance.versions
    assert described.matmul_flops_per_second == {"fp32": 2e9}
    assert described.copy_bytes_per_second == 3e9
    without_limits = machine.describe_machine("cpu", None)
    assert without_limits.matmul_flops_per_second == {}
    assert without_limits.copy_bytes_per_second is None
