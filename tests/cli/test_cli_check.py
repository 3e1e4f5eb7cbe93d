"""``capsbench check``: output and exit codes."""

from pathlib import Path

import pytest

from capsbench.conformance.contract import CHECKS

DUMMY = '''
"""A model with a fault."""

import torch
from torch import nn

from capsbench.contracts import ImageShape, Model, Prediction, one_hot, require_size


class Faulty(Model):
    """Has an unused weight."""

    def __init__(
        self, *, image_shape: ImageShape, num_classes: int, dummy: bool = True, crash: bool = False
    ):
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        require_size("faulty", image_shape, 2)
        self.body = nn.Linear(image_shape[0], num_classes)
        self.dummy = nn.Parameter(torch.zeros(1)) if dummy else None
        self.crash = crash
        if crash:
            raise OSError("no such thing\\nas a second line")

    def forward(self, images, views=None):
        return Prediction(self.body(images.amax(dim=(2, 3)) - images[..., 1, 1]))

    def loss(self, prediction, batch, progress):
        targets = one_hot(batch.targets, self.num_classes)
        return -(prediction.scores.float().log_softmax(dim=1) * targets).sum(dim=1).mean()
'''


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("faulty.py").write_text(DUMMY, encoding="utf-8")
    return "faulty.py:Faulty"


def test_a_model_that_satisfies_the_contract(cli):
    line = ("check", "cnn-small", "--set", "width=4", "--image-shape", "2x9x10", "--classes", "3")
    code, record, _ = cli(*line, "--json")
    assert code == 0
    assert record["passed"]
    assert (record["model"], record["image_shape"], record["classes"]) == (
        "cnn-small",
        [2, 9, 10],
        3,
    )
    assert record["arguments"] == {"width": 4, "hidden": 128}
    assert len(record["checks"]) == len(CHECKS)
    assert {check["status"] for check in record["checks"]} == {"passed"}


def test_a_model_that_violates_the_contract(cli, faulty):
    code, text, err = cli("check", faulty, "--image-shape", "1x6x6")
    assert (code, err) == (1, "")
    lines = text.splitlines()
    (failed,) = (line for line in lines if "FAILED" in line)
    assert failed.split()[:2] == ["gradients", "FAILED"]
    assert "dummy" in failed
    assert lines[-1].startswith(f"{len(CHECKS) - 3} passed, 1 failed, 2 ")
    assert cli("check", faulty, "--image-shape", "1x6x6", "--set", "dummy=false")[0] == 0


def test_a_file_that_satisfies_the_contract_is_run_next(cli, faulty, monkeypatch):
    monkeypatch.setattr("capsbench.conformance.contract.check_contract", lambda subject: [])
    code, text, _ = cli("check", faulty)
    assert code == 0
    assert text.splitlines()[-1].startswith(f"next: capsbench run quick --models +{faulty} ")
    assert "next: " not in cli("check", "cnn-small")[1]


def test_an_error_in_the_models_code_is_a_failed_check(cli, faulty):
    code, text, _ = cli("check", faulty, "--set", "crash=true")
    assert code == 1
    assert "OSError: no such thing" in text
    assert "(faulty.py:" in text
    assert "Traceback" not in text and "second line" not in text
    *_, remaining, counts = text.splitlines()
    assert remaining.startswith(f"{len(CHECKS) - 1} other checks")
    assert counts.startswith("0 passed, 1 failed, 0 ")
    code, text, _ = cli("check", faulty, "--set", "crash=true", "--traceback")
    assert code == 1
    assert "Traceback" in text and "as a second line" in text
    assert '"crash"' not in text


@pytest.mark.parametrize("command", ["check", "show"])
def test_prints_of_a_model_do_not_break_json(cli, tmp_path, command):
    path = tmp_path / "loud.py"
    loud = DUMMY.replace("import torch\n", "import torch\nprint('module')\n", 1)
    loud = loud.replace(
        "        require_size(", "        print('constructor')\n        require_size("
    )
    path.write_text(loud, encoding="utf-8")
    line = (command, f"{path}:Faulty", "--set", "dummy=false", "--image-shape", "1x6x6")
    code, record, err = cli(*line, "--json")
    assert code == 0
    assert isinstance(record, dict)
    assert "module\n" in err and "constructor\n" in err
    assert "constructor\n" in cli(*line)[1]


@pytest.mark.parametrize(
    ("line", "key_words"),
    {
        "check cnn-smal": ("'cnn-smal'", "did you mean 'cnn-small'"),
        "check": ("missing", "'MODEL'"),
        "check mnist": ("model 'mnist'",),
        "check faulty.py": (":Class",),
        "check faulty.py:Nothing": ("no class 'Nothing'", "faulty.py"),
        "check capsbench.errors:UserError": ("subclass", "capsbench.contracts.Model"),
        "check capsbench.contracts:Model": ("abstract",),
        "check cnn-small --set num_classes=3": ("num_classes", "give --classes"),
        "check cnn-small --set widht=3": ("'widht'", "did you mean 'width'"),
        "check cnn-small --image-shape 28": ("--image-shape", "CxHxW"),
        "check cnn-small --image-shape 1x7x28": ("cnn-small", "8 x 8"),
        "check cnn-small --classes 1": ("'--classes'",),
    }.items(),
)
def test_bad_input_is_refused(refusal, faulty, line, key_words):
    message = refusal(*line.split())
    assert [word for word in key_words if word not in message] == []
