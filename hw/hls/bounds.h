// bounds: how large sums can become for the weights of a layer at any input (docs/numerics.md, "Sizes").
//
// The native number types are wider than the hardware's, so only layers within these bounds give the same bits
// everywhere.
#pragma once

#include "itrans.h"
#include "wfetch.h"

namespace subrow {

constexpr uint64_t kVMax = (uint64_t{1} << (kVBits - 1)) - 1;
constexpr uint64_t kAccLimit = uint64_t{1} << (kAccBits - 1);
constexpr uint64_t kYLimit = uint64_t{1} << (kYBits - 1);

// Largest |sum| of each tap and output channel of one group. Direct layers have one tap.
struct TapSums {
  uint64_t tap[kMaxTaps][kChannels];
};

inline void add_word(const Instr& ins, const RawWord& raw, int word, TapSums& sums) {
  const int steps = ins.red_words * ins.sub_s;
  for (int e = 0; e < kEntries; ++e) {
    const int lane = e / kChannels;
    if (ins.tile == kDirect && word * kLanes + lane >= steps) return;  // the rest of the last word is never used
    const int tap = ins.tile == kDirect ? 0 : word / steps * kLanes + lane;
    const int32_t u = entry_value(raw, ins.narrow_u, e);
    sums.tap[tap][e % kChannels] += kVMax * static_cast<uint64_t>(u < 0 ? -u : u);
  }
}

// chunk: the bytes of one output channel group.
inline TapSums tap_sums(const Instr& ins, const uint8_t* chunk) {
  TapSums sums = {};
  const int bytes = weight_word_bytes(ins);
  const uint8_t* words = chunk + kChannels * kParamBytes;
  RawWord raw = {};
  for (int word = 0; word < static_cast<int>(ins.chunk_words); ++word) {
    for (int b = 0; b < bytes; ++b) raw.b[b] = words[static_cast<int64_t>(word) * bytes + b];
    add_word(ins, raw, word, sums);
  }
  return sums;
}

inline uint64_t magnitude(int value) { return static_cast<uint64_t>(value < 0 ? -value : value); }

// Largest |Y| of output channel k. The sums must be below kAccLimit: then nothing here exceeds 64 bits.
template <Tile kKind>
inline uint64_t y_bound(const Instr& ins, const TapSums& sums, int k) {
  using T = Transform<kKind>;
  uint64_t largest = 0;
  for (int pixel = 0; pixel < T::kOut * T::kOut; ++pixel) {
    uint64_t y = 0;
    for (int p = 0; p < T::kTaps; ++p) {
      const uint64_t weight = magnitude(T::at(pixel / T::kOut, T::tap(p, 0)) * T::at(pixel % T::kOut, T::tap(p, 1)));
      y += weight * (sums.tap[kKind == kDirect ? 0 : p][k] << ins.em[p]);
    }
    largest = y > largest ? y : largest;
  }
  return largest;
}

inline uint64_t y_bound(const Instr& ins, const TapSums& sums, int k) {
  if (ins.tile == kDirect) return y_bound<kDirect>(ins, sums, k);
  if (ins.tile == kLinear) return y_bound<kLinear>(ins, sums, k);
  return ins.tile == kF2 ? y_bound<kF2>(ins, sums, k) : y_bound<kF4>(ins, sums, k);
}

inline bool accumulators_hold(const TapSums& sums) {
  for (int p = 0; p < kMaxTaps; ++p) {
    for (int k = 0; k < kChannels; ++k) {
      if (sums.tap[p][k] >= kAccLimit) return false;
    }
  }
  return true;
}

// chunk: the bytes of the group, with its biases. Call after accumulators_hold.
inline bool outputs_hold(const Instr& ins, const TapSums& sums, const uint8_t* chunk) {
  for (int k = 0; k < kChannels; ++k) {
    const int64_t bias = unpack_param(chunk + k * kParamBytes).bias;
    if (y_bound(ins, sums, k) + static_cast<uint64_t>(bias < 0 ? -bias : bias) >= kYLimit) return false;
  }
  return true;
}

}  // namespace subrow
