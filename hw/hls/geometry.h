// Sizes of tiles and blocks: the loop nest of docs/hardware.md in one place.
#pragma once

#include "types.h"

namespace subrow {

// Bytes of the beats of the activation port that hold `words` words from word `first` on.
inline uint64_t beat_bytes(uint64_t first, int words) {
#pragma HLS INLINE
  return (first % kPortWords + words + kPortWords - 1) / kPortWords * kPortWords * kSubRow;
}

// m output rows, alpha input rows and `groups` groups of four taps per tile.
struct TileShape {
  int m, alpha, groups;
};

// The window is the kernel, not that of a Winograd tile.
inline bool has_kernel(const Instr& ins) { return ins.tile == kDirect || ins.tile == kLinear; }

inline TileShape tile_shape(const Instr& ins) {
  if (ins.tile == kF4) return {4, 6, 9};
  if (ins.tile == kF2) return {2, 4, 4};
  return {2, 2, 1};
}

// One block. Row and column fields: tiles (th), first input pixel in image coordinates (iy0, may be negative), the part
// inside the image (ry0, nrows), convolution outputs (crows) and outputs in the buffer (oy0, orows; upsampled only in
// memory).
struct Block {
  int index;     // of all blocks of all passes
  int kg0, kg1;  // output channel groups of its pass
  int unit;      // of all (block, kg) units, the first one of this block
  bool first;    // of its pass
  int th, tw, tiles, q;
  int iy0, ix0, ry0, rx0, nrows, ncols;
  int cy0, cx0, crows, ccols;
  int oy0, ox0, orows, ocols;
};

struct Span {
  int tiles, i0, r0, n, c0, cn, o0, on;
};

// One direction of a block.
inline Span block_span(int b, int block_tiles, int m, int stride, int ext, int pad, int in, int conv, int out,
                       bool pool) {
  Span s;
  s.tiles = imin(block_tiles, ceil_div(conv, m) - b * block_tiles);
  s.i0 = b * block_tiles * m * stride - pad;
  s.r0 = imax(s.i0, 0);
  s.n = imin(s.i0 + (s.tiles * m - 1) * stride + ext, in) - s.r0;
  s.c0 = b * block_tiles * m;
  s.cn = imin(s.tiles * m, conv - s.c0);
  s.o0 = pool ? s.c0 / 2 : s.c0;
  s.on = pool ? imax(0, imin(s.tiles * m / 2, out - s.o0)) : s.cn;
  return s;
}

inline Span row_span(const Instr& ins, int by) {
  const int ext = has_kernel(ins) ? ins.kernel_h : 3;
  return block_span(by, ins.block_th, tile_shape(ins).m, ins.stride, ext, ins.pad_top, ins.in_h, ins.conv_h, ins.out_h,
                    ins.pool);
}

inline Span column_span(const Instr& ins, int bx) {
  const int ext = has_kernel(ins) ? ins.kernel_w : 3;
  return block_span(bx, ins.block_tw, tile_shape(ins).m, ins.stride, ext, ins.pad_left, ins.in_w, ins.conv_w, ins.out_w,
                    ins.pool);
}

inline int q_of(const Instr& ins, int by, int bx) {
  const int row = by == static_cast<int>(ins.blocks_y) - 1, column = bx == static_cast<int>(ins.blocks_x) - 1;
  return ins.q_count[2 * row + column];
}

inline int passes(const Instr& ins) { return ceil_div(ins.kgs, ins.pass_kgs); }

inline Block block_of(const Instr& ins, int pass, int by, int bx) {
  const Span y = row_span(ins, by), x = column_span(ins, bx);
  Block b;
  const int blocks = ins.blocks_y * ins.blocks_x, place = by * ins.blocks_x + bx;
  b.index = pass * blocks + place;
  b.kg0 = pass * ins.pass_kgs, b.kg1 = imin(b.kg0 + ins.pass_kgs, ins.kgs);
  b.first = place == 0;
  b.unit = b.kg0 * blocks + place * (b.kg1 - b.kg0);
  b.th = y.tiles, b.tw = x.tiles, b.tiles = y.tiles * x.tiles, b.q = q_of(ins, by, bx);
  b.iy0 = y.i0, b.ix0 = x.i0, b.ry0 = y.r0, b.rx0 = x.r0, b.nrows = y.n, b.ncols = x.n;
  b.cy0 = y.c0, b.cx0 = x.c0, b.crows = y.cn, b.ccols = x.cn;
  b.oy0 = y.o0, b.ox0 = x.o0, b.orows = y.on, b.ocols = x.on;
  return b;
}

// Output channel blocks of group kg that exist in memory.
inline int live_blocks(const Instr& ins, int kg) { return imin(kBlocksOut, ins.out_cb - kg * kBlocksOut); }

// Steps of one (kg, q, g).
inline int reduction_steps(const Instr& ins) { return ins.red_words * ins.sub_s; }

// floor(x / 2^n + 1/2).
template <typename T>
inline T round_shift(T x, int n) {
#pragma HLS INLINE
  const T half = n > 0 ? static_cast<T>(static_cast<T>(1) << (n - 1)) : static_cast<T>(0);
  return static_cast<T>((x + half) >> n);
}

}  // namespace subrow
