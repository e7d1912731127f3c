"""What every device does: load a Program, run images, hand back integers, scales and counters."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from subrow.spec import limits
from subrow.spec.errors import DeviceError, InputError
from subrow.spec.hwconfig import HwConfig
from subrow.spec.metadata import tensor_bytes
from subrow.spec.program import Program, TensorInfo
from subrow.spec.program_check import check_structure, check_tensors, check_weights

if TYPE_CHECKING:
    from typing import Self  # not in the Python 3.10 of board images

Int8Array = NDArray[np.int8]
SATURATION_LIMIT = 0.01  # share of saturated values above which a caller is told


class SaturationWarning(UserWarning):
    """Images hold values that their Program cannot represent."""


@dataclass(frozen=True)
class RunResult:
    """What a run gave, and what gave it.

    outputs: int8 [N, C, H, W] by name; real value = scales[name] * integer. cycles: one number per image, or None when
    the device has no notion of time. records: one dict per layer (isa.RECORD_FIELDS) of the last image.
    """

    outputs: Mapping[str, Int8Array]
    scales: Mapping[str, float]
    cycles: tuple[int, ...] | None
    records: tuple[dict[str, int], ...]
    device: str
    program_digest: str
    hw_digest: str

    def real(self, name: str | None = None) -> NDArray[np.float32]:
        """An output as real numbers; without a name, the only one."""
        if name is None:
            if len(self.outputs) != 1:
                raise InputError(f"RunResult has {len(self.outputs)} outputs, name one of {sorted(self.outputs)}")
            name = next(iter(self.outputs))
        if name not in self.outputs:
            raise InputError(f"RunResult has no output {name!r}; outputs: {sorted(self.outputs)}")
        return (self.outputs[name] * np.float32(self.scales[name])).astype(np.float32)


def quantise(x: ArrayLike, info: TensorInfo) -> Int8Array:
    """[N, C, H, W] (or one [C, H, W]) as int8: floor(x / scale + 1/2), clamped to +-127; int8 stays as it is.

    Raises InputError, naming the input, for another shape, a type that is not a number, NaN or infinity.
    """
    array = np.asarray(x)
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or array.shape[1:] != info.shape:
        raise InputError(f"input {info.name}: shape {np.shape(x)}, must be [N, {', '.join(map(str, info.shape))}]")
    if array.dtype == np.int8:
        return array
    if array.dtype.kind not in "fiu":
        raise InputError(f"input {info.name}: type {array.dtype}, must be floating point or integer")
    real = array.astype(np.float64)
    if not np.isfinite(real).all():
        image = int(np.argwhere(~np.isfinite(real))[0][0])
        raise InputError(f"input {info.name}: image {image} holds NaN or infinity")
    return np.clip(np.floor(real / info.scale + 0.5), -127, 127).astype(np.int8)


@dataclass(frozen=True)
class Saturation:
    """How many of an input's values lie beyond the +-127 steps of its int8 format, in real numbers."""

    name: str
    saturated: int
    values: int
    lowest: float
    highest: float
    limit: float  # the largest magnitude that the format represents

    @property
    def share(self) -> float:
        """Saturated values of all, 0 to 1."""
        return self.saturated / self.values if self.values else 0.0

    @property
    def excessive(self) -> bool:
        """Whether more than SATURATION_LIMIT of the values saturate."""
        return self.share > SATURATION_LIMIT

    def __str__(self) -> str:
        return (
            f"input {self.name}: {100 * self.share:.1f} % of the values saturate: they lie in {self.lowest:.4g}.."
            f"{self.highest:.4g}, the Program represents {-self.limit:.4g}..{self.limit:.4g}; scale the images like "
            "those of the calibration, or calibrate again"
        )


def saturation(x: ArrayLike, info: TensorInfo) -> Saturation:
    """What `quantise` would clamp; int8 arrays are integers already and never saturate."""
    array = np.asarray(x)
    real = array.astype(np.float64) * (info.scale if array.dtype == np.int8 else 1.0)
    low, high = (float(real.min()), float(real.max())) if real.size else (0.0, 0.0)
    beyond = 0
    if array.dtype != np.int8 and max(-low, high) > 127 * info.scale:
        beyond = int((np.abs(np.floor(real / info.scale + 0.5)) > 127).sum())
    return Saturation(info.name, beyond, real.size, low, high, 127 * info.scale)


