#include "capi.h"

#include <cstring>
#include <memory>

#include "engine.h"

using namespace subrow;

namespace {

constexpr uint64_t kNoLimit = uint64_t{1} << 40;

// Memory of one thread; made at its first call, because it is too large for a stack.
Buffers& thread_buffers() {
  static thread_local std::unique_ptr<Buffers> buffers{new Buffers()};
  return *buffers;
}

struct Unit {
  Instr ins;
  Block block;
  uint32_t code;
};

// Decodes and checks a unit's instruction and position; memory limits only where a size is given.
Unit unit_of(const uint8_t* bytes, uint32_t by, uint32_t bx, uint32_t kg, uint64_t arena_bytes, uint64_t image_bytes) {
  Unit u = {decode_instr(bytes), {}, kOk};
  u.code = check_instruction(bytes, u.ins, 1u << 15);
  if (u.code == kOk) u.code = check_memory(u.ins, {image_bytes, arena_bytes, 1});
  if (u.code == kOk && (by >= u.ins.blocks_y || bx >= u.ins.blocks_x || kg >= u.ins.kgs)) u.code = kBadBlocks;
  if (u.code == kOk) u.block = block_of(u.ins, kg / u.ins.pass_kgs, by, bx);
  return u;
}

ActWord* act_words(uint8_t* bytes) { return reinterpret_cast<ActWord*>(bytes); }
const ActWord* act_words(const uint8_t* bytes) { return reinterpret_cast<const ActWord*>(bytes); }

ActBuffer& act_buffer(const int8_t* p) { return *reinterpret_cast<ActBuffer*>(const_cast<int8_t*>(p)); }
OutBuffer& out_buffer(const int8_t* p) { return *reinterpret_cast<OutBuffer*>(const_cast<int8_t*>(p)); }

// Element (tile, g, w, lane, l) of a V buffer in the layout of docs/hardware.md.
int64_t v_index(const Instr& ins, const Block& b, int tile, int g, int w) {
  const int q = tile / kTiles, n = tile % kTiles;
  const int64_t half = ins.whole_v ? 0 : (b.index & 1) * (kVWords / 2);
  const int64_t address = half + (q * tile_shape(ins).groups + g) * int64_t{ins.v_words} + w;
  return (n * int64_t{kVWords} + address) * kLanes * kSubRow;
}

// Calls visit(word index, address of 4 * L numbers in vbuf, lane in the strip) for each V word of some tiles.
template <typename Visit>
void for_v_words(const Instr& ins, const Block& b, int first, int last, Visit visit) {
  for (int tile = first; tile < last; ++tile) {
    for (int g = 0; g < tile_shape(ins).groups; ++g) {
      for (int w = 0; w < static_cast<int>(ins.v_words); ++w) {
        visit(vbuf_address(ins, tile / kStrip, g, w), v_index(ins, b, tile, g, w), tile % kStrip);
      }
    }
  }
}

void load_words(const Instr& ins, const int16_t* uwords, const uint8_t* iwords, WeightBuffers& weights) {
  for (int64_t i = 0; i < static_cast<int64_t>(ins.chunk_words) * kEntries; ++i) {
    const int lane = i % kEntries / kChannels, k = i % kChannels;
    weights.words[i / kEntries].u[lane][k] = uwords[i];
    weights.words[i / kEntries].idx[lane][k] = iwords[i] & (kSubRow - 1);
  }
}

}  // namespace

