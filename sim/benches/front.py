"""What the benches of the front end share: a clock loop, stalls, a reader, the loop nest of docs/hardware.md."""

from __future__ import annotations

import json
import os
import random
from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace

import cocotb
from cocotb.triggers import Timer

from subrow.spec.isa import OPCODE_LAYER, USED_BITS, Instruction

ENV = "SUBROW_BENCH"


def options() -> SimpleNamespace:
    """What the pytest side passed: params (RTL parameters) and stall."""
    return SimpleNamespace(**json.loads(os.environ[ENV]))


def rng() -> random.Random:
    return random.Random(cocotb.RANDOM_SEED)


class Stall:
    """Whether a side is willing in this cycle: always, random (half of the cycles), long (20..60 cycles off)."""

    def __init__(self, mode: str, rand: random.Random) -> None:
        assert mode in ("always", "random", "long")
        self.mode, self.rand, self.left, self.on = mode, rand, 0, True

    def __call__(self) -> bool:
        if self.mode == "always":
            return True
        if self.mode == "random":
            return self.rand.random() < 0.5
        if self.left == 0:
            self.on = not self.on
            self.left = self.rand.randint(20, 60)
        self.left -= 1
        return self.on


class Sim:
    """The clock, by hand: agents drive after the falling edge and sample before the rising one."""

    def __init__(self, dut, *agents) -> None:
        self.dut, self.agents, self.cycle = dut, list(agents), 0

    async def step(self) -> None:
        for agent in self.agents:
            agent.drive()
        await Timer(1, "ns")
        for agent in self.agents:
            agent.sample()
        self.dut.clk_i.value = 1
        await Timer(1, "ns")
        self.dut.clk_i.value = 0
        self.cycle += 1

    async def reset(self) -> None:
        agents, self.agents = self.agents, []
        self.dut.rst_ni.value = 0
        for _ in range(3):
            await self.step()
        self.dut.rst_ni.value = 1
        self.agents = agents

    async def until(self, condition, limit: int, what: str) -> None:
        """Steps until condition() holds after a step."""
        for _ in range(limit):
            await self.step()
            if condition():
                return
        raise AssertionError(f"{what}: not within {limit} cycles")

    async def command(self, instr: Instruction, limit: int = 100000) -> None:
        """One layer: offer it until it is taken. Signals of the unit are those of docs/hardware.md."""
        dut = self.dut
        dut.cmd_valid_i.value = 1
        dut.cmd_data_i.value = encoded(instr)
        for _ in range(limit):
            ready = int(dut.cmd_ready_o.value)
            await self.step()
            if ready:
                break
        else:
            raise AssertionError("command not taken")
        dut.cmd_valid_i.value = 0
        dut.cmd_data_i.value = 0


class Reader:
    """A read engine on req_* / rd_*; `memory(addr, beats)` gives the words. `must_take`: rd_ready is never low."""

    def __init__(self, dut, memory, stall: Stall, latency: int = 40, prefix: str = "", must_take: bool = True) -> None:
        self.dut, self.memory, self.stall, self.latency = dut, memory, stall, latency
        self.name = lambda port: getattr(dut, prefix + port)
        self.must_take = must_take
        self.now = 0
        self.beats: deque[tuple[int, int]] = deque()  # due, word
        self.requests: list[tuple[int, int]] = []
        self.taken = 0
        self.offering = False

    def drive(self) -> None:
        self.now += 1
        ready = self.stall()
        self.name("req_ready_i").value = int(ready)
        if not self.offering:
            self.offering = bool(self.beats) and self.beats[0][0] <= self.now and self.stall()
        self.name("rd_valid_i").value = int(self.offering)
        if self.offering:
            self.name("rd_data_i").value = self.beats[0][1]

    def sample(self) -> None:
        name = self.name
        if int(name("req_valid_o").value) and int(name("req_ready_i").value):
            addr, beats = int(name("req_addr_o").value), int(name("req_beats_o").value)
            assert beats > 0, f"request of no words at {addr:#x}"
            self.requests.append((addr, beats))
            self.beats.extend((self.now + self.latency, w) for w in self.memory(addr, beats))
        if self.offering:
            ready = int(name("rd_ready_o").value)
            assert ready or not self.must_take, "a word that was asked for is not taken at once"
            if ready:
                self.beats.popleft()
                self.taken += 1
                self.offering = False


class Probe:
    """Calls functions before each rising edge, or to drive."""

    def __init__(self, sample=None, drive=None) -> None:
        self.sample = sample or (lambda: None)
        self.drive = drive or (lambda: None)


