import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from capsbench.models._geometry import LayerWindow, output_size, smallest_input, stride_and_offset

WINDOWS = st.lists(
    st.builds(
        LayerWindow, st.integers(3, 5), st.integers(1, 3), st.integers(0, 2), st.just(False)
    ).filter(lambda window: 2 * window.padding < window.kernel),
    min_size=1,
    max_size=3,
)


def every_weight_is_used(size, windows):
    """Return whether all convolutions have an output and no weight is applied only to padding."""
    features = torch.ones(1, 1, size)
    for count, (kernel, stride, padding, _) in enumerate(windows, start=1):
        if output_size(size, windows[:count]) < 1:
            return False
        weight = torch.ones(1, 1, kernel, requires_grad=True)
        features = F.conv1d(features, weight, stride=stride, padding=padding)
        (gradient,) = torch.autograd.grad(features.sum(), weight)
        if not gradient.all():
            return False
        features = torch.ones_like(features)
    return True


@given(WINDOWS)
def test_from_the_smallest_input_on_every_weight_is_used(windows):
    smallest = smallest_input(windows)
    assert every_weight_is_used(smallest, windows)
    assert smallest == 1 or not every_weight_is_used(smallest - 1, windows)


@given(st.integers(1, 20), st.integers(1, 4), st.integers(1, 4))
def test_partial_windows_match_ceil_mode(size, kernel, stride):
    stride = min(stride, kernel)
    windows = [LayerWindow(kernel, stride, partial=True)]
    assert (size >= smallest_input(windows)) == (output_size(size, windows) >= 1)
    if size >= smallest_input(windows):
        pooled = F.max_pool1d(torch.zeros(1, 1, size), kernel, stride, ceil_mode=True)
        assert output_size(size, windows) == pooled.shape[-1]


@given(WINDOWS)
def test_stride_and_offset_match_the_centre_of_the_receptive_field(windows):
    size = 200  # so that the middle position does not depend on padding
    image = torch.zeros(1, 1, size, requires_grad=True)
    features = image
    for kernel, stride, padding, _ in windows:
        features = F.conv1d(features, torch.ones(1, 1, kernel), stride=stride, padding=padding)
    assert features.shape[-1] == output_size(size, windows)
    middle = features.shape[-1] // 2
    features[0, 0, middle].backward()
    assert image.grad is not None
    gradient = image.grad[0, 0]
    centre = (gradient * torch.arange(size)).sum() / gradient.sum()
    stride, offset = stride_and_offset(windows)
    assert abs(centre.item() - (offset + stride * middle)) < 1e-3
