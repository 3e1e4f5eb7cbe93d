"""Name of the processor, threads, and the warning for an emulated precision."""

import os
import platform
from pathlib import Path

import pytest
import torch
from torch import nn

from capsbench.errors import UserError
from capsbench.training import devices
from capsbench.training.devices import (
    device_name,
    precision_note,
    processes_note,
    require_devices,
    threads_note,
    threads_on,
    use_threads,
)
from capsbench.training.execution import Execution
from capsbench.training.recipe import ProtocolRecipe


@pytest.mark.parametrize(
    ("precision", "device", "instructions", "warned"),
    [
        ("bf16-mixed", "cpu", False, True),
        ("bf16-mixed", "cpu", True, False),
        ("bf16-mixed", "cuda", False, False),
        ("32-true", "cpu", False, False),
    ],
)
def test_emulated_bfloat16_gives_a_warning(precision, device, instructions, warned, monkeypatch):
    monkeypatch.setattr(devices, "multiplies_bfloat16", lambda: instructions)
    note = precision_note(ProtocolRecipe(steps=1, precision=precision), device)
    assert (note is not None) == warned
    assert not warned or "slower than 32-true" in str(note)


def test_cpu_model_of_linux(monkeypatch):
    listing = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: Some CPU: fast\n"
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: listing)
    assert devices.cpu_model() == "Some CPU: fast"


@pytest.mark.parametrize(("processor", "expected"), [("arm", "arm"), ("", "arm64")])
def test_cpu_model_without_proc(monkeypatch, processor, expected):
    monkeypatch.setattr(Path, "is_file", lambda _: False)
    monkeypatch.setattr(platform, "processor", lambda: processor)
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert devices.cpu_model() == expected


@pytest.mark.parametrize("variable", [None, "1", "7"])
def test_threads_are_those_of_the_protocol_and_restored(variable, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    with use_threads(3):
        assert torch.get_num_threads() == 3  # also on fewer cores
        assert os.environ["OMP_NUM_THREADS"] == "3"  # for Lightning, and processes of a group
        assert device_name("cpu").endswith(", 3 threads")
        with pytest.raises(ZeroDivisionError), use_threads(2):
            raise ZeroDivisionError
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == 1
    assert os.environ.get("OMP_NUM_THREADS") == variable


def test_an_accelerator_keeps_the_threads_of_the_process():
    assert threads_on("cpu", 4) == 4
    assert threads_on("cuda", 4) is threads_on("mps", 4) is None
    with use_threads(None):
        assert torch.get_num_threads() == 1


def test_more_threads_than_cores_give_a_note(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    note = threads_note(3, "cpu")
    assert note is not None
    assert "3 threads" in note
    assert "2 cores" in note
    assert threads_note(2, "cpu") is threads_note(3, "cuda") is None


def test_the_name_of_a_processor_can_have_other_threads_than_now():
    assert device_name("cpu", 5).endswith(", 5 threads")


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.BatchNorm2d(3), "batch normalization"),
        (nn.Dropout(0.5), "dropout"),
        (nn.Dropout(0.0), None),
        (nn.GroupNorm(1, 3), None),
    ],
)
def test_what_several_processes_change_is_noted(layer, words):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), layer)
    assert processes_note(model, 1) is None
    note = processes_note(model, 2)
    assert (note is None) if words is None else (words in str(note))


@pytest.mark.parametrize(("kind", "present"), [("cuda", 2), ("mps", 1), ("cpu", None)])
def test_more_devices_than_there_are_are_refused(kind, present, monkeypatch):
    monkeypatch.setattr(devices, "available_devices", lambda: ["cuda", "mps", "cpu"])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    require_devices(Execution(device=kind, devices=present or 9))
    if present is not None:
        with pytest.raises(UserError, match=f"{present} {kind} device.* got {present + 1} "):
            require_devices(Execution(device=kind, devices=present + 1))
