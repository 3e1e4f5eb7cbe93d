"""`capsbench doctor`: versions, devices, data, login and output folder."""

from importlib.metadata import version

import pytest

from capsbench import __version__
from capsbench.cli.doctor import wandb_login
from capsbench.process import active_settings


@pytest.fixture
def logged_out(tmp_path, monkeypatch):
    """No key for Weights & Biases; returns the path of the file that would hold it."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    path = tmp_path / "netrc"
    monkeypatch.setenv("NETRC", str(path))
    return path


def test_facts(cli, tmp_path, monkeypatch, logged_out):
    monkeypatch.chdir(tmp_path)
    code, facts, _ = cli("doctor", "--json", "--data-root", str(tmp_path))
    assert code == 0
    assert facts["versions"]["capsbench"] == __version__
    assert facts["versions"]["torch"] == version("torch")
    assert "selenium" not in facts["versions"]  # a package of the tests
    assert "cpu" in facts["devices"]
    assert facts["process"] == active_settings()
    assert "scikit-learn" in facts["data"]["digits"]
    assert str(tmp_path) in facts["data"]["mnist"]
    assert facts["wandb"]["login"].startswith("not logged in")
    assert facts["output"] == {"runs": "writable"}
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_is_a_file(cli, tmp_path, monkeypatch, logged_out):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("a file in the way", encoding="utf-8")
    code, text, _ = cli("doctor")
    assert code == 0
    assert "is a file" in text


def test_the_place_of_the_key_is_shown_but_not_the_key(monkeypatch, logged_out):
    logged_out.write_text("machine api.wandb.ai login user password secret\n", encoding="utf-8")
    logged_out.chmod(0o600)
    assert wandb_login() == f"key in {logged_out}"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert wandb_login().startswith("not logged in")
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert wandb_login() == "key in WANDB_API_KEY"
    monkeypatch.delenv("WANDB_API_KEY")
    logged_out.write_text("machine", encoding="utf-8")
    assert "cannot be read" in wandb_login()
