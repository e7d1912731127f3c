"""The demosaicking network cut in two equals the published one, and runs as Programs without a seam."""

from __future__ import annotations

import importlib
import sys
import types

import numpy as np
import pytest
import torch

from subrow.api import compile
from subrow.bench import demosaic as bench
from subrow.devices import open_device
from subrow.spec import hwconfig
from subrow.spec.errors import InputError

pytest.importorskip("skimage")
demosaic = pytest.importorskip("models.demosaic")
MARGIN = demosaic.MARGIN


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    """A mosaic of 1 x 3 x 118 x 126 pixels with edges in it."""
    return demosaic.mosaic(bench.photograph("chelsea")[np.newaxis, :, 60:178, 100:226])


def published(monkeypatch: pytest.MonkeyPatch) -> tuple[types.ModuleType, types.ModuleType]:
    """The wheel's own modules, which import a part of setuptools that is gone."""
    stub = types.ModuleType("pkg_resources")
    stub.resource_filename = lambda _package, name: str(demosaic.weights_path().parents[1] / name)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pkg_resources", stub)
    return importlib.import_module("demosaicnet.modules"), importlib.import_module("demosaicnet.mosaic")


def test_equals_the_published_network(samples: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    modules, mosaic = published(monkeypatch)
    image = bench.photograph("coffee")[:, :64, :64]
    np.testing.assert_array_equal(demosaic.mosaic(image), mosaic.bayer(image.copy()))
    with torch.inference_mode():
        expected = modules.BayerDemosaick().eval()(torch.from_numpy(samples)).numpy()
    np.testing.assert_allclose(demosaic.load(samples).run(samples), expected, atol=1e-5)


def test_bilinear_keeps_samples_and_fills_a_flat_picture() -> None:
    flat = np.full((1, 3, 8, 8), 0.25, np.float32)
    np.testing.assert_allclose(demosaic.bilinear(demosaic.mosaic(flat)), flat, atol=1e-6)


def test_squares_fit_without_a_seam(samples: np.ndarray) -> None:
    network = demosaic.load(samples)
    cut = bench.in_squares(samples[0], network.run, MARGIN, square=32)
    np.testing.assert_allclose(cut, network.run(samples)[0], atol=1e-5)


@pytest.mark.parametrize(("size", "square"), [(30, 32), (33, 32), (40, 31)])
def test_what_squares_cannot_cover_is_refused(size: int, square: int) -> None:
    with pytest.raises(InputError, match="cannot be covered"):
        bench.corners(size, square)


def test_int8_program_stays_near_float32(samples: np.ndarray) -> None:
    """No padding, 15 layers: at least 38 dB against the float network, on a photograph outside the calibration."""
    side = 32 + 2 * MARGIN
    calibration = demosaic.mosaic(bench.calibration_squares(side))
    network = demosaic.load(calibration)
    packed = network.pack(calibration)
    merged = network.merge(calibration, demosaic.stage(network.trunk)(packed))
    hw = hwconfig.load("tiny")
    trunk = compile(network.trunk, packed[:1], hw, None, "f2", packed)
    finish = compile(network.finish, merged[:1], hw, None, "direct", merged)
    part = samples[:, :, :side, :side]
    with open_device("emulator", hw) as device:
        got = network.run(part, bench.on_device(device, trunk), bench.on_device(device, finish))
    assert bench.psnr(got, network.run(part)) > 38


def test_page_holds_every_picture() -> None:
    picture = np.random.default_rng(0).random((80, 90, 3)).astype(np.float32)
    case = bench.CASES[0].label
    methods = {"true": picture, "mosaic": picture, bench.BILINEAR: picture, bench.FLOAT: picture, case: picture}
    db = {bench.BILINEAR: 30.0, bench.FLOAT: 38.5, case: 37.25}
    row = bench.TrunkRow(case, 1000, 10**9, 1.0, 2.0, 10**6, True)
    near = {k: v for k, v in db.items() if k != bench.FLOAT}
    result = bench.Result(hwconfig.load("tiny"), {"cat": methods}, {"cat": db}, {"cat": near}, (row,))
    page = bench.page(result, case).html()
    assert page.count("data:image/png;base64,") == 2 + 5 and "37.25" in page and "every bit" in page
    assert "http" not in page, "the page must need no network"
    document = bench.to_json(result, {})
    assert document["psnr_db_mean"][case] == 37.25 and document["origin"]["psnr_db"] == "measured"


def test_worst_square_is_where_the_error_is() -> None:
    error = np.zeros((200, 200), np.float32)
    error[100:150, 40:90] = 1
    rows, columns = bench.worst_square(error, 50)
    assert error[rows, columns].sum() >= 0.5 * error.sum()
