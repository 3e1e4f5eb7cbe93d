"""Bad input: one line on stderr, exit code 2, no traceback, nothing written."""

import shlex
from pathlib import Path

import pytest

LONG = "long" * 100
# Each refused command with key words of its message.
REFUSED = {
    # commands and options
    "rnu": ("'rnu'", "did you mean 'run'"),
    "run": ("missing", "'BENCHMARK'"),
    "run tiny.yaml another": ("unexpected", "another"),
    "run tiny.yaml --chekpoint-every 1": ("did you mean --checkpoint-every",),
    "run tiny.yaml --limit": ("'--limit'", "requires"),
    "run tiny.yaml --limit 0": ("'--limit'", "greater than or equal", "1"),
    "run tiny.yaml --limit x": ("'--limit'", "valid integer"),
    "run tiny.yaml --devices 0": ("'--devices'",),
    "run tiny.yaml --nodes 0": ("'--nodes'",),
    "run tiny.yaml --checkpoint-every 0": ("'--checkpoint-every'",),
    "run tiny.yaml --device gpu": ("'gpu'", "'auto', 'cpu', 'cuda', 'mps'"),
    "run tiny.yaml --device cpu --backend triton": ("'triton'", "routing"),
    "run tiny.yaml --backend eagre": ("'eagre'", "'auto', 'textbook', 'eager'"),
    "run tiny.yaml --wandb on": ("'on'", "'off', 'offline', 'online'"),
    "run tiny.yaml --wandb-project a/b": ("wandb_project", "at most 128 characters", "'a/b'"),
    "run tiny.yaml --logger cvs": ("loggers", "'tensorboard' or 'csv'", "'cvs'"),
    "run tiny.yaml --json": ("--json", "--dry-run"),
    "list modles": ("'modles'", "'models', 'datamodules'", "'benchmarks'", "'measures'"),
    # seeds
    "run tiny.yaml --seeds x": ("--seeds", "0,1 or 0-4", "'x'"),
    "run tiny.yaml --seeds 4-1": ("'4-1'",),
    "run tiny.yaml --seeds 1,": ("'1,'",),
    "run tiny.yaml --seeds -1": ("'-1'",),
    "run tiny.yaml --seeds 1.5": ("'1.5'",),
    "run tiny.yaml --seeds 1,1": ("seeds", "different"),
    "run tiny.yaml --seeds 0-999999999": ("--seeds", "at most 1000", "'0-999999999'"),
    "run tiny.yaml --seeds 0-999,2000": ("at most 1000",),
    # names
    "run tny": ("'tny'", "benchmark"),
    "run quikc": ("'quikc'", "did you mean 'quick'"),
    "run no.yaml": ("no file", "'no.yaml'"),
    "show mnits": ("'mnits'", "did you mean 'mnist'"),
    "show invariance-eror": ("'invariance-eror'", "did you mean 'invariance-error'"),
    "show no.yaml": ("no file", "'no.yaml'"),
    "show net.py": (":Class",),
    "show capsbench.contracts:Model": ("abstract",),
    "show capsbench.data.images:ImageDataModule": ("abstract",),
    "show capsbench.measures:Measure": ("abstract", "compute"),
    f"run {LONG}.yaml": ("longlong",),
    "show no.py:Net": ("no file", "'no.py'"),
    "show nopackage.net:Net": ("no module", "'nopackage.net'"),
    "show capsbench.errors:Nothing": ("no class", "'Nothing'"),
    "show capsbench.errors:UserError": (
        *("'capsbench.errors:UserError'", "torch.nn.Module", "ImageDataModule"),
        "measures.Measure",
    ),
    # models
    "run tiny.yaml --models smal": ("'smal'", "did you mean 'small'"),
    "run tiny.yaml --models net.py:Net": ("no model of this benchmark", "+net.py:Net"),
    "run tiny.yaml --models cnn-p4": ("no model of this benchmark", "+cnn-p4"),
    "run tiny.yaml --models +": ("'+'", "name"),
    "run tiny.yaml --models +cnn-smal": ("'cnn-smal'", "did you mean 'cnn-small'"),
    "run tiny.yaml --models +no.py:Net": ("no file", "'no.py'"),
    "run tiny.yaml --models '+{name: cnn-p4'": ("'+{name: cnn-p4'", "YAML"),
    "run tiny.yaml --models '+{name: cnn-p4, lable: P4}'": ("'lable'", "did you mean 'label'"),
    "run tiny.yaml --models '+{name: cnn-p4, recipe: {steps: 3}}'": ("needs a reason",),
    "run tiny.yaml --models '+{name: cnn-p4, arguments: {widht: 3}}'": ("did you mean 'width'",),
    "run tiny.yaml --models '+{name: cnn-p4, label: small}'": (
        *("'small'", "cnn-small", "cnn-p4", "different label"),
        "{name: cnn-p4, label: small 2}",
    ),
    "run tiny.yaml --models +cnn-p4,+cnn-p4": ("'cnn-p4'", "different label"),
    "run tiny.yaml --set models.0.name=cnn-smal": ("'cnn-smal'", "did you mean 'cnn-small'"),
    "run tiny.yaml --set models.0.arguments.widht=3": ("'widht'", "did you mean 'width'"),
    "run tiny.yaml --set models.0.arguments.width=a": ("width", "whole number"),
    "show cnn-small --image-shape 28x28": ("--image-shape", "1x28x28", "'28x28'"),
    "show cnn-small --image-shape 1x4x4": ("4 x 4",),
    "show cnn-small --classes 0": ("'--classes'",),
    "show cnn-small --set widht=3": ("'widht'", "did you mean 'width'"),
    "show cnn-small --set image_shape=[1,2,3]": ("image_shape", "give --image-shape"),
    "show cnn-small --set num_classes=3": ("num_classes", "give --classes"),
    # contents of the file, and changes to it
    "run tiny.yaml --set steps": ("--set", "recipe.steps=500", "'steps'"),
    "run tiny.yaml --set recipe.steps=[": ("'['", "YAML"),
    "run tiny.yaml --set recipe.stepz=5": ("'recipe.stepz'", "did you mean 'steps'"),
    "run tiny.yaml --set recipe.steps=0": ("steps", "greater than or equal", "1"),
    "run tiny.yaml --set recipe.steps=many": ("recipe.steps", "whole number"),
    "run tiny.yaml --set name.a=5": ("below 'name'",),
    "run tiny.yaml --set models.7.label=a": ("'7'", "below 2"),
    "run tiny.yaml --set measures.0.measure=consistancy": ("did you mean 'consistency'",),
    "run tiny.yaml --scale small": ("scale", "'tiny.yaml'", "'small'"),
    "run rotations --scale cp": ("'rotations'", "'cp'", "did you mean 'cpu'"),
    "run claims --scale tiny": ("'claims'", "'tiny'", "known: 'cpu'"),
    "run claims --models CNN": ("claims", "--models"),
    "run claims --models +cnn-p4": ("claims", "--models"),
    "run sample-efficiency --set search.at=null --search --output runs": ("varies", "search.at"),
    "run tiny.yaml --set search.at=a --set vary=7": ("vary", "a mapping"),
    "run tiny.yaml --set search.trials=0": ("search.trials", "greater than or equal", "1"),
    "results nowhere.json": ("nowhere.json", "no file"),
    "results tiny.yaml": ("tiny.yaml", "lower-case"),
    "report tiny --export results": ("--output", "not a folder"),
    "run tiny.yaml --set data.name=digit": ("'digit'", "did you mean 'digits'"),
    "run not-yaml.yaml": ("not-yaml.yaml", "line 2, column 1"),
    "run list.yaml": ("list.yaml", "mapping"),
    "run half.yaml": ("'half.yaml'",),
    "run latin.yaml": ("latin.yaml", "UTF-8"),
    # folders
    "run tiny.yaml --data-root nowhere": ("data root", "'nowhere'"),
    f"run tiny.yaml --output {LONG}": ("File name too long",),
    f"run tiny.yaml --data-root {LONG}": ("data root",),
    "run tiny.yaml --output tiny.yaml": ("cannot write", "'tiny.yaml' is a file"),
    "run tiny.yaml --output tiny.yaml/below": ("'tiny.yaml' is a file",),
    "run tiny.yaml --output /proc/runs": ("cannot write", "'/proc/runs'"),
    "report --output nowhere": ("nowhere", "folder"),
    "report --output .": ("no benchmark",),
    "report .": ("'.' is a folder", "capsbench report --output ."),
    # execution
    "run tiny.yaml --strategy dpd": ("'dpd'", "'auto', 'ddp'"),
}


