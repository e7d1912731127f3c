"""What the pytest side tells a bench: JSON in one environment variable of the simulator's process."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from subrow.spec.hwconfig import HwConfig

ENV = "SUBROW_BENCH"
PATTERNS = ("none", "random", "bursty")


@dataclass(frozen=True)
class Options:
    """hw: the HwConfig of the unit and of its golden; params: RTL parameters; stalls: patterns to run; rounds: random
    layers of each pattern; corrupt: falsify the golden, so that the run must fail; data: files and others of one bench.
    """

    hw: HwConfig | None = None
    params: Mapping[str, int] = field(default_factory=dict)
    stalls: tuple[str, ...] = PATTERNS
    rounds: int = 2
    corrupt: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @staticmethod
    def parse(document: Mapping[str, Any]) -> Options:
        hw = HwConfig(**document["hw"]) if document["hw"] else None
        return Options(**{**document, "hw": hw, "stalls": tuple(document["stalls"])})

    @property
    def config(self) -> HwConfig:
        assert self.hw is not None, "this bench needs a HwConfig"
        return self.hw
