"""`capsbench results`: `--write` only in the checkout, `--json` lists every record."""

import json
import shutil
from pathlib import Path

import pytest

import capsbench

ROOT = Path(__file__).parents[2]


def test_write_in_another_working_directory_is_refused(refusal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refusal("results", "--write")
    assert str(Path(capsbench.__file__).parents[1]) in message
    assert str(tmp_path) in message
    assert list(tmp_path.iterdir()) == []


def test_write_of_an_installation_without_checkout_is_refused(refusal, tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "capsbench"
    package.mkdir(parents=True)
    monkeypatch.setattr(capsbench, "__file__", str(package / "__init__.py"))
    monkeypatch.chdir(package.parent)
    message = refusal("results", "--write")
    assert "checkout" in message
    assert "clone" in message
    assert sorted(tmp_path.rglob("*")) == [package.parent, package]


def test_write_in_the_checkout(cli, tmp_path, monkeypatch):
    written = []

    def write_pages(*parts):
        written.append(parts)
        return parts[-1:]

    monkeypatch.setattr("capsbench.reporting.results_pages.pages.write_pages", write_pages)
    monkeypatch.chdir(Path(capsbench.__file__).parents[1])
    code, _, errors = cli("results", "--folder", str(tmp_path), "--write")
    assert (code, written) == (2, [])  # which would remove the pages of all other records
    assert "leave out one of them" in errors
    monkeypatch.setattr("capsbench.cli.results.FOLDER", tmp_path)
    code, text, _ = cli("results", "--folder", str(tmp_path), "--write")
    assert code == 0
    assert "0 valid records" in text
    assert written == [([], [], [], Path("docs"))]


@pytest.mark.parametrize("content", ["3", "[]", "null", '{"judged": 1}', '{"schema": 1}'])
def test_a_file_without_a_record_is_refused(refusal, tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content)
    message = refusal("results", str(path), "--folder", str(tmp_path / "results"))
    assert "a.json" in message
    assert "schema 2" in message


@pytest.fixture
def recorded(tmp_path):
    """A folder with a record of quick at full size."""
    (path,) = (ROOT / "results" / "quick").glob("full-*.json")
    (tmp_path / "results" / "quick").mkdir(parents=True)
    shutil.copy(path, tmp_path / "results" / "quick")
    return tmp_path / "results" / "quick" / path.name


def test_json_lists_every_record(cli, recorded, monkeypatch):
    monkeypatch.setattr(
        "capsbench.reporting.exports.revisions.earlier_revisions", lambda cells: ["measure a 1"]
    )
    code, (row,), err = cli("results", "--folder", str(recorded.parents[1]), "--json")
    assert (code, err) == (0, "")
    assert row == {
        "file": str(recorded),
        "benchmark": "quick",
        "version": 1,
        "size": "full",
        "cells": 6,
        "failed": 0,
        "valid": True,
        "problem": None,
        "earlier_revisions": ["measure a 1"],
    }


def test_json_lists_what_is_not_valid_and_copies_nothing(cli, recorded, tmp_path):
    wrong = tmp_path / "wrong.json"
    content = json.loads(recorded.read_bytes())
    content.pop("checksum", None)
    content["record"]["benchmark"]["version"] = 99
    wrong.write_text(json.dumps(content), encoding="utf-8")
    folder = str(recorded.parents[1])
    code, out, err = cli("results", str(wrong), "--folder", folder, "--json")
    rows = {row["file"]: row for row in json.loads(out)}
    assert (code, err) == (2, "")
    assert rows[str(recorded)]["valid"]
    assert not rows[str(wrong)]["valid"]
    assert "version 99" in rows[str(wrong)]["problem"]
    assert list(recorded.parents[1].rglob("*.json")) == [recorded]


def test_json_of_an_added_record_names_its_place(cli, recorded, tmp_path):
    folder = tmp_path / "elsewhere"
    code, (row,), _ = cli("results", str(recorded), "--folder", str(folder), "--json")
    assert code == 0
    assert Path(row["file"]).is_file()
    assert row["file"] == str(folder / "quick" / recorded.name)
