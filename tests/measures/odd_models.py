"""Models that give no numbers, no gradient, or other answers each time; and images for them."""

from dataclasses import replace

import torch
from torch import nn
from torch.nn.functional import cross_entropy, dropout, one_hot

from capsbench.contracts import LayerOfInterest, Model, Prediction
from capsbench.representations import SpatialMap, whole_strides
from capsbench.wrapping import LogitsModel
from tests.measures.layered import NoiseImages


class Objects(NoiseImages):
    """The first 120 images of noise, whose halves are their parts."""

    def load(self):
        splits = super().load()
        return splits | {"test": splits["test"][torch.arange(120)]}

    def rearrange(self):
        test = self.split("test")
        return replace(test, images=test.images.flip(2))


class Giving(Model):
    """A convolution and a linear layer, whose features and scores are changed by functions."""

    def __init__(self, give=None, *, features=None, presences=None, rendering=None):
        super().__init__(image_shape=(1, 4, 4), num_classes=2)
        draws = torch.Generator().manual_seed(0)
        self.conv, self.features = nn.Conv2d(1, 3, 3), nn.Identity()
        self.head = nn.Linear(12, 2)
        for weight in self.parameters():
            nn.init.uniform_(weight.data, -1, 1, generator=draws)
        self.give, self.change = give, features
        self.present, self.render = presences, rendering

    def forward(self, images, views=None):
        features = self.conv(images)
        features = self.features(features if self.change is None else self.change(features))
        logits = self.head(features.nan_to_num().flatten(1))
        scores = logits if self.give is None else self.give(logits)
        presences = scores.float().softmax(dim=1)
        rendered = images * presences[:, :1, None, None]
        presences = presences if self.present is None else self.present(presences)
        rendered = rendered if self.render is None else self.render(rendered)
        return Prediction(scores, presences, reconstruction=rendered)

    def loss(self, prediction, batch, progress):
        return cross_entropy(prediction.scores, batch.targets)

    def layers_of_interest(self):
        moves = SpatialMap(claimed=whole_strides(1))
        return {"features": LayerOfInterest("features", "map", offset=1, transformation=moves)}


class Inference(Giving):
    """The same in inference mode, whoever calls it."""

    @torch.inference_mode()
    def forward(self, images, views=None):
        return super().forward(images)


class Buffers(Giving):
    """The same, with buffers that each pass writes."""

    count: torch.Tensor
    last: torch.Tensor

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("last", torch.zeros(2))

    def forward(self, images, views=None):
        prediction = super().forward(images)
        self.count += len(images)
        self.last.copy_(prediction.scores[0])
        return prediction


class Large(Giving):
    """The same, whose own logits are infinite."""

    def logits(self, prediction):
        return prediction.scores / 0


class Columns(nn.Module):
    def forward(self, flat):
        return flat[:, 5:7]


def half(values):
    """Return True for half of the images of a batch, of dims (B, 1, ...)."""
    sums = values.flatten(1).sum(dim=1)
    return (sums > sums.median()).reshape(-1, *[1] * (values.dim() - 1))


def some_nan(values):
    return values.masked_fill(half(values), torch.nan)


def from_batch(logits):
    return (logits - logits.mean(dim=0)) / (logits.std(dim=0, correction=0) + 1)


NOT_FINITE = {
    "nan": lambda: Giving(lambda z: z * torch.nan),
    "inf": lambda: Giving(lambda z: z * torch.inf),
    "minus infinity": lambda: Giving(lambda z: torch.full_like(z, -torch.inf)),
    "some nan": lambda: Giving(some_nan),
    "float16 overflow": lambda: Giving(lambda z: (1e6 * z).half()),
}
INFINITE = {
    "presences": lambda: Giving(presences=lambda p: p / 0),
    "log-probabilities": Large,
}
NO_GRADIENT = {
    "detached": lambda: Giving(torch.Tensor.detach),
    "inference mode": Inference,
    "rounded": lambda: Giving(lambda z: (4 * z).round()),
    "int8": lambda: Giving(lambda z: (4 * z).to(torch.int8)),
    "one-hot": lambda: Giving(lambda z: one_hot(z.argmax(dim=1), 2)),
    "constant": lambda: Giving(lambda z: 0 * z + torch.tensor([0.0, 1.0])),
}
UNSTABLE = {
    "dropout": lambda: Giving(features=lambda x: dropout(x, 0.2, training=True)),
    "batch statistics": lambda: Giving(from_batch),
}
FINE = {
    "plain": Giving,
    "float16": lambda: Giving(torch.Tensor.half),
    "bfloat16": lambda: Giving(torch.Tensor.bfloat16),
    "impossible class": lambda: Giving(lambda z: z + torch.tensor([-torch.inf, 0.0])),
    "view of the input": lambda: LogitsModel(
        nn.Sequential(nn.Flatten(), Columns()), image_shape=(1, 4, 4), num_classes=2
    ),
}
