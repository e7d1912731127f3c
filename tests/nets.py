"""What tests do to networks."""

from __future__ import annotations

import torch
from torch import nn


def randomised(model: nn.Module, seed: int = 5) -> nn.Module:
    """The network in eval mode, its batch-norm statistics no longer the identity."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) * 0.2)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.75)
    return model.eval()
