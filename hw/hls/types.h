// Number types of the engine: native integers, or the vendor's arbitrary-precision types with -DSUBROW_AP_TYPES.
//
// Both give the same results for every instruction that check.h accepts and weights within the bounds of
// docs/numerics.md; the native types are at least as wide.
#pragma once

#include <cstdint>

#include "config.h"
#include "subrow_isa.h"

#ifdef SUBROW_AP_TYPES
#include "ap_int.h"
#else
#include <type_traits>
#endif

namespace subrow {

constexpr int kLanes = 4;                        // taps that the array processes at once
constexpr int kBlocksOut = kChannels / kSubRow;  // CB: activation words that the output channels fill
constexpr int kNK = kTiles * kBlocksOut;         // NK
constexpr int kMaxGroups = kMaxTaps / kLanes;    // G of F(4x4)
constexpr int kMaxPixels = 16;                   // output pixels of a tile of F(4x4)
constexpr int kIdxBits = kSubRow == 4 ? 2 : kSubRow == 8 ? 3 : 4;
constexpr int kEntries = kLanes * kChannels;  // weights of a weight word
constexpr int kParamBytes = 8;                // parameters of one output channel
constexpr int kMaxShift = 47;
constexpr int kStrip = kTiles > 16 ? 32 : 16;  // tiles that share one pass over the weights
constexpr int kRamBanks = 8;                   // banks of the activation buffer

static_assert(kSubRow == 4 || kSubRow == 8 || kSubRow == 16, "idx_bits");
static_assert((1 << kIdxBits) == kSubRow, "an index selects any channel of a sub-row");
static_assert(kBlocksOut * kSubRow == kChannels && kBlocksOut >= 1, "whole activation words");
static_assert(kActBits == 8, "activations are bytes");
static_assert(kStrip >= kTiles, "a strip holds a tile group");
static_assert(kUBits + kVBits <= kAccBits && kAccBits <= kYBits && kYBits <= 48, "products fit the sums");

#ifdef SUBROW_AP_TYPES
using act_t = ap_int<kActBits>;
using u_t = ap_int<kUBits>;
using v_t = ap_int<kVBits>;
using idx_t = ap_uint<kIdxBits>;
using bt_t = ap_int<kActBits + 8>;  // Bt x B before its shift
using acc_t = ap_int<kAccBits>;
using y_t = ap_int<kYBits>;
using scaled_t = ap_int<kYBits + 18>;  // (Y + bias) * mult
#else
using act_t = int8_t;
using u_t = int16_t;
using v_t = int16_t;
using idx_t = uint8_t;
using bt_t = int32_t;
using acc_t = std::conditional<(kAccBits <= 32), int32_t, int64_t>::type;
using y_t = int64_t;
using scaled_t = int64_t;
#endif

// A word of activations, and a beat of the weight port.
struct ActWord {
  int8_t l[kSubRow];
};
struct WgtBeat {
  uint8_t b[kWeightBytes];
};
static_assert(sizeof(ActWord) == kSubRow && sizeof(WgtBeat) == kWeightBytes, "ports are dense bytes");
static_assert(kInstrBytes % kWeightBytes == 0 && kChannels * kParamBytes % kWeightBytes == 0, "whole beats");

struct WeightWord {
  u_t u[kLanes][kChannels];
  idx_t idx[kLanes][kChannels];
};

struct Param {
  int32_t bias;
  uint16_t mult;
  uint8_t shift;
  uint16_t negative;  // multiplier of sums below 0 in a leaky layer
};

constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
constexpr int imin(int a, int b) { return a < b ? a : b; }
constexpr int imax(int a, int b) { return a > b ? a : b; }

constexpr int kNarrowBits = 4;  // of a weight in memory in a layer with narrow_u
constexpr int kUnitBytes = 8;   // a weight word in memory is whole units, at least one beat
static_assert(!kNarrowU || (kUBits > kNarrowBits && kEntries * kNarrowBits >= 8 * kWeightBytes), "narrow weights");
static_assert(kWeightBytes % kUnitBytes == 0, "a beat is whole units");

constexpr int stored_bits(bool narrow) { return narrow ? kNarrowBits : kUBits; }

constexpr int weight_word_bytes(bool implicit_index, bool narrow) {
  return imax(ceil_div(kEntries * (stored_bits(narrow) + (implicit_index ? 0 : kIdxBits)), 8 * kUnitBytes) * kUnitBytes,
              kWeightBytes);
}
inline int weight_word_bytes(const Instr& ins) { return weight_word_bytes(ins.implicit_index, ins.narrow_u); }
constexpr int kMaxWordBytes = weight_word_bytes(false, false);
static_assert(kMaxWordBytes * 8 >= kEntries * (kUBits + kIdxBits), "a weight word fits its bytes");

}  // namespace subrow
