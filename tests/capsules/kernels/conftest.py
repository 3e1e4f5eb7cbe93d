"""A GPU for the tests of its kernels, or what stands in for one."""

from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context

import pytest
import torch

from tests.capsules.kernels.gpu import call, pack, unpack

PROGRAMS = 6  # so few that each has more than one child, or more than one tile, to go through


@pytest.fixture(scope="session")
def on_gpu():
    """Calls ``package.module:function`` with tensors, on the GPU or in Triton's interpreter.

    Triton decides to interpret when it is imported, by a variable of the environment. Any other
    test may have imported it before, and `auto` should not find the variable: so the interpreter
    has a process of its own, in which alone it is set.
    """
    if find_spec("triton") is None:
        pytest.skip("the package triton is not installed")
    if torch.cuda.is_available():
        yield lambda where, *args: unpack(call(where, pack(args), "cuda", PROGRAMS))
        return
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TRITON_INTERPRET", "1")
            pool.submit(torch.set_num_threads, 1).result()  # starts the process

        def interpret(where, *args):
            return unpack(pool.submit(call, where, pack(args), "cpu", PROGRAMS).result())

        yield interpret
