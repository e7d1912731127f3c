// otrans: sums of one output tile, aligned and transformed back, as a stream of pixels.
#pragma once

#include "array.h"

namespace subrow {

// One transfer to post: L channels of one pixel. oy, ox: convolution coordinates inside the block; drop: the pixel is
// not part of the output (with pool: its whole quad is not).
struct YPixel {
  y_t y[kSubRow];
  int kb, oy, ox;
  bool drop, quad_first, quad_last;
};
using YTile = YPixel[kMaxPixels];

// Sums of the four-tap groups of one tile and L channels, [tap][l].
using MTile = acc_t[kMaxTaps][kSubRow];

template <Tile kKind>
inline void inverse_transform(const Instr& ins, const MTile& m, y_t (&y)[4][4][kSubRow]) {
  using T = Transform<kKind>;
  for (int l = 0; l < kSubRow; ++l) {
#pragma HLS PIPELINE II = 1
    y_t x[T::kAlpha][T::kAlpha], half[T::kOut][T::kAlpha];
#pragma GCC unroll 36
    for (int p = 0; p < T::kTaps; ++p) x[T::tap(p, 0)][T::tap(p, 1)] = static_cast<y_t>(m[p][l]) << ins.em[p];
#pragma GCC unroll 4
    for (int i = 0; i < T::kOut; ++i) {
#pragma GCC unroll 6
      for (int c = 0; c < T::kAlpha; ++c) {
        y_t sum = 0;
#pragma GCC unroll 6
        for (int j = 0; j < T::kAlpha; ++j) sum += T::at(i, j) * x[j][c];
        half[i][c] = sum;
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < T::kOut; ++i) {
#pragma GCC unroll 4
      for (int c = 0; c < T::kOut; ++c) {
        y_t sum = 0;
#pragma GCC unroll 6
        for (int j = 0; j < T::kAlpha; ++j) sum += T::at(c, j) * half[i][j];
        y[i][c][l] = sum;
      }
    }
  }
}

// Everything of a pixel but its value. tile: index in the block; (r, c): pixel of the tile.
inline void describe_pixel(const Instr& ins, const Block& b, int tile, int kb, int r, int c, YPixel& out) {
  const int m = tile_shape(ins).m;
  out.kb = kb;
  out.oy = tile / b.tw * m + r;
  out.ox = tile % b.tw * m + c;
  out.quad_first = r % 2 == 0 && c % 2 == 0;
  out.quad_last = r % 2 == 1 && c % 2 == 1;
  out.drop = ins.pool ? out.oy / 2 >= b.orows || out.ox / 2 >= b.ocols : out.oy >= b.crows || out.ox >= b.ccols;
}

// Emits the m * m pixels of a tile, quads down, then right; returns their number.
inline int otrans(const Instr& ins, const Block& b, int tile, int kb, const MTile& m, YTile& out) {
  y_t y[4][4][kSubRow];
  if (ins.tile == kDirect) {
    inverse_transform<kDirect>(ins, m, y);
  } else if (ins.tile == kLinear) {
    inverse_transform<kLinear>(ins, m, y);
  } else if (ins.tile == kF2) {
    inverse_transform<kF2>(ins, m, y);
  } else {
    inverse_transform<kF4>(ins, m, y);
  }
  const int size = tile_shape(ins).m, pixels = size * size;
  for (int i = 0; i < pixels; ++i) {
#pragma HLS PIPELINE II = 1
    const int quad = i / 4, r = 2 * (quad % (size / 2)) + i / 2 % 2, c = 2 * (quad / (size / 2)) + i % 2;
    describe_pixel(ins, b, tile, kb, r, c, out[i]);
    for (int l = 0; l < kSubRow; ++l) out[i].y[l] = y[r][c][l];
  }
  return pixels;
}

// One tile of a strip's sums.
inline void gather_tile(const Instr& ins, const MBuffer& m, int lane, int kb, MTile& tile) {
  const int taps = kLanes * tile_shape(ins).groups;
  for (int p = 0; p < taps; ++p) {
    for (int l = 0; l < kSubRow; ++l) tile[p][l] = m[p][kb * kSubRow + l][lane];
  }
}

}  // namespace subrow
