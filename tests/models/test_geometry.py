import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from capsbench.models._geometry import Window, places, smallest_size, stride_and_offset

WINDOWS = st.lists(
    st.builds(
        Window, st.integers(3, 5), st.integers(1, 3), st.integers(0, 2), st.just(False)
    ).filter(lambda window: 2 * window.padding < window.kernel),
    min_size=1,
    max_size=3,
)


def every_weight_is_used(size, windows):
    """Whether convolutions have a place each, and none of their weights sees padding alone."""
    features = torch.ones(1, 1, size)
    for count, (kernel, stride, padding, _) in enumerate(windows, start=1):
        if places(size, windows[:count]) < 1:
            return False
        weight = torch.ones(1, 1, kernel, requires_grad=True)
        features = F.conv1d(features, weight, stride=stride, padding=padding)
        (gradient,) = torch.autograd.grad(features.sum(), weight)
        if not gradient.all():
            return False
        features = torch.ones_like(features)
    return True


@given(WINDOWS)
def test_from_the_smallest_size_on_every_weight_of_every_layer_is_used(windows):
    smallest = smallest_size(windows)
    assert every_weight_is_used(smallest, windows)
    assert smallest == 1 or not every_weight_is_used(smallest - 1, windows)


@given(st.integers(1, 20), st.integers(1, 4), st.integers(1, 4))
def test_partial_windows_are_those_of_ceil_mode(size, kernel, stride):
    stride = min(stride, kernel)
    windows = [Window(kernel, stride, partial=True)]
    assert (size >= smallest_size(windows)) == (places(size, windows) >= 1)
    if size >= smallest_size(windows):
        pooled = F.max_pool1d(torch.zeros(1, 1, size), kernel, stride, ceil_mode=True)
        assert places(size, windows) == pooled.shape[-1]


@given(WINDOWS)
def test_stride_and_offset_are_the_centre_of_mass_of_what_a_place_sees(windows):
    size = 200  # so that the middle place sees no padding
    image = torch.zeros(1, 1, size, requires_grad=True)
    features = image
    for kernel, stride, padding, _ in windows:
        features = F.conv1d(features, torch.ones(1, 1, kernel), stride=stride, padding=padding)
    assert features.shape[-1] == places(size, windows)
    place = features.shape[-1] // 2
    features[0, 0, place].backward()
    assert image.grad is not None
    seen = image.grad[0, 0]
    centre = (seen * torch.arange(size)).sum() / seen.sum()
    stride, offset = stride_and_offset(windows)
    assert abs(centre.item() - (offset + stride * place)) < 1e-3
