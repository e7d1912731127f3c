"""Benches of subrow_block_iter, subrow_afetch, subrow_rfetch and subrow_wfetch; `front` models the loop nest."""

from __future__ import annotations

import cocotb
from front import Probe, Reader, Sim, Stall, Words, blocks, encoded, fixed_layers, layer, options, random_layer, rng

LATENCY = 40


@cocotb.test()
async def block_iter(dut):
    """Every output of every block."""
    rand, sim = rng(), Sim(dut)
    dut.load_i.value = dut.next_i.value = 0
    await sim.reset()
    for instr in fixed_layers(8, 8) + [random_layer(rand, 8, 8) for _ in range(40)]:
        dut.cmd_i.value = encoded(instr)
        dut.load_i.value = 1
        await sim.step()
        dut.load_i.value = 0
        for b in blocks(instr):
            await sim.until(lambda: int(dut.valid_o.value), 6, "valid")
            for _ in range(rand.randint(0, 2)):
                await sim.step()
            for name, want in vars(b).items():
                signal = getattr(dut, name + "_o").value
                got = signal.to_signed() if name in ("iy0", "ix0") else int(signal)
                assert got == int(want), f"{name} = {got}, want {want}, block {b}, {instr}"
            assert int(dut.last_o.value) == int(b.last_y and b.last_x)
            dut.next_i.value = 1
            await sim.step()
            dut.next_i.value = 0
        for _ in range(8):
            await sim.step()
            assert not int(dut.valid_o.value), "valid after the last block"


class Follower:
    """Compares RAM writes with an expected list and a counter with how many of `ends` have been written."""

    def __init__(self, dut, ram: str, counter: str, free: str, rand, lazy: bool) -> None:
        self.dut, self.ram, self.rand, self.lazy = dut, ram, rand, lazy
        self.counter, self.free_port = getattr(dut, counter), getattr(dut, free)
        self.load([], [], [])

    def load(self, writes, ends, frees) -> None:
        """ends: numbers of writes after which the counter moves; frees: after how many writes a half is complete."""
        self.writes, self.ends, self.frees = writes, ends, frees
        self.done = self.count = self.free = 0
        self.idle = True

    def drive(self) -> None:
        # the consumer gives halves back in order, some time after they are full
        if self.free < len(self.frees) and self.done >= self.frees[self.free] and (
            not self.lazy or self.rand.random() < 0.03
        ):
            self.free += 1
        self.free_port.value = self.free

    def sample(self) -> None:
        if not self.idle:
            got = int(self.counter.value)
            assert got == self.count, f"counter {got}, {self.count} complete"
        enable = int(getattr(self.dut, f"{self.ram}_we_o").value)
        if not enable:
            return
        assert self.done < len(self.writes), "more words than the block has"
        half = sum(1 for f in self.frees if f <= self.done)
        assert half - self.free < 2, f"half {half} written while only {self.free} are free"
        addr, data = getattr(self.dut, f"{self.ram}_waddr_o"), getattr(self.dut, f"{self.ram}_wdata_o")
        write = (enable, int(addr.value), int(data.value))
        assert write == self.writes[self.done], f"write {self.done}: {write} want {self.writes[self.done]}"
        self.done += 1
        while self.count < len(self.ends) and self.ends[self.count] <= self.done:
            self.count += 1


