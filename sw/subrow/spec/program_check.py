"""Whether the parts of a Program agree: tensors and layer descriptions with the instructions, reads with writes.

`check_structure` needs no HwConfig: L, the channels of an activation word, is that of the layers' densities.
What a HwConfig limits is checked by hw/hls/check.h when a device loads the Program, and by `check_weights` here.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from subrow.spec.errors import ProgramError
from subrow.spec.isa import Instruction
from subrow.spec.metadata import MAX_ARENA, TILES, LayerInfo, TensorInfo, check_tensor, tensor_bytes

if TYPE_CHECKING:
    from subrow.spec.hwconfig import HwConfig
    from subrow.spec.program import Program

PAGE = 4096


@dataclass(frozen=True)
class Region:
    """A tensor in the arena: byte offset, channel blocks, rows, columns, channels of a block (L).

    row_bytes: from the first byte of a row to that of the next; more than a row's bytes in a slice of a wider tensor.
    """

    low: int
    blocks: int
    rows: int
    columns: int
    sub_row: int
    row_bytes: int

    @property
    def used(self) -> int:
        """Bytes of one row."""
        return self.blocks * self.columns * self.sub_row

    @property
    def high(self) -> int:
        return self.low + (self.rows - 1) * self.row_bytes + self.used

    def spans(self) -> list[tuple[int, int]]:
        """First byte and end of every run of bytes."""
        if self.row_bytes == self.used:
            return [(self.low, self.high)]
        return [(low, low + self.used) for low in range(self.low, self.high, self.row_bytes)]

    def overlaps(self, other: Region) -> bool:
        if self.low >= other.high or other.low >= self.high:
            return False
        if self.row_bytes == other.row_bytes:  # rows that overlap once do so wherever both have rows
            ahead = (other.low - self.low) % self.row_bytes
            return ahead < self.used or ahead + other.used > self.row_bytes
        mine, theirs = self.spans(), other.spans()
        lows = [low for low, _ in theirs]
        return any(theirs[k][1] > low for low, high in mine if (k := bisect_left(lows, high) - 1) >= 0)

    def within(self, other: Region, spare_rows: int) -> bool:
        """Whether this is `other`, or some of its channel blocks, without at most that many of its last rows."""
        word = other.columns * other.sub_row
        first, rest = divmod(self.low - other.low, word)
        fits = rest == 0 and first >= 0 and first + self.blocks <= other.blocks
        same = self.row_bytes == other.row_bytes or other.rows == 1
        return fits and same and self.columns == other.columns and 0 <= other.rows - self.rows <= spare_rows

    def __str__(self) -> str:
        return f"{self.blocks} x {self.rows} x {self.columns} words at bytes {self.low}..{self.high}"


def region_of(info: TensorInfo, sub_row: int) -> Region:
    """Where a network input or output lies."""
    c, h, w = info.stored
    used = tensor_bytes(info.stored, sub_row) // h
    if 0 < info.row_bytes < used or info.row_bytes % sub_row:
        raise ProgramError(
            f"tensor {info.name}: row_bytes = {info.row_bytes}, must be 0 or a multiple of {sub_row} from {used} on"
        )
    return Region(info.offset, -(-c // sub_row), h, w, sub_row, info.row_bytes or used)


def check_tensors(program: Program, sub_row: int) -> None:
    """Raises ProgramError unless every input and output has legal values and lies inside the arena."""
    if not 1 <= program.arena_bytes <= MAX_ARENA:
        raise ProgramError(f"Program {program.name}: arena of {program.arena_bytes} bytes, must be 1..{MAX_ARENA}")
    for infos, what in ((program.inputs, "input"), (program.outputs, "output")):
        names = [t.name for t in infos]
        for t in infos:
            check_tensor(t)
            if what == "input" and t.row_bytes:
                raise ProgramError(f"Program {program.name}: input {t.name}: row_bytes = {t.row_bytes}, must be 0")
            if what == "output" and t.space_to_depth != 1:
                raise ProgramError(
                    f"Program {program.name}: output {t.name}: space_to_depth = {t.space_to_depth}, must be 1"
                )
            place = region_of(t, sub_row)
            if place.high > program.arena_bytes:
                raise ProgramError(
                    f"Program {program.name}: tensor {t.name} takes arena bytes {place.low}..{place.high}, "
                    f"the arena has {program.arena_bytes}"
                )
            if names.count(t.name) > 1:
                raise ProgramError(f"Program {program.name}: {what} {t.name} appears {names.count(t.name)} times")


def check_structure(program: Program, whole: bool) -> None:
    """Raises ProgramError, naming the layer or tensor, where metadata and instructions contradict each other.

    whole: the Program is complete, so every input is read and the arena has no unused end; a Program that was cut
    after a layer need not be.
    """
    codes = program.decoded()
    sub_row = _sub_row(program, codes)
    check_tensors(program, sub_row)
    for number, (ins, info) in enumerate(zip(codes, program.layers, strict=True)):
        _check_layer(number, ins, info, sub_row)
    _Walk(program, codes, sub_row).check(whole)


def check_weights(program: Program, hw: HwConfig) -> None:
    """Raises ProgramError where a layer's `weight_bytes` is not what its instruction reads with this HwConfig."""
    for ins, info in zip(program.decoded(), program.layers, strict=True):
        if info.density[1] != hw.sub_row:
            raise _differs(info, "density", f"{info.density[0]}/{info.density[1]}", f"sub-rows of {hw.sub_row}")
        size = ins.kgs * hw.chunk_bytes(ins.chunk_words, bool(ins.implicit_index), bool(ins.narrow_u))
        if info.details.get("weight_bytes", size) != size:
            raise _differs(info, "details.weight_bytes", info.details["weight_bytes"], f"{size} bytes")


