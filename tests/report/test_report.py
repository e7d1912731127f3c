"""Reports: which resource bounds a layer, what the documents say, and that the page stands alone."""

from __future__ import annotations

import dataclasses
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from subrow.devices.base import Saturation
from subrow.report import document, html, tables
from subrow.report.measure import LayerRow, Measurement, accuracy_percent, density_of, measure, tile_of
from subrow.spec import hwconfig
from subrow.spec.errors import InputError
from subrow.spec.isa import RECORD_FIELDS
from subrow.spec.program import LayerInfo
from subrow.spec.roofline import Roofline
from tests.devices.assemble import Shape, make_layer, program_of

HW = hwconfig.load("tiny")
PROGRAM = program_of(HW, [make_layer(HW, Shape(), 1)])
ROOFLINE = Roofline(input=100, output=50, weights=300, memory=200, transform=80, compute=100)


def row(name: str, density: tuple[int, int], **counters: int) -> LayerRow:
    return LayerRow(name, "conv", "f2", density, 64_000, 2048, HW.multipliers,
                    dict.fromkeys(RECORD_FIELDS, 0) | {"cycles": 1000} | counters, ROOFLINE)  # fmt: skip


def measurement(label: str, tile: str, density: str, cycles: int, **changes: object) -> Measurement:
    s = (2, 8) if density != "dense" else (8, 8)
    rows = (row("net.a", s, issued=500, starved_input=10), row("net.b<c>", s, issued=100, starved_weights=300))
    values: dict[str, object] = {
        "label": label, "tile": tile, "density": density, "program": PROGRAM, "accuracy": 90.0, "images": 10,
        "cycles": cycles, "simulated": 2, "compared": 20, "bit_exact": True, "layers": rows,
    }  # fmt: skip
    return Measurement(**(values | changes))  # type: ignore[arg-type]


def report(**changes: object) -> document.Report:
    ms = (measurement("f2 dense", "f2", "dense", 4000), measurement("f2 2/8", "f2", "2/8", 1000, **changes))
    return document.Report("net", HW, ms, ms[-1], {"verilator": "5"}, 91.0)


def test_bound_is_the_resource_that_needs_most_cycles() -> None:
    assert row("a", (8, 8), issued=900).bound == "weights"
    compute = dataclasses.replace(ROOFLINE, compute=400.0)
    assert dataclasses.replace(row("a", (8, 8)), roofline=compute).bound == "compute"


def test_rates() -> None:
    one = row("a", (8, 8), issued=500)
    assert one.utilisation == 0.5 and one.macs_per_multiplier_cycle == 1.0
    assert row("a", (8, 8), cycles=0).utilisation == row("a", (8, 8), cycles=0).macs_per_multiplier_cycle == 0
    assert tables.work_rate(measurement("x", "f2", "dense", 2000)) == 1.0


def test_demo_document_has_exactly_its_keys() -> None:
    made = document.demo_json(report())
    assert set(made) == {
        "float_accuracy", "int8_accuracy", "accuracy_unit", "srbs", "simulated_images", "bit_exact", "compared",
        "layers", "tools", "origin",
    }  # fmt: skip
    assert made["int8_accuracy"] == {"f2": 90.0} and made["accuracy_unit"] == "percent"
    assert made["srbs"] == [{"density": "2/8", "accuracy": 90.0, "cycles": 1000, "dense_cycles": 4000, "tile": "f2"}]
    assert made["layers"][1] == {
        "name": "net.b<c>", "kind": "conv", "tile": "f2", "density": "2/8", "macs": 64_000, "cycles": 1000,
        "issued_cycles": 100, "utilisation": 0.1, "bound": "weights", "dense_cycles": 1000,
    }  # fmt: skip
    assert set(made["origin"].values()) == {"measured", "simulated", "estimated"}
    assert made["bit_exact"] is True and made["simulated_images"] == 2 and made["compared"] == 40


def test_programs_document() -> None:
    saturated = (Saturation("x", 1, 8, 0.0, 2.0, 1.0),)
    only = measurement("f4 2/8", "f4", "2/8", 1000, saturated=saturated)
    made = document.programs_json([*report().measurements, only], HW, {})
    assert [p["compared"] for p in made["programs"]] == [20, 20, 20] and made["compared"] == 60
    assert [p["saturated"] for p in made["programs"]] == [{}, {}, {"x": 0.125}]
    assert [[row["dense_cycles"] for row in p["layers"]] for p in made["programs"]] == [[1000] * 2] * 2 + [[None] * 2]
    assert [row["utilisation"] for row in made["programs"][1]["layers"]] == [0.5, 0.1]
    assert set(made["origin"].values()) == {"measured", "simulated", "estimated"}


def test_dense_program_is_that_of_the_same_network_and_layer() -> None:
    other = dataclasses.replace(PROGRAM, name="another")
    pruned = measurement("pruned", "f2", "2/8", 1000)
    dense = measurement("dense", "f2", "dense", 4000, program=other)
    assert document.dense_of([dense, pruned], pruned) is None
    same = measurement("same", "f2", "dense", 4000)
    assert document.dense_of([dense, same, pruned], pruned) is same
    assert document.dense_of([dense, same, pruned], dense) is dense
    assert document.dense_cycles(row("net.a", (2, 8)), same) == 1000
    assert document.dense_cycles(dataclasses.replace(row("net.a", (2, 8)), tile="f4"), same) is None
    assert document.dense_cycles(row("net.c", (2, 8)), same) is None


