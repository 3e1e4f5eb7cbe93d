"""`capsbench results --write`: only in the checkout that the package comes from."""

from pathlib import Path

import pytest

import capsbench


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

    def write_page(*parts):
        written.append(parts)
        return parts[-1:]

    monkeypatch.setattr("capsbench.reporting.results_page.write_page", write_page)
    monkeypatch.chdir(Path(capsbench.__file__).parents[1])
    code, text, _ = cli("results", "--folder", str(tmp_path), "--write")
    assert code == 0
    assert "0 records" in text
    assert written == [([], [], Path("docs/results.md"))]


@pytest.mark.parametrize("content", ["3", "[]", "null", '{"judged": 1}', '{"schema": 1}'])
def test_a_file_without_a_record_is_refused(refusal, tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content)
    message = refusal("results", str(path), "--folder", str(tmp_path / "results"))
    assert "a.json" in message
    assert "schema 2" in message
