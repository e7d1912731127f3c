"""`subrow estimate`, and `subrow simulate --compare estimate`."""

from __future__ import annotations

from pathlib import Path

import pytest

from subrow.spec import hwconfig
from subrow.spec import program as programs
from subrow.spec.timing import estimate
from tests.cli.conftest import Files, Run

MODEL = "tests.cli.nets:small"
LAYER = {"name", "tile", "density", "bits", "cycles", "compute_cycles", "memory_cycles", "bytes", "bound"}


def test_network(run: Run) -> None:
    done = run("estimate", MODEL, "--shape", "8,8,8", "--density", "2/8", "--tile", "f2", "--json")
    assert done.code == 0
    assert set(done.json) == {"network", "hw", "mhz", "ms", "cycles", "fps", "note", "layers", "energy_uj",
                              "origin"}  # fmt: skip
    assert set(done.json["origin"].values()) == {"estimated"}
    layers = done.json["layers"]
    assert all(set(layer) == LAYER for layer in layers)
    assert [(x["tile"], x["density"]) for x in layers] == [("f2", "dense"), ("f2", "2/8"), ("linear", "dense")]
    assert all(x["cycles"] >= x["compute_cycles"] for x in layers)
    assert all(x["cycles"] >= x["memory_cycles"] for x in layers[:-1])  # the last one's weights come before it begins
    assert done.json["cycles"] > sum(x["cycles"] for x in layers)
    assert done.json["ms"] == pytest.approx(done.json["cycles"] / 100e3, abs=5e-5)
    assert done.json["fps"] == pytest.approx(1000 / done.json["ms"], rel=5e-3)


def test_density_and_bits_save_cycles_and_bytes(run: Run) -> None:
    def totals(*options: str) -> tuple[int, int]:
        done = run("estimate", MODEL, "--shape", "8,8,8", "--tile", "f2", "--json", *options)
        assert done.code == 0, done.err
        return done.json["cycles"], sum(x["bytes"] for x in done.json["layers"])

    dense, sparse, narrow = totals(), totals("--density", "1/8"), totals("--bits", "4")
    assert sparse[0] < dense[0] and sparse[1] < dense[1]
    assert narrow[1] < dense[1] and narrow[0] <= dense[0]


def test_program_is_estimated_as_it_is(run: Run, files: Files) -> None:
    done = run("estimate", files.program, "--json")
    program = programs.load(files.program)
    expected = estimate(program.decoded(), hwconfig.load(program.hw_name))
    assert done.code == 0 and done.json["cycles"] == expected.cycles
    assert [x["cycles"] for x in done.json["layers"]] == list(expected.layers)


def test_named_network_as_a_table(run: Run) -> None:
    done = run("estimate", "resnet20", "--hw", "tiny", "--tile", "f2")
    assert done.code == 0
    assert "(estimated)" in done.out and "layer3.2.conv2" in done.out and "images per second" in done.out


def test_layers_that_fit_no_buffer(run: Run, tmp_path: Path) -> None:
    """The second layer has windows of 3 x 3 and 16 channels: 18 V words for each of its tile groups."""
    text = (hwconfig.CONFIG_DIR / "tiny.toml").read_text().replace("v_words = 1024", "v_words = 16")
    (tmp_path / "narrow.toml").write_text(text)
    options = (MODEL, "--shape", "8,8,8", "--tile", "direct", "--hw", tmp_path / "narrow.toml", "--json")
    refused, done = run("estimate", *options), run("estimate", *options, "--partial")
    assert refused.code == 2 and "v_words" in refused.err and "layer" in refused.err
    assert done.code == 0 and "left out, because they fit no buffer" in done.json["note"]
    names = [x["name"] for x in done.json["layers"]]
    assert 0 < len(names) < 3 and not any(f" {n}," in done.json["note"] for n in names)


@pytest.mark.parametrize("suffix", (".svg", ".html"))
def test_roofline_figure(run: Run, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"roof{suffix}"
    done = run("estimate", MODEL, "--shape", "8,8,8", "--out", path)
    assert done.code == 0 and str(path) in done.out
    text = path.read_text()
    assert "<svg" in text and text.startswith("<svg") == (suffix == ".svg")
    assert ("<table>" in text) == (suffix == ".html")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([MODEL], "give the input's shape"),
        ([MODEL, "--shape", "8,8,8", "--bits", "4,8"], "bits '4,8': give the bits of all weights, such as 4"),
        ([MODEL, "--shape", "8,8,8", "--bits", "6"], "have 4 or 8 bits; other HwConfigs: dense16-pynq-z2 (16)"),
        ([MODEL, "--shape", "8,8,8", "--bits", "4", "--hw", "pynq-z2-open"], "HwConfig pynq-z2-open have 8 bits"),
        ([MODEL, "--shape", "8,8,8", "--bits", "none=4"], "bits of layer none: no such layer"),
        ([MODEL, "--shape", "8,8,8", "--density", "2/4"], "sub-rows of L = 8"),
        ([MODEL, "--shape", "8,8,8", "--linear"], "--linear: no effect without --density"),
        ([MODEL, "--shape", "8,8,8", "--out", "x.png"], "must end in .svg"),
        (["none.subrow"], "cannot read Program"),
        (["vgg17"], "package.module:callable"),
    ],
)
def test_errors(run: Run, arguments: list[str], message: str) -> None:
    done = run("estimate", *arguments)
    assert done.code == 2 and message in done.err and done.out == ""


def test_options_without_effect_on_a_program_are_refused(run: Run, files: Files) -> None:
    done = run("estimate", files.program, "--density", "2/8")
    assert done.code == 2 and "--density" in done.err and "is compiled" in done.err


@pytest.mark.verilator
def test_simulate_beside_the_estimate(run: Run, files: Files) -> None:
    done = run("simulate", files.program, "--input", files.images, "--images", 1, "--compare", "estimate", "--json")
    assert done.code == 0
    guess = done.json["estimate"]
    assert guess["origin"] == "estimated" and abs(guess["error"]) < 0.03
    assert guess["cycles"] == round(done.json["cycles"][-1] * (1 + guess["error"]))
    for layer, real in zip(guess["layers"], done.json["layers"], strict=True):
        assert layer["name"] == real["name"] and abs(layer["cycles"] - real["cycles"]) <= max(30, 0.03 * real["cycles"])
    table = run("simulate", files.program, "--input", files.images, "--images", 1, "--compare", "estimate")
    assert "estimated" in table.out and "whole run" in table.out
