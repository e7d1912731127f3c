"""The memory side of the units: what subrow_axi_read and subrow_axi_write look like to their users."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.common.bits import byte_words
from sim.common.clock import Stall

Memory = Callable[[int, int], list[int]]
"""(address, beats) -> words"""


class Words:
    """Memory whose words are a hash of their address, so that no array is needed."""

    def __init__(self, width: int, salt: int) -> None:
        self.width, self.salt = width, salt

    def word(self, addr: int) -> int:
        assert addr % self.width == 0, f"unaligned address {addr:#x}"
        return random.Random(addr * 1000003 + self.salt).getrandbits(8 * self.width)

    def __call__(self, addr: int, beats: int) -> list[int]:
        return [self.word(addr + i * self.width) for i in range(beats)]


class Regions:
    """Arrays at addresses; a request outside them is an error. The array added last is in front.

    width: bytes of a beat; word: of what an address is a multiple of, when it is less. A beat is read as a whole.
    """

    def __init__(self, width: int, word: int | None = None) -> None:
        self.width, self.word = width, word or width
        self.parts: deque[tuple[int, NDArray[np.uint8]]] = deque(maxlen=8)

    def add(self, base: int, data: NDArray[np.uint8]) -> None:
        self.parts.appendleft((base, data))

    def __call__(self, addr: int, beats: int) -> list[int]:
        size = beats * self.width
        low = addr - (addr % self.width if self.word < self.width else 0)
        for base, data in self.parts:
            if base <= low and low + size <= base + data.size:
                assert (addr - base) % self.word == 0, f"unaligned address {addr:#x}"
                return byte_words(data[low - base : low - base + size], self.width)
        raise AssertionError(f"request of {beats} words at {addr:#x}: outside every tensor")


class Reader:
    """Serves req_* / rd_* after `latency` cycles. must_take: the unit never refuses a word that it asked for."""

    def __init__(self, dut: Any, memory: Memory, ask: Stall, give: Stall, latency: int = 40,
                 must_take: bool = True) -> None:
        self.dut, self.memory, self.ask, self.give, self.latency = dut, memory, ask, give, latency
        self.must_take = must_take
        self.now = 0
        self.beats: deque[tuple[int, int]] = deque()  # due, word
        self.requests: list[tuple[int, int]] = []
        self.offering = False

    def drive(self) -> None:
        self.now += 1
        self.dut.req_ready_i.value = int(self.ask())
        if not self.offering:
            self.offering = bool(self.beats) and self.beats[0][0] <= self.now and self.give()
        self.dut.rd_valid_i.value = int(self.offering)
        if self.offering:
            self.dut.rd_data_i.value = self.beats[0][1]

    def sample(self) -> None:
        dut = self.dut
        if int(dut.req_valid_o.value) and int(dut.req_ready_i.value):
            addr, beats = int(dut.req_addr_o.value), int(dut.req_beats_o.value)
            assert beats > 0, f"request of no words at {addr:#x}"
            self.requests.append((addr, beats))
            self.beats.extend((self.now + self.latency, w) for w in self.memory(addr, beats))
        if self.offering:
            ready = int(dut.rd_ready_o.value)
            assert ready or not self.must_take, "a word that was asked for is not taken at once"
            if ready:
                self.beats.popleft()
                self.offering = False

    def drop(self) -> None:
        """Forgets what was asked for, as a read engine does in a flush."""
        self.beats.clear()
        self.offering = False


class Writer:
    """Takes wr_* / wd_*: beats in order, idle some cycles after the last. early: takes beats before their request.

    word, lanes: bytes of a word, words of a beat; strobes take words as a whole.
    """

    def __init__(self, dut: Any, word: int, lanes: int, ask: Stall, take: Stall, rand: random.Random,
                 early: bool) -> None:
        self.dut, self.word, self.width, self.ask, self.take = dut, word, word * lanes, ask, take
        self.rand, self.early = rand, early
        self.requests: deque[list[int]] = deque()  # [address of the next beat, beats left]
        self.words: deque[tuple[int, int]] = deque()  # beats: data, strobes
        self.memory: dict[int, int] = {}
        self.held: dict[str, int] = {}
        self.now = self.busy_until = self.asked = 0

    @property
    def idle(self) -> bool:
        return not self.requests and not self.words and self.now >= self.busy_until

    def drive(self) -> None:
        self.now += 1
        room = bool(self.requests) or (self.early and len(self.words) < 3)
        self.dut.wr_ready_i.value = int(len(self.requests) < 8 and self.ask())
        self.dut.wd_ready_i.value = int(room and self.take())
        self.dut.wr_idle_i.value = int(self.idle)

    def sample(self) -> None:
        dut = self.dut
        names = ("wr_valid_o", "wr_addr_o", "wr_beats_o", "wd_valid_o", "wd_data_o", "wd_strb_o", "wr_ready_i",
                 "wd_ready_i")
        now = {n: int(getattr(dut, n).value) for n in names}
        for name, value in self.held.items():
            assert now[name] == value, f"{name} changed while it waited"
        self.held = {}
        for valid, ready, fields in (("wr_valid_o", "wr_ready_i", ("wr_addr_o", "wr_beats_o")),
                                     ("wd_valid_o", "wd_ready_i", ("wd_data_o", "wd_strb_o"))):
            if now[valid] and not now[ready]:
                self.held |= {n: now[n] for n in (valid, *fields)}
        if now["wr_valid_o"] and now["wr_ready_i"]:
            assert now["wr_beats_o"] > 0 and now["wr_addr_o"] % self.word == 0
            self.requests.append([now["wr_addr_o"] // self.width * self.width, now["wr_beats_o"]])
            self.asked += 1
        if now["wd_valid_o"] and now["wd_ready_i"]:
            self.words.append((now["wd_data_o"], now["wd_strb_o"]))
        while self.words and self.requests:
            self._store(self.requests[0], self.words.popleft())

    def _store(self, request: list[int], beat: tuple[int, int]) -> None:
        data, strobes = beat
        full = (1 << self.word) - 1
        assert strobes, f"a beat of no word at {request[0]:#x}"
        for at in range(0, self.width, self.word):
            enabled = strobes >> at & full
            assert enabled in (0, full), f"strobes {strobes:#x}: part of a word"
            if enabled:
                address = request[0] + at
                assert address not in self.memory, f"address {address:#x} written twice"
                self.memory[address] = data >> 8 * at & (1 << 8 * self.word) - 1
        request[0] += self.width
        request[1] -= 1
        if not request[1]:
            self.requests.popleft()
        self.busy_until = self.now + self.rand.randrange(2, 12)
