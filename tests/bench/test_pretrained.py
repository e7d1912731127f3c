"""The bench of networks that others trained, on small ones with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models import hed
from subrow.bench import pretrained
from subrow.bench.run import run
from subrow.spec import hwconfig
from subrow.spec.errors import InputError

pytest.importorskip("skimage")


def test_edges_of_every_program_come_near_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    sides = hed.SideOutputs(((8, 1), (8, 1), (16, 1), (16, 1), (16, 1))).eval().requires_grad_(False)
    network = hed.EdgeDetector(sides, np.full(5, 0.5, np.float32), 0.0)
    monkeypatch.setattr(hed, "load", lambda: network)
    monkeypatch.setattr(pretrained, "CROP", (32, 48))
    cases = (pretrained.CASES[0], pretrained.CASES[1])
    found = pretrained.edges(hwconfig.load("tiny"), lambda text: None, cases, ("chelsea", "coffee"))
    dense, sparse = (r.label for r in found.rows)
    for name, db in found.psnr.items():
        assert found.maps[name][dense].shape == (32, 48)
        assert db[dense] > 40 and db[dense] > db[sparse], (name, db)
    assert found.rows[0].result == round(np.mean([db[dense] for db in found.psnr.values()]), 2)
    assert found.rows[1].weight_bytes < found.rows[0].weight_bytes
    page = pretrained.page(found, sparse).html()
    assert page.count("data:image/png;base64,") == 2 * 4 and "http" not in page
    assert f"{found.psnr['coffee'][sparse]:.2f} dB against float32" in page
    assert pretrained.edges_json(found)["programs"][0]["cycles"] == found.rows[0].cycles


def test_resnet8_needs_data(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="resnet8 needs CIFAR-10: give --data"):
        run(tmp_path, ("resnet8",))
