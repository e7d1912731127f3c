"""subrow_spread: bursts in turn over the ports, words in order with their responses, all ports at work at once."""

from __future__ import annotations

from collections import deque
from typing import Any

import cocotb

from sim.common.clock import Probe, Sim, Stalls, options, rng

OPT = options()
PORTS, WIDTH = OPT.params["Ports"], 8 * OPT.params["DataBytes"]
LATENCY = 20


class Port:
    """A memory port: ordered, with latency and stalls; its words are numbers that the bench gives it."""

    def __init__(self, stalls: Stalls, index: int) -> None:
        self.ask, self.give = stalls.side(f"ar{index}"), stalls.side(f"r{index}", 0.3)
        self.words: deque[tuple[int, int, int, bool]] = deque()  # due, data, response, last
        self.offering, self.ready = False, False


@cocotb.test()
@cocotb.parametrize(pattern=OPT.stalls)
async def spread(dut: Any, pattern: str) -> None:
    rand = rng()
    stalls = Stalls(pattern, rand)
    ports = [Port(stalls, i) for i in range(PORTS)]
    take = stalls.side("take", 0.3)
    bursts = [[(rand.getrandbits(WIDTH), rand.choice((0, 0, 0, 2, 3))) for _ in range(rand.randint(1, 16))]
              for _ in range(60 * OPT.rounds)]  # fmt: skip
    waiting, asked, got = deque(bursts), [0], []
    now, together = [0], [0]

    def drive() -> None:
        now[0] += 1
        for port in ports:
            port.ready = port.ask()
            if not port.offering:
                port.offering = bool(port.words) and port.words[0][0] <= now[0] and port.give()
        dut.m_arready_i.value = sum(p.ready << i for i, p in enumerate(ports))
        dut.m_rvalid_i.value = sum(p.offering << i for i, p in enumerate(ports))
        heads = [p.words[0] if p.offering else (0, 0, 0, False) for p in ports]
        dut.m_rdata_i.value = sum(h[1] << WIDTH * i for i, h in enumerate(heads))
        dut.m_rresp_i.value = sum(h[2] << 2 * i for i, h in enumerate(heads))
        dut.m_rlast_i.value = sum(h[3] << i for i, h in enumerate(heads))
        dut.s_arvalid_i.value = int(bool(waiting))
        dut.s_rready_i.value = int(take())

    def sample() -> None:
        together[0] = max(together[0], sum(p.offering for p in ports))
        valid = int(dut.m_arvalid_o.value)
        assert valid & valid - 1 == 0, "one burst at two ports"
        if valid:
            index = valid.bit_length() - 1
            assert index == asked[0] % PORTS, f"burst {asked[0]} at port {index}"
            if ports[index].ready:
                assert int(dut.s_arready_o.value)
                words = waiting.popleft()
                ports[index].words += [(now[0] + LATENCY, d, r, i == len(words) - 1) for i, (d, r) in enumerate(words)]
                asked[0] += 1
        for i, port in enumerate(ports):
            if port.offering and int(dut.m_rready_o.value) >> i & 1:
                port.words.popleft()
                port.offering = False
        if int(dut.s_rvalid_o.value) and int(dut.s_rready_i.value):
            got.append((int(dut.s_rdata_o.value), int(dut.s_rresp_o.value), bool(int(dut.s_rlast_o.value))))

    want = [(d, r, i == len(b) - 1) for b in bursts for i, (d, r) in enumerate(b)]
    if OPT.corrupt:
        want[-1] = (want[-1][0] ^ 1, *want[-1][1:])
    sim = Sim(dut, Probe(sample, drive))
    await sim.reset()
    await sim.until(lambda: len(got) >= len(want), 60_000, "words")
    assert got == want, "words differ"
    assert not any(p.words for p in ports), "words were left over"
    assert pattern != "none" or together[0] == PORTS, "the ports never answered at the same time"