def test_labels_must_differ() -> None:
    ms = (measurement("a", "f2", "dense", 4000), measurement("a", "f2", "2/8", 1000))
    with pytest.raises(InputError, match="2 Programs have the label 'a'"):
        document.Report("net", HW, ms, ms[-1], {})


def test_equal_measurements_and_formulas_in_names_are_drawn() -> None:
    """Two Programs that differ in nothing but the label, which is no formula."""
    ms = tuple(measurement(label, "f2", "2/8", 1000) for label in ("$a_{$", "[red]b[/]"))
    made = document.Report("net", HW, ms, ms[-1], {})
    assert html.render(made, "t").count("<svg") == 4
    text = io.StringIO()
    console = Console(file=text, width=100)
    console.print(tables.programs_table(made), tables.layers_table(ms[1]), tables.verdict(ms))
    assert "[red]b[/]" in text.getvalue() and "$a_{$" in text.getvalue()


@pytest.mark.parametrize("changes", [{"bit_exact": False}, {"compared": 0}])
def test_bit_exact_needs_every_program_compared_and_equal(changes: dict[str, object]) -> None:
    wrong = report(**changes)
    assert document.demo_json(wrong)["bit_exact"] is False
    assert "DIFFERS" in html.render(wrong, "t")


def test_srbs_without_its_dense_program_is_refused() -> None:
    only = measurement("f4 2/8", "f4", "2/8", 1000)
    with pytest.raises(InputError, match="no dense Program of tile f4"):
        document.demo_json(document.Report("net", HW, (only,), only, {}))


def test_page_stands_alone_and_escapes_names() -> None:
    page = html.render(report(), "A title", ("a note with <angle>",))
    names = r'(xmlns(:\w+)?|rdf:resource)="http[^"]*"'  # XML namespaces, which nothing fetches
    assert "http" not in re.sub(names, "", page)
    assert "<script" not in page and "<link" not in page and "<img" not in page
    assert "net.b&lt;c&gt;" in page and "a note with &lt;angle&gt;" in page
    figures = re.findall(r"<svg.*?</svg>", page, re.S)
    assert len(figures) == 4
    for figure in figures:
        ElementTree.fromstring(figure)
    assert "measured" in page and "simulated" in page
    assert page == html.render(report(), "A title", ("a note with <angle>",))


def test_page_shows_dense_cycles_of_each_layer() -> None:
    page = html.render(report(), "t")
    cells = re.findall("<td>([^<]*)</td>", page[page.index("net.b&lt;c&gt;") :])
    assert "dense<br>cycles" in page and cells[1:5] == ["64,000", "1,000", "1,000", "100"]


def test_page_without_labels_or_dense_program() -> None:
    only = measurement("x", "f4", "2/8", 1000, accuracy=None)
    page = html.render(document.Report("net", HW, (only,), only, {}), "t")
    assert len(re.findall("<svg", page)) == 3 and "accuracy<br>" not in page


def test_tile_and_density_of_a_program() -> None:
    def program(*layers: tuple[str, str, tuple[int, int]]) -> object:
        infos = tuple(LayerInfo("n", kind, tile, density, 1, 8, 8) for kind, tile, density in layers)
        return dataclasses.replace(PROGRAM, layers=infos, instructions=np.repeat(PROGRAM.instructions, len(infos), 0))

    mixed = program(("conv", "f4", (8, 8)), ("conv", "f2", (2, 8)), ("linear", "direct", (4, 8)))
    assert tile_of(mixed) == "f2+f4" and density_of(mixed) == "2/8, 4/8"  # type: ignore[arg-type]
    plain = program(("linear", "direct", (8, 8)), ("channelwise", "direct", (1, 8)))
    assert tile_of(plain) == "direct" and density_of(plain) == "dense"  # type: ignore[arg-type]


def test_accuracy() -> None:
    outputs = np.array([[1, 3, 2], [5, 1, 1], [0, 0, 9]], np.int8).reshape(3, 3, 1, 1)
    assert accuracy_percent(outputs, np.array([1, 0, 0])) == 66.667
    assert accuracy_percent(outputs, np.array([1, 0, 2], np.uint8)) == 100


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([[1], [0], [0]]), r"labels have shape \(3, 1\), must be \[3\]"),
        (np.array([1.0, 0.0, 0.0]), r"labels are float64, must be integers 0..2"),
        (np.array([True, False, False]), "labels are bool"),
        (np.array([1, 0]), "2 labels for 3 images"),
        (np.array([1, -1, 0]), "label -1 of image 1 is outside 0..2: the network has 3 outputs"),
        (np.array([1, 0, 3]), "label 3 of image 2 is outside 0..2"),
    ],
)
def test_labels_that_do_not_fit(labels: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        accuracy_percent(np.zeros((3, 3, 1, 1), np.int8), labels)


def test_labels_are_checked_before_anything_runs() -> None:
    with pytest.raises(InputError, match="label 1000000 of image 1"):
        measure(PROGRAM, None, None, np.zeros((2, *PROGRAM.inputs[0].shape)), np.array([0, 10**6]))  # type: ignore[arg-type]
