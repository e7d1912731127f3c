"""Programs of the trained networks in models/weights that are in integers: build/programs/<name>-<hw>.subrow.

    python scripts/programs.py [--hw pynq-z2 ...] [--out build/programs]
"""

import argparse
import sys
from pathlib import Path

from subrow.cli_options import check_folder
from subrow.evaluate import program_of
from subrow.spec import hwconfig
from subrow.spec.errors import SubrowError
from subrow.trained import ROOT, WEIGHTS, trained


def main() -> None:
    """Compile each network for each HwConfig; networks with float weights are left out."""
    parser = argparse.ArgumentParser(description="Make the Programs of all trained networks in integers.")
    parser.add_argument("--hw", nargs="+", default=["pynq-z2", "tiny"])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "programs")
    args = parser.parse_args()
    check_folder(args.out, "--out")
    for folder in sorted(p.parent for p in WEIGHTS.glob("*/card.json")):
        found = trained(folder)
        if not found.in_integers:
            continue
        for name in args.hw:
            path = args.out / f"{folder.name}-{name}.subrow"
            program_of(found, hwconfig.load(name)).save(path)
            reached, before = (found.card.get(key, "?") for key in ("accuracy", "float_accuracy"))
            print(f"{path}: accuracy {reached} % (measured), float {before} %")


if __name__ == "__main__":
    try:
        main()
    except (SubrowError, OSError) as error:
        sys.exit(f"error: {error}")
