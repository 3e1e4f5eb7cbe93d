"""Bad input: one sentence on stderr, exit code 2, no traceback, nothing written."""

import shlex
from pathlib import Path

import pytest

LONG = "long" * 100
REFUSED = {
    # commands and options
    "rnu": "no such command 'rnu'; did you mean 'run'?",
    "run": "missing argument 'BENCHMARK'",
    "run tiny.yaml another": "unexpected extra argument",
    "run tiny.yaml --chekpoint-every 1": "did you mean --checkpoint-every?",
    "run tiny.yaml --limit": "option '--limit' requires an argument",
    "run tiny.yaml --limit 0": "'--limit': it should be greater than or equal to 1",
    "run tiny.yaml --limit x": "invalid value for '--limit': it should be a valid integer",
    "run tiny.yaml --devices 0": "'--devices'",
    "run tiny.yaml --nodes 0": "'--nodes'",
    "run tiny.yaml --checkpoint-every 0": "'--checkpoint-every'",
    "run tiny.yaml --device gpu": "'gpu' is not one of 'auto', 'cpu', 'cuda', 'mps'",
    "run tiny.yaml --device cpu --routing triton": "routing by 'triton' is not possible here",
    "run tiny.yaml --routing eagre": "'eagre' is not one of 'auto', 'textbook', 'eager'",
    "run tiny.yaml --wandb on": "'on' is not one of 'off', 'offline', 'online'",
    "run tiny.yaml --json": "--json lists the cells; it goes with --dry-run",
    "list modles": "'modles' is not one of 'models', 'datamodules', 'benchmarks'",
    # seeds
    "run tiny.yaml --seeds x": "--seeds takes whole numbers such as 0,1 or 0-4; got 'x'",
    "run tiny.yaml --seeds 4-1": "got '4-1'",
    "run tiny.yaml --seeds 1,": "got '1,'",
    "run tiny.yaml --seeds -1": "got '-1'",
    "run tiny.yaml --seeds 1.5": "got '1.5'",
    "run tiny.yaml --seeds 1,1": "seeds are different whole numbers",
    "run tiny.yaml --seeds 0-999999999": "--seeds takes at most 1000 seeds; got '0-999999999'",
    "run tiny.yaml --seeds 0-999,2000": "at most 1000 seeds",
    # names
    "run tny": "unknown benchmark 'tny'",
    "run quikc": "unknown benchmark 'quikc'; did you mean 'quick'?",
    "run no.yaml": "no file 'no.yaml'",
    "show mnits": "unknown name 'mnits'; did you mean 'mnist'?",
    "show no.yaml": "no file 'no.yaml'",
    "show net.py": "append :Class",
    "show capsbench.contracts:Model": "is abstract",
    "show capsbench.data.images:ImageData": "is abstract",
    f"run {LONG}.yaml": "longlong",
    "show no.py:Net": "no file 'no.py'",
    "show nopackage.net:Net": "no module 'nopackage.net'",
    "show capsbench.errors:Nothing": "no class 'Nothing'",
    "show capsbench.errors:UserError": "neither a model",
    # models
    "run tiny.yaml --models smal": "'smal'; did you mean 'small'?",
    "run tiny.yaml --set models.0.name=cnn-smal": "'cnn-smal'; did you mean 'cnn-small'?",
    "run tiny.yaml --set models.0.arguments.widht=3": "'widht'; did you mean 'width'?",
    "run tiny.yaml --set models.0.arguments.width=a": "width: input should be a valid integer",
    "show cnn-small --image-shape 28x28": "--image-shape takes CxHxW such as 1x28x28; got '28x28'",
    "show cnn-small --image-shape 1x4x4": "got 4 x 4",
    "show cnn-small --classes 0": "'--classes'",
    "show cnn-small --set widht=3": "'widht'; did you mean 'width'?",
    "show cnn-small --set image_shape=[1,2,3]": "image_shape is not set by --set; give --image-sh",
    "show cnn-small --set num_classes=3": "num_classes is not set by --set; give --classes",
    # what the file says, and what is put in its place
    "run tiny.yaml --set steps": "--set takes place=value, such as recipe.steps=500; got 'steps'",
    "run tiny.yaml --set recipe.steps=[": "'[' is not a YAML value",
    "run tiny.yaml --set recipe.stepz=5": "recipe.stepz'; did you mean 'steps'?",
    "run tiny.yaml --set recipe.steps=0": "steps: input should be greater than or equal to 1",
    "run tiny.yaml --set recipe.steps=many": "recipe.steps: input should be a valid integer",
    "run tiny.yaml --set name.a=5": "nothing can be set below 'name'",
    "run tiny.yaml --set models.7.label=a": "'7' should be an index below 2",
    "run tiny.yaml --scale small": "unknown scale of benchmark 'tiny.yaml': 'small'",
    "run rotations --scale smal": "unknown scale of benchmark 'rotations': 'smal'; did you mean",
    "run claims --scale tiny": "unknown scale of claims 'claims': 'tiny'; known: 'small'",
    "run claims --models CNN": "claims are run as they stand",
    "run sample-efficiency --search --output runs": "--search is for benchmarks that vary nothing",
    "results nowhere.json": "nowhere.json is no file",
    "results tiny.yaml": "tiny.yaml: name the file with small letters",
    "report tiny.yaml --export results": "tiny.yaml is not a folder",
    "run tiny.yaml --set data.name=digit": "unknown data module 'digit'; did you mean 'digits'?",
    "run not-yaml.yaml": "not-yaml.yaml is not valid YAML: line 2, column 1",
    "run list.yaml": "list.yaml: expected a mapping of a benchmark's fields",
    "run half.yaml": "benchmark 'half.yaml' (half.yaml): ",
    "run latin.yaml": "latin.yaml is not UTF-8 text",
    # folders
    "run tiny.yaml --data-root nowhere": "--data-root: no folder 'nowhere'",
    f"run tiny.yaml --output {LONG}": "File name too long",
    f"run tiny.yaml --data-root {LONG}": "--data-root",
    "run tiny.yaml --output tiny.yaml": "cannot write in 'tiny.yaml': 'tiny.yaml' is a file",
    "run tiny.yaml --output tiny.yaml/below": "'tiny.yaml' is a file",
    "run tiny.yaml --output /proc/runs": "cannot write in '/proc/runs'",
    "report nowhere": "nowhere is not a folder",
    "report .": "holds no benchmark",
    # execution
    "run tiny.yaml --strategy dpd": "'dpd' is not one of 'auto', 'ddp', ",
}


