"""Which form of a routing is chosen, and what is told of those that cannot be had."""

import logging
import subprocess
import sys

import pytest
import torch
from torch import nn

from capsbench.capsules import backends
from capsbench.capsules.backend_names import BACKENDS
from capsbench.capsules.backends import choose, problem, routing_backend, use_backend
from capsbench.capsules.dynamic_routing import DynamicRouting, dynamic_routing
from capsbench.capsules.em_layers import ClassEMCapsules
from capsbench.capsules.kernels import native
from capsbench.errors import UserError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
MANY = backends.FEW_VOTES


@pytest.fixture(autouse=True)
def untold():
    """What was said once is said again, and what was found missing is looked for again."""
    for function in (backends._tell, native.problem, native.lanes, native.library):
        function.cache_clear()
    yield
    native.problem.cache_clear()


@pytest.fixture
def no_compiler(monkeypatch):
    monkeypatch.setenv("CC", "there-is-no-such-compiler")


def tensors():
    return (torch.zeros(1),)


def test_auto_takes_c_for_many_votes_and_matrix_products_for_few():
    if native.problem() is not None:
        pytest.skip(str(native.problem()))
    assert choose("auto", tensors(), MANY, 16) == "native"
    assert choose("auto", tensors(), MANY - 1, 16) == "eager"


def test_without_a_compiler_auto_takes_matrix_products_and_says_so_once(no_compiler, caplog):
    with caplog.at_level(logging.WARNING):
        assert [choose("auto", tensors(), MANY, 16) for _ in range(3)] == ["eager"] * 3
    (record,) = caplog.records
    assert record.getMessage() == (
        "capsbench: routing is computed by plain matrix products, since there is no C compiler "
        "'there-is-no-such-compiler'"
    )


def test_a_backend_asked_for_is_taken_or_refused(no_compiler):
    assert choose("textbook", tensors(), MANY, 16) == "textbook"
    assert choose("eager", tensors(), 1, 16) == "eager"
    with pytest.raises(UserError, match="routing by 'native' is not possible here: there is no C"):
        choose("native", tensors(), MANY, 16)


def test_a_compiler_that_fails_is_as_good_as_none(monkeypatch, tmp_path):
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho no such flag >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert str(native.problem()).endswith("fails: no such flag")
    assert choose("auto", tensors(), MANY, 16) == "eager"


def test_where_no_library_can_be_kept_there_are_matrix_products(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way of a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert "cache folder" in str(native.problem())
    assert choose("auto", tensors(), MANY, 16) == "eager"


def test_so_many_parents_that_no_kernel_holds_them_take_matrix_products():
    assert choose("auto", tensors(), MANY, 4097) == "eager"
    if native.problem() is None:
        with pytest.raises(
            UserError, match="at most 4096 numbers in the votes of a child; got 4097"
        ):
            choose("native", tensors(), MANY, 4097)


def test_tensors_of_different_kinds_are_refused():
    children, weights = torch.zeros(2, 3, 4), torch.zeros(3, 2, 4, 5)
    for other in (weights.double(), weights.to("meta")):
        with pytest.raises(UserError, match=r"one dtype on one device; got torch\.float"):
            dynamic_routing(children, other, iterations=1)


def test_each_kind_of_device_has_its_kernels(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert "for the CPU" in str(problem("native", CUDA))
    assert "for CUDA devices" in str(problem("triton", CPU))
    assert problem("textbook", CUDA) is problem("eager", CUDA) is None
    with pytest.raises(UserError, match="unknown routing backend 'eagre'; did you mean 'eager'"):
        problem("eagre", CPU)


def test_without_linux_there_are_no_c_kernels(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert native.problem() == "C kernels are for Linux"


def test_all_routing_layers_of_a_model_are_computed_alike():
    layers = (
        DynamicRouting(num_children=2, child_dim=2, num_parents=2, parent_dim=2),
        ClassEMCapsules(2, 3),
    )
    model = nn.Sequential(layers[0], nn.Sequential(layers[1]))
    assert [layer.backend for layer in layers] == ["auto", "auto"]
    use_backend(model, "eager")
    with routing_backend(model, "textbook"):
        assert [layer.backend for layer in layers] == ["textbook", "textbook"]
    assert [layer.backend for layer in layers] == ["eager", "eager"]
    with pytest.raises(UserError, match="unknown routing backend 'fast'"):
        use_backend(model, "fast")  # type: ignore[arg-type]


def test_a_layer_is_computed_by_its_backend(monkeypatch):
    layer = DynamicRouting(num_children=2, child_dim=2, num_parents=2, parent_dim=2)
    layer.backend = "native"
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UserError, match="routing by 'native' is not possible here"):
        layer(torch.zeros(1, 2, 2))


def test_torch_compile_captures_a_routing_as_one_graph():
    """By ``auto``, of votes so many that C would take them else."""
    generator = torch.Generator().manual_seed(0)
    children = torch.randn(16, 128, 8, generator=generator, requires_grad=True)
    weights = torch.randn(128, 10, 8, 16, generator=generator)

    def parents(children):
        return dynamic_routing(children, weights, iterations=2).parents

    compiled = torch.compile(parents, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(children), parents(children), rtol=1e-4, atol=1e-5)
    found, expected = (
        torch.autograd.grad(route(children).square().sum(), children)[0]
        for route in (compiled, parents)
    )
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(native.problem() is not None, reason="no C compiler")
def test_a_library_is_compiled_once_and_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sizes = {"I": 3, "J": 2, "D": 2, "E": 2}
    first = native.library("dynamic.c", torch.float32, **sizes)
    (path,) = (tmp_path / "capsbench" / "native").iterdir()
    native.library.cache_clear()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("compiled again"))
    assert native.library("dynamic.c", torch.float32, **sizes)._name == str(path) == first._name


def test_names_are_those_of_the_table():
    assert all(f"| {name} |" in str(backends.__doc__) for name in BACKENDS)