async def follow(dut, ram, counter, free, make, layers):
    """Runs layers through a fetch unit; make(instr, words, base) gives (writes, ends, frees)."""
    opt, rand = options(), rng()
    L = opt.params["SubRow"]
    base = 0x12_3456_0000
    words = Words(L, rand.randrange(1 << 30))
    reader = Reader(dut, words, Stall(opt.stall, rand), LATENCY)
    follower = Follower(dut, ram, counter, free, rand, opt.stall != "always")
    sim = Sim(dut, reader, follower)
    dut.act_base_i.value = base
    dut.cmd_valid_i.value = 0
    await sim.reset()
    for instr in layers:
        follower.idle = True
        writes, ends, frees = make(instr, words, base)
        start = sim.cycle
        await sim.command(instr)
        follower.load(writes, ends, frees)
        follower.idle = False
        await sim.until(lambda: int(dut.cmd_ready_o.value) and follower.done == len(follower.writes),
                        60 * len(writes) + 9000, f"layer {instr}")
        for _ in range(3):
            await sim.step()
        assert follower.count == len(ends) and not reader.beats, "not everything was counted or read"
        if opt.stall == "always":
            # The latency once, a word per cycle, and the way to the first request of a block, if the next one waits
            # for a half: never more than 2 blocks are ahead.
            limit = len(writes) + (LATENCY + 12) * (1 + len(frees) // 2) + sum(r == 1 for _, r in reader.requests) + 20
            assert sim.cycle - start <= limit, f"{sim.cycle - start} cycles for {len(writes)} words, {instr}"
        reader.requests.clear()


@cocotb.test()
async def afetch(dut):
    """Bank, address and word of every write, rows_o, halves, speed."""
    opt, rand = options(), rng()
    L, depth = opt.params["SubRow"], opt.params["ActWords"]

    def make(instr, words, base):
        writes, ends, frees = [], [], []
        for b in blocks(instr):
            for y in range(b.ry0, b.ry0 + b.nrows):
                for cb in range(instr.in_cb):
                    for x in range(b.rx0, b.rx0 + b.ncols):
                        addr = base + instr.in_offset + y * instr.in_row_bytes + (cb * instr.in_w + x) * L
                        ly, lx = y - b.ry0, x - b.rx0
                        at = b.half * depth // 2 + (ly // 8 * instr.in_cb + cb) * b.ncols + lx
                        writes.append((1 << (ly % 8), at, words.word(addr)))
                ends.append(len(writes))
            frees.append(len(writes))
        return writes, ends, frees

    def layers():
        for instr in fixed_layers(L, 2 * L, in_offset=0x4000) + [
            random_layer(rand, L, 2 * L, in_offset=rand.randrange(1 << 20) * L) for _ in range(8)
        ]:
            if all(-(-b.nrows // 8) * instr.in_cb * b.ncols <= depth // 2 for b in blocks(instr)):
                yield instr

    await follow(dut, "a", "rows_o", "act_free_i", make, layers())


@cocotb.test()
async def rfetch(dut):
    """Address and word of every write, r_ready_o, halves, speed; a layer without residual does nothing."""
    opt, rand = options(), rng()
    L, Pk, depth = opt.params["SubRow"], opt.params["Channels"], opt.params["OutWords"]
    CB = Pk // L

    def make(instr, words, base):
        writes: list[tuple[int, int, int]] = []
        ends: list[int] = []
        if not instr.residual:
            return [], [], []
        for b in blocks(instr):
            for kg in range(instr.kgs):
                for oy in range(b.crows):
                    for kb in range(min(CB, instr.out_cb - kg * CB)):
                        for ox in range(b.ccols):
                            addr = base + instr.res_offset + (b.cy0 + oy) * instr.res_row_bytes
                            addr += ((kg * CB + kb) * instr.conv_w + b.cx0 + ox) * L
                            at = len(ends) % 2 * depth // 2 + (oy * b.ccols + ox) * CB + kb
                            writes.append((1, at, words.word(addr)))
                ends.append(len(writes))
        return writes, ends, list(ends)

    def layers():
        for instr in fixed_layers(L, Pk, res_offset=0x4000, residual=1) + [
            random_layer(rand, L, Pk, res_offset=rand.randrange(1 << 20) * L, residual=int(rand.random() < 0.8))
            for _ in range(8)
        ]:
            if all(b.crows * b.ccols * CB <= depth // 2 for b in blocks(instr)):
                yield instr

    await follow(dut, "r", "r_ready_o", "o_ready_i", make, layers())


@cocotb.test()
async def wfetch(dut):
    """Words, parameters, addresses, pointers, room in the rings, speed."""
    opt, rand = options(), rng()
    p = opt.params
    L, Pk, ub, wb = p["SubRow"], p["Channels"], p["UBits"], p["WeightBytes"]
    CB, idx = Pk // L, L.bit_length() - 1
    words = Words(wb, rand.randrange(1 << 30))
    reader = Reader(dut, words, Stall(opt.stall, rand), LATENCY)
    base = 0x7_0000_1000
    want_w: list[int] = []
    want_p: list[int] = []
    chunks: list[tuple[int, int]] = []  # pointers after each release that is still to come
    hold = [150]  # cycles that a complete chunk stays
    seen = {"w": 0, "p": 0, "wfree": 0, "pfree": 0}
    lazy = opt.stall != "always"

    def word_bytes(implicit):
        return -(-4 * Pk * (ub + (0 if implicit else idx)) // (8 * wb)) * wb

    def expect(instr):
        """Appends the layer's words and groups, and when they are released. Gives the beats."""
        size = word_bytes(instr.implicit_index)
        chunk = Pk * 8 + instr.chunk_words * size
        passes = 1 if instr.resident else instr.blocks_y * instr.blocks_x
        first = len(want_w)
        for _ in range(passes):
            for kg in range(instr.kgs):
                at = base + instr.weight_offset + kg * chunk
                for kb in range(CB):
                    want_p.append(words.bits(at + kb * L * 8, L * 8))
                for i in range(instr.chunk_words):
                    raw = words.bits(at + Pk * 8 + i * size, size)
                    want_w.append(raw & ((1 << (4 * Pk * (ub + (0 if instr.implicit_index else idx)))) - 1))
                if not instr.resident:
                    chunks.append((len(want_w), len(want_p) // CB))
        if instr.resident:
            chunks.append((len(want_w), len(want_p) // CB))
        return passes * instr.kgs * chunk // wb, len(want_w) - first

    def sample():
        assert int(dut.w_wptr_o.value) == seen["w"], "w_wptr"
        assert int(dut.p_wptr_o.value) == seen["p"] // CB, "p_wptr"
        if int(dut.w_we_o.value):
            n = seen["w"]
            assert n - seen["wfree"] < p["WeightWords"], "ring overrun"
            assert int(dut.w_waddr_o.value) == n % p["WeightWords"], "address"
            got = int(dut.w_wdata_o.value)
            assert got == want_w[n], f"weight word {n}: {got:x} want {want_w[n]:x}"
            seen["w"] += 1
        if int(dut.p_we_o.value):
            n = seen["p"]
            assert n // CB - seen["pfree"] < p["ParamGroups"], "parameter ring overrun"
            assert int(dut.p_waddr_o.value) == n % (p["ParamGroups"] * CB), "parameter address"
            assert int(dut.p_wdata_o.value) == want_p[n], f"parameter word {n}"
            seen["p"] += 1

    def drive():
        if chunks and seen["w"] >= chunks[0][0]:
            if not lazy or hold[0] == 0:
                seen["wfree"], seen["pfree"] = chunks.pop(0)
                hold[0] = rand.choice((0, 20, 150))
            else:
                hold[0] -= 1
        dut.w_free_i.value = seen["wfree"]
        dut.p_free_i.value = seen["pfree"]

    sim = Sim(dut, reader, Probe(sample, drive))
    dut.prog_base_i.value = base
    dut.cmd_valid_i.value = 0
    await sim.reset()
    ring = p["WeightWords"]
    for i in range(8):
        implicit, resident = rand.randint(0, 1), rand.randint(0, 1)
        kgs = rand.randint(1, min(4, p["ParamGroups"]))
        words_max = ring // kgs if resident else ring
        count = min(words_max, rand.choice((1, 3, 17, ring // 3, ring, ring)))
        instr = layer(L, Pk, 12, 16, L, kgs * Pk, th=2, tw=rand.randint(2, 4), implicit_index=implicit,
                      resident=resident, chunk_words=count, weight_offset=0x2000 + rand.randrange(1 << 16) * wb)
        assert instr.kgs == kgs
        start, whole = sim.cycle, not chunks
        beats, _ = expect(instr)
        await sim.command(instr)
        await sim.until(lambda: int(dut.cmd_ready_o.value), 60 * beats + 9000, f"layer {i}")
        if not lazy and resident and whole:
            limit = beats + LATENCY + 40
            assert sim.cycle - start <= limit, f"layer {i}: {sim.cycle - start} cycles for {beats} beats"
        if rand.random() < 0.5:  # otherwise the next layer comes while this one holds its words
            await sim.until(lambda: not chunks, 20000, "release")
    for _ in range(3):
        await sim.step()
    assert seen["w"] == len(want_w) and seen["p"] == len(want_p) and not reader.beats
