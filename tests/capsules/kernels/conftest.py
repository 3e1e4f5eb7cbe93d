"""A GPU for the tests of its kernels, or Triton's interpreter."""

from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context

import pytest
import torch

from tests.capsules.kernels.gpu import call, pack, unpack

PROGRAMS = 6  # few, so that each processes several children or several tiles


@pytest.fixture(scope="session")
def on_gpu():
    """Return a function that calls ``module:function`` on the GPU or in Triton's interpreter.

    Triton reads the environment variable of its interpreter on import. Another test may have
    imported it before, and `auto` must not see the variable. So the interpreter runs in a separate
    process, the only one with this variable.
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
