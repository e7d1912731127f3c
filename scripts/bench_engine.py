"""Whole networks on the boards' engines, cycle by cycle: `make bench-engine`. Exit codes as those of `subrow`.

ResNet-20, VGG-nagadomi, ResNet-18, 34 and 50 and VGG16 with random weights, on pynq-z2 and zcu104 at 8/8 and 2/8 and on
their dense 16-bit baselines; some also with weights of 4 bits. Hours on two cores; an interrupted bench goes on where
it was: every run is a file in build/bench-engine, valid until the sources that it depends on change.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "sw")]

from models import ModelError  # noqa: E402
from subrow.bench.engine import cases  # noqa: E402
from subrow.bench.engine_run import run  # noqa: E402
from subrow.compress.srbs import parse_density  # noqa: E402
from subrow.spec.errors import ConfigError, MissingTool, SubrowError  # noqa: E402


def _eighths(text: str) -> int:
    s, length = parse_density(text)
    if length != 8:
        raise ConfigError(f"density {text}: this bench takes s/8 on every HwConfig; give 8/8 or 2/8")
    return s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", action="append", default=[], help="only this network; may be given again")
    parser.add_argument("--hw", action="append", default=[], help="only this HwConfig; may be given again")
    parser.add_argument("--density", action="append", default=[], help="only 8/8 (dense) or 2/8")
    parser.add_argument("--bits", type=int, choices=(4, 8), help="of the weights of all layers but the first")
    parser.add_argument("--linear-density", help="of linear layers, s/8, if not that of all others")
    parser.add_argument("--seconds", type=float, default=300.0, help="longest simulation of a run; 0: only estimate")
    parser.add_argument("--fresh", action="store_true", help="make runs again that build/bench-engine has")
    parser.add_argument("--out", type=Path, help="document; docs/results/engine.json when everything runs")
    parser.add_argument("--json", action="store_true", help="print the document instead of tables")
    args = parser.parse_args()
    folder = ROOT / "build" / "bench-engine"
    some = args.network or args.hw or args.density or args.bits or args.linear_density
    out = args.out or (folder / "some" / "engine.json" if some else ROOT / "docs" / "results" / "engine.json")
    try:
        linear = None if args.linear_density is None else _eighths(args.linear_density)
        chosen = cases(args.network, args.hw, [_eighths(d) for d in args.density], args.bits, linear)
        exact = run(chosen, folder, out, args.seconds, args.fresh, args.json)
    except (SubrowError, ModelError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if isinstance(error, MissingTool) else 2
    return 0 if exact else 1


if __name__ == "__main__":
    sys.exit(main())
