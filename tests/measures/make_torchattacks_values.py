"""Write torchattacks_values.npz: attacks of torchattacks 3.5.1 on the fixed network.

torchattacks demands an old version of requests, so that it is no dependency of the tests:

    pip install --no-deps --target torchattacks-3.5.1 torchattacks==3.5.1
    PYTHONPATH=torchattacks-3.5.1:. python -m tests.measures.make_torchattacks_values
"""

import numpy as np
import torch
import torchattacks  # type: ignore[import-not-found]  # no dependency of the tests

from tests.measures.fixed_network import (
    NUM_CLASSES,
    NUM_IMAGES,
    SHAPE,
    TORCHATTACKS_FILE,
    FixedNetwork,
    fixed_images,
    fixed_labels,
    waves,
)

EPSILON, STEPS, QUERIES = 0.05, 100, 100


class Logits(torch.nn.Module):
    """The fixed network as torchattacks expects it."""

    def __init__(self) -> None:
        super().__init__()
        self.network = FixedNetwork()

    def forward(self, images):
        return self.network(images).scores


class Square(torchattacks.Square):  # type: ignore[misc]
    """The Square attack on a single image, with given draws in place of random ones."""

    def __init__(self, model, stripes, corners, signs) -> None:
        super().__init__(model, eps=EPSILON, n_queries=QUERIES)
        self.stripes, self.corners, self.signs = stripes, iter(corners.flatten()), iter(signs)

    def random_choice(self, shape):
        return self.stripes if len(shape) == 4 else next(self.signs)[:, None, None]

    def random_int(self, low=0, high=1, shape=None):
        return int(next(self.corners) * (high + 1))  # theirs never reaches the last position


def main() -> None:
    """Compute all attacks and write the file."""
    images, labels = fixed_images(), fixed_labels()
    targets = (labels + 1) % NUM_CLASSES
    model = Logits().eval()
    values = {}
    for name, attack in {
        "fgsm": torchattacks.FGSM(model, eps=0.1),
        "pgd": torchattacks.PGD(model, eps=0.1, alpha=0.03, steps=4, random_start=False),
    }.items():
        values[name] = attack(images, labels)
        attack.set_mode_targeted_by_function(lambda _, given: (given + 1) % NUM_CLASSES)
        values[f"{name} targeted"] = attack(images, labels)
    logits = model(images).detach()
    targeted = torchattacks.APGDT(model, n_classes=NUM_CLASSES)
    values["dlr"] = torchattacks.APGD(model).dlr_loss(logits, labels)
    values["dlr targeted"] = targeted.dlr_loss_targeted(logits, labels, targets)
    torch.manual_seed(0)
    draw = 2 * torch.rand(images.shape) - 1
    values["start"] = draw / draw.abs().amax(dim=(1, 2, 3), keepdim=True)
    for loss in ("ce", "dlr"):
        attack = torchattacks.APGD(model, eps=EPSILON, steps=STEPS, loss=loss)
        torch.manual_seed(0)
        point, is_right, best_loss, _ = attack.attack_single_run(images, labels)
        values[f"apgd-{loss}"] = point
        values[f"apgd-{loss} loss"] = best_loss
        values[f"apgd-{loss} misled"] = ~is_right
    stripes = waves(NUM_IMAGES, SHAPE[0], 1, SHAPE[2], pace=2.1).sign()
    corners = waves(NUM_IMAGES, QUERIES, 2, pace=0.9).abs() * 0.999
    signs = waves(NUM_IMAGES, QUERIES, SHAPE[0], pace=1.7).sign()
    points = []
    for row in range(NUM_IMAGES):
        attack = Square(model, stripes[row : row + 1], corners[row], signs[row])
        attack.init_hyperparam(images)
        _, point = attack.attack_single_run(images[row : row + 1], labels[row : row + 1])
        points.append(point)
    values |= {"stripes": stripes, "corners": corners, "signs": signs, "square": torch.cat(points)}
    np.savez_compressed(
        TORCHATTACKS_FILE, **{name: value.detach().numpy() for name, value in values.items()}
    )


if __name__ == "__main__":
    main()
