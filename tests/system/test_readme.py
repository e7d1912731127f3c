"""The README's figures and excerpts are what the code prints now.

Digests are not compared, and accuracies and scales only nearly: they depend on the machine's floating-point library.
"""

from __future__ import annotations

import dataclasses
import io
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from subrow import cli, demo
from subrow.cli_network import layer_weights, summary
from subrow.devices import open_device
from subrow.emit.disasm import disassemble
from subrow.report.document import Report, programs_json
from subrow.report.measure import measure
from subrow.report.tables import programs_table
from subrow.spec import hwconfig
from subrow.spec import program as programs
from tests.system.test_demo import demo_program

pytestmark = pytest.mark.verilator

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
HEADLINE = "vgg-f2-4of8.subrow"
ACCURACY = 0.5  # points that an accuracy may differ on another machine


def block(first: str) -> list[str]:
    """The lines of the code block that holds a line starting with `first`, from that line on."""
    inside = next(part for part in README.split("```")[1::2] if f"\n{first}" in part)
    lines = inside.splitlines()
    return lines[next(i for i, line in enumerate(lines) if line.startswith(first)) :]


def rows(lines: list[str]) -> dict[str, list[str]]:
    """Table rows by their first cell."""
    cells = [[c.strip() for c in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    return {c[0]: c[1:] for c in cells}


def percent(cell: str) -> float:
    return float(cell.removesuffix(" %"))


@dataclasses.dataclass(frozen=True)
class Made:
    """What the demo left and printed."""

    folder: Path
    document: dict[str, Any]
    printed: dict[str, list[str]]

    @property
    def program(self) -> programs.Program:
        return programs.load(self.folder / HEADLINE)


def run_demo(folder: Path, **changes: Any) -> Made:
    text = io.StringIO()
    document = demo.run(demo.Options(out=folder, **changes), Console(file=io.StringIO()), Console(file=text, width=100))
    return Made(folder, document, rows(text.getvalue().splitlines()))


def check_demo_rows(printed: dict[str, list[str]], names: tuple[str, ...]) -> None:
    stated = rows(block("VGG-nagadomi, a quarter wide"))
    for name in names:
        assert stated[name][1:] == printed[name][1:], name
        assert percent(stated[name][0]) == pytest.approx(percent(printed[name][0]), abs=ACCURACY), name


@pytest.mark.parametrize("tile", ("f2", "f4"))
def test_cycles_of_the_demo_table(tile: Any) -> None:
    """Cycles follow from shapes and densities alone, so quickly pruned Programs have those of the table."""
    stated = rows(block("VGG-nagadomi, a quarter wide"))
    hw, measurements = hwconfig.load("tiny"), []
    with open_device("emulator", hw) as emulator, open_device("verilator", hw) as chip:
        for density in (None, "4/8", "2/8"):
            name = f"{tile} {density or 'dense'}"
            images = np.zeros((1, 1, 32, 32), np.float32)
            measurements.append(measure(demo_program(tile, density), emulator, chip, images, label=name))
    report = Report("net", hw, tuple(measurements), measurements[0], {})
    assert programs_json(measurements, hw, {})["bit_exact"] is True
    text = io.StringIO()
    Console(file=text, width=100).print(programs_table(report))
    printed = rows(text.getvalue().splitlines())
    assert len(printed) == 3
    for name, cells in printed.items():
        assert stated[name][1:4] == cells[1:4], name


@pytest.mark.slow
def test_whole_demo_table(tmp_path: Path) -> None:
    printed = run_demo(tmp_path).printed
    names = [name for name in rows(block("VGG-nagadomi, a quarter wide")) if name]
    assert len(names) == 7
    check_demo_rows(printed, tuple(names))


def check_compile(made: Made) -> None:
    lines = block("$ subrow compile build/q.graph")
    masked = [re.sub(r"digest [0-9a-f]{12}$", "digest", line) for line in lines]
    line = re.sub(r"digest [0-9a-f]{12}$", "digest", summary(made.program))
    assert [i for i in masked if "digest" in i] == [f"build/vgg.subrow: {line}", f"build/vgg2.subrow: {line}"]
    layers = {i["name"]: i for i in layer_weights(made.program)}
    stated = {name: cells for name, cells in rows(lines).items() if name in layers}
    assert len(stated) == 3
    for name, cells in stated.items():
        i = layers[name]
        assert cells == [i["tile"], i["density"], str(i["bits"]), f"{i['weight_bytes']:,}"]


def check_disasm(made: Made) -> None:
    scale = re.compile(r"scale ([\d.e-]+)")
    stated = block("$ subrow disasm")[1:]
    stated = stated[: stated.index("  …")]
    printed = disassemble(made.program).splitlines()[: len(stated)]
    assert [scale.sub("scale", line) for line in stated] == [scale.sub("scale", line) for line in printed]
    assert len(stated) > 10
    one, two = ([float(s) for s in scale.findall("\n".join(lines))] for lines in (stated, printed))
    assert len(one) == 2 and one == pytest.approx(two, rel=1e-3)


def check_excerpt(command: str, printed: list[str], count: int) -> None:
    """Every table row and the last line of the README's excerpt stand in the output."""
    stated = block(command)
    cells, now = rows(stated), rows(printed)
    assert len(cells) == count
    assert {name: now[name] for name in cells} == cells
    titles = [line for line in stated[1:] if line[:1].isalnum()]
    assert titles and set(titles) <= {line.rstrip() for line in printed}


def check_report(made: Made) -> None:
    """The excerpt's figures are those of the demo's table, because Programs and images are the same."""
    stated = rows(block("$ subrow report"))
    names = {"vgg-f2-dense": "f2 dense", "vgg-f2-4of8": "f2 4/8"}
    for name, label in names.items():
        assert stated[name][1:4] == made.printed[label][1:4]
        assert percent(stated[name][0]) == pytest.approx(percent(made.printed[label][0]), abs=ACCURACY)
        assert stated[name][4] == "yes, 10 values"
    assert "RTL bit-exact: 20 values of 2 simulated runs compared, all equal" in block("$ subrow report")


def test_demo_and_excerpts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One test, because all of it needs the demo's Programs of tile f2 that lose no accuracy."""

    def run_cli(*arguments: object) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["subrow", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert not stop.value.code
        return capsys.readouterr().out.splitlines()

    made = run_demo(tmp_path, tiles=("f2",), densities=(None, "4/8"))
    check_demo_rows(made.printed, ("float32, torch", "f2 dense", "f2 4/8"))
    check_compile(made)
    check_disasm(made)
    check_report(made)
    path, images = tmp_path / HEADLINE, tmp_path / "images.npy"
    check_excerpt("$ subrow verify", run_cli("verify", path, "--images", 8), 4)
    check_excerpt("$ subrow simulate", run_cli("simulate", path, "--input", images, "--images", 2), 4)
    check_excerpt("$ subrow estimate build/vgg", run_cli("estimate", path), 3)
    network = run_cli("estimate", "resnet20", "--hw", "pynq-z2", "--density", "2/8", "--tile", "f2")
    assert block("$ subrow estimate resnet20")[1:] == network[-1:]
