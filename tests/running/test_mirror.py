"""The mirror on Weights & Biases: one run per training, measured cell and benchmark."""


def test_a_failing_start_ends_no_run(run, tiny_protocol, monkeypatch, caplog):
    def fail(**_):
        raise RuntimeError("the service did not start")

    monkeypatch.setattr("wandb.init", fail)
    run({**tiny_protocol, "seeds": [0]}, wandb="offline")
    assert "the service did not start" in caplog.text


def test_a_failing_log_ends_no_run(run, tiny_protocol, monkeypatch, caplog):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr("wandb.sdk.wandb_run.Run.log", fail)
    run({**tiny_protocol, "seeds": [0]}, wandb="offline")
    assert "disk full" in caplog.text


def test_runs_of_a_mirrored_benchmark(run, tiny_protocol, session):
    cells, _ = run(tiny_protocol, wandb="offline")
    for cell in cells:  # its training, and its measures
        files = list(session.folder(cell).path.glob("wandb/offline-run-*/*.wandb"))
        assert len({file.name for file in files}) == 2
    assert len(list((session.output / "tiny").glob("wandb/offline-run-*/*.wandb"))) == 1
