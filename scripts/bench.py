"""Measures and prints the figures: `make bench`. Exit codes as those of the `subrow` command.

Parts: emulator (images/s of the demo network), layers (cycles of 3x3 layers in the simulated RTL, and its speed),
area (of `tiny`, estimated by Yosys), and networks that others trained: demosaic and edges (photographs), resnet8
(accuracy; with --data only). Written to build/bench.
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
    parser.add_argument("--only", help=f"parts, comma separated: {','.join(PARTS)}")
    parser.add_argument("--data", type=Path, help="CIFAR-10, .npz or folder, for the part resnet8")
    parser.add_argument("--json", action="store_true", help="print bench.json instead of tables")
    args = parser.parse_args()
    parts = tuple(p for p in PARTS if p != "resnet8" or args.data) if args.only is None else args.only.split(",")
    if "resnet8" not in parts:
        print("resnet8 is left out" + ("" if args.data else ": it needs --data PATH"), file=sys.stderr)
    try:
        exact = run(args.out, parts, args.json, args.data)
    except (SubrowError, ModelError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if isinstance(error, MissingTool) else 2
    return 0 if exact else 1


if __name__ == "__main__":
    sys.exit(main())
