"""Parts of the sections, in this process and with small sizes."""

from importlib import import_module

import pytest
import torch

from capsbench.speed.gpu.lines import read_parts
from capsbench.speed.gpu.parts import Incomplete, NotMeasured, Parts
from capsbench.speed.gpu.sections import SECTIONS, bench, capsnet, ddp, kernels, machine, precision
from capsbench.speed.limits import Limits
from capsbench.speed.rows import Comparison, Row

LIMITS = Limits(matmul={"fp32": 1e9}, copy=1e9)


@pytest.fixture
def parts(tmp_path):
    return Parts(tmp_path / "parts.jsonl", device="cpu", small=True, seconds=60)


@pytest.mark.parametrize("name", sorted(set(SECTIONS) - {"bench"}))
def test_every_section_has_parts(name, parts):
    assert import_module(SECTIONS[name].module).plan(parts)


@pytest.mark.parametrize("case", kernels.SMALL, ids=lambda case: case.name)
@pytest.mark.parametrize("dtype", kernels.DTYPES)
def test_a_backend_equals_the_textbook(case, dtype):
    errors = kernels.compare(case, "eager", dtype, "cpu")
    assert 0 < errors["values"] < 1e-5 and 0 < errors["gradients"] < 1e-5


@pytest.mark.parametrize("wrong", ["values", "gradients"])
def test_a_wrong_backend_fails_with_its_errors(wrong, monkeypatch):
    case = kernels.SMALL[0]
    results = kernels._results

    def disturbed(case, inputs, backend):
        outputs, gradients = results(case, inputs, backend)
        if backend == "eager":
            (outputs if wrong == "values" else gradients)[-1] *= 1.001
        return outputs, gradients

    monkeypatch.setattr(kernels, "_results", disturbed)
    with pytest.raises(Incomplete, match="allowed") as raised:
        kernels.compare(case, "eager", "float32", "cpu")
    assert raised.value.values[wrong] > 1e-4


def test_a_backend_that_cannot_run_here_is_not_measured():
    with pytest.raises(NotMeasured, match="CUDA"):
        kernels.compare(kernels.SMALL[0], "triton", "float32", "cpu")


def row(name, work=lambda: None, **fields):
    return Row(name, lambda: work, measures_memory=False, **fields)


def out_of_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def test_a_row_that_fails_leaves_the_others(parts):
    rows = (row("good"), row("large", out_of_memory), row("other"))
    with pytest.raises(Incomplete, match="out of memory") as raised:
        bench.measure(Comparison("what", rows), parts, lambda: LIMITS)
    good, large, other = raised.value.values["rows"]
    assert good["ratio"] == 1 and other["ratio"] > 0
    assert "out of memory" in large["not_measured"] and "median_ms" not in large
    assert "in out_of_memory" in raised.value.trace


def test_rows_that_no_machine_of_the_kind_measures(parts):
    rows = (row("first", not_measured="no GPU"), row("second", not_measured="no GPU"))
    with pytest.raises(NotMeasured, match="no GPU"):
        bench.measure(Comparison("what", rows), parts, lambda: LIMITS)


@pytest.mark.slow  # it counts operations on the processor
def test_compiled_rows_are_apart_and_last(parts):
    names = list(bench.plan(parts))
    assert names[-1].endswith(", compiled")
    assert "compiled" not in " ".join(names[:-1])


@pytest.mark.parametrize("name", ["cnn-small, 32-true", "capsnet-dr, bf16-mixed"])
def test_first_steps_of_a_precision(parts, name):
    values = precision.plan(parts)[name]()
    assert len(values["losses"]) == 8 and values["first loss"] == values["losses"][0]
    assert values["images_per_second"] > 0 and values["skipped_steps"] is None


def test_float16_needs_a_gpu(parts):
    with pytest.raises(NotMeasured, match="GPU"):
        precision.plan(parts)["cnn-small, 16-mixed"]()


def test_a_loss_that_is_not_finite_fails(parts, monkeypatch):
    monkeypatch.setattr("math.isfinite", lambda value: False)
    with pytest.raises(Incomplete, match="not finite") as raised:
        precision.plan(parts)["cnn-small, 32-true"]()
    assert len(raised.value.values["losses"]) == 8


