"""What pruning costs before retraining: `make bench-compression ARGS='--data cifar10.npz'`. Exit codes as of `subrow`.

Searched densities against one density in every layer at equal cycles, against unstructured pruning and against int8
without pruning, on held-out images; the table goes beside the JSON document.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "sw")]

from models import ModelError, datasets  # noqa: E402
from subrow.bench.compression import Setup, page, page_path, run  # noqa: E402
from subrow.cli_options import check_output  # noqa: E402
from subrow.spec import hwconfig  # noqa: E402
from subrow.spec.errors import SubrowError  # noqa: E402
from subrow.spec.program import write_atomic  # noqa: E402


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10: the .npz or the folder of data_batch_1")
    parser.add_argument("--network", default="resnet20_cifar10", help="a trained network in float")
    parser.add_argument("--hw", default="pynq-z2")
    parser.add_argument("--importance", choices=("sweep", "taylor"), default="sweep")
    parser.add_argument("--calibration", type=int, default=128, help="images without labels to prune with")
    parser.add_argument("--limit", type=int, default=2500, help="held-out images that are counted")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "compression.json")
    return parser.parse_args()


def main() -> int:
    args = _options()
    words = ["--data", "cifar10.npz", "--network", args.network, "--hw", args.hw, "--importance", args.importance]
    words += ["--calibration", str(args.calibration), "--limit", str(args.limit)]
    try:
        check_output(args.out, "--out", ".json")
        setup = Setup(args.network, hwconfig.load(args.hw), datasets.load(args.data), args.calibration, args.limit,
                      args.importance)  # fmt: skip
        command = shlex.join(["python", "scripts/bench_compression.py", *words])
        document = run(setup, command, lambda text: print(text, file=sys.stderr, flush=True))
        write_atomic(args.out, (json.dumps(document, indent=1) + "\n").encode())
        write_atomic(page_path(args.out), page(document).encode())
    except (SubrowError, ModelError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(page(document))
    return 0


if __name__ == "__main__":
    sys.exit(main())