@pytest.mark.parametrize(("line", "key_words"), REFUSED.items(), ids=REFUSED)
def test_bad_input_is_refused_in_one_line(refusal, tiny, line, key_words):
    Path("not-yaml.yaml").write_text("name: a\n]\n", encoding="utf-8")
    Path("list.yaml").write_text("[1, 2]\n", encoding="utf-8")
    Path("half.yaml").write_text("name: half\n", encoding="utf-8")
    Path("latin.yaml").write_bytes("name: é\n".encode("latin-1"))
    before = sorted(Path.cwd().rglob("*"))
    message = refusal(*shlex.split(line))
    assert [word for word in key_words if word not in message] == []
    assert sorted(Path.cwd().rglob("*")) == before


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_missing_device_is_refused(refusal, tiny, monkeypatch, device):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    message = refusal("run", tiny, "--device", device)
    assert f"'{device}'" in message
    assert "available: cpu\n" in message


def test_more_devices_than_the_machine_has(refusal, tiny, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    message = refusal("run", tiny, "--devices", "3")
    assert "3 devices" in message
    assert "2 cuda devices" in message


def test_damaged_data_is_refused(refusal, tiny):
    folder = Path("root", "MNIST", "raw")
    folder.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte").write_bytes(b"damaged")
    message = refusal("run", tiny, "--set", "data.name=mnist", "--data-root", "root")
    assert message.startswith("capsbench: error: root/MNIST/raw/")
    assert "is damaged" in message


def test_our_own_bug_keeps_its_traceback(cli, tiny, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("capsbench.running.protocol.load_benchmark", fail)
    with pytest.raises(ZeroDivisionError):
        cli("run", tiny)
