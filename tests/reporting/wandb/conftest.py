"""No account: each test states its own key and server."""

import pytest
import wandb

from tests.reporting.wandb.server import serving


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "wandb-data"))


@pytest.fixture
def stand_in(monkeypatch):
    """A local server in place of that of Weights & Biases, and a key."""
    with serving() as server:
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", server.address)
        wandb.teardown()  # it reads the environment once
        yield server
        wandb.teardown()
