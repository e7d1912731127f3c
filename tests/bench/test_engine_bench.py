"""The bench of whole networks: its cases, what it stores, what its tables say; nothing is simulated."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from rich.console import Console

from subrow.bench import engine_run
from subrow.bench.engine import (
    BASELINES,
    BOARDS,
    NARROW,
    ORDER,
    Case,
    Run,
    cases,
    images_for,
    program_of,
    read_run,
    run_case,
    sources_key,
    store,
    stored,
)  # fmt: skip
from subrow.spec import hwconfig
from subrow.spec.errors import ConfigError
from subrow.toolenv import REPO_ROOT

CASE = Case("resnet20", "tiny", 2)


def made(case: Case, **changes: object) -> Run:
    fields = {
        "network": case.network, "hw": case.hw, "density": f"{case.eighths}/8", "bits": (8, 8), "ms": 1.5,
        "cycles": 225_000, "origin": "simulated", "estimated_cycles": 224_000, "worst_layer_error": -0.01,
        "beyond": (), "bit_exact": True, "cycles_per_second": 1, "left_out": (), "commit": "c", "command": case.command,
        "key": sources_key(hwconfig.load(case.hw)),
    }  # fmt: skip
    return Run(**{**fields, **changes})  # type: ignore[arg-type]


def test_cases() -> None:
    every = cases()
    assert len(every) == len(set(every)) == len(ORDER) * 3 * len(BOARDS) + len(NARROW)
    assert all(c.eighths == 8 for c in every if c.hw in BASELINES.values())
    assert cases(["vgg16"], ["zcu104"], [2]) == [Case("vgg16", "zcu104", 2)]
    assert cases(["vgg16"], ["zcu104", "dense16-zcu104"], [], 4, 1) == [
        Case("vgg16", "zcu104", 8, 4, 1), Case("vgg16", "zcu104", 2, 4, 1)
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="network 'vgg': known to this bench are resnet20"):
        cases(["vgg"])
    with pytest.raises(ConfigError, match="density '4/8': known to this bench are 8/8, 2/8"):
        cases(densities=[4])


def test_a_density_is_a_share_of_every_sub_row() -> None:
    assert Case("resnet20", "zcu104", 2).pair(hwconfig.load("zcu104")) == (4, 16)
    assert Case("resnet20", "pynq-z2", 2).pair(hwconfig.load("pynq-z2")) == (2, 8)
    assert Case("resnet20", "pynq-z2", 8).pair(hwconfig.load("pynq-z2")) is None


def test_linear_layers_have_a_density_of_their_own() -> None:
    case = Case("vgg_nagadomi", "pynq-z2", 2, 4, 1)
    program = program_of(case, images_for(case.network))
    kept = {i.name: (i.density[0], i.details["bits"]) for i in program.layers}
    assert kept["features.conv1_1"] == (8, 8) and kept["features.conv3_2"] == (2, 4)
    assert kept["classifier.fc1"] == kept["classifier.fc3"] == (1, 4)
    assert case.name == "vgg_nagadomi-pynq-z2-2of8-4bit-linear1of8" and case.density == "2/8, linear 1/8"
    assert case.command.endswith("--density 2/8 --bits 4 --linear-density 1/8")
    with pytest.raises(ConfigError, match="leave out linear"):
        run_case(Case("vgg16", "tiny", 2, None, 1), 300, lambda text: None)


def test_layers_that_fit_no_buffer_are_named_and_the_rest_estimated(tmp_path: Path) -> None:
    small = tmp_path / "small.toml"
    tiny = (hwconfig.CONFIG_DIR / "tiny.toml").read_text()
    small.write_text(tiny.replace("weight_words = 1024", "weight_words = 64"))
    run = run_case(Case("resnet20", str(small), 8), 300, lambda text: None)
    assert run.left_out and all(name.startswith(("layer2", "layer3")) for name in run.left_out)
    assert run.origin == "estimated" and run.cycles == run.estimated_cycles > 1000
    assert run.bit_exact is None and run.worst_layer_error is None and run.beyond is None
    assert run.ms == pytest.approx(run.cycles / 1e5, rel=1e-3)


def test_stored_runs_hold_until_the_sources_change(tmp_path: Path) -> None:
    assert stored(tmp_path, CASE) is None
    store(tmp_path, CASE, made(CASE))
    assert stored(tmp_path, CASE) == made(CASE)
    store(tmp_path, CASE, made(CASE, key="other"))
    assert stored(tmp_path, CASE) is None


def test_an_interrupted_bench_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two, did = [CASE, Case("resnet20", "tiny", 8)], []

    def fake(case: Case, seconds: float, say: object) -> Run:
        did.append(case)
        return made(case, bit_exact=len(did) < 2)

    monkeypatch.setattr(engine_run, "run_case", fake)
    out = tmp_path / "engine.json"
    assert engine_run.run(two[:1], tmp_path, out, 300, False, True)
    assert not engine_run.run(two, tmp_path, out, 300, False, True), "the second differs from the emulator"
    assert did == two and [r["density"] for r in json.loads(out.read_text())["runs"]] == ["2/8", "8/8"]
    store(tmp_path, CASE, made(CASE, origin="estimated", bit_exact=None))
    engine_run.run([CASE], tmp_path, out, 0, False, True)
    assert did == two, "an estimate stands where only estimates are wanted"
    engine_run.run([CASE], tmp_path, out, 300, False, True)
    assert did == [*two, CASE]


def test_the_table_compares_only_what_has_the_same_layers(capsys: pytest.CaptureFixture[str]) -> None:
    case, wide = Case("vgg16", "zcu104", 2), Case("vgg16", "dense16-zcu104", 8)
    for left_out, speedup in (((), "4.00x"), (("fc",), "(simulated, without fc)")):
        rows = [made(case), made(wide, ms=6.0, left_out=left_out)]
        Console(width=250).print(engine_run.board_table("zcu104", rows))
        text = capsys.readouterr().out + engine_run.markdown(rows)
        assert speedup in text and ("4.00x" in text) == (not left_out) and "simulated" in text


def test_the_committed_page_is_that_of_the_committed_document() -> None:
    results = REPO_ROOT / "docs" / "results"
    runs = [read_run(r) for r in json.loads((results / "engine.json").read_text())["runs"]]
    assert (results / "engine.md").read_text() == engine_run.markdown(runs)
    made_by = [(c.network, c.hw, c.density, c.bits or hwconfig.load(c.hw).u_bits) for c in cases()]
    assert [(r.network, r.hw, r.density, r.bits[0]) for r in runs] == made_by
    assert all(r.bit_exact for r in runs if r.origin == "simulated")


def test_targets_name_cases() -> None:
    known = {(c.network, c.hw) for c in cases()}
    assert set(engine_run.TARGETS_MS) <= known
    assert dataclasses.replace(CASE).command.endswith("--network resnet20 --hw tiny --density 2/8")
