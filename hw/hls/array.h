// array: the sparse multiply-accumulate array, for one strip of tiles and one output channel group.
//
// Sums are exact, so their order is free: the hardware takes one weight word a cycle for all lanes and channels of a
// tile group; here one lane and channel runs through all its steps for a whole strip. `array_steps` counts what the
// hardware issues.
#pragma once

#include "itrans.h"
#include "wfetch.h"

namespace subrow {

// One step of one (tap, channel): the weight, and the row w * L + idx of V that it multiplies.
struct Step {
  int32_t u;
  uint32_t row;
};
constexpr int kMaxSteps = kLanes * kWeightWords;  // direct layers pack four steps into a word
static_assert(static_cast<int64_t>(kVWords) * kSubRow < (int64_t{1} << 31), "row fits");

// Weights of one group in the order of use: [tap][channel][step]; direct layers share one tap.
struct StepBuffer {
  Step step[static_cast<int64_t>(kMaxSteps) * kChannels];
};

// Sums of one strip: [tap][channel][tile].
using MBuffer = acc_t[kMaxTaps][kChannels][kStrip];

// Cycles in which the array issues products for one block and one group.
inline uint64_t array_steps(const Instr& ins, const Block& b) {
  return static_cast<uint64_t>(b.q) * tile_shape(ins).groups * reduction_steps(ins);
}

inline int weight_taps(const Instr& ins) { return ins.tile == kDirect ? 1 : kLanes * tile_shape(ins).groups; }

// Step j of the sub-row whose V word is w.
inline Step step_of(const Instr& ins, const WeightWord& word, int lane, int k, uint32_t w, uint32_t j) {
#pragma HLS INLINE
  const uint32_t index = ins.implicit_index ? j : static_cast<uint32_t>(word.idx[lane][k]);
  return {static_cast<int32_t>(word.u[lane][k]), w * kSubRow + index};
}

// Weight words -> steps.
inline void array_load(const Instr& ins, const WeightWord* words, int kg, Step* steps) {
  const int n = reduction_steps(ins), groups = tile_shape(ins).groups, first = kg * static_cast<int>(ins.v_kstep);
  const bool direct = ins.tile == kDirect;
  int i = 0;
  for (int w = 0; w < static_cast<int>(ins.red_words); ++w) {
    for (int j = 0; j < static_cast<int>(ins.sub_s); ++j, ++i) {
      for (int k = 0; direct && k < kChannels; ++k) {
#pragma HLS UNROLL
        steps[k * n + i] = step_of(ins, words[i / kLanes], i % kLanes, k, first + w, j);
      }
      for (int row = 0; !direct && row < groups * kEntries; ++row) {
#pragma HLS PIPELINE II = 1
        const WeightWord& word = words[row / kEntries * n + i];
        steps[static_cast<int64_t>(row) * n + i] =
            step_of(ins, word, row % kEntries / kChannels, row % kChannels, first + w, j);
      }
    }
  }
}

// One tap and channel: all steps, kWidth tiles at once. `v` is the tap group's first word, `lane` its tap lane.
template <int kWidth>
inline void array_lane(const Step* steps, int n, const VWord* v, int lane, acc_t* m) {
  acc_t acc[kWidth];
  for (int t = 0; t < kWidth; ++t) acc[t] = 0;
  for (int i = 0; i < n; ++i) {
#pragma HLS PIPELINE II = 1
    const Step s = steps[i];
    const v_t* row = v[s.row / kSubRow].v[lane][s.row % kSubRow];
    for (int t = 0; t < kWidth; ++t) {
#pragma HLS UNROLL
      acc[t] += static_cast<acc_t>(s.u) * row[t];
    }
  }
  for (int t = 0; t < kWidth; ++t) m[t] = acc[t];
}

// vbuf and steps of this group -> sums of strip `strip` of the block.
inline void array(const Instr& ins, const Block& b, int strip, const VBuffer& vbuf, const Step* steps, MBuffer& m) {
  const int n = reduction_steps(ins), taps = kLanes * tile_shape(ins).groups;
  const int shared = weight_taps(ins) == 1, tiles = imin(kStrip, b.tiles - strip * kStrip);
  for (int p = 0; p < taps; ++p) {
    const VWord* v = &vbuf[vbuf_address(ins, strip, p / kLanes, 0)];
    for (int k = 0; k < kChannels; ++k) {
      const Step* from = steps + static_cast<int64_t>(shared ? k : p * kChannels + k) * n;
      if (tiles <= 4) {
        array_lane<4>(from, n, v, p % kLanes, m[p][k]);
      } else if (tiles <= 8) {
        array_lane<8>(from, n, v, p % kLanes, m[p][k]);
      } else {
        array_lane<kStrip>(from, n, v, p % kLanes, m[p][k]);
      }
    }
  }
}

}  // namespace subrow
