"""FPGA area of the engine, estimated by Yosys (xc7 synthesis, no placement): DSP48E1, RAMB36, LUT, FF.

`tiny` takes about five minutes of one core, larger HwConfigs much longer; results stay in build/area. Exit codes as
those of the `subrow` command.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "sw")]

from subrow.area import UNITS, area_json, area_table, estimate, estimate_unit  # noqa: E402
from subrow.console import output, print_json  # noqa: E402
from subrow.spec import hwconfig  # noqa: E402
from subrow.spec.errors import MissingTool, SubrowError  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hw", default="tiny", help="HwConfig: a name or a .toml")
    parser.add_argument("--units", action="store_true", help="each unit by itself instead of the whole engine")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    args = parser.parse_args()
    try:
        hw = hwconfig.load(args.hw)
        areas = {unit: estimate_unit(hw, unit) for unit in UNITS} if args.units else {"subrow_engine": estimate(hw)}
    except SubrowError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if isinstance(error, MissingTool) else 2
    if args.json:
        print_json(area_json(hw, areas))
    else:
        output().print(area_table(hw, areas))
    return 0


if __name__ == "__main__":
    sys.exit(main())