def test_first_steps_of_a_capsnet_are_kept_row_by_row(parts):
    parts.run({"other": dict, **capsnet.plan(parts)})
    _, result = read_parts(parts.file)[0]
    assert result.status == "done", result.traceback
    assert [one["step"] for one in result.values["rows"]] == [5, 10]
    assert all(one["images_per_second"] > 0 for one in result.values["rows"])
    kept = [line for line in parts.file.read_text().splitlines() if line.startswith('{"kept"')]
    assert len(kept) == 2


def test_one_device_trains_no_group(parts, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    parts.device = "cuda"
    with pytest.raises(NotMeasured, match="one device"):
        ddp.same_losses(parts)


def test_a_training_that_is_stopped_at_the_limit_is_cut(parts, monkeypatch):
    def stopped(*arguments, **options):
        raise TimeoutError("the run was stopped")

    monkeypatch.setattr(ddp, "run_quick", stopped)
    parts.run({"training": lambda: ddp.same_losses(parts)})
    (result,) = read_parts(parts.file)[0]
    assert result.status == "cut" and "stopped" in str(result.reason)


@pytest.mark.parametrize(("devices", "batch_size"), [(2, 48), (7, 42), (64, 64)])
def test_all_devices_get_the_same_number_of_images(parts, monkeypatch, devices, batch_size):
    calls = []

    def run(*arguments, variables, **options):
        calls.append((arguments, variables))
        raise TimeoutError

    monkeypatch.setattr(ddp, "run_quick", run)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    parts.device = "cuda"
    with pytest.raises(Incomplete):
        ddp.same_losses(parts)
    ((arguments, variables),) = calls
    assert f"recipe.batch_size={batch_size}" in arguments
    assert variables == {"NVIDIA_TF32_OVERRIDE": "0"}


def test_torch_without_nccl(parts, monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_backend_available", lambda name: False)
    parts.device = "cuda"
    with pytest.raises(RuntimeError, match="without nccl"):
        ddp.sum_over_devices(parts)


def no_driver():
    raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).")


@pytest.mark.parametrize(
    ("requested", "driver", "fails"),
    [("cpu", True, False), ("auto", False, False), ("auto", True, True), ("cuda", False, True)],
)
def test_an_old_driver_is_a_failure_where_there_is_one(requested, driver, fails, monkeypatch):
    monkeypatch.setattr(torch.cuda, "init", no_driver)
    monkeypatch.setattr("shutil.which", lambda name: "smi" if driver else None)
    if fails:
        with pytest.raises(RuntimeError, match="too old"):
            machine.choose_device(requested)
    else:
        assert machine.choose_device(requested)["device"] == "cpu"


def test_products_and_their_tolerance(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert set(machine.products()) == {"cpu float32", "cpu bfloat16", "cpu float16"}
    monkeypatch.setitem(machine.TOLERANCE, "float16", 1e-9)
    with pytest.raises(ArithmeticError, match="cpu float16"):
        machine.products()


def test_parts_after_the_time_are_cut(parts):
    late = Parts(parts.file, device="cpu", small=True, seconds=0)
    late.run({"first": dict})
    (result,) = read_parts(parts.file)[0]
    assert result.status == "cut" and "time" in str(result.reason)


def test_an_incomplete_line_is_not_read(parts):
    parts.run({"first": dict})
    with parts.file.open("a") as stream:
        stream.write('{"begun": "sec')
    results, unfinished, planned = read_parts(parts.file)
    assert [each.name for each in results] == planned == ["first"]
    assert unfinished is None


@pytest.mark.slow
def test_quick_keeps_the_cells_that_are_done_when_its_time_is_over(tmp_path):
    late = Parts(tmp_path / "parts.jsonl", device="cpu", small=False, seconds=75)
    late.run(import_module(SECTIONS["quick"].module).plan(late))
    (result,) = read_parts(late.file)[0]
    assert result.status == "cut" and "stopped after 60 s" in str(result.reason)
    assert len(result.values["rows"]) == 6
