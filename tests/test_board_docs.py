"""Figures of docs/energy.md are what the model says now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from subrow.estimate import estimate_network, named_network
from subrow.spec import hwconfig
from subrow.spec.energy import coefficients

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "energy.md").read_text()


def row(network: str, hw: str, kept: str) -> list[float]:
    """Figures of a row of the table."""
    (line,) = (i for i in TEXT.splitlines() if i.startswith(f"| {network} | {hw} | {kept} |"))
    return [float(cell.strip().removesuffix("x")) for cell in line.strip("|").split("|")[3:]]


def test_sparse_vgg_nagadomi() -> None:
    found = estimate_network(named_network("vgg_nagadomi"), hwconfig.load("pynq-z2"), (2, 8), "auto", True)
    spent = found.energy
    ms, *parts, total, ratio, faster = row("VGG-nagadomi", "pynq-z2", "2/8")
    assert ms == pytest.approx(found.ms, abs=0.005)
    wanted = [spent.multiply, spent.add, spent.buffers, spent.memory]
    assert parts == pytest.approx([w / 1e3 for w in wanted], abs=6e-4)
    assert total == pytest.approx(spent.total / 1e3, abs=0.006)
    dense_ms, *_, dense, one, same = row("VGG-nagadomi", "dense16-pynq-z2", "dense")
    assert one == same == 1 and ratio == pytest.approx(dense / total, rel=0.005)
    assert faster == pytest.approx(dense_ms / ms, rel=0.005)


def test_coefficients_stand_in_the_text() -> None:
    table = coefficients()
    for figure in (f"{table.multiply_8x8:g} pJ", f"{table.add_bit:g} pJ", f"{table.buffer_byte:g} pJ a byte",
                   f"{table.memory_byte:g} pJ a byte"):  # fmt: skip
        assert figure in TEXT


def test_messages_that_the_guide_explains_are_those_of_the_code() -> None:
    root = Path(__file__).resolve().parents[1]
    folders = (root / "sw" / "subrow" / part for part in ("devices", "board"))
    code = "\n".join(p.read_text() for folder in folders for p in sorted(folder.rglob("*.py")))
    code = re.sub(r'"\s*\n\s*f?"', "", code)  # a message over several lines
    guide = (root / "docs" / "boards.md").read_text().partition("# When it does not work")[2]
    messages = re.findall(r"^\| `([^`]+)`(?:, `([^`]+)`)?", guide, re.M)
    assert len(messages) > 10
    for message in filter(None, (m for pair in messages for m in pair)):
        pieces = [p.strip(" .:") for p in re.split(r"[…()]|error \d", message)]
        pieces = [p for p in pieces if len(p) > 5]
        assert pieces and all(p in code for p in pieces), message
