"""The mirror: what it logs can be read back, and its failures end nothing."""

import json
import logging
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from capsbench.reporting.results import load
from capsbench.reporting.wandb import Mirror, usable_mode
from capsbench.running import mirror as mirrored

TABLE = (("factor", "value", "accuracy"), [["rotation", 90.0, 0.25]])
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a49444154789c63680000008200817741b8c20000000049454e44ae426082"
)


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def mirror(folder):
    return Mirror(
        name="CNN, seed 0",
        folder=folder,
        run_id="0123456789ab",
        mode="offline",
        group="quick",
        job_type="cell",
        config={"model": "cnn-small", "seed": 0},
    )


def test_a_run_without_account_or_network_can_be_read_back(tmp_path):
    run = mirror(tmp_path)
    run.log_metrics({"train/loss": 2.5}, step=3)
    run.log_results({"novel/accuracy": 0.25}, TABLE, {"figure": PICTURE})
    run.close()
    assert not run.failed
    (file,) = tmp_path.glob("wandb/offline-run-*/run-0123456789ab.wandb")
    command = [
        str(Path(sys.executable).with_name("wandb")),
        "leet",
        "inspect",
        "--summary",
        "--json",
    ]
    done = subprocess.run([*command, str(file)], capture_output=True, text=True, check=True)
    text = done.stdout
    summary = json.loads(text)
    assert summary["config"]["model"] in ("cnn-small", {"value": "cnn-small"})
    assert '"novel/accuracy": 0.25' in json.dumps(summary)
    assert '"train/loss": 2.5' in json.dumps(summary)
    table = next(tmp_path.rglob("*.table.json"))
    assert json.loads(table.read_text())["data"] == [["rotation", 90.0, 0.25]]
    assert next(tmp_path.rglob("media/images/*.png")).read_bytes()


def test_a_failure_is_told_once_and_ends_nothing(tmp_path, monkeypatch, caplog):
    def fail(**_):
        raise RuntimeError("the service did not start")

    monkeypatch.setattr("wandb.init", fail)
    run = mirror(tmp_path)
    with caplog.at_level(logging.WARNING):
        run.log_metrics({"train/loss": 2.5}, step=3)
        run.log_results({}, TABLE, {})
        run.close()
    assert run.failed
    assert [record.message for record in caplog.records] == [
        "Weights & Biases stopped mirroring: the service did not start"
    ]


def test_online_without_a_key_becomes_offline(caplog):
    assert usable_mode("online") == "offline"
    assert "not logged in" in caplog.text
    assert usable_mode("offline") == "offline"


def test_online_without_a_network_becomes_offline(monkeypatch, caplog):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert usable_mode("online") == "offline"
    assert "127.0.0.1 is out of reach" in caplog.text


def test_online_with_key_and_server_stays_online(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr("socket.create_connection", lambda *_, **__: StringIO())
    assert usable_mode("online") == "online"


def test_a_netrc_that_cannot_be_read_is_a_reason(monkeypatch, tmp_path, caplog):
    (tmp_path / "netrc").write_text("machine")
    assert usable_mode("online") == "offline"
    assert "cannot be read" in caplog.text


def test_measures_with_values_of_one_key_are_told_apart(
    tmp_path, monkeypatch, write_benchmark, add_measure
):
    folder = write_benchmark(tmp_path)
    splits = {"measure": "accuracy-by-split"}
    linear = {"equivariance/linear/explained@pixels": 0.5}
    grid = {"rotation": {"start": 90, "stop": 90, "step": 1}}
    add_measure(folder, "CNN", 0, splits, {"familiar/accuracy": 0.125})
    add_measure(folder, "CNN", 0, {"measure": "linear-equivariance", "grid": grid}, linear)
    logged: dict[str, Any] = {}

    class Log:
        def log_results(self, values, table, pictures):
            logged.update(values=values, pictures=pictures)

        def close(self):
            pass

    monkeypatch.setattr(mirrored, "begin", lambda **_: Log())
    mirrored.mirror_benchmark(folder, load(folder), "offline")
    assert logged["values"]["CNN/accuracy-by-split/familiar/accuracy"] == 0.125
    assert logged["values"]["CNN/familiar/accuracy"] > 0.5
    assert {"accuracy-by-view-figure", "linear-equivariance-figure"} <= logged["pictures"].keys()
