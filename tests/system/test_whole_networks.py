"""Whole ResNet-18 and VGG-nagadomi on the PYNQ-Z2 engine: the RTL equals the emulator, the cycle model its layers."""

from __future__ import annotations

import pytest

from subrow.bench.calibrate import TOLERANCE
from subrow.bench.engine import Case, run_case
from subrow.spec.origins import SIMULATED

pytestmark = [pytest.mark.verilator, pytest.mark.slow]


@pytest.mark.parametrize("network", ("vgg_nagadomi", "resnet18"))
def test_whole_network(network: str) -> None:
    run = run_case(Case(network, "pynq-z2", 2), 600, print)
    assert run.origin == SIMULATED and run.bit_exact
    assert run.beyond == () and run.worst_layer_error is not None and abs(run.worst_layer_error) <= TOLERANCE
    assert abs(run.estimated_cycles / run.cycles - 1) <= 0.01
