"""Measures and prints the figures: `make bench`. Exit codes as those of the `subrow` command.

Parts: emulator (images/s of the demo network), layers (cycles of 3x3 layers in the simulated RTL, and its speed),
area (of `tiny`, estimated by Yosys), demosaic (photographs by a trained network). Written to build/bench.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "sw")]

from models import ModelError  # noqa: E402
from subrow.bench.run import PARTS, run  # noqa: E402
from subrow.spec.errors import MissingTool, SubrowError  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder of bench.json and the pages")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, comma separated: {','.join(PARTS)}")
    parser.add_argument("--json", action="store_true", help="print bench.json instead of tables")
    args = parser.parse_args()
    try:
        exact = run(args.out, tuple(args.only.split(",")), args.json)
    except (SubrowError, ModelError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if isinstance(error, MissingTool) else 2
    return 0 if exact else 1


if __name__ == "__main__":
    sys.exit(main())
