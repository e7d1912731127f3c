"""The cycle model against the simulated RTL, layer by layer, and the worst errors: run it after every change of hw/rtl.

Sets: demo (the demo network on tiny), layers (3x3 layers on pynq-z2), random. Exit status 1 when a layer is beyond
tolerance, 3 without Verilator.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "sw")]

from subrow.bench.calibrate import SETS, run  # noqa: E402
from subrow.spec.errors import MissingTool, SubrowError  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SETS), help=f"sets, comma separated: {','.join(SETS)}")
    parser.add_argument("--random", type=int, default=20, help="random layers")
    parser.add_argument("--seed", type=int, default=0, help="of the first random layer")
    args = parser.parse_args()
    try:
        good = run(args.only.split(","), args.random, args.seed, lambda text: print(text, flush=True))
    except SubrowError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if isinstance(error, MissingTool) else 2
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
