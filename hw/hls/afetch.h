// afetch: the input pixels of one block from memory into the banked activation buffer.
#pragma once

#include "geometry.h"

namespace subrow {

// 8 banks; local row r is in bank r % 8.
using ActBuffer = ActWord[kRamBanks][kActWords];

inline int abuf_address(const Instr& ins, const Block& b, int ly, int cb, int lx) {
  const int half = ins.whole_a ? 0 : (b.index & 1) * (kActWords / 2);
  return half + ((ly / kRamBanks) * static_cast<int>(ins.in_cb) + cb) * b.ncols + lx;
}

// act: the arena. Returns the bytes of the beats read; a block as wide as the tensor is read row by row as one run.
inline uint64_t afetch(const Instr& ins, const Block& b, const ActWord* act, ActBuffer& abuf) {
  const uint64_t base = ins.in_offset / kSubRow, row_words = ins.in_row_bytes / kSubRow;
  for (int ly = 0; ly < b.nrows; ++ly) {
    for (int cb = 0; cb < static_cast<int>(ins.in_cb); ++cb) {
      const uint64_t from = base + (b.ry0 + ly) * row_words + static_cast<uint64_t>(cb) * ins.in_w + b.rx0;
      const int to = abuf_address(ins, b, ly, cb, 0);
      for (int lx = 0; lx < b.ncols; ++lx) {
#pragma HLS PIPELINE II = 1
        abuf[ly % kRamBanks][to + lx] = act[from + lx];
      }
    }
  }
  const bool whole = b.ncols == static_cast<int>(ins.in_w);
  const int runs = whole ? 1 : ins.in_cb, words = whole ? ins.in_row_words : b.ncols;
  uint64_t bytes = 0;
  for (int ly = 0; ly < b.nrows; ++ly) {
    for (int i = 0; i < runs; ++i) {
#pragma HLS PIPELINE II = 1
      bytes += beat_bytes(base + (b.ry0 + ly) * row_words + static_cast<uint64_t>(i) * ins.in_w + b.rx0, words);
    }
  }
  return bytes;
}

}  // namespace subrow
