import pytest
import torch

from capsbench.capsules.losses import margin_loss, spread_loss, spread_margin
from capsbench.capsules.reconstruction import ClassConditionalDecoder, reconstruction_loss

PRESENCES = torch.tensor([[0.7, 0.3, 0.05], [0.95, 0.1, 0.6]])
TARGETS = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 1.0]])


def test_margin_loss_by_hand():
    first = 0.2**2 + 0.5 * 0.2**2
    second = 0.3**2
    assert margin_loss(PRESENCES, TARGETS).item() == pytest.approx((first + second) / 2)


def test_spread_loss_by_hand():
    first = (0.5 - 0.4) ** 2
    second = (0.5 - 0.5) ** 2  # 0.6 over 0.1; 0.95 is 0.85 above
    found = spread_loss(PRESENCES, TARGETS, margin=0.5).item()
    assert found == pytest.approx((first + second) / 2, abs=1e-7)
    first = (0.9 - 0.4) ** 2 + (0.9 - 0.65) ** 2
    second = (0.9 - 0.85) ** 2 + (0.9 - 0.5) ** 2
    assert spread_loss(PRESENCES, TARGETS, margin=0.9).item() == pytest.approx((first + second) / 2)


def test_spread_margin_rises_linearly():
    assert [spread_margin(p) for p in (0, 0.5, 1)] == pytest.approx([0.2, 0.55, 0.9])


def test_reconstruction_loss_sums_pixels_and_averages_images():
    images = torch.zeros(2, 1, 3, 3)
    drawn = torch.stack([torch.full((1, 3, 3), 0.5), torch.zeros(1, 3, 3)])
    assert reconstruction_loss(drawn, images).item() == pytest.approx(0.0005 * 9 * 0.25 / 2)


@pytest.mark.parametrize("loss", [margin_loss, lambda p, t: spread_loss(p, t, margin=0.5)])
def test_losses_are_taken_in_float32_under_autocast(loss):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss(PRESENCES.bfloat16(), TARGETS).dtype == torch.float32


def test_decoder_sees_the_chosen_classes_only():
    torch.manual_seed(0)
    decoder = ClassConditionalDecoder(
        num_classes=3, pose_dim=4, image_shape=(2, 5, 6), hidden=(8, 9)
    )
    poses = torch.randn(2, 3, 4)
    drawn = decoder(poses, TARGETS)
    assert drawn.shape == (2, 2, 5, 6)
    assert ((drawn > 0) & (drawn < 1)).all()
    poses[:, 1] += 1  # absent from both images
    assert torch.equal(decoder(poses, TARGETS), drawn)
    poses[1, 2] += 1
    assert torch.equal(decoder(poses, TARGETS)[0], drawn[0])
    assert not torch.equal(decoder(poses, TARGETS)[1], drawn[1])
