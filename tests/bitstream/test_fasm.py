"""FASM to frame bits and back, on a small part of made-up tables in the form of prjxray-database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subrow.bitstream import xray
from subrow.bitstream.fasm import FasmError, Feature, features_of_line, parse
from subrow.spec.errors import MissingTool

PART = "xc7tinyclg400-1"
TILES = {
    "CLB_X0Y0": ("CLB", {"CLB_IO_CLK": (0x400, 0)}), "CLB_X0Y1": ("CLB", {"CLB_IO_CLK": (0x400, 2)}),
    "RAM_X1Y0": ("RAM", {"CLB_IO_CLK": (0x480, 0), "BLOCK_RAM": (0xC20000, 10)}), "WIRE_X2Y0": ("WIRE", {}),
}  # fmt: skip
TABLES = {
    "segbits_clb.db": [
        "CLB.LUT.INIT[00] 00_00", "CLB.LUT.INIT[01] 00_01", "CLB.LUT.INIT[10] 00_33", "CLB.FF.ZINI 01_05",
        "CLB.FF.LATCH 01_06 !01_07", "CLB.FF.SYNC 01_07 !01_06", "CLB.MUX.A 02_00 02_01", "CLB.MUX.B 02_00 !02_01",
        "CLB.MODE.WIDE[0] 03_40",
    ],
    "segbits_ram.db": ["RAM.PORT.A[0] 05_63"],
    "segbits_ram.block_ram.db": ["RAM.INIT_00[000] 00_00", "RAM.INIT_00[255] 07_319"],
    "ppips_wire.db": ["WIRE.OUT.IN always"],
}  # fmt: skip
EVERY = [
    *(Feature("CLB_X0Y1", "LUT.INIT", i) for i in (0, 1, 10)), Feature("CLB_X0Y0", "FF.ZINI"),
    Feature("CLB_X0Y0", "FF.LATCH"), Feature("CLB_X0Y1", "FF.SYNC"), Feature("CLB_X0Y0", "MUX.A"),
    Feature("CLB_X0Y1", "MUX.B"), Feature("CLB_X0Y0", "MODE.WIDE", 0), Feature("RAM_X1Y0", "PORT.A", 0),
    Feature("RAM_X1Y0", "INIT_00", 0), Feature("RAM_X1Y0", "INIT_00", 255), Feature("WIRE_X2Y0", "OUT.IN"),
]  # fmt: skip


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> xray.Database:
    folder = tmp_path_factory.mktemp("database")
    grid = {
        name: {"type": kind, "bits": {block: {"baseaddr": f"{base:#010x}", "frames": 28, "offset": offset, "words": 2}
                                      for block, (base, offset) in places.items()}}
        for name, (kind, places) in TILES.items()
    }  # fmt: skip
    grid["PAD_X9Y9"] = {"type": "PAD", "bits": {"CLB_IO_CLK": {
        "baseaddr": "0x500", "frames": 1, "offset": 0, "words": 2,
        "alias": {"type": "PADS", "sites": {}, "start_offset": 2},
    }}}  # fmt: skip
    write = {f"{PART.split('clg')[0]}/tilegrid.json": json.dumps(grid), f"{PART}/part.yaml": "",
             f"{PART}/required_features.fasm": "CLB_X0Y0.FF.ZINI\n",
             **{name: "\n".join(lines) + "\n" for name, lines in TABLES.items()}}  # fmt: skip
    for name, text in write.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return xray.Database(folder, PART)


@pytest.mark.parametrize(("line", "features"), (
    ("CLB_X0Y0.FF.ZINI", ["CLB_X0Y0.FF.ZINI"]), ("", []), ("# comment", []), ("CLB_X0Y0.FF.ZINI = 0", []),
    ("CLB_X0Y0.FF.ZINI = 1  # why", ["CLB_X0Y0.FF.ZINI"]), ("A.B.C[5]", ["A.B.C[5]"]),
    ("A.B[3:0] = 4'b1010", ["A.B[1]", "A.B[3]"]), ("A.B[7:4]=4'h9 { x = \"y\" }", ["A.B[4]", "A.B[7]"]),
    ("A.B[2:0] = 5", ["A.B[0]", "A.B[2]"]), ("A.B[63:0] = 64'h8000_0000_0000_0001", ["A.B[0]", "A.B[63]"]),
))  # fmt: skip
def test_lines(line: str, features: list[str]) -> None:
    assert [str(f) for f in features_of_line(line)] == features


@pytest.mark.parametrize(
    "line", ("CLB", "A.B[1:0] = 4", "A.B[0:1] = 1", "A.B = 2", "A.B = x", "A.B[2:0] = 3'b012", "A.B C", "A.")
)
def test_lines_that_mean_nothing_are_named(line: str) -> None:
    with pytest.raises(FasmError, match="FASM line"):
        parse([line])


def test_every_kind_of_feature_sets_its_bits(database: xray.Database) -> None:
    ones = xray.assemble(database, EVERY)
    assert ones == {
        (0x400, 64), (0x400, 65), (0x400, 97), (0x401, 5), (0x401, 6), (0x401, 71), (0x402, 0), (0x402, 1), (0x402, 64),
        (0x403, 40), (0x485, 63), (0xC20000, 320), (0xC20007, 639),
    }  # fmt: skip
    assert database.required() == [Feature("CLB_X0Y0", "FF.ZINI")]


def listing(ones: set[xray.Bit]) -> str:
    """What bitread writes with -y."""
    return "".join(f"bit_{f:08x}_{b // 32:03d}_{b % 32:02d}\n" for f, b in sorted(ones))


def test_frames_text_holds_the_same_bits(database: xray.Database) -> None:
    ones = xray.assemble(database, EVERY)
    again = set()
    for line in xray.frames_text(ones).splitlines():
        address, words = line.split(" ")
        values = [int(w, 16) for w in words.split(",")]
        assert len(values) == 101
        again |= {(int(address, 16), 32 * i + b) for i, w in enumerate(values) for b in range(32) if w >> b & 1}
    assert again == ones


@given(st.sets(st.sampled_from(EVERY)))
def test_decoding_finds_every_feature(database: xray.Database, chosen: set[Feature]) -> None:
    ones = xray.assemble(database, chosen)
    made = xray.compare(database, chosen, xray.read_bits(listing(ones)))
    assert made.equal and made.features == sum(f.tile != "WIRE_X2Y0" for f in chosen)


@given(st.sets(st.sampled_from(EVERY), min_size=1), st.data())
def test_a_flipped_bit_is_found(database: xray.Database, chosen: set[Feature], data: st.DataObject) -> None:
    ones = xray.assemble(database, chosen)
    bit = data.draw(st.sampled_from(sorted(xray.assemble(database, EVERY))))
    made = xray.compare(database, chosen, ones ^ {bit})
    assert not made.equal and (made.missing, made.extra) == ((1, 0) if bit in ones else (0, 1))
    assert not made.missing or made.lost or made.features < len(chosen)


def test_check_bits_of_frames_do_not_count(database: xray.Database) -> None:
    ones = xray.assemble(database, EVERY)
    assert xray.read_bits(listing(ones | {(0x400, 50 * 32 + 12)})) == ones
    assert xray.read_bits(listing(ones | {(0x400, 50 * 32 + 13)})) != ones


@pytest.mark.parametrize(("features", "message"), (
    ([Feature("CLB_X0Y0", "FF.LATCH"), Feature("CLB_X0Y0", "FF.SYNC")],
     "SYNC and CLB_X0Y0.FF.LATCH: frame 0x00000401 bit 7"),
    ([Feature("CLB_X0Y0", "MUX.B"), Feature("CLB_X0Y0", "MUX.A")], "MUX.A and CLB_X0Y0.MUX.B: frame 0x00000402 bit 1"),
    ([Feature("CLB_X7Y7", "MUX.A")], "xc7tinyclg400-1 has no tile CLB_X7Y7"),
    ([Feature("CLB_X0Y0", "MUX.C")], "tile type CLB has no such feature"),
    ([Feature("CLB_X0Y0", "LUT.INIT", 2)], r"LUT.INIT\[2\]: tile type CLB has no such feature"),
    ([Feature("CLB_X0Y0", "MUX.A", 1)], "tile type CLB has no such feature"),
    ([Feature("PAD_X9Y9", "PULL")], "tiles of type PAD are not supported"),
))  # fmt: skip
def test_what_cannot_be_is_named(database: xray.Database, features: list[Feature], message: str) -> None:
    with pytest.raises(FasmError, match=message):
        xray.assemble(database, features)


def test_without_the_database_the_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingTool, match="install prjxray-database"):
        xray.Database(tmp_path, "xc7z020clg400-1")
