"""What compression does to accuracy: `make bench-compression DATA=PATH`. Exit codes as those of `subrow`.

Post-training quantisation and pruning (brevitas and unstructured pruning beside Subrow), the search at three budgets,
and the trained networks of models/weights. Nothing draws random numbers; two runs give the same figures.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "sw")]

from subrow.bench.compression_run import PARTS, run  # noqa: E402
from subrow.spec.errors import MissingTool, SubrowError  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10: .npz of JPEG pictures, or pickle folder")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts, comma separated: {','.join(PARTS)}")
    parser.add_argument("--out", type=Path, help="document; docs/results/compression.json when everything runs")
    parser.add_argument("--json", action="store_true", help="print the document instead of tables")
    args = parser.parse_args()
    parts = args.only.split(",")
    results = ROOT / ("docs/results" if set(parts) == set(PARTS) else "build/bench")
    try:
        run(args.data, args.out or results / "compression.json", parts, args.json)
    except SubrowError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if isinstance(error, MissingTool) else 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
