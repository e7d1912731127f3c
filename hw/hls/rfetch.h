// rfetch: the residual pixels of one (block, kg) from memory into the residual buffer.
#pragma once

#include "geometry.h"

namespace subrow {

// Output and residual buffer: two halves, by the parity of the (block, kg) unit.
using OutBuffer = ActWord[kOutWords];

inline int out_half(const Block& b, int kg) { return ((b.unit + kg - b.kg0) & 1) * (kOutWords / 2); }

// act: the arena. Returns the bytes of the beats read.
inline uint64_t rfetch(const Instr& ins, const Block& b, int kg, const ActWord* act, OutBuffer& rbuf) {
  const uint64_t base = ins.res_offset / kSubRow, row_words = ins.res_row_bytes / kSubRow;
  const int half = out_half(b, kg), blocks = live_blocks(ins, kg);
  uint64_t bytes = 0;
  for (int y = 0; y < b.crows; ++y) {
    for (int kb = 0; kb < blocks; ++kb) {
      const uint64_t column = static_cast<uint64_t>(kg * kBlocksOut + kb) * ins.conv_w + b.cx0;
      const uint64_t from = base + (b.cy0 + y) * row_words + column;
      bytes += beat_bytes(from, b.ccols);
      for (int x = 0; x < b.ccols; ++x) {
#pragma HLS PIPELINE II = 1
        rbuf[half + (y * b.ccols + x) * kBlocksOut + kb] = act[from + x];
      }
    }
  }
  return bytes;
}

}  // namespace subrow
