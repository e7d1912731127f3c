// check: may this instruction run? Every limit of docs/hardware.md and every address, before anything is touched.
//
// Independent of the compiler and of the units: after `check_layer` returns kOk the units stay inside their buffers and
// memories for any weights; after `check_sums` as well no sum overflows, so that all devices agree.
#pragma once

#include "bounds.h"

namespace subrow {

// Order and numbers are part of the C API; names for people: kCheckText.
enum CheckCode {
  kOk = 0,
  kBadOpcode,
  kBadReserved,
  kBadStride,
  kBadLinear,
  kBadSubS,
  kBadNarrow,
  kBadSize,
  kBadOutput,
  kBadGroups,
  kBadPass,
  kBadReduction,
  kBadChunk,
  kBadRowBytes,
  kBadBlocks,
  kBadQCount,
  kBlockOutside,
  kActOverflow,
  kVOverflow,
  kOutOverflow,
  kWeightOverflow,
  kParamOverflow,
  kBadClamp,
  kBadShift,
  kBadLayerId,
  kBadAlignment,
  kInputOutside,
  kOutputOutside,
  kResidualOutside,
  kWeightsOutside,
  kImageTooShort,
  kAccOverflow,
  kYOverflow,
  kCheckCodes
};

constexpr const char* kCheckText[kCheckCodes] = {
    "ok",
    "opcode is not 1",
    "bits beyond the last field are set",
    "stride is not 1 or 2, or a Winograd layer has a stride or a window",
    "a linear layer has a stride, max_window, more than one output pixel, or other exponents in each lane",
    "sub_s is outside 1..L",
    "weights are in 4 bits, which this engine does not read",
    "a size is 0",
    "out_h or out_w does not follow from conv_h, conv_w, pool and upsample",
    "kgs is not ceil(out_cb / CB)",
    "pass_kgs exceeds kgs, or is less although the weights do not stay or the layer is grouped",
    "v_words, red_words and v_kstep disagree",
    "chunk_words does not follow from red_words and sub_s",
    "a row size in bytes does not follow from its tensor",
    "blocks_y or blocks_x does not cover the output exactly",
    "q_count does not follow from the block",
    "a block has no input row or column inside the image",
    "a block's input exceeds the activation buffer",
    "a block's V exceeds its part of the V buffer",
    "a block's output or residual exceeds its buffer",
    "weights exceed the weight ring",
    "parameters exceed the parameter ring",
    "act_min exceeds act_max",
    "a shift exceeds 47",
    "layer_id exceeds the number of layers",
    "an offset is not a multiple of its port's width",
    "the input lies outside the arena",
    "the output lies outside the arena",
    "the residual lies outside the arena",
    "the weights lie outside the program image",
    "the program image is shorter than its instructions",
    "products can sum to more than acc_bits hold",
    "outputs can reach more than y_bits hold",
};

struct Memory {
  uint64_t image_bytes, arena_bytes;
  uint32_t layers;
};

inline uint64_t product(uint64_t a, uint64_t b, uint64_t c = 1) { return a * b * c; }  // 12-bit fields: never wraps

inline CheckCode check_reserved(const uint8_t* bytes) {
  for (int i = kInstrBits; i < 8 * kInstrBytes; ++i) {
    if (bytes[i / 8] >> (i % 8) & 1) return kBadReserved;
  }
  return kOk;
}

// Four lanes share the one pixel of a linear layer, whose numbers are those of a direct layer.
inline bool bad_linear(const Instr& ins) {
  if (ins.stride != 1 || ins.max_window || ins.conv_h != 1 || ins.conv_w != 1) return true;
  for (int p = 1; p < kLanes; ++p) {
    if (ins.ev[p] != ins.ev[0] || ins.em[p] != ins.em[0]) return true;
  }
  return false;
}

inline CheckCode check_fields(const Instr& ins, uint32_t layers) {
  if (ins.opcode != kOpcodeLayer) return kBadOpcode;
  if (ins.stride < 1 || ins.stride > 2) return kBadStride;
  if (!has_kernel(ins) && (ins.stride != 1 || ins.kernel_h != 1 || ins.kernel_w != 1 || ins.max_window))
    return kBadStride;
  if (ins.tile == kLinear && bad_linear(ins)) return kBadLinear;
  if (ins.sub_s < 1 || ins.sub_s > static_cast<uint32_t>(kSubRow)) return kBadSubS;
  if (ins.narrow_u && !kNarrowU) return kBadNarrow;
  const uint32_t sizes[] = {ins.in_h,      ins.in_w,     ins.in_cb,    ins.conv_h,   ins.conv_w,   ins.out_h,
                            ins.out_w,     ins.out_cb,   ins.kgs,      ins.pass_kgs, ins.kernel_h, ins.kernel_w,
                            ins.red_words, ins.block_th, ins.block_tw, ins.blocks_y, ins.blocks_x};
  for (uint32_t size : sizes) {
    if (size == 0) return kBadSize;
  }
  if (ins.pool && ins.upsample) return kBadOutput;
  const uint32_t shrink = ins.pool ? 2 : 1, grow = ins.upsample ? 2 : 1;
  if (ins.out_h != ins.conv_h * grow / shrink || ins.out_w != ins.conv_w * grow / shrink) return kBadOutput;
  if (ins.act_min > ins.act_max) return kBadClamp;
  if (ins.res_shift > kMaxShift) return kBadShift;
  if (ins.layer_id >= layers) return kBadLayerId;
  return kOk;
}

inline CheckCode check_reduction(const Instr& ins) {
  if (ins.kgs != static_cast<uint32_t>(ceil_div(ins.out_cb, kBlocksOut))) return kBadGroups;
  if (ins.pass_kgs > ins.kgs) return kBadPass;
  if (ins.pass_kgs < ins.kgs && (!ins.resident || ins.v_kstep != 0)) return kBadPass;
  const uint64_t area = ins.max_window ? 1 : product(ins.kernel_h, ins.kernel_w);
  const uint64_t lanes = ins.tile == kLinear ? kLanes : 1;  // that share the reduction
  if (ins.v_words != (product(ins.in_cb, area) + lanes - 1) / lanes) return kBadReduction;
  if (ins.v_kstep != 0 && ins.v_kstep != ins.red_words) return kBadReduction;
  if (product(ins.kgs - 1, ins.v_kstep) + ins.red_words > ins.v_words) return kBadReduction;
  const uint64_t steps = product(ins.red_words, ins.sub_s);
  const uint64_t words = ins.tile == kDirect ? (steps + 3) / 4 : steps * tile_shape(ins).groups;
  if (ins.chunk_words != words) return kBadChunk;
  if (product(ins.resident ? ins.pass_kgs : 1, ins.chunk_words) > kWeightWords) return kWeightOverflow;
  if ((ins.resident ? ins.pass_kgs : 2) > static_cast<uint32_t>(kParamGroups)) return kParamOverflow;
  return kOk;
}

// Rows lie `row` bytes apart; a slice of a tensor's channel blocks fills only the first `used` of them.
inline bool bad_row(uint64_t row, uint64_t used) { return row < used || row % kSubRow != 0; }

inline CheckCode check_memory(const Instr& ins, const Memory& mem) {
  const uint64_t in_bytes = product(ins.in_cb, ins.in_w, kSubRow);
  const uint64_t out_bytes = product(ins.out_cb, ins.out_w, kSubRow);
  const uint64_t res_bytes = product(ins.out_cb, ins.conv_w, kSubRow);
  if (ins.in_row_words != in_bytes / kSubRow || bad_row(ins.in_row_bytes, in_bytes)) return kBadRowBytes;
  if (bad_row(ins.out_row_bytes, out_bytes)) return kBadRowBytes;
  if (ins.residual && bad_row(ins.res_row_bytes, res_bytes)) return kBadRowBytes;
  if (ins.in_offset % kSubRow || ins.out_offset % kSubRow || (ins.residual && ins.res_offset % kSubRow)) {
    return kBadAlignment;
  }
  if (ins.weight_offset % kWeightBytes) return kBadAlignment;
  if (ins.in_offset + product(ins.in_h - 1, ins.in_row_bytes) + in_bytes > mem.arena_bytes) return kInputOutside;
  if (ins.out_offset + product(ins.out_h - 1, ins.out_row_bytes) + out_bytes > mem.arena_bytes) return kOutputOutside;
  const uint64_t residual_bytes = product(ins.conv_h - 1, ins.res_row_bytes) + res_bytes;
  if (ins.residual && ins.res_offset + residual_bytes > mem.arena_bytes) return kResidualOutside;
  if (ins.weight_offset + product(ins.kgs, chunk_bytes(ins)) > mem.image_bytes) return kWeightsOutside;
  return kOk;
}

// Largest and smallest input extent, and largest outputs, of the blocks of one direction.
struct Extent {
  int n_min, n_max, conv_max, out_max;
};

template <typename SpanOf>
inline Extent extent_of(const Instr& ins, int blocks, SpanOf span_of) {
  Extent e = {1 << 30, 0, 0, 0};
  for (int b = 0; b < blocks; ++b) {
    const Span s = span_of(ins, b);
    e.n_min = imin(e.n_min, s.n);
    e.n_max = imax(e.n_max, s.n);
    e.conv_max = imax(e.conv_max, s.cn);
    e.out_max = imax(e.out_max, s.on);
  }
  return e;
}

// V words, and activation words of a bank, that a block may fill.
inline uint64_t v_room(const Instr& ins) { return ins.whole_v ? kVWords : kVWords / 2; }
inline uint64_t act_room(const Instr& ins) { return ins.whole_a ? kActWords : kActWords / 2; }

inline CheckCode check_q_counts(const Instr& ins) {
  const int ys = ins.blocks_y, xs = ins.blocks_x;
  for (int row = ys > 1 ? 0 : 1; row < 2; ++row) {
    for (int column = xs > 1 ? 0 : 1; column < 2; ++column) {
      const int by = row ? ys - 1 : 0, bx = column ? xs - 1 : 0;
      const int tiles = row_span(ins, by).tiles * column_span(ins, bx).tiles;
      const int q = ins.q_count[2 * row + column];
      if (q != ceil_div(tiles, kTiles)) return kBadQCount;
      if (product(tile_shape(ins).groups, ins.v_words, q) > v_room(ins)) return kVOverflow;
    }
  }
  return kOk;
}

inline CheckCode check_blocks(const Instr& ins) {
  const int m = tile_shape(ins).m;
  if (static_cast<int>(ins.blocks_y) != ceil_div(ceil_div(ins.conv_h, m), ins.block_th)) return kBadBlocks;
  if (static_cast<int>(ins.blocks_x) != ceil_div(ceil_div(ins.conv_w, m), ins.block_tw)) return kBadBlocks;
  const CheckCode q = check_q_counts(ins);
  if (q != kOk) return q;
  const Extent y = extent_of(ins, ins.blocks_y, row_span), x = extent_of(ins, ins.blocks_x, column_span);
  if (y.n_min < 1 || x.n_min < 1) return kBlockOutside;
  if (product(ceil_div(y.n_max, kRamBanks), ins.in_cb, x.n_max) > act_room(ins)) return kActOverflow;
  if (ins.residual && product(y.conv_max, x.conv_max, kBlocksOut) > kOutWords / 2) return kOutOverflow;
  if (product(y.out_max, x.out_max, kBlocksOut) > kOutWords / 2) return kOutOverflow;
  return kOk;
}

// Shifts of the parameters in the image; call after check_memory.
inline CheckCode check_params(const Instr& ins, const uint8_t* image) {
  for (uint32_t kg = 0; kg < ins.kgs; ++kg) {
    const uint8_t* chunk = image + ins.weight_offset + kg * chunk_bytes(ins);
    for (int k = 0; k < kChannels; ++k) {
      if (unpack_param(chunk + k * kParamBytes).shift > kMaxShift) return kBadShift;
    }
  }
  return kOk;
}

// Sums at any input, for the weights in the image; call after check_memory.
inline CheckCode check_sums(const Instr& ins, const uint8_t* image) {
  for (uint32_t kg = 0; kg < ins.kgs; ++kg) {
    const uint8_t* chunk = image + ins.weight_offset + kg * chunk_bytes(ins);
    const TapSums sums = tap_sums(ins, chunk);
    if (!accumulators_hold(sums)) return kAccOverflow;
    if (!outputs_hold(ins, sums, chunk)) return kYOverflow;
  }
  return kOk;
}

// All that follows from the instruction alone.
inline CheckCode check_instruction(const uint8_t* bytes, const Instr& ins, uint32_t layers) {
  CheckCode code = check_fields(ins, layers);
  if (code == kOk) code = check_reserved(bytes);
  if (code == kOk) code = check_reduction(ins);
  if (code == kOk) code = check_blocks(ins);
  return code;
}

// `bytes`: the instruction. It must lie inside `image`, of mem.image_bytes.
inline CheckCode check_layer(const uint8_t* bytes, const uint8_t* image, const Memory& mem) {
  const Instr ins = decode_instr(bytes);
  CheckCode code = check_instruction(bytes, ins, mem.layers);
  if (code == kOk) code = check_memory(ins, mem);
  if (code == kOk) code = check_params(ins, image);
  return code;
}

// Status of a run: 0, or code | layer << 8. Reads no weights.
inline uint32_t check_program(const uint8_t* image, const Memory& mem) {
  if (mem.layers == 0 || product(mem.layers, kInstrBytes) > mem.image_bytes) return kImageTooShort;
  for (uint32_t i = 0; i < mem.layers; ++i) {
    const CheckCode code = check_layer(image + static_cast<uint64_t>(i) * kInstrBytes, image, mem);
    if (code != kOk) return code | i << 8;
  }
  return kOk;
}

// The same with the sums of every layer, which takes a look at every weight.
inline uint32_t check_program_and_sums(const uint8_t* image, const Memory& mem) {
  const uint32_t status = check_program(image, mem);
  for (uint32_t i = 0; status == kOk && i < mem.layers; ++i) {
    const CheckCode code = check_sums(decode_instr(image + static_cast<uint64_t>(i) * kInstrBytes), image);
    if (code != kOk) return code | i << 8;
  }
  return status;
}

}  // namespace subrow
