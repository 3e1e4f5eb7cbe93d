"""A short soak: processes of a small run are killed, and all records and weights are the same."""

import sys

import pytest

from tests.running.soak import soak


@pytest.mark.skipif(sys.platform != "linux", reason="/proc lists the processes")
def test_a_run_whose_processes_are_killed_ends_with_the_same_bits(tmp_path):
    made = soak(tmp_path, cells=3, kills=2, seed=1)
    assert made.killed.total() == 2
