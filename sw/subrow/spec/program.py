"""The Program container: a safetensors file with the memory image and JSON metadata, checked by a digest.

Tensors: `instructions` uint8 [layers, 128]; `weights` uint8 [bytes] (parameter and weight chunks as the engine reads
them). The engine sees one image at the program base: instructions, then weights from the next multiple of 4096.
Metadata: one JSON document under the key `subrow` (docs/program-format.md).
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subrow.spec import isa, metadata, tensors
from subrow.spec.errors import ProgramError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.metadata import LayerInfo, TensorInfo
from subrow.spec.program_check import PAGE, check_structure

__all__ = ["FORMAT_VERSION", "PAGE", "LayerInfo", "Program", "TensorInfo", "load", "write_atomic"]

FORMAT_VERSION = 2


@dataclass(frozen=True)
class Program:
    """A compiled network for one HwConfig.

    instructions uint8 [layers, 128], weights uint8 [bytes], arena_bytes of activation memory, inputs and outputs with
    their scales, one LayerInfo per instruction. `hw_digest` names the HwConfig that it was compiled for.
    """

    name: str
    hw_name: str
    hw_digest: str
    instructions: NDArray[np.uint8]
    weights: NDArray[np.uint8]
    arena_bytes: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    layers: tuple[LayerInfo, ...]

    def __post_init__(self) -> None:
        ins = self.instructions
        if ins.dtype != np.uint8 or ins.ndim != 2 or ins.shape[1] != isa.INSTRUCTION_BYTES or not len(ins):
            raise ProgramError(
                f"Program {self.name}: instructions are {ins.dtype} {ins.shape}, must be uint8 [layers >= 1, 128]"
            )
        if self.weights.dtype != np.uint8 or self.weights.ndim != 1:
            raise ProgramError(f"Program {self.name}: weights are {self.weights.dtype} {self.weights.shape}")
        if len(self.layers) != len(ins):
            raise ProgramError(f"Program {self.name}: {len(self.layers)} layer names for {len(ins)} instructions")
        if not self.inputs or not self.outputs:
            raise ProgramError(f"Program {self.name}: has {len(self.inputs)} inputs and {len(self.outputs)} outputs")

    @property
    def weight_base(self) -> int:
        """Byte offset of the weights from the program base."""
        return -(-self.instructions.size // PAGE) * PAGE

    def image(self) -> NDArray[np.uint8]:
        """The bytes at the program base."""
        image = np.zeros(self.weight_base + self.weights.size, np.uint8)
        image[: self.instructions.size] = self.instructions.ravel()
        image[self.weight_base :] = self.weights
        return image

    def decoded(self) -> list[isa.Instruction]:
        return [isa.decode(row.tobytes()) for row in self.instructions]

    def digest(self) -> str:
        """Hex SHA-256 over metadata and tensors."""
        return metadata.digest(self._metadata(), self.instructions, self.weights)

    def _metadata(self) -> dict[str, Any]:
        return {
            "format_version": FORMAT_VERSION,
            "isa_version": isa.ISA_VERSION,
            "name": self.name,
            "hw_name": self.hw_name,
            "hw_digest": self.hw_digest,
            "arena_bytes": self.arena_bytes,
            "inputs": [dataclasses.asdict(t) for t in self.inputs],
            "outputs": [dataclasses.asdict(t) for t in self.outputs],
            "layers": [dataclasses.asdict(layer) for layer in self.layers],
        }

    def check_hardware(self, hw: HwConfig) -> None:
        """Raises ProgramError unless the Program was compiled for exactly this HwConfig."""
        if self.hw_digest != hw.digest:
            raise ProgramError(
                f"Program {self.name} was compiled for HwConfig {self.hw_name} ({self.hw_digest[:8]}), but the device "
                f"is {hw.name} ({hw.digest[:8]}): compile it again with --hw {hw.name}, or open the matching device"
            )

    def save(self, path: str | Path) -> None:
        """Write the file aside, flush it to disk, then rename it: a killed run leaves no half-written Program."""
        document = json.dumps(self._metadata() | {"digest": self.digest()}, sort_keys=True)
        data = tensors.write({"instructions": self.instructions, "weights": self.weights}, {"subrow": document})
        write_atomic(Path(path), data)


def write_atomic(path: Path, data: bytes) -> None:
    """Write data to a temporary file beside path and rename it into place; removes the temporary on any failure.

    Raises OSError that names path, whatever fails; an older file at path is unchanged then.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _document_of(data: bytes, path: Path) -> dict[str, Any]:
    """The metadata document of a Program file, still unchecked."""
    try:
        document = metadata.parse_json(tensors.header_of(data)["__metadata__"]["subrow"])
    except (ValueError, KeyError, TypeError) as error:
        raise ProgramError(f"{path}: not a Subrow Program, or its header is corrupt ({error!r})") from error
    if not isinstance(document, dict):
        raise ProgramError(f"{path}: metadata is not a JSON object: corrupt")
    return document


def _check_versions(document: dict[str, Any], path: Path) -> None:
    versions = [document.get(key) for key in ("format_version", "isa_version")]
    if versions != [FORMAT_VERSION, isa.ISA_VERSION] or any(type(v) is not int for v in versions):
        raise ProgramError(
            f"{path}: Program format {versions[0]!r} / instruction set {versions[1]!r}, this Subrow reads "
            f"{FORMAT_VERSION} / {isa.ISA_VERSION}: compile the network again"
        )


def _tensors_of(data: bytes, path: Path) -> dict[str, NDArray[Any]]:
    try:
        arrays = tensors.read(data)
    except ValueError as error:
        raise ProgramError(f"{path}: corrupt Program ({error})") from error
    if set(arrays) != {"instructions", "weights"}:
        raise ProgramError(f"{path}: tensors {sorted(arrays)}, must be instructions and weights: corrupt")
    return arrays


def load(path: str | Path) -> Program:
    """Read and check a Program file.

    Raises ProgramError, naming the file and what is wrong, when it is missing, truncated, corrupt (digest), of
    another format version, or inconsistent: a field of another type or range than docs/program-format.md says, or
    metadata that contradicts the instructions.
    """
    path = Path(path)
    try:
        return _decoded(path.read_bytes(), path)
    except OSError as error:
        raise ProgramError(f"{path}: cannot read Program: {error.strerror}") from error
    except RecursionError as error:
        raise ProgramError(f"{path}: its header is nested too deeply: not a Subrow Program, or corrupt") from error


def _decoded(data: bytes, path: Path) -> Program:
    document = _document_of(data, path)
    _check_versions(document, path)
    arrays = _tensors_of(data, path)
    said = document.pop("digest", None)
    if said != metadata.digest(document, arrays["instructions"], arrays["weights"]):
        raise ProgramError(f"{path}: digest mismatch: the file was changed or damaged; compile the network again")
    try:
        fields = metadata.program_fields(document)
        program = Program(instructions=arrays["instructions"], weights=arrays["weights"], **fields)
        check_structure(program, whole=True)
    except ProgramError as error:
        raise ProgramError(f"{path}: {error}") from error
    return program
