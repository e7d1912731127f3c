// awrite: the finished pixels of one (block, kg) from the output buffer into memory.
#pragma once

#include "rfetch.h"

namespace subrow {

inline void awrite(const Instr& ins, const Block& b, int kg, const OutBuffer& obuf, ActWord* act) {
  const uint64_t base = ins.out_offset / kSubRow, row_words = ins.out_row_bytes / kSubRow;
  const int half = out_half(b, kg), blocks = live_blocks(ins, kg), grow = ins.upsample ? 2 : 1;
  for (int y = 0; y < grow * b.orows; ++y) {
    for (int kb = 0; kb < blocks; ++kb) {
      const uint64_t column = static_cast<uint64_t>(kg * kBlocksOut + kb) * ins.out_w + grow * b.ox0;
      const uint64_t to = base + (grow * b.oy0 + y) * row_words + column;
      for (int x = 0; x < grow * b.ocols; ++x) {
#pragma HLS PIPELINE II = 1
        act[to + x] = obuf[half + (y / grow * b.ocols + x / grow) * kBlocksOut + kb];
      }
    }
  }
}

}  // namespace subrow
