"""subrow_awrite against the memory layout of docs/hardware.md: segments, record, counters, end of layer, rate."""

from __future__ import annotations

import random
from collections import deque

import cocotb
from back_model import STALLS, Driver, Layer, ahead, bench_hw, corrupt, random_layer, some_layers

HW = bench_hw()
LAYERS = some_layers(HW)
L = HW.sub_row


class Writer:
    """subrow_axi_write as its users see it: requests, words in order, idle when every response is in."""

    def __init__(self, driver: Driver, early: bool) -> None:
        self.driver = driver
        self.early = early  # takes words before their request
        self.requests: deque[list[int]] = deque()  # [next address, words left]
        self.words: deque[int] = deque()
        self.memory: dict[int, int] = {}
        self.busy_until = 0
        self.asked = 0
        self.held: dict[str, int] = {}

    @property
    def idle(self) -> bool:
        return not self.requests and not self.words and self.driver.cycle >= self.busy_until

    def before(self) -> None:
        pending = sum(r[1] for r in self.requests)
        wd_ready = self.driver.take() and (pending > 0 or (self.early and len(self.words) < 3))
        self.driver.set(wr_ready_i=int(self.driver.take() and len(self.requests) < 8), wd_ready_i=int(wd_ready),
                        wr_idle_i=int(self.idle))

    def after(self) -> None:
        get = self.driver.get
        now = {n: get(n) for n in ("wr_valid_o", "wr_addr_o", "wr_beats_o", "wd_valid_o", "wd_data_o")}
        for name, value in self.held.items():
            assert now[name] == value, f"{name} changed while it waited"
        self.held = {}
        for valid, ready, names in (("wr_valid_o", "wr_ready_i", ("wr_addr_o", "wr_beats_o")),
                                    ("wd_valid_o", "wd_ready_i", ("wd_data_o",))):
            if now[valid] and not get(ready):
                self.held |= {n: now[n] for n in (valid, *names)}
        if now["wr_valid_o"] and get("wr_ready_i"):
            assert now["wr_beats_o"] > 0 and now["wr_addr_o"] % L == 0
            self.requests.append([now["wr_addr_o"], now["wr_beats_o"]])
            self.asked += 1
        if now["wd_valid_o"] and get("wd_ready_i"):
            self.words.append(now["wd_data_o"])
        while self.words and self.requests:
            request = self.requests[0]
            assert request[0] not in self.memory, f"address {request[0]:#x} written twice"
            self.memory[request[0]] = self.words.popleft()
            request[0] += L
            request[1] -= 1
            if not request[1]:
                self.requests.popleft()
            self.busy_until = self.driver.cycle + self.driver.rng.randrange(2, 12)


async def run(driver: Driver, layer: Layer, rng: random.Random) -> None:
    act_base, record_base = rng.getrandbits(39) // 64 * 64, (1 << 39) + rng.getrandbits(30) // 64 * 64
    out_offset, layer_id = rng.getrandbits(31) // L * L, rng.randrange(1 << 15)
    instruction = layer.instruction(HW, out_offset=out_offset, layer_id=layer_id)
    half = HW.out_words // 2
    units: list[dict[int, int]] = []
    expected: dict[int, int] = {}
    for block, kg in layer.units(HW):
        units.append({})
        for y in range(block.orows):
            for x in range(block.ocols):
                for kb in range(layer.kbs(HW, kg)):
                    word = rng.getrandbits(8 * L)
                    units[-1][(y * block.ocols + x) * HW.cb + kb] = word
                    address = act_base + out_offset + (block.oy0 + y) * instruction.out_row_bytes
                    address += ((kg * HW.cb + kb) * layer.out_w + block.ox0 + x) * L
                    expected[address] = word
    assert len(expected) == layer.out_h * layer.out_w * layer.out_cb, "the model does not fill the tensor"
    words = len(expected)
    record = rng.getrandbits(512)
    for beat in range(64 // L):
        expected[record_base + 64 * layer_id + beat * L] = record >> (8 * L * beat) & ((1 << 8 * L) - 1)
    if corrupt():
        expected[min(expected)] ^= 1
    writer = Writer(driver, early=rng.random() < 0.5)
    driver.set(o_ready_i=0, act_base_i=act_base, record_base_i=record_base)
    await driver.command(instruction)
    ram: dict[int, int] = {}
    read: int | None = None
    ready, first_cycle, record_at, done = 0, driver.cycle, None, False
    while not done:
        if read is not None:
            assert read in ram, f"address {read} was never written"
            driver.set(o_rdata_i=ram[read])
        free = driver.get("o_free_o")
        assert ahead(ready, free) <= 2
        while ready < len(units) and ahead(ready, free) < 2 and driver.offer():
            ram = {a: w for a, w in ram.items() if a // half != ready % 2}
            ram |= {ready % 2 * half + a: w for a, w in units[ready].items()}
            ready += 1
        # the record counts until the last response: it may change as long as anything is open
        last = writer.idle and len(writer.memory) == words
        record_at = record_at or (driver.cycle if last else None)
        sample = record if last else rng.getrandbits(512)
        driver.set(o_ready_i=ready, record_i=sample)
        writer.before()
        await driver.settle()
        read = driver.get("o_raddr_o") if driver.get("o_re_o") else None
        writer.after()
        done = bool(driver.get("layer_done_o"))
        assert not done or writer.idle, "done before the last response"
        assert len(writer.memory) <= words or record_at is not None, "record before the last response"
        await driver.begin()
        assert driver.cycle - first_cycle < 60 * (words + len(units)) + 2000, "hangs"
    missing = [a for a in expected if a not in writer.memory]
    wrong = [a for a in writer.memory if writer.memory[a] != expected.get(a)]
    assert not missing and not wrong, f"missing {missing[:4]}, not as expected {wrong[:4]} of {len(expected)} words"
    segments = sum(b.orows * layer.kbs(HW, kg) for b, kg in layer.units(HW) if b.ocols)
    assert writer.asked == segments + 1, f"{writer.asked} requests for {segments} segments"
    if driver.p_in == driver.p_out == 1.0:
        cycles, limit = driver.cycle - first_cycle, max(words, segments) + 10 * len(units) + 64 // L + 50
        assert cycles <= limit, f"{cycles} cycles for {words} words, at most {limit}"
    for _ in range(20):
        writer.before()
        await driver.settle()
        assert driver.get("cmd_ready_o") == 1 and not driver.get("layer_done_o"), "done twice"
        assert not driver.get("wr_valid_o") and not driver.get("wd_valid_o") and not driver.get("o_re_o")
        await driver.begin()
    assert driver.get("o_free_o") == len(units)


INPUTS = dict(act_base_i=0, record_base_i=0, record_i=0, o_ready_i=0, o_rdata_i=0, wr_ready_i=0, wd_ready_i=0,
              wr_idle_i=1)


@cocotb.test()
@cocotb.parametrize(name=list(LAYERS), stall=list(STALLS))
async def directed(dut, name: str, stall: str) -> None:
    driver = Driver(dut, stall)
    await driver.reset(**INPUTS)
    await run(driver, LAYERS[name], driver.rng)


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS))
async def random_layers_in_a_row(dut, stall: str) -> None:
    driver = Driver(dut, stall)
    await driver.reset(**INPUTS)
    for _ in range(6):
        layer = random_layer(driver.rng, HW)
        dut._log.info(f"{layer}")
        await run(driver, layer, driver.rng)