extern "C" {

uint32_t subrow_config_hash() { return static_cast<uint32_t>(kConfigHash); }

const char* subrow_check_text(uint32_t code) { return code < kCheckCodes ? kCheckText[code] : "unknown code"; }

uint32_t subrow_check(const uint8_t* image, uint64_t image_bytes, uint64_t arena_bytes, uint32_t layers) {
  return check_program_and_sums(image, {image_bytes, arena_bytes, layers});
}

uint32_t subrow_run(const uint8_t* image, uint64_t image_bytes, uint8_t* arena, uint64_t arena_bytes, uint32_t layers,
                    uint64_t* records) {
  const uint32_t status = check_program(image, {image_bytes, arena_bytes, layers});
  if (status != kOk) return status;
  const auto* prog = reinterpret_cast<const WgtBeat*>(image);
  for (uint32_t i = 0; i < layers; ++i) {
    const Instr ins = decode_instr(image + static_cast<uint64_t>(i) * kInstrBytes);
    Record record;
    run_layer(ins, act_words(arena), prog, thread_buffers(), record);
    std::memcpy(records + static_cast<uint64_t>(ins.layer_id) * kRecordWords, record.word, sizeof record.word);
  }
  return kOk;
}

uint32_t subrow_top(uint8_t* act, const uint8_t* wgt, uint64_t prog_offset, uint32_t layers, uint64_t record_offset) {
  uint32_t status = kOk;
  subrow_engine(act_words(act), reinterpret_cast<const WgtBeat*>(wgt), prog_offset, layers, record_offset, &status);
  return status;
}

uint32_t subrow_afetch(const uint8_t* ins, const uint8_t* arena, uint64_t arena_bytes, uint32_t by, uint32_t bx,
                       uint32_t kg, int8_t* abuf) {
  const Unit u = unit_of(ins, by, bx, kg, arena_bytes, kNoLimit);
  if (u.code == kOk) afetch(u.ins, u.block, act_words(arena), act_buffer(abuf));
  return u.code;
}

uint32_t subrow_itrans(const uint8_t* ins, const int8_t* abuf, uint32_t by, uint32_t bx, uint32_t kg, int16_t* vbuf) {
  const Unit u = unit_of(ins, by, bx, kg, kNoLimit, kNoLimit);
  if (u.code != kOk) return u.code;
  VBuffer& v = thread_buffers().vbuf;
  itrans(u.ins, u.block, act_buffer(abuf), v);
  for_v_words(u.ins, u.block, 0, u.block.tiles, [&](int word, int64_t to, int lane) {
    for (int i = 0; i < kLanes * kSubRow; ++i) vbuf[to + i] = v[word].v[i / kSubRow][i % kSubRow][lane];
  });
  return kOk;
}

uint32_t subrow_wfetch(const uint8_t* ins, const uint8_t* image, uint64_t image_bytes, uint32_t kg, int16_t* uwords,
                       uint8_t* iwords, uint64_t* params) {
  const Unit u = unit_of(ins, 0, 0, kg, kNoLimit, image_bytes);
  if (u.code != kOk) return u.code;
  WeightBuffers& weights = thread_buffers().weights;
  wfetch(u.ins, kg, reinterpret_cast<const WgtBeat*>(image), weights.words, weights.params[0]);
  for (int64_t i = 0; i < static_cast<int64_t>(u.ins.chunk_words) * kEntries; ++i) {
    const int lane = i % kEntries / kChannels, k = i % kChannels;
    uwords[i] = static_cast<int>(weights.words[i / kEntries].u[lane][k]);
    iwords[i] = static_cast<int>(weights.words[i / kEntries].idx[lane][k]);
  }
  std::memcpy(params, image + u.ins.weight_offset + kg * chunk_bytes(u.ins), kChannels * kParamBytes);
  return kOk;
}

uint32_t subrow_array(const uint8_t* ins, const int16_t* vbuf, const int16_t* uwords, const uint8_t* iwords,
                      uint32_t by, uint32_t bx, uint32_t kg, uint32_t q, int64_t* m) {
  const Unit u = unit_of(ins, by, bx, kg, kNoLimit, kNoLimit);
  if (u.code != kOk) return u.code;
  if (q >= static_cast<uint32_t>(u.block.q)) return kBadBlocks;
  Buffers& buffers = thread_buffers();
  load_words(u.ins, uwords, iwords, buffers.weights);
  array_load(u.ins, buffers.weights.words, kg, buffers.weights.steps.step);
  const int first = q * kTiles, last = imin(first + kTiles, u.block.tiles), groups = tile_shape(u.ins).groups;
  for_v_words(u.ins, u.block, first, last, [&](int word, int64_t from, int lane) {
    for (int i = 0; i < kLanes * kSubRow; ++i) buffers.vbuf[word].v[i / kSubRow][i % kSubRow][lane] = vbuf[from + i];
  });
  for (int tile = first; tile < last; ++tile) {
    if (tile == first || tile % kStrip == 0) {
      array(u.ins, u.block, tile / kStrip, buffers.vbuf, buffers.weights.steps.step, buffers.mbuf);
    }
    for (int p = 0; p < kLanes * groups; ++p) {
      for (int k = 0; k < kChannels; ++k) {
        const int nk = (tile - first) * kBlocksOut + k / kSubRow;
        const int to = (p / kLanes * kNK + nk) * kLanes * kSubRow + p % kLanes * kSubRow + k % kSubRow;
        m[to] = static_cast<int64_t>(buffers.mbuf[p][k][tile % kStrip]);
      }
    }
  }
  return kOk;
}

uint32_t subrow_otrans(const uint8_t* ins, const int64_t* m, uint32_t by, uint32_t bx, uint32_t kg, uint32_t q,
                       int64_t* y, int32_t* meta, uint32_t* count) {
  const Unit u = unit_of(ins, by, bx, kg, kNoLimit, kNoLimit);
  if (u.code != kOk) return u.code;
  if (q >= static_cast<uint32_t>(u.block.q)) return kBadBlocks;
  const int first = q * kTiles, last = imin(first + kTiles, u.block.tiles), blocks = live_blocks(u.ins, kg);
  const int taps = kLanes * tile_shape(u.ins).groups;
  *count = 0;
  for (int tile = first; tile < last; ++tile) {
    for (int kb = 0; kb < blocks; ++kb) {
      MTile sums;
      YTile out;
      const int nk = (tile - first) * kBlocksOut + kb;
      for (int p = 0; p < taps; ++p) {
        const int64_t* from = m + ((p / kLanes * kNK + nk) * kLanes + p % kLanes) * kSubRow;
        for (int l = 0; l < kSubRow; ++l) sums[p][l] = from[l];
      }
      const int pixels = otrans(u.ins, u.block, tile, kb, sums, out);
      for (int i = 0; i < pixels; ++i, ++*count) {
        const bool last_of_unit = tile == u.block.tiles - 1 && kb == blocks - 1 && i == pixels - 1;
        for (int l = 0; l < kSubRow; ++l) y[*count * kSubRow + l] = static_cast<int64_t>(out[i].y[l]);
        const int32_t words[7] = {out[i].oy,        out[i].ox,   out[i].kb,   out[i].quad_first,
                                  out[i].quad_last, out[i].drop, last_of_unit};
        std::memcpy(meta + *count * 7, words, sizeof words);
      }
    }
  }
  return kOk;
}

uint32_t subrow_rfetch(const uint8_t* ins, const uint8_t* arena, uint64_t arena_bytes, uint32_t by, uint32_t bx,
                       uint32_t kg, int8_t* rbuf) {
  const Unit u = unit_of(ins, by, bx, kg, arena_bytes, kNoLimit);
  if (u.code == kOk && u.ins.residual) rfetch(u.ins, u.block, kg, act_words(arena), out_buffer(rbuf));
  return u.code;
}

uint32_t subrow_post(const uint8_t* ins, const int64_t* y, const int32_t* meta, uint32_t count, const uint64_t* params,
                     const int8_t* rbuf, uint32_t by, uint32_t bx, uint32_t kg, int8_t* obuf) {
  const Unit u = unit_of(ins, by, bx, kg, kNoLimit, kNoLimit);
  if (u.code != kOk) return u.code;
  Param unpacked[kChannels];
  for (int k = 0; k < kChannels; ++k) {
    unpacked[k] = unpack_param(reinterpret_cast<const uint8_t*>(params + k));
    if (unpacked[k].shift > kMaxShift) return kBadShift;
  }
  Quad quad = {};
  for (uint32_t i = 0; i < count; ++i) {
    const int32_t* w = meta + static_cast<uint64_t>(i) * 7;
    YPixel pixel = {{}, w[2], w[0], w[1], w[5] != 0, w[3] != 0, w[4] != 0};
    const int rows = u.ins.pool ? 2 * u.block.orows : u.block.crows;
    const int columns = u.ins.pool ? 2 * u.block.ocols : u.block.ccols;
    const bool inside = w[0] >= 0 && w[0] < rows && w[1] >= 0 && w[1] < columns && w[2] >= 0 && w[2] < kBlocksOut;
    if (!pixel.drop && !inside) return kBadBlocks;
    for (int l = 0; l < kSubRow; ++l) pixel.y[l] = y[static_cast<uint64_t>(i) * kSubRow + l];
    post(u.ins, u.block, kg, unpacked, out_buffer(rbuf), pixel, quad, out_buffer(obuf));
  }
  return kOk;
}

uint32_t subrow_awrite(const uint8_t* ins, const int8_t* obuf, uint32_t by, uint32_t bx, uint32_t kg, uint8_t* arena,
                       uint64_t arena_bytes) {
  const Unit u = unit_of(ins, by, bx, kg, arena_bytes, kNoLimit);
  if (u.code == kOk) awrite(u.ins, u.block, kg, out_buffer(obuf), act_words(arena));
  return u.code;
}

}  // extern "C"
