"""A model whose scores are a given function of the images."""

from capsbench.contracts import Model, Prediction


class FunctionModel(Model):
    """Scores images (B, 1, 8, 8) by a function that returns (B, K)."""

    def __init__(self, function, num_classes=2):
        super().__init__(image_shape=(1, 8, 8), num_classes=num_classes)
        self.function = function

    def forward(self, images, views=None):
        return Prediction(self.function(images))

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")
