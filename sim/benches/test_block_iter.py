"""subrow_block_iter against the loop nest of docs/hardware.md."""

from __future__ import annotations

import cocotb

from sim.common.clock import Sim, encoded, options, rng
from sim.common.layers import blocks, directed, random_layer

OPT = options()


@cocotb.test()
async def block_iter(dut):
    """Every output of every block."""
    rand, sim, hw = rng(), Sim(dut), OPT.config
    await sim.reset(load_i=0, next_i=0, cmd_i=0)
    for instr in [*directed(hw).values(), *(random_layer(hw, rand) for _ in range(OPT.rounds))]:
        sim.set(cmd_i=encoded(instr), load_i=1)
        await sim.step()
        sim.set(load_i=0)
        for b in blocks(instr):
            await sim.until(lambda: sim.get("valid_o"), 6, "valid")
            for _ in range(rand.randint(0, 2)):
                await sim.step()
            for name, want in vars(b).items():
                if name == "kg0":  # units count the groups themselves
                    continue
                signal = getattr(dut, name + "_o").value
                got = signal.to_signed() if name in ("iy0", "ix0") else int(signal)
                wrong = OPT.corrupt and b.pass_end and name == "iy0"
                assert got == int(want) + wrong, f"{name} = {got}, want {want}, block {b}, {instr}"
            assert sim.get("last_o") == int(b.pass_end and b.groups.stop == instr.kgs)
            sim.set(next_i=1)
            await sim.step()
            sim.set(next_i=0)
        for _ in range(8):
            await sim.step()
            assert not sim.get("valid_o"), "valid after the last block"