@pytest.mark.parametrize(("line", "sentence"), REFUSED.items(), ids=REFUSED)
def test_bad_input_is_told_in_one_sentence(cli, tiny, line, sentence):
    Path("not-yaml.yaml").write_text("name: a\n]\n", encoding="utf-8")
    Path("list.yaml").write_text("[1, 2]\n", encoding="utf-8")
    Path("half.yaml").write_text("name: half\n", encoding="utf-8")
    Path("latin.yaml").write_bytes("name: é\n".encode("latin-1"))
    before = sorted(Path.cwd().rglob("*"))
    code, out, err = cli(*shlex.split(line))
    assert (code, out) == (2, "")
    assert err.startswith("capsbench: error: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert sentence in err
    assert sorted(Path.cwd().rglob("*")) == before


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there(cli, tiny, monkeypatch, device):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    code, _, err = cli("run", tiny, "--device", device)
    assert (code, err) == (
        2,
        f"capsbench: error: device '{device}' is not available here; available: cpu\n",
    )


def test_more_devices_than_there_are(cli, tiny, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    code, _, err = cli("run", tiny, "--devices", "3")
    assert (code, err) == (2, "capsbench: error: --devices 3: there are 2 CUDA devices here\n")


def test_damaged_data_is_told_in_one_sentence(cli, tiny):
    folder = Path("root", "MNIST", "raw")
    folder.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte").write_bytes(b"damaged")
    code, _, err = cli("run", tiny, "--set", "data.name=mnist", "--data-root", "root")
    assert code == 2
    assert err.startswith("capsbench: error: root/MNIST/raw/")
    assert "is damaged or another file" in err
    assert "Traceback" not in err


def test_a_bug_of_our_own_keeps_its_traceback(cli, tiny, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("capsbench.schema.load_benchmark", fail)
    with pytest.raises(ZeroDivisionError):
        cli("run", tiny)
