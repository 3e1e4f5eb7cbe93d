"""A report in place of symbolic links: nothing that they name is written or removed."""

from pathlib import Path

import pytest

from capsbench.reporting import report


@pytest.mark.parametrize("place", ["report", "report/figures"])
def test_a_report_is_written_beside_a_link_in_its_place(
    tmp_path: Path, write_benchmark, place: str
):
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = write_benchmark(tmp_path / "runs", seeds=(0,), models=(("CNN", "cnn-small"),))
    for name in (".x.1.tmp", "logo.svg", "training-7.png"):
        (outside / name).write_text("kept")
    before = sorted(path.name for path in outside.iterdir())
    (folder / "report").mkdir()
    if place == "report":
        (folder / place).rmdir()
    (folder / place).symlink_to(outside)
    report.build(folder)
    assert not (folder / place).is_symlink()
    assert sorted(path.name for path in outside.iterdir()) == before


def test_files_of_others_in_a_folder_of_figures_stay(tmp_path: Path, write_benchmark):
    folder = write_benchmark(tmp_path, seeds=(0,), models=(("CNN", "cnn-small"),))
    figures = folder / "report/figures"
    figures.mkdir(parents=True)
    for name in ("holiday.png", "logo.svg", "training-7.png", "accuracy-color.svg"):
        (figures / name).write_text("old")
    report.build(folder)
    assert (figures / "holiday.png").is_file()
    assert (figures / "logo.svg").is_file()
    assert not (figures / "training-7.png").is_file()
    assert not (figures / "accuracy-color.svg").is_file()
