"""Networks that the tests and demos run, their data and how their weights were trained.

A plain package beside the compiler: it imports nothing of ours. Importing `models` or `models.fashion_mnist`
does not import torch; the network definitions and the training loop do.
"""


class ModelError(Exception):
    """A model, its weights or its data cannot be used; the message says what, why and the way out."""
