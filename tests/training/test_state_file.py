"""The file of a resumable state, in a limit of the size of files, as on a full disk."""

import errno
import resource

import pytest
import torch

from capsbench.training.state_file import StateFile

LIMIT = 50_000  # bytes


@pytest.fixture
def limited():
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("count", [LIMIT // 4, 100 * LIMIT])
def test_a_failed_write_keeps_the_earlier_state(tmp_path, limited, count):
    path = tmp_path / "state.ckpt"
    StateFile().save_checkpoint({"weight": torch.ones(10)}, path)
    file = StateFile()
    file.save_checkpoint({"weight": torch.zeros(count)}, path)
    assert isinstance(file.error, OSError)
    assert file.error.errno == errno.EFBIG
    assert file.error.filename == str(path)
    assert list(tmp_path.iterdir()) == [path]
    assert StateFile().load_checkpoint(path)["weight"].tolist() == [1] * 10
