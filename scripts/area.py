"""FPGA area of the engine, estimated by Yosys (no placement): DSPs, RAMB36, LUT, FF, longest paths in LUT levels.

`tiny` takes about five minutes of one core, larger HwConfigs longer; results stay in build/area. Exit codes as those of
the `subrow` command.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "sw")]

from subrow.area import FAMILIES, UNITS, area_json, area_table, depth_table, estimate, estimate_unit  # noqa: E402
from subrow.console import output, print_json  # noqa: E402
from subrow.spec import hwconfig  # noqa: E402
from subrow.spec.errors import MissingTool, SubrowError  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hw", default="tiny", help="HwConfig: a name or a .toml")
    parser.add_argument("--units", action="store_true", help="each unit by itself instead of the whole engine")
    parser.add_argument("--depth", action="store_true", help="also the longest path of each module, in LUT levels")
    parser.add_argument("--family", choices=FAMILIES, help="7 series or UltraScale+; default: that of the part")
    parser.add_argument("--uram", action="store_true", help="large memories in UltraRAM (UltraScale+)")
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    args = parser.parse_args()
    try:
        hw = hwconfig.load(args.hw)
        options = {"family": args.family, "uram": args.uram}
        if args.units:
            estimates = {unit: estimate_unit(hw, unit, **options) for unit in UNITS}
        else:
            estimates = {"subrow_engine": estimate(hw, **options)}
    except SubrowError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if isinstance(error, MissingTool) else 2
    if args.json:
        print_json(area_json(hw, estimates, args.family))
    else:
        output().print(area_table(hw, estimates, args.family))
        if args.depth:
            output().print(depth_table(hw, estimates))
    return 0


if __name__ == "__main__":
    sys.exit(main())
