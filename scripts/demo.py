"""The main job from a trained network to a report: `make demo`. Exit codes as those of the `subrow` command."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "sw")]

from models import ModelError  # noqa: E402
from subrow.console import errors, output  # noqa: E402
from subrow.demo import Options, run  # noqa: E402
from subrow.spec.errors import MissingTool, SubrowError  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Options.out, help="folder of Programs and report")
    parser.add_argument("--hw", default=Options.hw, help="HwConfig: a name or a .toml")
    parser.add_argument("--images", type=int, default=Options.images, help="test images on the emulator, 1..1000")
    parser.add_argument("--simulate", type=int, default=Options.simulate, help="images in the simulated RTL")
    args = parser.parse_args()
    options = Options(out=args.out, hw=args.hw, images=args.images, simulate=args.simulate)
    try:
        document = run(options, errors(), output())
    except (SubrowError, ModelError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if isinstance(error, MissingTool) else 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0 if document["bit_exact"] else 1


if __name__ == "__main__":
    sys.exit(main())
