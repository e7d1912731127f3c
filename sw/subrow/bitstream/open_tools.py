"""Where the open tools are: programs and tables of a Debian tree, the system's own or another one.

The packages are nextpnr-himbaechel-xilinx, prjxray and prjxray-database, of Debian sid at the time of writing. A
program of another tree runs with that tree's loader and libraries, without root and without entering the tree.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from subrow.spec.errors import MissingTool

PACKAGES = ("nextpnr-himbaechel-xilinx", "prjxray", "prjxray-database")
PLACE_AND_ROUTE, WRITE_BITS, READ_BITS = "nextpnr-himbaechel-xilinx", "xc7frames2bit", "bitread"
INSTALL = (
    f"install {', '.join(PACKAGES)} (Debian sid), or make a tree that has them with `scripts/open_tools.sh DIR` and "
    "give --tools DIR"
)


@dataclass(frozen=True)
class OpenTools:
    """The tools below a root folder; `/` for those of this system."""

    root: Path

    def command(self, name: str) -> list[str]:
        """How to start a program. Raises MissingTool."""
        if self.root == Path("/"):
            found = shutil.which(name)
            if found is None:
                raise MissingTool(f"tool {name!r} not found on PATH: {INSTALL}")
            return [found]
        path, loader = self.root / "usr" / "bin" / name, self.root / "lib64" / "ld-linux-x86-64.so.2"
        if not path.is_file() or not loader.is_file():
            raise MissingTool(f"tool {name!r}: {self.root} has no usr/bin/{name}: {INSTALL}")
        libraries = ":".join(str(self.root / p) for p in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"))
        return [str(loader), "--library-path", libraries, str(path)]

    def chip_database(self, device: str) -> Path:
        """nextpnr's tables of a device. Raises MissingTool."""
        return self._there(Path("usr/share/nextpnr/himbaechel/xilinx") / f"chipdb-{device}.bin", PACKAGES[0])

    def bit_database(self) -> Path:
        """Folder of the bits of Zynq-7000 features. Raises MissingTool."""
        return self._there(Path("usr/share/prjxray/database/zynq7"), PACKAGES[2])

    def _there(self, place: Path, package: str) -> Path:
        path = self.root / place
        if not path.exists():
            raise MissingTool(f"{path} does not exist (package {package}): {INSTALL}")
        return path

    def check(self) -> None:
        """Raises MissingTool when anything is missing."""
        for name in (PLACE_AND_ROUTE, WRITE_BITS, READ_BITS):
            self.command(name)
        self.bit_database()
