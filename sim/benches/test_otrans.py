"""subrow_otrans against the output transform of docs/numerics.md: data, order, sideband, counters, rate."""

from __future__ import annotations

import random

import cocotb
import numpy as np
from back_model import (
    STALLS,
    Driver,
    Hw,
    Layer,
    ahead,
    bench_hw,
    corrupt,
    meta_fields,
    pack,
    random_layer,
    signed,
    some_layers,
)

from subrow.spec.winograd import as_int, tap_order, tile

HW = bench_hw()
LAYERS = some_layers(HW)


class Case:
    """Random M words of every unit, and the transfers that must come out."""

    def __init__(self, rng: random.Random, hw: Hw, layer: Layer) -> None:
        self.em = [rng.randrange(16) if rng.random() < 0.5 else rng.randrange(4) for _ in range(36)]
        self.words: list[dict[int, int]] = []  # per (block, kg, q): address without the half -> word
        self.expected: list[tuple[int, dict[str, int]]] = []
        taps, at = tap_order(layer.kind), as_int(tile(layer.kind).at).astype(object)
        alpha, L = tile(layer.kind).alpha, hw.sub_row
        for block, kg in layer.units(hw):
            y: dict[tuple[int, int], np.ndarray] = {}
            for i in range(block.th * block.tw):
                if i % hw.tiles == 0:
                    self.words.append({})
                for kb in range(layer.kbs(hw, kg)):
                    m = np.zeros((L, alpha, alpha), dtype=object)
                    for g in range(layer.groups):
                        bits = rng.getrandbits(4 * L * hw.acc_bits)
                        nk = i % hw.tiles * hw.cb + kb
                        self.words[-1][g * hw.tiles * hw.cb + nk] = bits
                        for lane in range(4):
                            row, column = taps[4 * g + lane]
                            for c in range(L):
                                value = signed(bits >> ((lane * L + c) * hw.acc_bits), hw.acc_bits)
                                m[c, row, column] = value << self.em[4 * g + lane]
                    y[i, kb] = np.array([at @ m[c] @ at.T for c in range(L)])
            for pixel in layer.pixels(hw, block, kg):
                values = y[pixel["i"], pixel["kb"]][:, pixel["py"], pixel["px"]]
                self.expected.append((pack([int(v) for v in values], hw.y_bits), pixel))


async def run(driver: Driver, layer: Layer, rng: random.Random) -> None:
    case = Case(rng, HW, layer)
    if corrupt():
        at = len(case.expected) // 2
        case.expected[at] = (case.expected[at][0] ^ 1, case.expected[at][1])
    await driver.command(layer.instruction(HW, em=case.em))
    half = 9 * HW.tiles * HW.cb
    ram: dict[int, int] = {}
    read: int | None = None
    ready, got, first_cycle, waiting = 0, 0, driver.cycle, None
    driver.set(m_ready_i=0)
    while got < len(case.expected):
        if read is not None:
            assert read in ram, f"address {read} was never written"
            driver.set(m_rdata_i=ram[read])
        free = driver.get("m_free_o")
        assert ahead(ready, free) <= 2
        # as fast as the contract allows, also when nothing stalls: a half is overwritten once it is free
        while ready < len(case.words) and ahead(ready, free) < 2 and driver.offer():
            for address, word in case.words[ready].items():
                ram[(ready % 2) * half + address] = word
            ready += 1
        take = int(driver.take())
        driver.set(m_ready_i=ready & 0xFFFF, y_ready_i=take)
        await driver.settle()
        read = driver.get("m_raddr_o") if driver.get("m_re_o") else None
        valid = driver.get("y_valid_o")
        assert valid or waiting is None, "valid fell before ready"
        if valid:
            now = (driver.get("y_data_o"), driver.get("y_meta_o"))
            assert waiting in (None, now), "data changed while it waited"
            waiting = None if take else now
            if take:
                data, pixel = case.expected[got]
                fields = meta_fields(HW, now[1])
                assert fields == {k: pixel[k] for k in fields}, f"transfer {got}: {fields}, expected {pixel}"
                assert now[0] == data, f"transfer {got} {pixel}: {now[0]:x}, expected {data:x}"
                got += 1
        await driver.begin()
        assert driver.cycle - first_cycle < 60 * len(case.expected) + 2000, "hangs"
    cycles = driver.cycle - first_cycle
    if driver.p_in == driver.p_out == 1.0:
        tiles = len(case.expected) // layer.m**2
        # 5 cycles per block for its geometry, of which the tile in flight hides some, and 10 to fill the pipeline
        limit = tiles * max(layer.groups, layer.m**2) + 6 * len(layer.blocks()) + layer.groups + 10
        assert cycles <= limit, f"{cycles} cycles for {tiles} tiles, at most {limit}"
    for _ in range(20):
        driver.set(y_ready_i=1)
        await driver.settle()
        assert not driver.get("y_valid_o") and not driver.get("m_re_o")
        await driver.begin()
    assert driver.get("m_free_o") == len(case.words) and driver.get("cmd_ready_o") == 1


@cocotb.test()
@cocotb.parametrize(name=list(LAYERS), stall=list(STALLS))
async def directed(dut, name: str, stall: str) -> None:
    driver = Driver(dut, stall)
    await driver.reset(m_ready_i=0, m_rdata_i=0, y_ready_i=0)
    await run(driver, LAYERS[name], driver.rng)


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS))
async def random_layers_in_a_row(dut, stall: str) -> None:
    driver = Driver(dut, stall)
    await driver.reset(m_ready_i=0, m_rdata_i=0, y_ready_i=0)
    for _ in range(6):
        layer = random_layer(driver.rng, HW)
        dut._log.info(f"{layer}")
        await run(driver, layer, driver.rng)
