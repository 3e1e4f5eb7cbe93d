"""Sections whose processes fail: no result is lost, and every failure is in the record."""

import time
from pathlib import Path

import pytest

from capsbench.speed.gpu import supervision
from capsbench.speed.gpu.record import GpuRecord
from capsbench.speed.gpu.sections import SECTIONS, Section
from capsbench.speed.gpu.supervision import check_machine, run_section
from tests.speed.gpu import slow_section

ODD = Section("odd", "Odd", 5, "tests.speed.gpu.odd_section")
SLOW = Section("slow", "Slow", 5, "tests.speed.gpu.slow_section")
BROKEN = Section("broken", "Broken", 5, "tests.speed.gpu.no_such_section")


@pytest.fixture(scope="module")
def odd():
    return run_section(ODD, device="cpu", small=True, seconds=60)


@pytest.fixture(scope="module")
def member(tmp_path_factory):
    """File for the number of a process of the group that hangs."""
    return tmp_path_factory.mktemp("slow") / "member"


@pytest.fixture(scope="module")
def slow(member):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervision, "RESERVE", 0.5)
        patch.setenv(slow_section.MEMBER, str(member))
        start = time.monotonic()
        result = run_section(SLOW, device="cpu", small=True, seconds=5)
        assert time.monotonic() - start < 15
    return result


def test_each_part_has_a_result(odd):
    assert [(part.name, part.status) for part in odd.parts] == [
        ("good", "done"),
        ("missing", "not measured"),
        ("failed", "failed"),
        ("partly failed", "failed"),
        ("crash", "failed"),
        ("lost device", "failed"),
        ("after", "done"),
    ]
    assert odd.status == "failed" and "4 of 7 parts failed" in odd.reason


def test_a_section_ends_at_its_limit_and_names_what_was_cut(slow):
    assert [(part.name, part.status) for part in slow.parts] == [("hang", "cut"), ("never", "cut")]
    assert slow.status == "cut" and "hang, never" in slow.reason
    hang = slow.parts[0]
    assert hang.values == {"rows": [1, 2]}
    # The stack of the hang, by the dump shortly before the end.
    assert "time" in hang.reason and "in hang" in hang.traceback


def test_a_section_that_is_ended_leaves_no_process(slow, member):
    state = Path("/proc", member.read_text(), "stat")
    deadline = time.monotonic() + 10
    while state.exists() and state.read_text().split(") ")[1][0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_values_of_failed_and_cut_parts_are_kept(odd):
    assert odd.values("good") == {"value": [1, 2]}
    assert odd.values("partly failed") == {"first": 1.5, "nan": "nan"}
    assert odd.values("crash") == {"rows": [1]}
    assert odd.values("absent") == {}


def test_failures_have_a_sentence_and_a_traceback(odd):
    parts = {part.name: part for part in odd.parts}
    assert parts["failed"].reason == "RuntimeError: CUDA out of memory"
    assert "in fail" in parts["failed"].traceback and "advice" in parts["failed"].traceback
    assert "SIGSEGV" in parts["crash"].reason and "in crash" in parts["crash"].traceback
    assert "code 75" in parts["lost device"].reason
    assert parts["missing"].traceback is None


def test_a_broken_section_does_not_end_the_check_and_the_device_is_that_of_the_first(tmp_path):
    lines: list[str] = []
    path = tmp_path / "gpu.json"
    record = check_machine(
        path,
        command="a test",
        sections=[ODD._replace(name="machine", module="tests.speed.gpu.good_section"), BROKEN],
        device="auto",
        small=False,
        limit=60,
        commit="0123456789ab",
        report=lines.append,
    )
    good, broken = record.sections
    assert good.status == "done" and good.log is None
    assert (record.device, record.device_names, record.small) == ("cuda", ("H200",), False)
    assert broken.status == "failed" and "no_such_section" in str(broken.reason)
    assert "Traceback" in str(broken.log) and broken.parts == ()
    assert GpuRecord.load(path) == record
    assert record.provenance.commit == "0123456789ab"
    assert record.note is None
    assert any("no_such_section" in line for line in lines)


def test_all_sections_fit_into_six_minutes():
    assert sum(section.seconds for section in SECTIONS.values()) <= 350
