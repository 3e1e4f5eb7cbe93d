"""A report in place of symbolic links: nothing that they name is written or removed."""

from pathlib import Path

from capsbench.reporting import report


def test_a_report_is_written_beside_a_link_in_its_place(tmp_path: Path, write_benchmark):
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = write_benchmark(tmp_path / "runs", seeds=(0,), models=(("CNN", "cnn-small"),))
    for name in (".x.1.tmp", "logo.svg", "training-7.png"):
        (outside / name).write_text("kept")
    before = sorted(path.name for path in outside.iterdir())
    (folder / "report").symlink_to(outside)
    report.build(folder)
    assert not (folder / "report").is_symlink()
    assert sorted(path.name for path in outside.iterdir()) == before


def test_files_of_others_stay(tmp_path: Path, write_benchmark):
    folder = write_benchmark(tmp_path, seeds=(0,), models=(("CNN", "cnn-small"),))
    own = folder / "report/figures/holiday.png"
    own.parent.mkdir(parents=True)
    own.write_text("kept")
    report.build(folder)
    assert own.is_file()
