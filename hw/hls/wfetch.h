// wfetch: the parameters and weight words of one output channel group from memory into the rings.
#pragma once

#include "geometry.h"

namespace subrow {

static_assert(kUBits <= 16 && kIdxBits <= 4, "an entry and its bit offset fit 32 bits");

struct RawWord {
  uint8_t b[kMaxWordBytes + kWeightBytes + 4];  // a beat behind the word, and 4 that entry_bits may read
};

// Parameters and words of one output channel group, in whole beats.
inline uint64_t chunk_bytes(const Instr& ins) {
  const uint64_t words = static_cast<uint64_t>(ins.chunk_words) * weight_word_bytes(ins);
  return kChannels * kParamBytes + (words + kWeightBytes - 1) / kWeightBytes * kWeightBytes;
}

inline uint32_t entry_bits(const RawWord& raw, int low) {
#pragma HLS INLINE
  const uint8_t* p = raw.b + low / 8;
  return (p[0] | p[1] << 8 | static_cast<uint32_t>(p[2]) << 16) >> (low % 8);
}

// Weight e of a word, from kNarrowBits or kUBits in memory.
inline int32_t entry_value(const RawWord& raw, bool narrow, int e) {
#pragma HLS INLINE
  const uint32_t bits = entry_bits(raw, e * stored_bits(narrow)) << (32 - stored_bits(narrow));
  return static_cast<int32_t>(bits) >> (32 - stored_bits(narrow));
}

inline void unpack_word(const RawWord& raw, bool implicit_index, bool narrow, WeightWord& word) {
  for (int e = 0; e < kEntries; ++e) {
#pragma HLS UNROLL
    word.u[e / kChannels][e % kChannels] = entry_value(raw, narrow, e);
  }
  const int first = kEntries * stored_bits(narrow);
  for (int e = 0; e < kEntries; ++e) {
#pragma HLS UNROLL
    const uint32_t bits = implicit_index ? 0 : entry_bits(raw, first + e * kIdxBits) & (kSubRow - 1);
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
  const int bytes = weight_word_bytes(ins);
  uint64_t from = beat + kChannels * kParamBytes / kWeightBytes;
  RawWord raw = {};
  int left = 0;  // bytes that the last beat had beyond its word: the first of the next one
  for (int i = 0; i < static_cast<int>(ins.chunk_words); ++i) {
    const int beats = ceil_div(bytes - left, kWeightBytes);
    for (int j = 0; j < beats; ++j) {
#pragma HLS PIPELINE II = 1
      for (int b = 0; b < kWeightBytes; ++b) raw.b[left + j * kWeightBytes + b] = wgt[from + j].b[b];
    }
    from += beats;
    unpack_word(raw, ins.implicit_index, ins.narrow_u, words[i]);
    left += beats * kWeightBytes - bytes;
    for (int b = 0; b < kWeightBytes; ++b) {
#pragma HLS UNROLL
      raw.b[b] = raw.b[bytes + b];
    }
  }
}

}  // namespace subrow
