"""Networks of other libraries and of plain PyTorch as models of the benchmark."""

from capsbench.wrapping.built_model import model_class
from capsbench.wrapping.logits_model import LogitsModel

__all__ = ["LogitsModel", "model_class"]
