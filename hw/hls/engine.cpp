#include "engine.h"

namespace subrow {
namespace {

// Where the weights of kg stand: in a slot of the pass when they stay for all its blocks, else in slot 0.
int slot_of(const Instr& ins, const Block& b, int kg) { return ins.resident ? kg - b.kg0 : 0; }

void load_group(const Instr& ins, const Block& b, int kg, const WgtBeat* prog, WeightBuffers& weights, Record& record) {
  const int slot = slot_of(ins, b, kg);
  const int64_t first = static_cast<int64_t>(slot) * ins.chunk_words;
  wfetch(ins, kg, prog, weights.words + first, weights.params[slot]);
  array_load(ins, weights.words + first, kg, weights.steps.step + first * kEntries);
  record.word[kRecWeightBytes] += chunk_bytes(ins);
}

// Sums, transforms and posts one strip of tiles of one output channel group.
void run_strip(const Instr& ins, const Block& b, int kg, int strip, Buffers& buffers) {
  const int slot = slot_of(ins, b, kg), blocks = live_blocks(ins, kg);
  const Step* steps = buffers.weights.steps.step + static_cast<int64_t>(slot) * ins.chunk_words * kEntries;
  array(ins, b, strip, buffers.vbuf, steps, buffers.mbuf);
  const int tiles = imin(kStrip, b.tiles - strip * kStrip);
  for (int lane = 0; lane < tiles; ++lane) {
    for (int kb = 0; kb < blocks; ++kb) {
      MTile m;
      YTile y;
      Quad quad = {};
      gather_tile(ins, buffers.mbuf, lane, kb, m);
      const int pixels = otrans(ins, b, strip * kStrip + lane, kb, m, y);
      for (int i = 0; i < pixels; ++i) {
        post(ins, b, kg, buffers.weights.params[slot], buffers.rbuf, y[i], quad, buffers.obuf);
      }
    }
  }
}

void run_block(const Instr& ins, const Block& b, ActWord* act, const WgtBeat* prog, Buffers& buffers, Record& record) {
  record.word[kRecReadBytes] += afetch(ins, b, act, buffers.abuf);
  itrans(ins, b, buffers.abuf, buffers.vbuf);
  for (int kg = b.kg0; kg < b.kg1; ++kg) {
    if (!ins.resident || b.first) load_group(ins, b, kg, prog, buffers.weights, record);
    if (ins.residual) record.word[kRecReadBytes] += rfetch(ins, b, kg, act, buffers.rbuf);
    for (int strip = 0; strip * kStrip < b.tiles; ++strip) run_strip(ins, b, kg, strip, buffers);
    awrite(ins, b, kg, buffers.obuf, act);
    record.word[kRecIssued] += array_steps(ins, b);
  }
}

void write_record(const Record& record, uint64_t byte, ActWord* act) {
  for (int i = 0; i < kRecordWords * 8; ++i) {
#pragma HLS PIPELINE II = 1
    act[(byte + i) / kSubRow].l[(byte + i) % kSubRow] = static_cast<int8_t>(record.word[i / 8] >> (i % 8 * 8));
  }
}

}  // namespace

void run_layer(const Instr& ins, ActWord* act, const WgtBeat* prog, Buffers& buffers, Record& record) {
  record = Record{};
  record.word[kRecLayer] = ins.layer_id;
  for (int pass = 0; pass < passes(ins); ++pass) {
    for (int by = 0; by < static_cast<int>(ins.blocks_y); ++by) {
      for (int bx = 0; bx < static_cast<int>(ins.blocks_x); ++bx) {
        run_block(ins, block_of(ins, pass, by, bx), act, prog, buffers, record);
      }
    }
  }
}

}  // namespace subrow

void subrow_engine(subrow::ActWord* act, const subrow::WgtBeat* wgt, uint64_t prog_offset, uint32_t layers,
                   uint64_t record_offset, uint32_t* status) {
#pragma HLS INTERFACE m_axi port = act offset = slave bundle = act max_widen_bitwidth = 0
#pragma HLS INTERFACE m_axi port = wgt offset = slave bundle = wgt max_widen_bitwidth = 0
#pragma HLS INTERFACE s_axilite port = prog_offset
#pragma HLS INTERFACE s_axilite port = layers
#pragma HLS INTERFACE s_axilite port = record_offset
#pragma HLS INTERFACE s_axilite port = status
#pragma HLS INTERFACE s_axilite port = return
  using namespace subrow;
  static Buffers buffers;
  const WgtBeat* prog = wgt + prog_offset / kWeightBytes;
  for (uint32_t i = 0; i < layers; ++i) {
    uint8_t bytes[kInstrBytes];
    for (int j = 0; j < kInstrBytes; ++j) {
#pragma HLS PIPELINE II = 1
      bytes[j] = prog[(static_cast<uint64_t>(i) * kInstrBytes + j) / kWeightBytes].b[j % kWeightBytes];
    }
    const Instr ins = decode_instr(bytes);
    const CheckCode code = check_instruction(bytes, ins, layers);
    *status = code == kOk ? 0 : code | i << 8;
    if (code != kOk) return;
    Record record;
    run_layer(ins, act, prog, buffers, record);
    write_record(record, record_offset + 8ull * kRecordWords * ins.layer_id, act);
  }
}
