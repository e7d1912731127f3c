"""Two processes learn what one learns: gradients are averaged over the shares of every batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from tests.compress.two_processes import network, trained

ROOT = Path(__file__).resolve().parents[2]


def test_two_processes_end_with_the_weights_of_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(ROOT / "tests" / "compress" / "two_processes.py"), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'sw'}:{ROOT}"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    alone, before = trained(tmp_path / "alone"), network().state_dict()
    one, two = (torch.load(tmp_path / f"process{i}", weights_only=True) for i in range(2))
    for name, value in alone.items():
        assert torch.equal(one[name], two[name]), name
        torch.testing.assert_close(one[name], value, rtol=1e-4, atol=1e-6)
        assert (value - before[name]).abs().max() > 1e-3, name  # so that equality says something
