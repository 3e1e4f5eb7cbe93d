"""Name of the processor, and the warning for an emulated precision."""

import platform
from pathlib import Path

import pytest

from capsbench.training import devices
from capsbench.training.devices import precision_note
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
