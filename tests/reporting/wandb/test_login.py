"""The login: what makes a run that should be online an offline one, and how long that takes."""

import subprocess
import sys
import time

import pytest

from capsbench.reporting.wandb.login import Login, check_login, find_key, usable_mode


def test_online_without_a_key_becomes_offline(caplog):
    assert usable_mode("online") == "offline"
    assert "not logged in" in caplog.text
    assert usable_mode("offline") == "offline"


def test_online_without_a_network_becomes_offline(monkeypatch, caplog):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    assert usable_mode("online") == "offline"
    assert "127.0.0.1 cannot be reached" in caplog.text


def test_online_with_key_and_server_stays_online(stand_in, caplog):
    assert usable_mode("online") == "online"
    assert caplog.text == ""
    assert stand_in.operations == ["Viewer"]
    assert check_login(1) == Login("lab")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("401", "127.0.0.1 refuses the key in WANDB_API_KEY"),
        ("500", "answers with HTTP 500"),
        ("hang", "does not answer within 0.3 s"),
    ],
)
def test_a_faulty_server_is_a_reason(stand_in, fault, reason):
    stand_in.fault = fault
    before = time.monotonic()
    assert reason in (check_login(0.3).problem or "")
    assert time.monotonic() - before < 3


def test_a_key_that_belongs_to_nobody_is_a_reason(stand_in, monkeypatch):
    monkeypatch.setattr(type(stand_in), "answer", lambda *_: {"viewer": None})
    assert "refuses the key" in (check_login(0.3).problem or "")


def test_a_process_does_not_wait_for_a_service_that_cannot_send():
    code = (
        "import time, wandb\n"
        "from capsbench.reporting.wandb.login import end_in_time\n"
        "wandb.teardown = lambda: time.sleep(60)\n"
        "end_in_time()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_a_key_in_netrc_is_found_for_its_host_only(monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret")
    key = find_key()
    assert key is not None
    assert key.value == "secret"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert find_key() is None


def test_an_unreadable_netrc_is_a_reason(tmp_path):
    (tmp_path / "netrc").write_text("machine")
    assert "cannot be read" in (check_login(0.3).problem or "")


@pytest.mark.parametrize("address", ["http://[bad", "example.org", "http://host:port"])
def test_an_address_that_is_none_is_a_reason(monkeypatch, address):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", address)
    assert f"WANDB_BASE_URL to '{address}'" in (check_login(0.3).problem or "")
