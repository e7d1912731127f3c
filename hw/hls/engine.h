// The engine: runs instructions one after another, exactly as docs/hardware.md says.
#pragma once

#include "awrite.h"
#include "check.h"
#include "post.h"

namespace subrow {

struct WeightBuffers {
  WeightWord words[kWeightWords];
  Param params[kParamGroups][kChannels];
  StepBuffer steps;  // the words of slot kg, in the order of use, from kg * chunk_words * kEntries
};

// All on-chip memory.
struct Buffers {
  ActBuffer abuf;
  VBuffer vbuf;
  WeightBuffers weights;
  MBuffer mbuf;
  OutBuffer obuf, rbuf;
};

// Counter record; fields in the order of isa.RECORD_FIELDS. Functional models leave the cycles 0.
struct Record {
  uint64_t word[kRecordWords];
};
enum RecordWord { kRecLayer = 0, kRecIssued = 2, kRecReadBytes = 6, kRecWeightBytes = 7 };

// Runs one layer that check.h accepts. act: the arena; prog: the program image.
void run_layer(const Instr& ins, ActWord* act, const WgtBeat* prog, Buffers& buffers, Record& record);

}  // namespace subrow

// The top for Vitis HLS. prog_offset: byte offset of the program in wgt; record_offset: byte offset of the counter
// records in act. status: 0, or check code | layer << 8 of the instruction that stopped the run.
void subrow_engine(subrow::ActWord* act, const subrow::WgtBeat* wgt, uint64_t prog_offset, uint32_t layers,
                   uint64_t record_offset, uint32_t* status);
