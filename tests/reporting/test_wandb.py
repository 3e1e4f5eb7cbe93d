"""The mirror: logged values can be read back, and its failures end nothing."""

import json
import logging
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from capsbench.records import load_results
from capsbench.reporting.wandb import Mirror
from capsbench.reporting.wandb_login import usable_mode
from capsbench.running import mirror as running_mirror
from capsbench.values import Quantity

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
        job_type="evaluate",
        config={"model": "cnn-small", "seed": 0},
    )


def test_a_run_without_account_or_network_can_be_read_back(tmp_path):
    run = mirror(tmp_path)
    run.log_metrics({"train_loss": 2.5}, step=3)
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
    assert '"train_loss": 2.5' in json.dumps(summary)
    table = next(tmp_path.rglob("*.table.json"))
    assert json.loads(table.read_text())["data"] == [["rotation", 90.0, 0.25]]
    assert next(tmp_path.rglob("media/images/*.png")).read_bytes()


def test_a_failure_is_logged_once_and_ends_nothing(tmp_path, monkeypatch, caplog):
    def fail(**_):
        raise RuntimeError("the service did not start")

    monkeypatch.setattr("wandb.init", fail)
    run = mirror(tmp_path)
    with caplog.at_level(logging.WARNING):
        run.log_metrics({"train_loss": 2.5}, step=3)
        run.log_results({}, TABLE, {})
        run.close()
    assert run.failed
    (record,) = caplog.records
    assert "the service did not start" in record.message


def test_online_without_a_key_becomes_offline(caplog):
    assert usable_mode("online") == "offline"
    assert "not logged in" in caplog.text
    assert usable_mode("offline") == "offline"


def test_online_without_a_network_becomes_offline(monkeypatch, caplog):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert usable_mode("online") == "offline"
    assert "127.0.0.1 cannot be reached" in caplog.text


def test_online_with_key_and_server_stays_online(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr("socket.create_connection", lambda *_, **__: StringIO())
    assert usable_mode("online") == "online"


def test_an_unreadable_netrc_is_a_reason(monkeypatch, tmp_path, caplog):
    (tmp_path / "netrc").write_text("machine")
    assert usable_mode("online") == "offline"
    assert "cannot be read" in caplog.text


def test_summary_names_measures_and_quantities(tmp_path, monkeypatch, write_benchmark, add_measure):
    folder = write_benchmark(tmp_path)
    familiar = Quantity(metric="accuracy", split="familiar")
    explained = Quantity(metric="explained", layer="pixels")
    grid = {"rotation": {"start": 90, "stop": 90, "step": 1}}
    splits, linear = {"measure": "accuracy-by-split"}, {"measure": "linear-equivariance"}
    add_measure(folder, "CNN", 0, splits, [familiar.with_value(0.125, 100)])
    add_measure(folder, "CNN", 0, linear | {"grid": grid}, [explained.with_value(0.5, 100)])
    logged: dict[str, Any] = {}

    class Log:
        failed = False

        def log_results(self, values, table, pictures):
            logged.update(values=values, table=table, pictures=pictures)

        def close(self):
            pass

    monkeypatch.setattr("capsbench.reporting.wandb.begin", lambda **_: Log())
    results = load_results(folder)
    running_mirror.mirror_benchmark(folder, "offline")
    assert logged["values"]["CNN/accuracy-by-split/accuracy[split=familiar]"] == 0.125
    assert logged["values"]["CNN/accuracy-by-view/accuracy[split=familiar]"] > 0.5
    assert logged["values"]["CNN/linear-equivariance/explained[layer=pixels]"] == 0.5
    columns, rows = logged["table"]
    assert {"label", "seed", "measure", "metric", "split", "value"} <= set(columns)
    assert len(rows) == len(list(results.rows()))
    assert {"accuracy-by-view-figure", "linear-equivariance-figure"} <= logged["pictures"].keys()


def test_an_address_that_is_none_mirrors_offline(monkeypatch, caplog):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://[bad")
    assert usable_mode("online") == "offline"
    assert "WANDB_BASE_URL to 'http://[bad'" in caplog.text
