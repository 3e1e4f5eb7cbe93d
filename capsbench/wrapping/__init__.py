"""Networks of other libraries and of plain PyTorch as models of the benchmark."""

from capsbench.wrapping.logits_model import LogitsModel
from capsbench.wrapping.model_class import model_class

__all__ = ["LogitsModel", "model_class"]
