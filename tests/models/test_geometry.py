import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from capsbench.models._geometry import Window, places, smallest_size, stride_and_offset

WINDOWS = st.lists(
    st.builds(Window, st.integers(3, 5), st.integers(1, 3), st.integers(0, 1)),
    min_size=1,
    max_size=3,
)


@given(WINDOWS)
def test_smallest_size_leaves_one_place_and_one_less_does_not(windows):
    smallest = smallest_size(windows)
    assert places(smallest, windows) == 1
    assert smallest == 1 or places(smallest - 1, windows) < 1


@given(WINDOWS)
def test_stride_and_offset_are_the_centre_of_mass_of_what_a_place_sees(windows):
    size = smallest_size(windows) + 40
    image = torch.zeros(1, 1, size, requires_grad=True)
    features = image
    for kernel, stride, padding in windows:
        features = F.conv1d(features, torch.ones(1, 1, kernel), stride=stride, padding=padding)
    assert features.shape[-1] == places(size, windows)
    place = features.shape[-1] // 2
    features[0, 0, place].backward()
    assert image.grad is not None
    seen = image.grad[0, 0]
    centre = (seen * torch.arange(size)).sum() / seen.sum()
    stride, offset = stride_and_offset(windows)
    assert abs(centre.item() - (offset + stride * place)) < 1e-3