class Words:
    """Memory whose words are a hash of their address, so that no array is needed."""

    def __init__(self, width: int, salt: int) -> None:
        self.width, self.salt = width, salt

    def word(self, addr: int) -> int:
        assert addr % self.width == 0, f"unaligned address {addr:#x}"
        return random.Random(addr * 1000003 + self.salt).getrandbits(8 * self.width)

    def __call__(self, addr: int, beats: int) -> list[int]:
        return [self.word(addr + i * self.width) for i in range(beats)]

    def bits(self, addr: int, size: int) -> int:
        return sum(w << (8 * self.width * i) for i, w in enumerate(self(addr, size // self.width)))


def encoded(instr: Instruction) -> int:
    return int.from_bytes(instr.encode(), "little") & ((1 << USED_BITS) - 1)


# ---- the loop nest ---------------------------------------------------------------------------------------------------
def tile_m(instr: Instruction) -> int:
    return 4 if instr.tile == 2 else 2


def blocks(instr: Instruction) -> Iterator[SimpleNamespace]:
    """docs/hardware.md, loop nest, word by word."""
    m, s = tile_m(instr), instr.stride
    ext_h, ext_w = (instr.kernel_h, instr.kernel_w) if instr.tile == 0 else (3, 3)
    TH, TW = -(-instr.conv_h // m), -(-instr.conv_w // m)
    for by in range(instr.blocks_y):
        for bx in range(instr.blocks_x):
            b = SimpleNamespace(by=by, bx=bx, half=(by * instr.blocks_x + bx) % 2)
            b.last_y, b.last_x = by == instr.blocks_y - 1, bx == instr.blocks_x - 1
            b.th = min(instr.block_th, TH - by * instr.block_th)
            b.tw = min(instr.block_tw, TW - bx * instr.block_tw)
            b.iy0 = by * instr.block_th * m * s - instr.pad_top
            b.ix0 = bx * instr.block_tw * m * s - instr.pad_left
            b.ry0, b.rx0 = max(b.iy0, 0), max(b.ix0, 0)
            b.nrows = min(b.iy0 + (b.th * m - 1) * s + ext_h, instr.in_h) - b.ry0
            b.ncols = min(b.ix0 + (b.tw * m - 1) * s + ext_w, instr.in_w) - b.rx0
            b.q = instr.q_count[2 * b.last_y + b.last_x]
            b.cy0, b.cx0 = by * instr.block_th * m, bx * instr.block_tw * m
            b.crows = min(b.th * m, instr.conv_h - b.cy0)
            b.ccols = min(b.tw * m, instr.conv_w - b.cx0)
            if instr.pool:
                b.oy0, b.ox0 = b.cy0 // 2, b.cx0 // 2
                b.orows, b.ocols = min(b.th * m // 2, instr.out_h - b.oy0), min(b.tw * m // 2, instr.out_w - b.ox0)
            else:
                b.oy0, b.ox0, b.orows, b.ocols = b.cy0, b.cx0, b.crows, b.ccols
            yield b


def layer(L: int, Pk: int, h: int, w: int, C: int, K: int, *, tile: int = 2, kernel: int = 3, stride: int = 1,
          pad: int | None = None, th: int = 99, tw: int = 99, pool: int = 0, tiles: int = 2, **more) -> Instruction:
    """A consistent instruction; th, tw: block size in tiles."""
    pad = kernel // 2 if pad is None else pad
    m = 4 if tile == 2 else 2
    conv_h, conv_w = (h + 2 * pad - kernel) // stride + 1, (w + 2 * pad - kernel) // stride + 1
    TH, TW = -(-conv_h // m), -(-conv_w // m)
    th, tw = min(th, TH), min(tw, TW)
    in_cb, out_cb = -(-C // L), -(-K // L)
    out_h, out_w = (conv_h // 2, conv_w // 2) if pool else (conv_h, conv_w)
    by, bx = -(-TH // th), -(-TW // tw)
    lh, lw = TH - (by - 1) * th, TW - (bx - 1) * tw
    k = kernel if tile == 0 else 1
    values = dict(
        opcode=OPCODE_LAYER, tile=tile, stride=stride, pool=pool, in_h=h, in_w=w, in_cb=in_cb, conv_h=conv_h,
        conv_w=conv_w, out_h=out_h, out_w=out_w, out_cb=out_cb, kgs=-(-K // Pk), kernel_h=k, kernel_w=k,
        pad_top=pad, pad_left=pad, in_row_bytes=in_cb * w * L, out_row_bytes=out_cb * out_w * L,
        res_row_bytes=out_cb * conv_w * L, block_th=th, block_tw=tw, blocks_y=by, blocks_x=bx,
        q_count=tuple(-(-a * b // tiles) for a, b in ((th, tw), (th, lw), (lh, tw), (lh, lw))), sub_s=2,
    )
    values.update(more)
    return Instruction(values)


def good(instr: Instruction) -> bool:
    """Whether each block sees the image and output, as the compiler guarantees."""
    return all(b.nrows > 0 and b.ncols > 0 for b in blocks(instr))


def random_layer(rand: random.Random, L: int, Pk: int, **more) -> Instruction:
    while True:
        tile = rand.randint(0, 2)
        kernel = rand.choice((1, 2, 3, 5, 7)) if tile == 0 else 3
        h, w = rand.randint(1, 24), rand.randint(1, 24)
        pad = rand.randint(0, kernel // 2)
        if h + 2 * pad < kernel or w + 2 * pad < kernel:
            continue
        stride = rand.randint(1, 2) if tile == 0 else 1
        instr = layer(L, Pk, h, w, rand.randint(1, 3 * L), rand.randint(1, 3 * Pk), tile=tile, kernel=kernel,
                      stride=stride, pad=pad, th=rand.randint(1, 4), tw=rand.randint(1, 4),
                      pool=rand.randint(0, 1), **more)
        if good(instr):
            return instr


def fixed_layers(L: int, Pk: int, **more) -> list[Instruction]:
    return [
        layer(L, Pk, 14, 14, 2 * L, 2 * Pk, th=2, tw=2, **more),
        layer(L, Pk, 13, 9, L - 1, Pk + 1, tile=1, th=3, tw=2, pool=1, **more),
        layer(L, Pk, 17, 15, 3, Pk, tile=0, kernel=7, stride=2, th=2, tw=4, **more),
        layer(L, Pk, 5, 6, 3 * L, 3 * Pk, tile=0, kernel=1, **more),
        layer(L, Pk, 1, 1, 16 * L, 2 * Pk + L, tile=0, kernel=1, **more),
        layer(L, Pk, 24, 8, L, L, th=6, tw=2, **more),
    ]
