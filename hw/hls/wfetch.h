// wfetch: the parameters and weight words of one output channel group from memory into the rings.
#pragma once

#include "geometry.h"

namespace subrow {

constexpr int kMaskU = (1 << kUBits) - 1;
static_assert(kUBits <= 16 && kIdxBits <= 4, "an entry and its bit offset fit 32 bits");

struct RawWord {
  uint8_t b[kMaxWordBytes + 4];  // 4 more, so that entry_bits never reads beyond it
};

inline uint64_t chunk_bytes(const Instr& ins) {
  const uint64_t words = static_cast<uint64_t>(ins.chunk_words) * weight_word_bytes(ins.implicit_index);
  return kChannels * kParamBytes + words;
}

inline uint32_t entry_bits(const RawWord& raw, int low) {
#pragma HLS INLINE
  const uint8_t* p = raw.b + low / 8;
  return (p[0] | p[1] << 8 | static_cast<uint32_t>(p[2]) << 16) >> (low % 8);
}

inline void unpack_word(const RawWord& raw, bool implicit_index, WeightWord& word) {
  for (int e = 0; e < kEntries; ++e) {
#pragma HLS UNROLL
    const uint32_t bits = entry_bits(raw, e * kUBits) & kMaskU;
    word.u[e / kChannels][e % kChannels] = static_cast<int>(bits << (32 - kUBits)) >> (32 - kUBits);
  }
  for (int e = 0; e < kEntries; ++e) {
#pragma HLS UNROLL
    const uint32_t bits = implicit_index ? 0 : entry_bits(raw, kEntries * kUBits + e * kIdxBits) & (kSubRow - 1);
    word.idx[e / kChannels][e % kChannels] = bits;
  }
}

inline Param unpack_param(const uint8_t* b) {
  Param p;
  p.bias = static_cast<int32_t>(b[0] | b[1] << 8 | b[2] << 16 | static_cast<uint32_t>(b[3]) << 24);
  p.mult = b[4] | b[5] << 8;
  p.shift = b[6] & 63;
  p.negative = (b[6] | b[7] << 8) & 0xffc0;  // the six bits of the shift are 0 in it
  return p;
}

inline void fetch_params(const WgtBeat* wgt, uint64_t beat, Param* params) {
  uint8_t raw[kChannels * kParamBytes];
  for (int i = 0; i < kChannels * kParamBytes; ++i) {
#pragma HLS PIPELINE II = 1
    raw[i] = wgt[beat + i / kWeightBytes].b[i % kWeightBytes];
  }
  for (int k = 0; k < kChannels; ++k) params[k] = unpack_param(raw + k * kParamBytes);
}

// wgt: the program image. Writes chunk_words words and kChannels parameters.
inline void wfetch(const Instr& ins, int kg, const WgtBeat* wgt, WeightWord* words, Param* params) {
  const uint64_t beat = (ins.weight_offset + kg * chunk_bytes(ins)) / kWeightBytes;
  fetch_params(wgt, beat, params);
  const int beats = weight_word_bytes(ins.implicit_index) / kWeightBytes;
  uint64_t from = beat + kChannels * kParamBytes / kWeightBytes;
  RawWord raw = {};
  for (int i = 0; i < static_cast<int>(ins.chunk_words); ++i) {
    for (int j = 0; j < beats; ++j) {
#pragma HLS PIPELINE II = 1
      for (int b = 0; b < kWeightBytes; ++b) raw.b[j * kWeightBytes + b] = wgt[from + j].b[b];
    }
    from += beats;
    unpack_word(raw, ins.implicit_index, words[i]);
  }
}

}  // namespace subrow
