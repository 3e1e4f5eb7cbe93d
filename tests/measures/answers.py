"""A model whose answers are known."""

from capsbench.contracts import Model, Prediction


class Answers(Model):
    """Says what a function makes of the images."""

    def __init__(self, answer, num_classes=2):
        super().__init__(image_shape=(1, 8, 8), num_classes=num_classes)
        self.answer = answer

    def forward(self, images, views=None):
        return Prediction(self.answer(images))

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")
