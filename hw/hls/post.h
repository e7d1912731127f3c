// post: bias, requantisation, residual, activation and pooling of a stream of pixels, into the output buffer.
#pragma once

#include "otrans.h"
#include "rfetch.h"

namespace subrow {

static_assert(kYBits + 16 <= 64, "(Y + bias) * mult fits 64 bits");

// Running maximum of the quad under way.
struct Quad {
  int z[kSubRow];
};

inline int requantise(const Instr& ins, const Param& p, y_t y, int residual) {
#pragma HLS INLINE
  const scaled_t biased = y + p.bias;
  const int mult = ins.leaky && biased < 0 ? p.negative : p.mult;
  const scaled_t t = round_shift(static_cast<scaled_t>(biased * mult), p.shift);
  const int64_t scaled = static_cast<int64_t>(residual) * ins.res_mult;
  const int64_t sum = static_cast<int64_t>(t) + (ins.residual ? round_shift(scaled, ins.res_shift) : 0);
  return sum < ins.act_min ? ins.act_min : sum > ins.act_max ? ins.act_max : static_cast<int>(sum);
}

// One transfer. `params` are those of kg, `rbuf` is read only when the layer has a residual.
inline void post(const Instr& ins, const Block& b, int kg, const Param* params, const OutBuffer& rbuf, const YPixel& in,
                 Quad& quad, OutBuffer& obuf) {
#pragma HLS PIPELINE II = 1
  if (in.drop) return;
  const int half = out_half(b, kg);
  const int from = ins.residual ? half + (in.oy * b.ccols + in.ox) * kBlocksOut + in.kb : 0;
  const int oy = ins.pool ? in.oy / 2 : in.oy, ox = ins.pool ? in.ox / 2 : in.ox;
  const bool emit = !ins.pool || in.quad_last;
  ActWord& to = obuf[half + (oy * b.ocols + ox) * kBlocksOut + in.kb];
  for (int l = 0; l < kSubRow; ++l) {
#pragma HLS UNROLL
    const int residual = ins.residual ? rbuf[from].l[l] : 0;
    const int z = requantise(ins, params[in.kb * kSubRow + l], in.y[l], residual);
    const bool first = !ins.pool || in.quad_first;
    quad.z[l] = first ? z : imax(quad.z[l], z);
    if (emit) to.l[l] = static_cast<int8_t>(quad.z[l]);
  }
}

}  // namespace subrow
