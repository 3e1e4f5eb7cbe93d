"""The command and its tables."""

import sys

import pytest

from capsbench.speed.gpu import __main__ as command
from capsbench.speed.gpu.record import GpuRecord, PartResult, SectionResult, provenance
from capsbench.speed.gpu.tables import markdown

SPEED_ROW = {
    "name": "work: triton",
    "row": "triton",
    "baseline": "work: textbook",
    "median_ms": 1.2345,
    "ratio": 12.5,
    "flops": 12345,
    "peak_bytes": 2_500_000,
}


@pytest.fixture
def record():
    def part(name, status="done", **fields):
        return PartResult(name=name, status=status, seconds=1, **fields)

    sections = (
        ("machine", [part("versions", values={"torch": "2.11"}), part("device", values={"n": 1})]),
        (
            "kernels",
            [
                part("triton", values={"values": 3e-7, "gradients": 0.5}),
                part("eager", "failed", values={"values": 0.1}, reason="it | differs"),
            ],
        ),
        ("bench", [part("work", values={"rows": [SPEED_ROW]})]),
    )
    return GpuRecord(
        command="a test",
        provenance=provenance("0123456789ab"),
        device="cuda",
        device_names=("NVIDIA H200",),
        limit=350,
        sections=tuple(
            SectionResult(
                name=name,
                title=f"The {name}",
                status="done",
                limit=9,
                seconds=3,
                parts=tuple(parts),
            )
            for name, parts in sections
        ),
    )


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["gpu", *map(str, arguments)])
        code = command.main()
        return code, *capsys.readouterr()

    return call


def test_tables_of_a_record(record):
    text = markdown(record)
    assert "NVIDIA H200" in text and "0123456789ab" in text and "Nothing ran" not in text
    lines = text.splitlines()
    assert "| kernels | done | 1 of 2 | 3 s |" in lines
    assert "| triton | done |  | 3.0e-07 | 0.500 |" in lines
    assert "| eager | failed | it / differs | 0.100 |  |" in lines
    assert "| versions | done | torch 2.11 |" in lines
    assert "| triton | 1.23 | 12.5 | 2.5 MB |" in lines
    cpu = record.model_copy(update={"device": "cpu"})
    assert "Nothing ran on a GPU" in markdown(cpu)


def test_the_command_prints_the_tables_of_a_file(run, record, tmp_path):
    path = tmp_path / "gpu.json"
    record.save(path)
    code, out, err = run("--tables", path)
    assert (code, err) == (0, "") and "NVIDIA H200" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["kernals"], ["'kernals'", "did you mean 'kernels'"]),
        (["--device", "mps"], ["'mps'"]),
        (["--tables", "no.json"], ["no.json", "missing", "make gpu"]),
    ],
)
def test_bad_input_is_one_line(run, arguments, words):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert all(word in err for word in words)


@pytest.mark.parametrize(("status", "code"), [("done", 0), ("failed", 1), ("cut", 0)])
def test_exit_code_and_note(run, record, tmp_path, monkeypatch, status, code):
    calls = []

    def check(path, **arguments):
        calls.append([section.name for section in arguments["sections"]])
        section = record.sections[0].model_copy(update={"status": status})
        return record.model_copy(update={"device": "cpu", "sections": (section,)})

    monkeypatch.setattr(command, "check_machine", check)
    result, out, _ = run("bench", "kernels", "--output", tmp_path)
    assert result == code
    assert calls == [["machine", "bench", "kernels"]]
    assert "nothing ran on a GPU" in out


@pytest.mark.slow
def test_the_whole_check_on_the_processor(run, tmp_path):
    code, out, err = run("--device", "cpu", "--seconds", "900", "--output", tmp_path)
    record = GpuRecord.load(tmp_path / "gpu.json")
    failures = [
        f"{part.name}: {part.traceback}"
        for s in record.sections
        for part in s.parts
        if part.status == "failed"
    ]
    assert failures == [] and code == 0, out + err
    assert record.small and "nothing ran on a GPU" in out
    assert {section.status for section in record.sections} == {"done"}
    assert markdown(record)