def pack_activation(x: Int8Array, sub_row: int) -> Int8Array:
    """[..., C, H, W] -> memory layout [..., H, ceil(C / L), W, L]; channels beyond C are 0."""
    *lead, c, h, w = x.shape
    blocks = -(-c // sub_row)
    padded = np.zeros((*lead, blocks * sub_row, h, w), np.int8)
    padded[..., :c, :, :] = x
    split = padded.reshape(*lead, blocks, sub_row, h, w)
    return np.ascontiguousarray(np.moveaxis(split, (-4, -3, -2, -1), (-3, -1, -4, -2)))


def unpack_activation(data: NDArray[np.generic], shape: tuple[int, int, int], sub_row: int) -> Int8Array:
    """Bytes of one tensor in memory layout -> int8 [C, H, W]."""
    c, h, w = shape
    blocks = -(-c // sub_row)
    words = data.view(np.int8).reshape(h, blocks, w, sub_row)
    return np.ascontiguousarray(words.transpose(1, 3, 0, 2).reshape(blocks * sub_row, h, w)[:c])


def read_tensor(arena: NDArray[np.generic], info: TensorInfo, sub_row: int) -> Int8Array:
    """int8 [C, H, W] of a tensor that the Program's checks have found inside the arena."""
    h = info.shape[1]
    used = tensor_bytes(info.shape, sub_row) // h
    rows = np.lib.stride_tricks.as_strided(arena[info.offset :], (h, used), (info.row_bytes or used, 1))
    return unpack_activation(np.ascontiguousarray(rows).ravel(), info.shape, sub_row)


class Device(ABC):
    """Runs Programs of one HwConfig. Use as a context manager, or call `close`.

    `run` raises InputError for bad input and DeviceError when the device fails. check_limits False: any instruction is
    loaded, as tests of the hardware's own error handling need it.
    """

    name: str

    def __init__(self, hw: HwConfig, *, check_limits: bool = True) -> None:
        self.hw = hw
        self._check_limits = check_limits
        self._program: Program | None = None
        self._told: Program | None = None  # whose user knows that images saturate

    def load(self, program: Program) -> None:
        """Check a Program, then make it the one that `run` runs.

        Raises ProgramError when it is for other hardware or contradicts itself, DeviceError, naming the layer, when an
        instruction exceeds a limit of docs/hardware.md. The Program before then stays.
        """
        self.check_program(program)
        self._unload()
        self._place(program)
        self._program = program

    @abstractmethod
    def _place(self, program: Program) -> None:
        """Put a Program that has been checked into the device."""

    @abstractmethod
    def run(self, x: ArrayLike | Mapping[str, ArrayLike]) -> RunResult:
        """Run images: [N, C, H, W] real numbers or int8; a dict by name when there are several inputs."""

    def _unload(self) -> None:
        """Free what the loaded Program holds, if there is one."""
        self._program = None

    def close(self) -> None:
        """Free what the device holds; may be called twice."""
        self._unload()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    @property
    def program(self) -> Program:
        """The loaded Program."""
        if self._program is None:
            raise DeviceError(f"{self.name}: no Program is loaded; call load(program) first")
        return self._program

    def check_program(self, program: Program) -> None:
        """Raises what `load` raises for a Program that must not run here."""
        if not isinstance(program, Program):
            raise InputError(
                f"{self.name}: load takes a Program, not {type(program).__name__} {str(program)[:60]!r}; "
                "subrow.compile makes one, subrow.spec.program.load(path) reads one"
            )
        program.check_hardware(self.hw)
        check_tensors(program, self.hw.sub_row)
        if not self._check_limits:
            return
        if found := limits.exceeded(program, self.hw):
            raise self._refused(program, *found)
        check_structure(program, whole=False)
        check_weights(program, self.hw)

    def _refused(self, program: Program, layer: int, text: str) -> DeviceError:
        """The error for a Program whose layer exceeds a limit."""
        name = program.layers[layer].name if layer < len(program.layers) else "?"
        return DeviceError(
            f"{self.name}: Program {program.name}, layer {layer} ({name}): {text} "
            f"(HwConfig {self.hw.name}); compile the network again"
        )

    def quantised_inputs(self, x: ArrayLike | Mapping[str, ArrayLike]) -> dict[str, Int8Array]:
        """int8 [N, *stored] by input name, all with the same N >= 1: images as the Program has them in memory.

        Gives one SaturationWarning for each loaded Program when more than SATURATION_LIMIT of an input is clamped.
        """
        infos = self.program.inputs
        if not isinstance(x, Mapping):
            if len(infos) != 1:
                raise InputError(f"the Program has inputs {[i.name for i in infos]}: pass a dict of arrays by name")
            x = {infos[0].name: x}
        if set(x) != {i.name for i in infos}:
            raise InputError(f"inputs {sorted(x)} given, the Program has {sorted(i.name for i in infos)}")
        result = {i.name: quantise(x[i.name], i) for i in infos}
        counts = {name: len(a) for name, a in result.items()}
        if len(set(counts.values())) != 1 or not next(iter(counts.values())):
            raise InputError(f"images per input {counts}: must be equal and at least 1")
        if self._told is not self._program:
            found = [s for i in infos if (s := saturation(x[i.name], i)).excessive]
            for item in found:
                warnings.warn(str(item), SaturationWarning, stacklevel=3)
            self._told = self._program if found else self._told
        return {i.name: i.arranged(result[i.name]) for i in infos}
