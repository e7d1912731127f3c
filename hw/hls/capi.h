// C ABI of the engine's HLS description: whole programs for the emulator, single units for the RTL benches.
//
// `ins` is always the 128 bytes of an instruction. Unit functions check it first and return 0 or a CheckCode (check.h);
// they use the memory layouts of docs/hardware.md with the sizes of config.h, both halves included, and touch only the
// elements that the hardware unit writes (so a bench can poison the rest). Arrays are row-major:
//
//   arena  uint8 [arena_bytes]                 image  uint8 [image_bytes], the bytes at the program base
//   abuf   int8  [8][kActWords][L]             vbuf   int16 [Pn][kVWords][4][L]
//   uwords int16 [chunk_words][4][Pk]          iwords uint8 [chunk_words][4][Pk]     words of one kg
//   params uint64 [Pk]                         raw parameters of one kg
//   m      int64 [G][NK][4][L]                 one (block, kg, q) unit of the M buffer
//   rbuf, obuf int8 [kOutWords][L]
//   y      int64 [transfers][L], meta int32 [transfers][7] = oy, ox, kb, quad_first, quad_last, drop, last_of_unit
//
// Unit arguments: by, bx < blocks; kg < kgs; q < q_count. An argument out of range returns kBadBlocks.
#pragma once

#include <cstdint>

extern "C" {

// Runs `layers` instructions of an image on an arena. records: uint64 [layers][8], isa.RECORD_FIELDS; issued,
// read_bytes and weight_bytes (parameters and weights, without the instruction) are exact, cycles and stalls are 0.
// Returns 0, or CheckCode | layer << 8 of the first instruction that must not run; then nothing was touched.
// Thread safe.
uint32_t subrow_run(const uint8_t* image, uint64_t image_bytes, uint8_t* arena, uint64_t arena_bytes, uint32_t layers,
                    uint64_t* records);

// The top function of engine.h as Vitis HLS sees it: the caller vouches for all addresses, records go to act memory.
// Not thread safe.
uint32_t subrow_top(uint8_t* act, const uint8_t* wgt, uint64_t prog_offset, uint32_t layers, uint64_t record_offset);

// Whether a program may be loaded: the status of subrow_run, and no sum may overflow at any input (bounds.h).
uint32_t subrow_check(const uint8_t* image, uint64_t image_bytes, uint64_t arena_bytes, uint32_t layers);
// English text of a CheckCode.
const char* subrow_check_text(uint32_t code);
// First 32 bits of the HwConfig's digest.
uint32_t subrow_config_hash();

// Input pixels of block (by, bx) in the pass of group kg: arena -> abuf.
uint32_t subrow_afetch(const uint8_t* ins, const uint8_t* arena, uint64_t arena_bytes, uint32_t by, uint32_t bx,
                       uint32_t kg, int8_t* abuf);
// Windows of block (by, bx) in the pass of group kg: abuf -> vbuf.
uint32_t subrow_itrans(const uint8_t* ins, const int8_t* abuf, uint32_t by, uint32_t bx, uint32_t kg, int16_t* vbuf);
// Chunk kg: image -> uwords, iwords (0 when implicit_index), params.
uint32_t subrow_wfetch(const uint8_t* ins, const uint8_t* image, uint64_t image_bytes, uint32_t kg, int16_t* uwords,
                       uint8_t* iwords, uint64_t* params);
// Tile group q of block (by, bx), group kg: vbuf and the words of kg -> m. Tiles beyond the block are left alone.
uint32_t subrow_array(const uint8_t* ins, const int16_t* vbuf, const int16_t* uwords, const uint8_t* iwords,
                      uint32_t by, uint32_t bx, uint32_t kg, uint32_t q, int64_t* m);
// The same unit: m -> transfers, counted in *count (at most 16 * Pn * CB). last_of_unit: last of (block, kg).
uint32_t subrow_otrans(const uint8_t* ins, const int64_t* m, uint32_t by, uint32_t bx, uint32_t kg, uint32_t q,
                       int64_t* y, int32_t* meta, uint32_t* count);
// Residual of (block, kg): arena -> rbuf.
uint32_t subrow_rfetch(const uint8_t* ins, const uint8_t* arena, uint64_t arena_bytes, uint32_t by, uint32_t bx,
                       uint32_t kg, int8_t* rbuf);
// `count` transfers of (block, kg), whole quads: y, meta, params and rbuf -> obuf.
uint32_t subrow_post(const uint8_t* ins, const int64_t* y, const int32_t* meta, uint32_t count, const uint64_t* params,
                     const int8_t* rbuf, uint32_t by, uint32_t bx, uint32_t kg, int8_t* obuf);
// Outputs of (block, kg): obuf -> arena.
uint32_t subrow_awrite(const uint8_t* ins, const int8_t* obuf, uint32_t by, uint32_t bx, uint32_t kg, uint8_t* arena,
                       uint64_t arena_bytes);

}  // extern "C"