def _sub_row(program: Program, codes: Sequence[Instruction]) -> int:
    """L of all layers; rows of activations are whole blocks of L channels and long enough for their tensors."""
    sub_row = program.layers[0].density[1]
    for ins, info in zip(codes, program.layers, strict=True):
        rows = [("in_row_bytes", ins.in_row_bytes, ins.in_cb, ins.in_w)]
        rows.append(("out_row_bytes", ins.out_row_bytes, ins.out_cb, ins.out_w))
        if ins.residual:
            rows.append(("res_row_bytes", ins.res_row_bytes, ins.out_cb, ins.conv_w))
        for field, size, blocks, columns in rows:
            least = blocks * columns * sub_row
            if size % sub_row or size < max(least, 1):
                raise ProgramError(
                    f"layer {info.name}: {field} = {size} for {blocks} x {columns} words of {sub_row} channels, must "
                    f"be a multiple of {sub_row} and at least {least}: the instruction is corrupt"
                )
    return sub_row


def _differs(info: LayerInfo, field: str, value: object, wanted: str) -> ProgramError:
    return ProgramError(
        f"layer {info.name}: {field} = {value}, but the instruction says {wanted}; compile the network again"
    )


def _check_layer(number: int, ins: Instruction, info: LayerInfo, sub_row: int) -> None:
    """A layer's description against its instruction."""
    if ins.layer_id != number:
        raise _differs(info, "number", number, f"layer_id {ins.layer_id}")
    if ins.tile >= len(TILES) or info.tile != TILES[ins.tile]:
        raise _differs(info, "tile", info.tile, f"tile {ins.tile}")
    steps = {ins.sub_s, sub_row} if ins.implicit_index else {ins.sub_s}  # all of fewer than L channels is dense
    if info.density[0] not in steps or info.density[1] != sub_row:
        raise _differs(info, "density", info.density, f"{ins.sub_s}/{sub_row}")
    for field, channels, blocks in (
        ("in_channels", info.in_channels, ins.in_cb), ("out_channels", info.out_channels, ins.out_cb)
    ):  # fmt: skip
        if -(-channels // sub_row) != blocks:
            raise _differs(info, field, channels, f"{blocks} blocks of {sub_row}")
    _check_kind(ins, info)
    _check_details(ins, info)
    _check_macs(ins, info)


def _check_kind(ins: Instruction, info: LayerInfo) -> None:
    if info.kind == "linear" and (ins.conv_h, ins.conv_w) != (1, 1):
        raise _differs(info, "kind", info.kind, f"{ins.conv_h} x {ins.conv_w} outputs")
    if info.kind == "channelwise" and (ins.sub_s != 1 or info.in_channels != info.out_channels):
        channels = f"{info.in_channels} to {info.out_channels} channels"
        raise _differs(info, "kind", info.kind, f"sub_s {ins.sub_s}, and there are {channels}")


def _kernel(ins: Instruction) -> tuple[int, int]:
    return (3, 3) if TILES[ins.tile] in ("f2", "f4") else (ins.kernel_h, ins.kernel_w)


def _check_details(ins: Instruction, info: LayerInfo) -> None:
    known = {
        "kernel": list(_kernel(ins)), "stride": ins.stride, "pool": bool(ins.pool), "relu": ins.act_min >= 0,
        "max_window": bool(ins.max_window), "leaky": bool(ins.leaky), "upsample": bool(ins.upsample),
        "residual": bool(ins.residual), "blocks": [ins.blocks_y, ins.blocks_x],
        "input": [info.in_channels, ins.in_h, ins.in_w], "output": [info.out_channels, ins.out_h, ins.out_w],
    }  # fmt: skip
    for key, value in known.items():
        if key in info.details and list(_items(info.details[key])) != list(_items(value)):
            raise _differs(info, f"details.{key}", info.details[key], str(value))


def _items(value: object) -> Sequence[object]:
    return value if isinstance(value, (list, tuple)) else (value,)


def _check_macs(ins: Instruction, info: LayerInfo) -> None:
    """MACs of the dense direct convolution; a pooled layer may leave out its last row or column.

    The maximum of a window is one input channel's pixel, whatever the window's size. Where 2 x 2 pixels of an image lie
    as channels of one, the MACs are those of the window over the image.
    """
    groups = info.details.get("groups", 1)
    if groups < 1 or info.in_channels % groups or info.out_channels % groups:
        raise _differs(info, "details.groups", groups, f"{info.in_channels} to {info.out_channels} channels")
    kernel = (1, 1) if ins.max_window else _kernel(ins)
    window = kernel[0] * kernel[1] * info.in_channels // groups * info.out_channels
    if "image_window" in info.details:
        window = _image_window(ins, info) * info.out_channels
    sizes = [{n, n + 1} if ins.pool else {n} for n in (ins.conv_h, ins.conv_w)]
    if info.macs not in {window * h * w for h in sizes[0] for w in sizes[1]}:
        raise _differs(info, "macs", info.macs, f"{ins.conv_h} x {ins.conv_w} outputs of {window} MACs")


def _image_window(ins: Instruction, info: LayerInfo) -> int:
    """Inputs of one output of a layer over an image of which 2 x 2 pixels lie as channels of one."""
    c, *kernel = info.details["image_window"]
    sizes = zip(kernel, _kernel(ins), strict=True)
    fits = all(size in (2 * n - 2, 2 * n - 1, 2 * n) and size > 0 for size, n in sizes)
    if 4 * c != info.in_channels or not fits or ins.stride != 1 or ins.max_window:
        covers = f"{info.in_channels} channels and a window of {ins.kernel_h} x {ins.kernel_w}"
        raise _differs(info, "details.image_window", info.details["image_window"], covers)
    return int(c * kernel[0] * kernel[1])


class _Walk:
    """The arena, layer by layer: who wrote what a layer reads."""

    def __init__(self, program: Program, codes: Sequence[Instruction], sub_row: int) -> None:
        self.program, self.codes, self.sub_row = program, codes, sub_row
        self.inputs = {t.name: region_of(t, sub_row) for t in program.inputs}  # not overwritten yet
        self.unread = set(self.inputs)
        self.outputs: list[Region] = []  # of layers, not overwritten yet
        self.written = _merged([(r.low, r.high) for r in self.inputs.values()])

    def check(self, whole: bool) -> None:
        regions = list(self.inputs.items())
        for i, (name, region) in enumerate(regions):
            for other, place in regions[:i]:
                if region.overlaps(place):
                    raise self._error(f"inputs {other} ({place}) and {name} ({region}) overlap")
        end = max(region.high for _, region in regions)
        for ins, info in zip(self.codes, self.program.layers, strict=True):
            end = max(end, self._layer(ins, info))
        self._check_outputs()
        if whole and self.unread:
            raise self._error(f"no layer reads input {sorted(self.unread)[0]}")
        if whole and self.program.arena_bytes - end >= PAGE:
            raise self._error(f"arena_bytes = {self.program.arena_bytes}, but its tensors end at byte {end}")

    def _error(self, text: str) -> ProgramError:
        return ProgramError(f"Program {self.program.name}: {text}; compile the network again")

    def _layer(self, ins: Instruction, info: LayerInfo) -> int:
        """One layer's reads, then its write; returns the end of what it wrote."""
        sub_row = self.sub_row
        reads = [(Region(ins.in_offset, ins.in_cb, ins.in_h, ins.in_w, sub_row, ins.in_row_bytes), 0)]
        if ins.residual:  # of a pooled layer without the row that the pool drops
            added = Region(ins.res_offset, ins.out_cb, ins.conv_h, ins.conv_w, sub_row, ins.res_row_bytes)
            reads.append((added, ins.pool))
        out = Region(ins.out_offset, ins.out_cb, ins.out_h, ins.out_w, sub_row, ins.out_row_bytes)
        for region, spare_rows in reads:
            self._read(region, spare_rows, info)
            if region.overlaps(out):
                raise self._error(f"layer {info.name} writes {out} over {region} that it reads")
        for name in [n for n, r in self.inputs.items() if r.overlaps(out)]:
            if name in self.unread:
                raise self._error(f"layer {info.name} writes {out} over input {name} before any layer has read it")
            del self.inputs[name]
        self.outputs = [r for r in self.outputs if not r.overlaps(out)] + [out]
        self.written = _merged([*self.written, *out.spans()])
        return out.high

    def _read(self, region: Region, spare_rows: int, info: LayerInfo) -> None:
        for name, place in self.inputs.items():
            if region.overlaps(place):
                if not region.within(place, spare_rows):
                    raise self._error(f"layer {info.name} reads {region}, input {name} is {place}")
                self.unread.discard(name)
        lows = [low for low, _ in self.written]
        for low, high in region.spans():
            k = bisect_right(lows, low) - 1
            if k < 0 or self.written[k][1] < high:
                raise self._error(f"layer {info.name} reads {region} that nothing has written before")

    def _check_outputs(self) -> None:
        for t in self.program.outputs:
            place = region_of(t, self.sub_row)
            parts = [r for r in self.outputs if r.overlaps(place)]  # layers that wrote it, side by side
            whole = sum(r.used * r.rows for r in parts) == place.used * place.rows
            if not whole or not all(r.within(place, 0) for r in parts):
                raise self._error(f"output {t.name} is {place}, but no layer leaves such a tensor there")


def _merged(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same bytes in as few spans as possible, in order."""
    result: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if result and low <= result[-1][1]:
            result[-1] = result[-1][0], max(result[-1][1], high)
        else:
            result.append((low, high))
    return result
