"""A bitstream for the PYNQ-Z2 without vendor tools, from a network to a .bit: compiles a Program and builds it.

`--small` builds a small design instead: the same processing system, clock, GP0 adapter and registers, one DSP and one
block RAM in place of the engine, in minutes.

Built, not hardware-tested. Prints what was placed, the clock that nextpnr estimates for the fabric, how long each step
took, and that the bitstream, decoded again, has every feature. Exit codes as those of the `subrow` command.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "sw")]

import numpy as np  # noqa: E402

import subrow  # noqa: E402
from models.vgg_nagadomi import vgg_nagadomi_quarter  # noqa: E402
from subrow.bitstream import flows, open_flow  # noqa: E402
from subrow.bitstream.boards import PYNQ_Z2  # noqa: E402
from subrow.bitstream.folder import Contents  # noqa: E402
from subrow.bitstream.open_tools import OpenTools  # noqa: E402
from subrow.spec import hwconfig  # noqa: E402
from subrow.spec.errors import MissingTool, SubrowError  # noqa: E402

SHAPE, DENSITY = (1, 32, 32), "2/4"
SMALL_HW = "pynq-z2-open"  # its clock and part; the small design has nothing else of it


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hw", default="pynq-z2-open", help="HwConfig: a name or a .toml")
    parser.add_argument("--out", type=Path, help="folder of the build; default build/bench-open, or -small")
    parser.add_argument("--tools", type=Path, default=Path("/"), help="root of the Debian tree with the tools")
    parser.add_argument("--small", action="store_true", help="a small design in place of the engine")
    args = parser.parse_args()
    args.out = args.out or ROOT / "build" / ("bench-open-small" if args.small else "bench-open")
    try:
        OpenTools(args.tools).check()
        run_small(args.out, args.tools) if args.small else run(hwconfig.load(args.hw), args.out, args.tools)
    except SubrowError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if isinstance(error, MissingTool) else 2
    return 0


def run(hw: hwconfig.HwConfig, out: Path, tools: Path) -> None:
    """Compile, build, report."""
    images = np.random.default_rng(0).random((8, *SHAPE), np.float32)
    program = subrow.compile(vgg_nagadomi_quarter(), images, hw=hw, density=DENSITY, tile="f2", calibration=images)
    path = out.with_suffix(".subrow")
    program.save(path)
    start = time.monotonic()
    command = f"subrow build --board {PYNQ_Z2.name} --program {path} --out {out} --flow open --tools {tools}"
    flow = flows.flow_of("open", hw, PYNQ_Z2, tools, command)
    content = flows.contents(flow, "open", hw, PYNQ_Z2, path.read_bytes(), program.digest())
    flows.build(flow, content, out)
    show(out, time.monotonic() - start)


def run_small(out: Path, tools: Path) -> None:
    """Build the small design, report. Raises what open_flow.run raises."""
    hw = hwconfig.load(SMALL_HW)
    start = time.monotonic()
    inputs = tuple(open_flow.files(hw, PYNQ_Z2, small=True))
    about = {"board": PYNQ_Z2.name, "part": PYNQ_Z2.part, "flow": "open", "label": f"small design, {open_flow.LABEL}"}
    command = f"python scripts/bench_open.py --small --out {out} --tools {tools}"
    content = Contents(inputs, (), tuple(open_flow.products(command)), about)
    content.fill(out)
    open_flow.run(out, inputs=inputs, hw=hw, root=tools)
    content.write_manifest(out)
    show(out, time.monotonic() - start)


def show(out: Path, seconds: float) -> None:
    """Print what reports/open.json says."""
    report = json.loads((out / "reports" / "open.json").read_text(encoding="utf-8"))
    used = {name: u["used"] for name, u in report["utilization"].items() if u["used"]}
    print(f"{report['hw']} ({report['hw_hash']}) on {report['part']}: {report['label']}")
    print("placed: " + ", ".join(f"{count:,} {name}" for name, count in sorted(used.items())))
    print(f"clock {report['clock_mhz']} MHz; fabric {report['fabric_mhz']} MHz (estimated; DSP, block RAM and "
          "PS paths are not timed)")  # fmt: skip
    print(f"{report['features']:,} features with bits found in the decoded bitstream, {report['features_lost']} lost, "
          f"{report['bits_missing']} bits missing, {report['bits_extra']} too many; {report['dsp_tie_offs']} DSP "
          "tie-offs written in nextpnr's place")  # fmt: skip
    print(f"{out / 'subrow.bit'}, {out / 'subrow.hwh'}: {seconds / 60:.1f} minutes (measured)")


if __name__ == "__main__":
    sys.exit(main())
