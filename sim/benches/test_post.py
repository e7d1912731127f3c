"""subrow_post against the requantiser of docs/numerics.md: numbers, addresses, parameter ring, counters, rate."""

from __future__ import annotations

import random

import cocotb
from back_model import (
    STALLS,
    Driver,
    Hw,
    Layer,
    ahead,
    bench_hw,
    corrupt,
    meta_word,
    pack,
    random_layer,
    round_shift,
    some_layers,
)

HW = bench_hw()
LAYERS = some_layers(HW)
POINTER = (1 << 24) - 1


class Case:
    """Random parameters, residual and y stream of a layer, and the output words of every unit."""

    def __init__(self, rng: random.Random, hw: Hw, layer: Layer) -> None:
        L = hw.sub_row
        low = rng.choice((0, -127, -3))
        high = rng.choice((127, 127, 90))
        res_mult, res_shift = rng.getrandbits(16), rng.choice((0, rng.randrange(10, 24), rng.randrange(48)))
        self.instruction = layer.instruction(hw, act_min=low, act_max=high, res_mult=res_mult, res_shift=res_shift)
        self.groups = [[self._parameters(rng, hw) for _ in range(hw.channels)] for _ in range(layer.kgs(hw))]
        self.stream: list[tuple[int, int, bool]] = []  # data, sideband, last of its unit
        self.residual: list[dict[int, int]] = []  # per unit: address without the half -> word
        self.expected: list[dict[int, int]] = []
        for block, kg in layer.units(hw):
            res = {a: [rng.randrange(-128, 128) for _ in range(L)] for a in range(block.crows * block.ccols * hw.cb)}
            self.residual.append({a: pack(v, 8) for a, v in res.items()})
            out: dict[int, list[int]] = {}
            for pixel in layer.pixels(hw, block, kg):
                kb, oy, ox = pixel["kb"], pixel["oy"], pixel["ox"]
                values, z = [], []
                for lane in range(L):
                    bias, mult, shift = self.groups[kg][kb * L + lane]
                    # Y so that outputs land everywhere, from beyond one clamp to beyond the other
                    t = rng.choice((rng.randrange(-200, 200), rng.randrange(-20, 20), rng.getrandbits(40) - (1 << 39)))
                    bound = (1 << (hw.y_bits - 1)) - 1 - abs(bias)
                    y = max(-bound, min(bound, ((t << shift) + rng.getrandbits(shift + 1)) // max(mult, 1) - bias))
                    values.append(y)
                    if not pixel["drop"]:
                        r = res[(oy * block.ccols + ox) * hw.cb + kb][lane] if layer.residual else 0
                        total = round_shift((y + bias) * mult, shift) + round_shift(r * res_mult, res_shift)
                        z.append(min(max(total, low), high))
                self.stream.append((pack(values, hw.y_bits), meta_word(hw, pixel), bool(pixel["last"])))
                if not pixel["drop"]:
                    scale = 2 if layer.pool else 1
                    address = (oy // scale * block.ocols + ox // scale) * hw.cb + kb
                    out[address] = [max(a, b) for a, b in zip(out.get(address, [-128] * L), z, strict=True)]
            assert len(out) == block.orows * block.ocols * layer.kbs(hw, kg), "the model's own addresses collide"
            self.expected.append({a: pack(v, 8) for a, v in out.items()})
        rounds = 1 if layer.resident else len(layer.blocks())
        self.writes = [kg for _ in range(rounds) for kg in range(layer.kgs(hw))]  # groups as wfetch sends them

    @staticmethod
    def _parameters(rng: random.Random, hw: Hw) -> tuple[int, int, int]:
        bias_bits = min(32, hw.y_bits - 1)
        bias = rng.choice((rng.getrandbits(bias_bits) - (1 << (bias_bits - 1)), rng.randrange(-500, 500)))
        mult = rng.choice((rng.getrandbits(16), 0, 1, 65535, 30000))
        return bias, mult, rng.choice((0, rng.randrange(1, 48), 47, 20))

    def group_words(self, hw: Hw, kg: int) -> list[int]:
        words = [shift << 48 | mult << 32 | (bias & 0xFFFFFFFF) for bias, mult, shift in self.groups[kg]]
        return [pack(words[i : i + hw.sub_row], 64) for i in range(0, hw.channels, hw.sub_row)]


class World:
    """The RAMs around the unit, and wfetch, whose parameter ring runs ahead over layers."""

    def __init__(self, driver: Driver, hw: Hw, cases: list[Case]) -> None:
        self.driver, self.hw = driver, hw
        self.param = [(case, kg) for case in cases for kg in case.writes]
        self.p_wptr = 0
        self.p_ram: dict[int, int] = {}
        self.r_ram: dict[int, int] = {}
        self.o_ram: dict[int, int] = {}
        self.p_read: int | None = None
        self.r_read: int | None = None

    def write_parameters(self, free: int) -> None:
        assert ahead(self.p_wptr, free, 24) <= self.hw.param_groups
        while self.p_wptr < len(self.param) and ahead(self.p_wptr, free, 24) < self.hw.param_groups:
            if not self.driver.offer():
                break
            case, kg = self.param[self.p_wptr]
            for kb, word in enumerate(case.group_words(self.hw, kg)):
                self.p_ram[self.p_wptr % self.hw.param_groups * self.hw.cb + kb] = word
            self.p_wptr += 1

    def before(self) -> None:
        """RAM outputs of the reads that the last rising edge took."""
        if self.p_read is not None:
            self.driver.set(p_rdata_i=self.p_ram[self.p_read])
        if self.r_read is not None:
            self.driver.set(r_rdata_i=self.r_ram.get(self.r_read, 0))

    def after(self) -> None:
        get = self.driver.get
        self.p_read = get("p_raddr_o") if get("p_re_o") else None
        self.r_read = get("r_raddr_o") if get("r_re_o") else None
        if get("o_we_o"):
            self.o_ram[get("o_waddr_o")] = get("o_wdata_o")


async def run(world: World, layer: Layer, case: Case) -> None:
    driver, half, units = world.driver, HW.out_words // 2, len(case.expected)
    if corrupt():
        unit = next(u for u in case.expected if u)
        unit[min(unit)] ^= 1
    driver.set(r_ready_i=0, o_free_i=0)
    await driver.command(case.instruction)
    sent, r_ready, o_free, first_cycle, end = 0, 0, 0, driver.cycle, len(case.stream)
    valid = 0
    while o_free < units:
        world.before()
        o_ready = driver.get("o_ready_o")
        world.write_parameters(driver.get("p_free_o"))
        while layer.residual and r_ready < units and ahead(r_ready, o_ready) < 2 and driver.offer():
            for address, word in case.residual[r_ready].items():
                world.r_ram[r_ready % 2 * half + address] = word
            r_ready += 1
        # slow_out: longer than a unit takes, so that both halves fill up
        while o_free < o_ready and driver.rng.random() < driver.p_out**3:
            for address, word in case.expected[o_free].items():
                got = world.o_ram.pop(o_free % 2 * half + address, None)
                assert got == word, f"unit {o_free}, word {address}: {got}, expected {word}"
            o_free += 1
            assert not any(a // half == (o_free - 1) % 2 for a in world.o_ram) or o_ready > o_free, "more words written"
        valid = valid or int(sent < end and driver.offer())
        data, meta, _ = case.stream[min(sent, end - 1)]
        driver.set(y_valid_i=valid, y_data_i=data, y_meta_i=meta, r_ready_i=r_ready, o_free_i=o_free,
                   p_wptr_i=world.p_wptr & POINTER)
        await driver.settle()
        world.after()
        if valid and driver.get("y_ready_o"):
            sent, valid = sent + 1, 0
        await driver.begin()
        assert driver.cycle - first_cycle < 60 * end + 400 * units + 2000, "hangs"
    if driver.p_in == driver.p_out == 1.0:
        # one cycle per pixel; geometry takes 5 cycles per block; a half that is not free costs the pipeline's length
        cycles, limit = driver.cycle - first_cycle, end + 6 * len(layer.blocks()) + 16 * units + 20
        assert cycles <= limit, f"{cycles} cycles for {end} pixels, at most {limit}"
    assert sent == end and driver.get("o_ready_o") == units and driver.get("cmd_ready_o") == 1


async def start(dut, stall: str, layers: list[Layer] | None, count: int = 0) -> None:
    driver = Driver(dut, stall)
    layers = layers or [random_layer(driver.rng, HW) for _ in range(count)]
    layers = [layer for layer in layers if not (layer.resident and layer.kgs(HW) > HW.param_groups)]
    cases = [Case(driver.rng, HW, layer) for layer in layers]
    world = World(driver, HW, cases)
    await driver.reset(y_valid_i=0, y_data_i=0, y_meta_i=0, p_wptr_i=0, r_ready_i=0, o_free_i=0, p_rdata_i=0,
                       r_rdata_i=0)
    for layer, case in zip(layers, cases, strict=True):
        dut._log.info(f"{layer}")
        await run(world, layer, case)
    assert driver.get("p_free_o") == len(world.param), "parameter groups released"


@cocotb.test()
@cocotb.parametrize(name=list(LAYERS), stall=list(STALLS))
async def directed(dut, name: str, stall: str) -> None:
    await start(dut, stall, [LAYERS[name]])


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS))
async def random_layers_in_a_row(dut, stall: str) -> None:
    await start(dut, stall, None, 6)
