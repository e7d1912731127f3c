"""Make the package that boards install: the driver, the checks and the benchmark, without compiler and simulation.

    python scripts/board_package.py [--out build/board]    writes subrow_board-<version>-py3-none-any.whl there

On the board: `pip install --no-deps subrow_board-*.whl`. `subrow build` puts the same file into its folder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "sw"))

from subrow.bitstream import board_package  # noqa: E402
from subrow.spec.program import write_atomic  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "board")
    target = parser.parse_args().out / board_package.name()
    write_atomic(target, board_package.wheel())
    print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
