"""Public metrics: torchmetrics classes that compute the numbers of measures from tensors."""
