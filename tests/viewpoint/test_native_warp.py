"""Warp in C, checked against torch in double precision."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.capsules.kernels.native import unavailable_reason
from capsbench.viewpoint import native_warp
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp

pytestmark = pytest.mark.skipif(
    unavailable_reason() is not None, reason=f"no C here: {unavailable_reason()}"
)

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
def test_it_equals_the_warp_in_double_precision(
    count, channels, height, width, down, across, padding, seed
):
    draws = torch.Generator().manual_seed(seed)
    images = torch.rand(count, channels, height, width, generator=draws)
    matrices = Views.draw(WILD, count, draws).matrices(height, width)
    size = (down, across) if down and across else None
    assert native_warp.supports(images)
    warped = warp(images, matrices, size, padding=padding)
    expected = warp(images.double(), matrices, size, padding=padding)
    assert warped.shape == expected.shape
    torch.testing.assert_close(warped.double(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_huge_and_nan_coordinates_are_safe(padding):
    images = torch.rand(2, 1, 8, 8)
    back = torch.tensor([[[1e30, 0, -1e30], [0, 1, 0]], [[float("nan")] * 3, [float("inf")] * 3]])
    warped = native_warp.warp(images, back, (8, 8), padding)
    assert warped.isfinite().all()


def test_one_map_serves_images_of_any_strides():
    images = torch.rand(3, 9, 9, 2).permute(0, 3, 1, 2)
    matrix = Views.draw(WILD, 1, torch.Generator().manual_seed(0)).matrices(9, 9)
    one_by_one = torch.cat([warp(image[None].contiguous(), matrix) for image in images])
    assert torch.equal(warp(images, matrix), one_by_one)


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_bytes_are_divided_by_255(padding):
    images = torch.randint(256, (3, 2, 9, 7), dtype=torch.uint8)
    matrices = Views.draw(WILD, 3, torch.Generator().manual_seed(2)).matrices(9, 7)
    warped = warp(images, matrices, padding=padding)
    assert warped.dtype == torch.float32
    assert torch.equal(warped, warp(images.float() / 255, matrices, padding=padding))
    identity = Views.identity(1).matrices(9, 7)
    assert torch.equal(warp(images, identity), images.float() / 255)


def test_images_with_gradients_are_warped_by_torch():
    images = torch.rand(1, 1, 8, 8, requires_grad=True)
    assert not native_warp.supports(images)
    assert not native_warp.supports(images.detach().double())
    matrices = Views.draw(WILD, 1, torch.Generator().manual_seed(0)).matrices(8, 8)
    warp(images, matrices).sum().backward()
    assert images.grad is not None
    # Under torch.func too, where `requires_grad` is not set.
    derivative = torch.func.jvp(
        lambda x: warp(x, matrices), (images.detach(),), (torch.ones(1, 1, 8, 8),)
    )[1]
    torch.testing.assert_close(derivative, warp(torch.ones(1, 1, 8, 8), matrices))
