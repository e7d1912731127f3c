"""What test_processes.py starts under torchrun: a small network trained on shared batches; each process saves its own.

    torchrun --nproc-per-node 2 two_processes.py FOLDER
"""

import sys
from pathlib import Path

import torch
from torch import nn

from subrow.compress.augment import Augment
from subrow.compress.stages import Stage, make_trainer
from subrow.compress.training import Schedule, rank

STAGE = Stage(Schedule(1, batch=20, peak_rate=0.5, warmup=0.0, augment=Augment(1, True)))


def network() -> nn.Module:
    """Without batch-norm, whose statistics each process takes from its own share of a batch."""
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def trained(folder: Path) -> dict[str, torch.Tensor]:
    """The weights after an epoch."""
    labels = torch.arange(60) % 3
    images = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(4)) + labels[:, None, None, None] * 0.3
    model = network()
    trainer = make_trainer((images, labels), (images, labels), folder, "cpu", lambda text: None, None)
    trainer.run(model, STAGE, "float")
    return model.state_dict()


if __name__ == "__main__":
    state = trained(Path(sys.argv[1]))
    torch.save(state, Path(sys.argv[1]) / f"process{rank()}")
