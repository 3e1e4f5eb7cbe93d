"""Tables, figures, the page, and Weights & Biases, all built by reading records."""
