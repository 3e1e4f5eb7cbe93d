"""What is said of a precision that a device does not have."""

import pytest

from capsbench.training import devices
from capsbench.training.devices import precision_note
from capsbench.training.recipe import Recipe


@pytest.mark.parametrize(
    ("precision", "device", "instructions", "told"),
    [
        ("bf16-mixed", "cpu", False, True),
        ("bf16-mixed", "cpu", True, False),
        ("bf16-mixed", "cuda", False, False),
        ("32-true", "cpu", False, False),
    ],
)
def test_emulated_bfloat16_is_told(precision, device, instructions, told, monkeypatch):
    monkeypatch.setattr(devices, "multiplies_bfloat16", lambda: instructions)
    note = precision_note(Recipe(steps=1, precision=precision), device)
    assert (note is not None) == told
    assert not told or "slower than 32-true" in str(note)
