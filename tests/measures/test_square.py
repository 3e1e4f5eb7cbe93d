"""The Square attack: windows, a loop over images, torchattacks, models without gradients."""

import pytest
import torch

from capsbench.measures._attack_draws import SquareDraws, square_draws
from capsbench.measures._attack_losses import margin
from capsbench.measures._square import square, window_side, windows
from tests.measures.fixed_network import (
    NUM_CLASSES,
    NUM_IMAGES,
    SHAPE,
    FixedNetwork,
    fixed_images,
    fixed_labels,
    torchattacks_values,
)

INDEX = torch.arange(NUM_IMAGES)


def draws(queries):
    return square_draws(INDEX, SHAPE, queries, "squares")


class Rounded(FixedNetwork):
    """Its scores are rounded: they have no gradient."""

    def forward(self, images, views=None):
        prediction = super().forward(images)
        return prediction._replace(scores=(prediction.scores.detach() * 50).round() / 50)


@pytest.mark.parametrize(
    ("query", "queries", "share"),
    [
        (10, 10_000, 0.8),
        (11, 10_000, 0.4),
        (51, 10_000, 0.2),
        (201, 10_000, 0.1),
        (501, 10_000, 0.05),
        (1001, 10_000, 0.025),
        (2001, 10_000, 0.0125),
        (9999, 10_000, 0.8 / 512),
        (0, 200, 0.8),
        (2, 200, 0.2),
        (199, 200, 0.8 / 512),
    ],
)
def test_windows_shrink_as_in_the_paper(query, queries, share):
    assert window_side(query, queries, 28, 28) == max(round((share * 28 * 28) ** 0.5), 1)
    assert window_side(query, queries, 8, 200) <= 8


def test_windows_are_squares_at_all_places_within_the_image():
    corners = torch.rand(2000, 2, generator=torch.Generator().manual_seed(1))
    inside = windows(corners, 3, 5, 7)
    assert inside.shape == (2000, 1, 5, 7)
    assert (inside.sum(dim=(1, 2, 3)) == 9).all()
    places = {tuple(each.nonzero()[0, 1:].tolist()) for each in inside}
    assert places == {(y, x) for y in range(3) for x in range(5)}
    assert inside.any(dim=2).sum(dim=-1).unique().tolist() == [3]


def test_points_are_those_of_torchattacks():
    theirs = torchattacks_values()
    given = SquareDraws(theirs["stripes"], theirs["corners"], theirs["signs"])
    attacked = square(
        FixedNetwork(), fixed_images(), fixed_labels(), [0.05], draws=given, queries=101
    )
    torch.testing.assert_close(attacked.images[0], theirs["square"], atol=1e-6, rtol=0)


def naive_square(evaluate, image, epsilon, stripes, corners, signs, queries):
    """Attack one image, as algorithms 1 and 2 have it."""
    channels, height, width = image.shape
    best = (image + epsilon * stripes).clamp(0, 1)
    best_loss, misled = evaluate(best)
    passes = 1
    for query in range(queries - 1):
        if misled:
            break
        halvings = sum(
            query / queries * 10_000 > place
            for place in (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
        )
        side = max(round((0.8 / 2**halvings * height * width) ** 0.5), 1)
        top = int(corners[query, 0] * (height - side + 1))
        left = int(corners[query, 1] * (width - side + 1))
        proposal = best.clone()
        for channel in range(channels):
            for y in range(top, top + side):
                for x in range(left, left + side):
                    moved = image[channel, y, x] + epsilon * signs[query, channel]
                    proposal[channel, y, x] = moved.clamp(0, 1)
        loss, now = evaluate(proposal)
        passes += 1
        if loss > best_loss or now:
            best, best_loss, misled = proposal, loss, now
    return best, passes


@pytest.mark.parametrize("targeted", [False, True])
def test_batches_agree_with_a_loop_over_images(targeted):
    model, images, labels = FixedNetwork(), fixed_images(), fixed_labels()
    targets = (labels + 2) % NUM_CLASSES if targeted else None
    attacked = square(model, images, labels, [0.1], targets, draws=draws(60), queries=60)
    counts = []
    for row in range(NUM_IMAGES):

        @torch.no_grad()
        def evaluate(point, row=row):
            z = model(point[None]).scores[0].double()
            if targets is not None:
                return float(z.log_softmax(-1)[targets[row]]), z.argmax() == targets[row]
            others = [float(z[k]) for k in range(NUM_CLASSES) if k != labels[row]]
            return max(others) - float(z[labels[row]]), z.argmax() != labels[row]

        stripes, corners, signs = (each[row] for each in draws(60))
        expected, passes = naive_square(evaluate, images[row], 0.1, stripes, corners, signs, 60)
        torch.testing.assert_close(attacked.images[0, row], expected, atol=1e-6, rtol=0)
        # Images leave the batch only every 10 queries.
        assert passes <= attacked.passes[0, row] < passes + 10 or attacked.passes[0, row] == 60
        counts.append(passes)
    assert min(counts) < 20 and max(counts) == 60


def test_no_gradient_is_needed():
    images, labels = fixed_images(), fixed_labels()
    attacked = square(Rounded(), images, labels, [0.2], draws=draws(100), queries=100)
    assert (Rounded()(attacked.images[0]).scores.argmax(-1) != labels).sum() >= NUM_IMAGES - 1
    assert attacked.zero_gradient is None


def test_a_transferred_attack_goes_on_to_a_larger_margin():
    model, images, labels = FixedNetwork(), fixed_images(), fixed_labels()
    with torch.no_grad():
        stopped, further = (
            square(
                model, images, labels, [0.1], draws=draws(100), queries=100, early_stop=stop
            ).images[0]
            for stop in (True, False)
        )
        margins = [margin(model(each).scores, labels) for each in (stopped, further)]
    assert (margins[1] >= margins[0] - 1e-6).all()
    assert (margins[1] > margins[0] + 0.1).any()
