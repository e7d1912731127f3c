"""The Program container: a safetensors file with the memory image and JSON metadata, checked by a digest.

Tensors: `instructions` uint8 [layers, 128]; `weights` uint8 [bytes] (parameter and weight chunks as the engine reads
them). The engine sees one image at the program base: instructions, then weights from the next multiple of 4096.
Metadata: one JSON document under the key `subrow` (docs/program-format.md).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from subrow.spec import isa
from subrow.spec.errors import ProgramError
from subrow.spec.hwconfig import HwConfig

FORMAT_VERSION = 1
PAGE = 4096


@dataclass(frozen=True)
class TensorInfo:
    """A network input or output in the arena: shape (C, H, W), real value = scale * integer, byte offset."""

    name: str
    shape: tuple[int, int, int]
    scale: float
    offset: int


@dataclass(frozen=True)
class LayerInfo:
    """What a person wants to know of an instruction; the engine never reads it.

    density is (s, L); macs are those of the direct dense convolution; details holds kernel, stride, channels, ….
    """

    name: str
    kind: str
    tile: str
    density: tuple[int, int]
    macs: int
    in_channels: int
    out_channels: int
    details: dict[str, Any] = dataclasses.field(default_factory=dict)


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
        h = hashlib.sha256(json.dumps(self._metadata(), sort_keys=True).encode())
        for array in (self.instructions, self.weights):
            h.update(str(array.shape).encode())
            h.update(np.ascontiguousarray(array).tobytes())
        return h.hexdigest()

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
        data = save_tensors({"instructions": self.instructions, "weights": self.weights}, {"subrow": document})
        write_atomic(Path(path), data)


def write_atomic(path: Path, data: bytes) -> None:
    """Write data to a temporary file beside path and rename it into place; removes the temporary on any failure."""
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


def _metadata_of(data: bytes, path: Path) -> dict[str, Any]:
    if len(data) < 8:
        raise ProgramError(f"{path}: {len(data)} bytes is too short for a Program file: truncated")
    size = int.from_bytes(data[:8], "little")
    if size > len(data) - 8:
        raise ProgramError(f"{path}: header says {size} bytes, file has {len(data) - 8}: truncated or not a Program")
    try:
        header = json.loads(data[8 : 8 + size])
        return json.loads(header["__metadata__"]["subrow"])
    except (ValueError, KeyError, TypeError) as error:
        raise ProgramError(f"{path}: not a Subrow Program, or its header is corrupt ({error!r})") from error


def _tensor_infos(items: list[dict[str, Any]]) -> tuple[TensorInfo, ...]:
    return tuple(TensorInfo(**(i | {"shape": tuple(i["shape"])})) for i in items)


def load(path: str | Path) -> Program:
    """Read and check a Program file.

    Raises ProgramError, naming the file and what is wrong, when it is missing, truncated, corrupt (digest), of
    another format version, or inconsistent.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ProgramError(f"{path}: cannot read Program: {error.strerror}") from error
    meta = _metadata_of(data, path)
    if not isinstance(meta, dict):
        raise ProgramError(f"{path}: metadata is not a JSON object: corrupt")
    versions = meta.get("format_version"), meta.get("isa_version")
    if versions != (FORMAT_VERSION, isa.ISA_VERSION):
        raise ProgramError(
            f"{path}: Program format {versions[0]} / instruction set {versions[1]}, this Subrow reads "
            f"{FORMAT_VERSION} / {isa.ISA_VERSION}: compile the network again"
        )
    try:
        tensors = load_tensors(data)
        layers = tuple(LayerInfo(**(i | {"density": tuple(i["density"])})) for i in meta["layers"])
        program = Program(
            name=meta["name"],
            hw_name=meta["hw_name"],
            hw_digest=meta["hw_digest"],
            instructions=tensors["instructions"],
            weights=tensors["weights"],
            arena_bytes=meta["arena_bytes"],
            inputs=_tensor_infos(meta["inputs"]),
            outputs=_tensor_infos(meta["outputs"]),
            layers=layers,
        )
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProgramError(f"{path}: corrupt Program ({error!r})") from error
    if program.digest() != meta.get("digest"):
        raise ProgramError(f"{path}: digest mismatch: the file was changed or damaged; compile the network again")
    return program
