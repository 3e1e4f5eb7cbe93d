"""Options of SLURM as text, and options that are those of another engine."""

import pytest

from capsbench.errors import UserError
from capsbench.executors.options import ExecutorOptions
from capsbench.executors.slurm_options import SlurmOptions, parse_slurm


def test_options_are_read_from_several_texts():
    texts = ["partition=gpu,time=120", "gres=gpu:a100:1,shard:2,requeue=false", "setup=a=1, b"]
    assert parse_slurm([*texts, "setup=module load cuda"]) == SlurmOptions(
        partition="gpu",
        time=120,
        gres="gpu:a100:1,shard:2",
        requeue=False,
        setup=("a=1, b", "module load cuda"),
    )
    assert parse_slurm([]) == SlurmOptions()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("partitio=gpu", ["partitio", "partition", "account", "requeue", "setup"]),
        ("gpu", ["partition=gpu", "'gpu'"]),
        ("time=2h", ["time=2h", "integer"]),
        ("time=0", ["time=0"]),
        ("requeue=perhaps", ["requeue=perhaps"]),
        ("cluster=other", ["slurm", "local"]),
        ("time=1", ["60 s", "90 s", "signal"]),
    ],
)
def test_a_bad_option_is_one_sentence(text, words):
    with pytest.raises(UserError) as error:
        parse_slurm([text])
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"address": "auto"}, "--executor ray"),
        ({"address": "auto", "name": "slurm"}, "--executor ray"),
        ({"slurm": SlurmOptions(time=60)}, "--executor slurm"),
    ],
)
def test_options_of_another_engine_are_refused(options, word):
    with pytest.raises(UserError, match=word):
        ExecutorOptions(**options)


def test_jobs_run_elsewhere_on_clusters_alone():
    assert ExecutorOptions(name="slurm").is_elsewhere
    assert ExecutorOptions(name="ray", address="auto").is_elsewhere
    here = SlurmOptions(cluster="local")
    for options in ({}, {"name": "ray"}, {"name": "slurm", "slurm": here}):
        assert not ExecutorOptions(**options).is_elsewhere
