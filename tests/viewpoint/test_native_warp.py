"""The warp in C, against torch in double precision."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.capsules.kernels.native import problem
from capsbench.viewpoint import native_warp
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp

pytestmark = pytest.mark.skipif(problem() is not None, reason=f"no C here: {problem()}")

WILD = ViewRange(rotation=[-180, 180], shift=[-30, 30], scale=[0.2, 4], shear=[-60, 60])


@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 33),
    st.integers(1, 33),
    st.integers(0, 20),
    st.integers(0, 20),
    st.sampled_from(["zeros", "border"]),
    st.integers(0, 10_000),
)
@settings(max_examples=80, deadline=None)
def test_it_is_the_warp_in_double_precision(
    count, channels, height, width, down, across, padding, seed
):
    draws = torch.Generator().manual_seed(seed)
    images = torch.rand(count, channels, height, width, generator=draws)
    matrices = Views.draw(WILD, count, draws).matrices(height, width)
    size = (down, across) if down and across else None
    assert native_warp.serves(images)
    seen = warp(images, matrices, size, padding=padding)
    expected = warp(images.double(), matrices, size, padding=padding)
    assert seen.shape == expected.shape
    torch.testing.assert_close(seen.double(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_what_lies_far_outside_or_is_no_number_is_safe(padding):
    images = torch.rand(2, 1, 8, 8)
    back = torch.tensor([[[1e30, 0, -1e30], [0, 1, 0]], [[float("nan")] * 3, [float("inf")] * 3]])
    seen = native_warp.warp(images, back, (8, 8), padding)
    assert seen.isfinite().all()


def test_one_map_serves_all_and_strides_do_not_matter():
    images = torch.rand(3, 9, 9, 2).permute(0, 3, 1, 2)
    matrix = Views.draw(WILD, 1, torch.Generator().manual_seed(0)).matrices(9, 9)
    one_by_one = torch.cat([warp(image[None].contiguous(), matrix) for image in images])
    assert torch.equal(warp(images, matrix), one_by_one)


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_bytes_stand_for_numbers_up_to_one(padding):
    images = torch.randint(256, (3, 2, 9, 7), dtype=torch.uint8)
    matrices = Views.draw(WILD, 3, torch.Generator().manual_seed(2)).matrices(9, 7)
    seen = warp(images, matrices, padding=padding)
    assert seen.dtype == torch.float32
    assert torch.equal(seen, warp(images.float() / 255, matrices, padding=padding))
    still = Views.identity(1).matrices(9, 7)
    assert torch.equal(warp(images, still), images.float() / 255)


def test_torch_serves_where_a_gradient_is_wanted():
    images = torch.rand(1, 1, 8, 8, requires_grad=True)
    assert not native_warp.serves(images)
    assert not native_warp.serves(images.detach().double())
    matrices = Views.draw(WILD, 1, torch.Generator().manual_seed(0)).matrices(8, 8)
    warp(images, matrices).sum().backward()
    assert images.grad is not None
    # Under torch.func too, where the gradient is not asked for in the tensor.
    derivative = torch.func.jvp(
        lambda x: warp(x, matrices), (images.detach(),), (torch.ones(1, 1, 8, 8),)
    )[1]
    torch.testing.assert_close(derivative, warp(torch.ones(1, 1, 8, 8), matrices))
