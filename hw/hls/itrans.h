// itrans: windows of one block from the activation buffer, transformed, rounded and clamped, into the V buffer.
#pragma once

#include "afetch.h"

namespace subrow {

// V of one word of the reduction and one tap group for a strip of tiles. The RTL has one bank per tile of a tile group;
// here the array takes kStrip tiles at once (tile i: strip i / kStrip, lane i % kStrip), which changes no sum.
struct VWord {
  v_t v[kLanes][kSubRow][kStrip];
};
constexpr int kStripWords = kVWords;  // at most as many strips as tile groups
using VBuffer = VWord[kStripWords];

inline int vbuf_address(const Instr& ins, int strip, int g, int w) {
  return (strip * tile_shape(ins).groups + g) * static_cast<int>(ins.v_words) + w;
}

constexpr int kLowest = -128;  // pixels outside the image where the maximum of a window is taken

constexpr int kBtDirect[2][2] = {{1, 0}, {0, 1}};
constexpr int kAtLinear[2][2] = {{1, 1}, {0, 0}};  // pixel (0, 0) adds the four lanes; the others do not exist

template <Tile kKind>
struct Transform;
template <>
struct Transform<kDirect> {
  static constexpr int kAlpha = 2, kOut = 2, kTaps = 4;
  static constexpr int bt(int i, int j) { return kBtDirect[i][j]; }
  static constexpr int at(int i, int j) { return kBtDirect[i][j]; }
  static constexpr int tap(int p, int axis) { return kTapDirect[p][axis]; }
};
template <>
struct Transform<kLinear> : Transform<kDirect> {
  static constexpr int at(int i, int j) { return kAtLinear[i][j]; }
  static constexpr int tap(int p, int axis) { return kTapLinear[p][axis]; }
};
template <>
struct Transform<kF2> {
  static constexpr int kAlpha = 4, kOut = 2, kTaps = 16;
  static constexpr int bt(int i, int j) { return kBtF2[i][j]; }
  static constexpr int at(int i, int j) { return kAtF2[i][j]; }
  static constexpr int tap(int p, int axis) { return kTapF2[p][axis]; }
};
template <>
struct Transform<kF4> {
  static constexpr int kAlpha = 6, kOut = 4, kTaps = 36;
  static constexpr int bt(int i, int j) { return kBtF4[i][j]; }
  static constexpr int at(int i, int j) { return kAtF4[i][j]; }
  static constexpr int tap(int p, int axis) { return kTapF4[p][axis]; }
};

// Window origin in image coordinates and the step between its rows and columns.
struct Window {
  int y, x, step, cb;
};

template <int kAlpha>
inline void read_window(const Instr& ins, const Block& b, const ActBuffer& abuf, Window at,
                        bt_t (&x)[kAlpha][kAlpha][kSubRow]) {
  const int outside = ins.max_window ? kLowest : 0;
  for (int r = 0; r < kAlpha; ++r) {
    const int y = at.y + r * at.step, ly = y - b.ry0;
    const bool row_inside = y >= 0 && y < static_cast<int>(ins.in_h);
    const int base = row_inside ? abuf_address(ins, b, ly, at.cb, 0) : 0;
    for (int c = 0; c < kAlpha; ++c) {
#pragma HLS PIPELINE II = 1
      const int column = at.x + c * at.step;
      const bool inside = row_inside && column >= 0 && column < static_cast<int>(ins.in_w);
      for (int l = 0; l < kSubRow; ++l) {
        x[r][c][l] = inside ? static_cast<int>(abuf[ly & (kRamBanks - 1)][base + column - b.rx0].l[l]) : outside;
      }
    }
  }
}

// x = Bt x B, every channel on its own.
template <Tile kKind>
inline void transform_window(bt_t (&x)[Transform<kKind>::kAlpha][Transform<kKind>::kAlpha][kSubRow]) {
  using T = Transform<kKind>;
  for (int side = 0; side < 2; ++side) {
    for (int c = 0; c < T::kAlpha; ++c) {
      for (int l = 0; l < kSubRow; ++l) {
#pragma HLS UNROLL
        bt_t in[T::kAlpha];
#pragma GCC unroll 6
        for (int j = 0; j < T::kAlpha; ++j) in[j] = side == 0 ? x[j][c][l] : x[c][j][l];
#pragma GCC unroll 6
        for (int i = 0; i < T::kAlpha; ++i) {
          bt_t sum = 0;
#pragma GCC unroll 6
          for (int j = 0; j < T::kAlpha; ++j) sum += T::bt(i, j) * in[j];
          (side == 0 ? x[i][c][l] : x[c][i][l]) = sum;
        }
      }
    }
  }
}

inline v_t clamp_v(bt_t x) {
#pragma HLS INLINE
  constexpr int kLimit = (1 << (kVBits - 1)) - 1;
  return x > kLimit ? static_cast<v_t>(kLimit) : x < -kLimit ? static_cast<v_t>(-kLimit) : static_cast<v_t>(x);
}

// x = the maximum of all windows of a direct layer's kernel, pixel by pixel; x holds the first.
template <int kAlpha>
inline void take_maximum(const Instr& ins, const Block& b, const ActBuffer& abuf, Window at,
                         bt_t (&x)[kAlpha][kAlpha][kSubRow]) {
  const int columns = ins.kernel_w, area = ins.kernel_h * columns;
  for (int k = 1; k < area; ++k) {
    bt_t next[kAlpha][kAlpha][kSubRow];
    read_window<kAlpha>(ins, b, abuf, {at.y + k / columns, at.x + k % columns, at.step, at.cb}, next);
    for (int i = 0; i < kAlpha * kAlpha; ++i) {
      for (int l = 0; l < kSubRow; ++l) {
#pragma HLS UNROLL
        bt_t& most = x[i / kAlpha][i % kAlpha][l];
        if (next[i / kAlpha][i % kAlpha][l] > most) most = next[i / kAlpha][i % kAlpha][l];
      }
    }
  }
}

template <Tile kKind>
inline void itrans_window(const Instr& ins, const Block& b, const ActBuffer& abuf, Window at, int tile, int w,
                          VBuffer& vbuf) {
  using T = Transform<kKind>;
  bt_t x[T::kAlpha][T::kAlpha][kSubRow];
  read_window<T::kAlpha>(ins, b, abuf, at, x);
  if (kKind != kDirect) {
    transform_window<kKind>(x);
  } else if (ins.max_window) {
    take_maximum<T::kAlpha>(ins, b, abuf, at, x);
  }
  for (int p = 0; p < T::kTaps; ++p) {
#pragma HLS PIPELINE II = 1
    VWord& word = vbuf[vbuf_address(ins, tile / kStrip, p / kLanes, w)];
    for (int l = 0; l < kSubRow; ++l) {
      const bt_t v = x[T::tap(p, 0)][T::tap(p, 1)][l];
      word.v[p % kLanes][l][tile % kStrip] = clamp_v(round_shift(v, ins.ev[p]));
    }
  }
}

template <Tile kKind>
inline void itrans_block(const Instr& ins, const Block& b, const ActBuffer& abuf, VBuffer& vbuf) {
  const int step = kKind == kDirect ? ins.stride : 1, tile_step = Transform<kKind>::kOut * ins.stride;
  const int rows = ins.max_window ? 1 : ins.kernel_h, columns = ins.max_window ? 1 : ins.kernel_w;
  for (int i = 0; i < b.tiles; ++i) {
    const int y = b.iy0 + i / b.tw * tile_step, x = b.ix0 + i % b.tw * tile_step;
    int w = 0;
    for (int cb = 0; cb < static_cast<int>(ins.in_cb); ++cb) {
      for (int ky = 0; ky < rows; ++ky) {
        for (int kx = 0; kx < columns; ++kx) {
          itrans_window<kKind>(ins, b, abuf, {y + ky, x + kx, step, cb}, i, w++, vbuf);
        }
      }
    }
  }
}

// The one window of a linear layer: word i of its reduction is lane i % 4 of V word i / 4, what the last word lacks is
// 0.
inline void itrans_linear(const Instr& ins, const Block& b, const ActBuffer& abuf, VBuffer& vbuf) {
  const int columns = ins.kernel_w, area = ins.kernel_h * columns, words = ins.in_cb * area;
  for (int i = 0; i < static_cast<int>(ins.v_words) * kLanes; ++i) {
#pragma HLS PIPELINE II = 1
    bt_t x[1][1][kSubRow] = {};
    const int k = i % area;
    if (i < words) read_window<1>(ins, b, abuf, {b.iy0 + k / columns, b.ix0 + k % columns, 1, i / area}, x);
    for (int l = 0; l < kSubRow; ++l) {
#pragma HLS UNROLL
      vbuf[i / kLanes].v[i % kLanes][l][0] = clamp_v(round_shift(x[0][0][l], ins.ev[i % kLanes]));
    }
  }
}

inline void itrans(const Instr& ins, const Block& b, const ActBuffer& abuf, VBuffer& vbuf) {
  if (ins.tile == kLinear) {
    itrans_linear(ins, b, abuf, vbuf);
  } else if (ins.tile == kDirect) {
    itrans_block<kDirect>(ins, b, abuf, vbuf);
  } else if (ins.tile == kF2) {
    itrans_block<kF2>(ins, b, abuf, vbuf);
  } else {
    itrans_block<kF4>(ins, b, abuf, vbuf);
  }
}

}  // namespace subrow
