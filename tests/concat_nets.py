"""Networks that concatenate channels."""

from __future__ import annotations

import torch
from torch import nn


class Inception(nn.Module):
    """Branches of 1x1, 3x3, depthwise and pool; the last one's channels fill no whole block."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.a, self.b = nn.Conv2d(16, 24, 1), nn.Conv2d(16, 8, 3, padding=1)
        self.c, self.d = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 12, 1)
        self.end = nn.Conv2d(60, 10, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        parts = [torch.relu(self.a(x)), self.b(x), torch.relu(self.c(x) + x), self.d(x)]
        return self.end(torch.cat(parts, 1))


class Skip(nn.Module):
    """A part that other layers read and add, too, and a concatenation that is an output."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(8, 16, 3, padding=1), nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = torch.relu(self.a(x))
        b = self.b(a) + a
        return torch.cat([a, b, self.c(b)], 1)


class Dense(nn.Module):
    """Concatenations of concatenations."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 1)
        self.layers = nn.ModuleList(nn.Conv2d(16 + 8 * i, 8, 3, padding=1) for i in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [self.stem(x)]
        for layer in self.layers:
            parts.append(torch.relu(layer(torch.cat(parts, 1))))
        return torch.cat(parts, 1)


class Copies(nn.Module):
    """The network's input, a tensor twice, and one that two concatenations read at different places."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(8, 8, 1), nn.Conv2d(24, 8, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a = self.a(x)
        one = torch.cat([x, a, a], 1)
        return torch.cat([self.b(one), a], 1), one


class Parted(nn.Module):
    """A part of a concatenation that is an output, too."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(16, 8, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        b = self.b(x)
        return self.c(torch.cat([self.a(x), b], 1)), b


class Odd(nn.Module):
    """Parts that fill no whole channel blocks, as an output, added, and with a ReLU behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(8, 12, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(23, 23, 3, padding=1)
        self.d = nn.Conv2d(12, 3, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a = self.a(x)
        odd = torch.cat([a, self.b(x), self.d(a)], 1)
        return self.c(torch.relu(odd)) + odd, odd
