"""`capsbench report`: pages and exports of some benchmarks, or of all."""

import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from capsbench.records import BenchmarkFolder, BenchmarkRecord
from capsbench.reporting.terminal import page_line

PAGE = Path("runs/tiny/report/index.html")


def test_the_pages_of_all_benchmarks_or_of_named_ones(cli, cells):
    shutil.copytree("runs/tiny", "runs/again")
    code, text, err = cli("report")
    assert (code, err) == (0, "")
    links = [
        Path("runs", name, "report/index.html").resolve().as_uri() for name in ("again", "tiny")
    ]
    assert text.splitlines() == [f"page: {link}" for link in links]
    for name in ("tiny", "tiny.yaml"):
        assert cli("report", name) == (0, f"page: {links[1]}\n", "")
    shutil.move("runs", "other")
    code, text, _ = cli("report", "tiny", "--output", "other", "--export", "mine")
    assert code == 0
    (file,) = Path("mine/tiny").glob("full-*.json")
    assert str(file) in text


def test_a_report_on_weights_and_biases_is_a_file_without_a_login(cli, cells, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", "none")
    code, text, err = cli("report", "tiny", "--wandb")
    assert (code, err) == (0, "")
    file = PAGE.with_name("wandb-report.json")
    assert f"report: {file}; not saved: not logged in (wandb login)" in text
    assert json.loads(file.read_bytes())["project"]["name"] == "capsbench"
    (row,) = cli("report", "--wandb", "--json")[1]
    assert (row["wandb"]["specification"], row["wandb"]["address"]) == (str(file), None)


def test_json(cli, cells):
    code, rows, err = cli("report", "--json")
    assert (code, err) == (0, "")
    (row,) = rows
    assert (row["benchmark"], row["page"], row["export"]) == ("tiny", str(PAGE), None)
    code, (row,), _ = cli("report", "tiny", "--export", "mine", "--json")
    assert code == 0
    assert json.loads(Path(row["export"]).read_bytes())["record"]["benchmark"]["name"] == "tiny"


def test_the_others_are_exported_if_a_benchmark_cannot_be(cli, cells):
    shutil.copytree("runs/tiny", "runs/again")
    path = BenchmarkFolder(Path("runs/again")).record
    record = BenchmarkRecord.load(path)
    elsewhere = record.cells[0].model_copy(update={"label": "Other", "seed": None})
    record.model_copy(update={"cells": (elsewhere,)}).save(path)
    code, text, err = cli("report", "--export", "mine", "--json")
    assert code == 2
    assert err.count("\n") == 1
    assert "again has only models that were trained elsewhere" in err
    again, tiny = json.loads(text)
    assert again["export"] is None and again["problem"] in err
    assert Path(tiny["export"]).is_file() and tiny["problem"] is None
    code, text, _ = cli("report", "--export", "mine")
    assert (code, text.count("page: "), text.count("\nexported: ")) == (2, 2, 1)


@pytest.mark.parametrize(
    ("arguments", "key_words"),
    [
        (["runs"], ("'runs' is a folder", "'capsbench report --output runs'")),
        (["runs/tiny"], ("'runs/tiny' is a folder", "'capsbench report tiny --output runs'")),
        (["tniy"], ("'tniy'", "did you mean 'tiny'")),
        (["other.yaml"], ("other.yaml", "cannot read")),
    ],
    ids=["runs", "benchmark", "name", "file"],
)
def test_bad_input_is_refused_in_one_line(refusal, cells, arguments, key_words):
    message = refusal("report", *arguments)
    assert [word for word in key_words if word not in message] == []


def test_tables_and_figures_for_a_paper(cli, cells):
    code, text, err = cli("report", "tiny", "--format", "latex,csv", "--figures", "pdf")
    assert (code, err) == (0, "")
    paper = Path("runs/tiny/paper")
    counts = {place: len(list((paper / place).iterdir())) for place in ("tables", "figures")}
    assert min(counts.values()) > 0
    assert [
        f"{paper / place}: {count} files" for place, count in counts.items()
    ] == text.splitlines()[1:]
    code, (row,), _ = cli("report", "tiny", "--format", "md", "--json")
    assert sorted(row["paper"]) == sorted(map(str, (paper / "tables").glob("*.md")))


@pytest.mark.parametrize("option", ["--format", "--figures"])
def test_an_unknown_format_is_refused_before_anything_is_written(refusal, cells, option):
    before = sorted(Path.cwd().rglob("*"))
    message = refusal("report", option, "latx")
    assert option in message and "'latx'" in message
    assert sorted(Path.cwd().rglob("*")) == before


def test_the_link_is_escaped_and_a_terminal_opens_it(tmp_path):
    page = tmp_path / "my runs é" / "index.html"
    link = page.as_uri()
    assert "my%20runs%20%C3%A9" in link
    for terminal in (False, True):
        console = Console(force_terminal=terminal, width=20, legacy_windows=False)
        with console.capture() as captured:
            console.print(page_line(page), soft_wrap=True)
        text = captured.get()
        assert ("\x1b]8;" in text) == terminal
        assert f"{link}\x1b]8;;" in text if terminal else text == f"page: {link}\n"
