"""Model that satisfies the contract; base of the models with faults."""

from torch import nn
from torch.nn.functional import cross_entropy

from capsbench.contracts import (
    ImageShape,
    LayerOfInterest,
    Model,
    Prediction,
    one_hot,
    require_size,
)
from capsbench.representations import QUARTER_TURNS, SpatialMap, whole_strides


class Sound(Model):
    """Satisfies the contract."""

    def __init__(self, *, image_shape: ImageShape, num_classes: int, width: int = 3) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        require_size("sound", image_shape, 4)
        channels, height, columns = image_shape
        self.body = nn.Sequential(nn.AvgPool2d(4), nn.Flatten())
        self.hidden = nn.Linear(channels * (height // 4) * (columns // 4), width)
        self.classes = nn.Linear(width, num_classes)

    def forward(self, images, views=None):
        return Prediction(self.classes(self.hidden(self.body(images)).tanh()))

    def loss(self, prediction, batch, progress):
        shares = one_hot(batch.targets, self.num_classes)
        return cross_entropy(prediction.scores.float(), shares / shares.sum(dim=1, keepdim=True))

    def layers_of_interest(self):
        moving = SpatialMap(exact=whole_strides(4) + QUARTER_TURNS)
        pooled = LayerOfInterest("body.0", "map", stride=4, offset=1.5, transformation=moving)
        return {"pooled": pooled, "hidden": LayerOfInterest("hidden", "vector")}
