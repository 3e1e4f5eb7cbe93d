"""Selection of the backend of a routing, and messages about backends that are not available."""

import logging
import subprocess
import sys

import pytest
import torch
from torch import nn

from capsbench.capsules import backends
from capsbench.capsules.backend_names import BACKENDS
from capsbench.capsules.backends import choose, routing_backend, unavailable_reason, use_backend
from capsbench.capsules.dynamic_routing import DynamicRouting, dynamic_routing
from capsbench.capsules.em_layers import ClassEMCapsules
from capsbench.capsules.kernels import native
from capsbench.errors import UserError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
MANY_VOTES = backends.MIN_KERNEL_VOTES


@pytest.fixture(autouse=True)
def fresh_caches():
    """Clear the caches of warnings and of availability."""
    for function in (
        backends._warn_once,
        native.unavailable_reason,
        native.simd_width,
        native.library,
    ):
        function.cache_clear()
    yield
    native.unavailable_reason.cache_clear()


@pytest.fixture
def no_compiler(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")


def tensors():
    return (torch.zeros(1),)


def test_auto_selects_c_for_many_votes_and_matrix_products_for_few():
    if native.unavailable_reason() is not None:
        pytest.skip(str(native.unavailable_reason()))
    assert choose("auto", tensors(), MANY_VOTES, 16) == "native"
    assert choose("auto", tensors(), MANY_VOTES - 1, 16) == "eager"


def test_without_a_compiler_auto_selects_matrix_products_and_warns_once(no_compiler, caplog):
    with caplog.at_level(logging.WARNING):
        assert [choose("auto", tensors(), MANY_VOTES, 16) for _ in range(3)] == ["eager"] * 3
    (record,) = caplog.records
    assert "'eager'" in record.getMessage()
    assert "'no-such-compiler'" in record.getMessage()


def test_a_requested_backend_is_used_or_refused(no_compiler):
    assert choose("textbook", tensors(), MANY_VOTES, 16) == "textbook"
    assert choose("eager", tensors(), 1, 16) == "eager"
    with pytest.raises(UserError, match=r"'native'.*no C compiler"):
        choose("native", tensors(), MANY_VOTES, 16)


def test_a_failing_compiler_counts_as_none(monkeypatch, tmp_path):
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho no such flag >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CC", str(broken))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert str(native.unavailable_reason()).endswith("no such flag")
    assert choose("auto", tensors(), MANY_VOTES, 16) == "eager"


def test_without_a_writable_cache_auto_selects_matrix_products(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way of a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert "cache folder" in str(native.unavailable_reason())
    assert choose("auto", tensors(), MANY_VOTES, 16) == "eager"


def test_too_many_parents_for_a_kernel_select_matrix_products():
    assert choose("auto", tensors(), MANY_VOTES, 4097) == "eager"
    if native.unavailable_reason() is None:
        with pytest.raises(UserError, match=r"at most 4096.*4097"):
            choose("native", tensors(), MANY_VOTES, 4097)


def test_tensors_of_different_dtypes_or_devices_are_refused():
    children, weights = torch.zeros(2, 3, 4), torch.zeros(3, 2, 4, 5)
    for other in (weights.double(), weights.to("meta")):
        with pytest.raises(UserError, match="one dtype"):
            dynamic_routing(children, other, iterations=1)


def test_kernels_need_their_kind_of_device(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert "CPU" in str(unavailable_reason("native", CUDA))
    assert "CUDA" in str(unavailable_reason("triton", CPU))
    assert unavailable_reason("textbook", CUDA) is unavailable_reason("eager", CUDA) is None
    with pytest.raises(UserError, match="did you mean 'eager'"):
        unavailable_reason("eagre", CPU)


def test_without_linux_there_are_no_c_kernels(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Linux" in str(native.unavailable_reason())


def test_all_routing_layers_of_a_model_get_one_backend():
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
    with pytest.raises(UserError, match="'fast'"):
        use_backend(model, "fast")  # type: ignore[arg-type]


def test_a_layer_uses_its_backend(monkeypatch):
    layer = DynamicRouting(num_children=2, child_dim=2, num_parents=2, parent_dim=2)
    layer.backend = "native"
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UserError, match=r"'native'.*Linux"):
        layer(torch.zeros(1, 2, 2))


def test_torch_compile_captures_a_routing_as_one_graph():
    """With ``auto`` and enough votes that C would be selected otherwise."""
    generator = torch.Generator().manual_seed(0)
    children = torch.randn(16, 128, 8, generator=generator, requires_grad=True)
    weights = torch.randn(128, 10, 8, 16, generator=generator)

    def parents(children):
        return dynamic_routing(children, weights, iterations=2).parents

    compiled = torch.compile(parents, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(children), parents(children), rtol=1e-4, atol=1e-5)
    result, expected = (
        torch.autograd.grad(route(children).square().sum(), children)[0]
        for route in (compiled, parents)
    )
    torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(native.unavailable_reason() is not None, reason="no C compiler")
def test_a_library_is_compiled_once_and_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sizes = {"I": 3, "J": 2, "D": 2, "E": 2}
    first = native.library("dynamic.c", torch.float32, **sizes)
    (path,) = (tmp_path / "capsbench" / "libraries").iterdir()
    native.library.cache_clear()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("compiled again"))
    assert native.library("dynamic.c", torch.float32, **sizes)._name == str(path) == first._name


def test_names_are_those_of_the_table():
    assert all(f"| {name} |" in str(backends.__doc__) for name in BACKENDS)
