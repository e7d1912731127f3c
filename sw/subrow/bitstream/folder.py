"""The folder that `subrow build` fills: its files, and manifest.json, which says of each where it comes from.

Files are written only where they differ, so that a run of the tools goes on where it stopped. The manifest is written
last; what an older one lists and this build has no more is removed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from subrow.spec.errors import InputError
from subrow.spec.program import write_atomic

MANIFEST = "manifest.json"
FORMAT = 1
MADE = "made"
_TO_MAKE = "to be made by: "


@dataclass(frozen=True)
class File:
    """A file that Subrow writes: its path in the folder, its bytes, and where they come from."""

    path: str
    data: bytes
    origin: str


@dataclass(frozen=True)
class Product:
    """A file that a tool makes, the command that makes it, and the tool."""

    path: str
    command: str
    origin: str


def digest_of(files: Iterable[File]) -> str:
    """Hex SHA-256 over names and contents: equal digests, equal builds."""
    h = hashlib.sha256()
    for file in sorted(files, key=lambda f: f.path):
        h.update(f"{file.path}:{len(file.data)}:".encode() + file.data)
    return h.hexdigest()


def _document(out: Path) -> dict[str, Any] | None:
    """The manifest of a folder, None for an empty one or none at all. Raises InputError for another folder."""
    if not out.exists() or not any(out.iterdir()):
        return None
    path = out / MANIFEST
    if not path.is_file():
        raise InputError(f"--out {out}: has files but no {MANIFEST}: give a new folder, or one of `subrow build`")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] == FORMAT and all(_inside(a["path"]) for a in document["artefacts"]):
            return dict(document)
    except (ValueError, KeyError, TypeError):
        pass
    raise InputError(f"{path}: not a manifest of this version of `subrow build`: give a new folder")


def _inside(path: str) -> bool:
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts and pure != PurePosixPath(".")


def check(out: Path) -> None:
    """Raises InputError unless the folder is new, empty, or one of an earlier build."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file; give a folder")
    _document(out)


@dataclass(frozen=True)
class Contents:
    """What a folder holds when a build is done.

    inputs: what the tools read; extra: files that no tool reads, such as the Program; about: head of the manifest.
    """

    inputs: tuple[File, ...]
    extra: tuple[File, ...]
    products: tuple[Product, ...]
    about: Mapping[str, Any]

    @property
    def files(self) -> tuple[File, ...]:
        """Every file that Subrow writes."""
        return (*self.inputs, *self.extra)

    def manifest(self, out: Path | None) -> dict[str, Any]:
        """The manifest for what is there now in `out`; for an empty folder with None."""
        artefacts = []
        for file in self.files:
            made = out is not None and (out / file.path).is_file()
            artefacts.append(_artefact(file.path, file.data, file.origin, MADE if made else f"{_TO_MAKE}subrow build"))
        for product in self.products:
            data = None if out is None or not (out / product.path).is_file() else (out / product.path).read_bytes()
            state = MADE if data is not None else _TO_MAKE + product.command
            artefacts.append(_artefact(product.path, data, product.origin, state))
        complete = all(a["state"] == MADE for a in artefacts)
        return {"format": FORMAT, **self.about, "digest": digest_of(self.inputs), "complete": complete,
                "artefacts": artefacts}  # fmt: skip

    def write_manifest(self, out: Path) -> dict[str, Any]:
        """Write manifest.json for what is there now, and return it."""
        document = self.manifest(out)
        write_atomic(out / MANIFEST, (json.dumps(document, indent=2) + "\n").encode())
        return document

    def fill(self, out: Path) -> dict[str, Any]:
        """Write the files that differ, remove what an older build left, write and return the manifest.

        Products of an older build stay when its tools read the same. Raises InputError (see check) and OSError.
        """
        old = _document(out)
        names = {f.path for f in self.files} | {p.path for p in self.products}
        stale = [] if old is None else [a["path"] for a in old["artefacts"] if a["path"] not in names]
        if old is not None and old["digest"] != digest_of(self.inputs):
            stale += [p.path for p in self.products]
        if old is None:  # a first run that is killed must leave a folder that the next one recognises
            self.write_manifest(out)
        for path in stale:
            (out / path).unlink(missing_ok=True)
        for file in self.files:
            target = out / file.path
            if not target.is_file() or target.read_bytes() != file.data:
                write_atomic(target, file.data)
        return self.write_manifest(out)


def _artefact(path: str, data: bytes | None, origin: str, state: str) -> dict[str, Any]:
    """One line of the manifest; sha256 and bytes are None until the file is made."""
    sha = None if data is None else hashlib.sha256(data).hexdigest()
    return {"path": path, "sha256": sha, "bytes": None if data is None else len(data), "state": state, "origin": origin}
