// Fetches the parameters and weights of a layer into the two rings.
//
// Contract: one layer per command; `cmd_ready_o` is high when idle. Per pass (one when resident, else one per block) the
//   chunks kg = 0..kgs-1 are one run of memory: parameters (one group), then chunk_words words, each of whole units of
//   64 bits and at least one beat; the chunk ends with a beat. Room in the ring is reserved before a request is made,
//   several words per request, so `rd_ready_o` is always high while a layer is open and the engine behind is never
//   blocked: one beat per cycle. A word is written in the cycle after its last beat; `w_wptr_o`, `p_wptr_o` move one
//   cycle later. Pointers count modulo 2^24 and restart with reset only. With narrow_u a word in memory has weights of
//   4 bits, in the ring always of UBits. The index part of a word means nothing when implicit_index.
// Parameters: Channels a power of two, SubRow..128; SubRow 4, 8, 16; UBits 4..16; WeightWords, ParamGroups powers of two,
//   4..65536; WeightBytes a power of two, 8..8*SubRow; BurstBeats 4, 8, 16; NarrowU 0, or 1 for layers with narrow_u,
//   with UBits above 4 and WeightBytes at most 2*Channels.
// Cost: one weight word of registers, one 40-bit adder, the gearbox of subrow_wfetch_data.
module subrow_wfetch #(
    parameter int unsigned Channels = 8,
    parameter int unsigned SubRow = 8,
    parameter int unsigned UBits = 8,
    parameter int unsigned NarrowU = 1,
    parameter int unsigned WeightWords = 1024,
    parameter int unsigned ParamGroups = 32,
    parameter int unsigned WeightBytes = 8,
    parameter int unsigned BurstBeats = 16,
    localparam int unsigned WordBits = 4 * Channels * (UBits + $clog2(SubRow)),
    localparam int unsigned ParamWords = ParamGroups * (Channels / SubRow)
) (
    input  logic                             clk_i,
    input  logic                             rst_ni,
    input  logic                             cmd_valid_i,
    output logic                             cmd_ready_o,
    input  logic [subrow_pkg::InstrBits-1:0] cmd_data_i,
    input  logic [                     39:0] prog_base_i,
    output logic [                     23:0] w_wptr_o,
    output logic [                     23:0] p_wptr_o,
    input  logic [                     23:0] w_free_i,
    input  logic [                     23:0] p_free_i,
    output logic                             req_valid_o,
    input  logic                             req_ready_i,
    output logic [                     39:0] req_addr_o,
    output logic [                     15:0] req_beats_o,
    input  logic                             rd_valid_i,
    output logic                             rd_ready_o,
    input  logic [        8*WeightBytes-1:0] rd_data_i,
    output logic                             w_we_o,
    output logic [  $clog2(WeightWords)-1:0] w_waddr_o,
    output logic [             WordBits-1:0] w_wdata_o,
    output logic                             p_we_o,
    output logic [   $clog2(ParamWords)-1:0] p_waddr_o,
    output logic [            64*SubRow-1:0] p_wdata_o
);

  import subrow_pkg::*;

  localparam int unsigned WordLsb = $clog2(WeightBytes);
  localparam int unsigned BeatUnits = WeightBytes / 8;
  localparam int unsigned LeftBits = (BeatUnits > 1) ? $clog2(BeatUnits) : 1;
  localparam int unsigned GroupBeats = 8 * Channels / WeightBytes;
  localparam int unsigned PartBeats = 8 * SubRow / WeightBytes;    // of one parameter RAM word
  localparam int unsigned Parts = Channels / SubRow;
  localparam int unsigned Enough = 2 * BurstBeats;                 // beats of a request that need no more words
  localparam int unsigned RegBits = (WordBits > 64 * SubRow) ? WordBits : 64 * SubRow;

  if (SubRow != 4 && SubRow != 8 && SubRow != 16) begin : g_bad_sub_row
    $error("subrow_wfetch: SubRow = %0d must be 4, 8 or 16", SubRow);
  end
  if (Channels < SubRow || Channels > 128 || (Channels & (Channels - 1)) != 0) begin : g_bad_channels
    $error("subrow_wfetch: Channels = %0d must be a power of two, SubRow = %0d..128", Channels, SubRow);
  end
  if (UBits < 4 || UBits > 16) begin : g_bad_u_bits
    $error("subrow_wfetch: UBits = %0d must be 4..16", UBits);
  end
  if (WeightWords < 4 || WeightWords > 65536 || (WeightWords & (WeightWords - 1)) != 0) begin : g_bad_words
    $error("subrow_wfetch: WeightWords = %0d must be a power of two, 4..65536", WeightWords);
  end
  if (ParamGroups < 4 || ParamGroups > 65536 || (ParamGroups & (ParamGroups - 1)) != 0) begin : g_bad_groups
    $error("subrow_wfetch: ParamGroups = %0d must be a power of two, 4..65536", ParamGroups);
  end
  if (BurstBeats != 4 && BurstBeats != 8 && BurstBeats != 16) begin : g_bad_burst
    $error("subrow_wfetch: BurstBeats = %0d must be 4, 8 or 16", BurstBeats);
  end
  if (WeightBytes < 8 || WeightBytes > 8 * SubRow || (WeightBytes & (WeightBytes - 1)) != 0) begin : g_bad_width
    $error("subrow_wfetch: WeightBytes = %0d must be a power of two, 8..%0d", WeightBytes, 8 * SubRow);
  end

  typedef enum logic [1:0] {StIdle, StLoad, StAsk, StDrain} state_e;
  state_e state_q;
  instr_t cmd, cmd_q;
  assign cmd = cmd_data_i;
  assign cmd_ready_o = state_q == StIdle;

  // ---- requests: add words to the next request while the ring has room for them ----
  localparam int unsigned AskedBits = $clog2(WeightWords) + 1;  // of counters that are at most a ring apart
  localparam int unsigned GroupBits = $clog2(ParamGroups) + 1;
  logic [23:0] w_wptr_q, p_wptr_q;
  logic [AskedBits-1:0] w_asked_q, w_used;
  logic [GroupBits-1:0] p_asked_q, p_used;
  logic w_we_q, p_we_q;           // a word is being written
  logic full_q;                   // the pass ended
  logic params_q, can_add, add, send, room, chunk_end, pass_end, last_end, out_free;
  logic [15:0] words_q;           // this and the next three count from 1
  logic [11:0] kg_q;
  logic [9:0] by_q, bx_q;
  logic [7:0] whole;              // whole beats in a word; stands from StAsk on
  logic [LeftBits-1:0] rest;      // units beyond them
  logic [LeftBits-1:0] left_q;    // units that the last beat has for the next word
  logic [39:0] base, addr_q, start_q;
  logic done_q;                   // everything of this layer is in a request
  logic req_valid_q;
  logic [39:0] req_addr_q;
  logic [7:0] beats_q, req_beats_q, add_beats, sum_beats;

  assign w_used = w_asked_q - w_free_i[AskedBits-1:0];
  assign p_used = p_asked_q - p_free_i[GroupBits-1:0];
  assign room = params_q ? !p_used[GroupBits-1] : !w_used[AskedBits-1];  // never more than the whole ring
  assign add_beats = params_q ? 8'(GroupBeats) : whole + 8'(left_q < rest);
  assign out_free = !req_valid_q || req_ready_i;
  assign chunk_end = !params_q && words_q == cmd_q.chunk_words;
  assign pass_end = chunk_end && kg_q == cmd_q.kgs;
  assign last_end = pass_end && (cmd_q.resident || (by_q == cmd_q.blocks_y && bx_q == cmd_q.blocks_x));
  // A request leaves when it is long enough, at the end of a pass, or when no more room is there.
  assign can_add = state_q == StAsk && !done_q && !full_q && room;
  assign add = can_add && (beats_q < 8'(Enough) || out_free);
  assign send = state_q == StAsk && beats_q != 8'd0 && out_free && (beats_q >= 8'(Enough) || !can_add);
  assign sum_beats = (send ? 8'd0 : beats_q) + add_beats;
  assign base = prog_base_i + {8'd0, cmd_q.weight_offset};

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= StIdle;
      req_valid_q <= 1'b0;
      w_asked_q <= '0;
      p_asked_q <= '0;
    end else begin
      unique case (state_q)
        StIdle:  if (cmd_valid_i) state_q <= StLoad;
        StLoad:  state_q <= StAsk;
        StAsk:   if (done_q && send) state_q <= StDrain;
        default: if (w_wptr_q[AskedBits-1:0] == w_asked_q) state_q <= StIdle;  // a layer's last item is a word
      endcase
      if (send) req_valid_q <= 1'b1;
      else if (req_ready_i) req_valid_q <= 1'b0;
      if (add && params_q) p_asked_q <= p_asked_q + 1'b1;
      if (add && !params_q) w_asked_q <= w_asked_q + 1'b1;
    end
    if (cmd_valid_i && cmd_ready_o) cmd_q <= cmd;
    if (state_q == StLoad) begin
      params_q <= 1'b1;
      words_q <= 16'd1;
      kg_q <= 12'd1;
      by_q <= 10'd1;
      bx_q <= 10'd1;
      beats_q <= '0;
      left_q <= '0;
      full_q <= 1'b0;
      done_q <= 1'b0;
      addr_q <= base;
      start_q <= base;
    end
    if (add) begin
      beats_q <= sum_beats;
      params_q <= params_q ? 1'b0 : chunk_end;
      if (!params_q) begin
        words_q <= chunk_end ? 16'd1 : words_q + 16'd1;
        left_q <= chunk_end ? '0 : left_q - rest;  // modulo BeatUnits
      end
      if (chunk_end) kg_q <= pass_end ? 12'd1 : kg_q + 12'd1;
      if (pass_end) begin
        full_q <= 1'b1;
        done_q <= last_end;
        bx_q   <= (bx_q == cmd_q.blocks_x) ? 10'd1 : bx_q + 10'd1;
        if (bx_q == cmd_q.blocks_x) by_q <= by_q + 10'd1;
      end
    end
    if (send) begin
      if (!add) begin
        beats_q <= '0;
        full_q  <= 1'b0;
      end
      addr_q <= {{32 - WordLsb{1'b0}}, full_q ? 8'd0 : beats_q, {WordLsb{1'b0}}} + (full_q ? start_q : addr_q);
      req_addr_q <= addr_q;
      req_beats_q <= beats_q;
    end
  end

  assign req_valid_o = req_valid_q;
  assign req_addr_o  = req_addr_q;
  assign req_beats_o = 16'(req_beats_q);

  // ---- words ----
  logic rparams_q, take, part_end, item_end, rchunk_end;
  logic [7:0] beat_q, item_last;
  logic [15:0] rwords_q;
  logic [15:0] part_q;
  logic [LeftBits-1:0] rleft_q;
  logic p_end_q;
  logic [$clog2(ParamWords)-1:0] p_addr_q, p_waddr_q;

  assign rd_ready_o = state_q == StAsk || state_q == StDrain;
  assign take = rd_valid_i && rd_ready_o;
  assign item_last = rparams_q ? 8'(PartBeats - 1) : (rleft_q < rest) ? whole : whole - 8'd1;
  assign item_end = take && beat_q == item_last;
  assign part_end = rparams_q && part_q == 16'(Parts - 1);
  assign rchunk_end = item_end && !rparams_q && rwords_q == cmd_q.chunk_words;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      w_we_q <= 1'b0;
      p_we_q <= 1'b0;
      p_end_q <= 1'b0;
      p_addr_q <= '0;
      w_wptr_q <= '0;
      p_wptr_q <= '0;
    end else begin
      w_we_q <= item_end && !rparams_q;
      p_we_q <= item_end && rparams_q;
      p_end_q <= item_end && part_end;
      if (item_end && rparams_q) p_addr_q <= p_addr_q + 1'b1;
      if (w_we_q) w_wptr_q <= w_wptr_q + 24'd1;
      if (p_end_q) p_wptr_q <= p_wptr_q + 24'd1;
    end
    p_waddr_q <= p_addr_q;
    if (state_q == StLoad) begin
      rparams_q <= 1'b1;
      beat_q <= '0;
      part_q <= '0;
      rleft_q <= '0;
      rwords_q <= 16'd1;
    end
    if (take) begin
      beat_q <= item_end ? 8'd0 : beat_q + 8'd1;
      if (item_end && rparams_q) begin
        part_q <= part_end ? 16'd0 : part_q + 16'd1;
        if (part_end) rparams_q <= 1'b0;
      end
      if (item_end && !rparams_q) begin
        rwords_q <= rchunk_end ? 16'd1 : rwords_q + 16'd1;
        rleft_q  <= rchunk_end ? '0 : rleft_q - rest;
      end
      if (rchunk_end) rparams_q <= 1'b1;
    end
  end

  logic [RegBits-1:0] word;
  subrow_wfetch_data #(
      .Channels(Channels), .SubRow(SubRow), .UBits(UBits), .NarrowU(NarrowU), .WeightBytes(WeightBytes)
  ) u_data (
      .clk_i,
      .kind_i({cmd_q.narrow_u, cmd_q.implicit_index}),
      .whole_o(whole),
      .rest_o(rest),
      .take_i(take),
      .params_i(rparams_q),
      .beat_i(beat_q),
      .left_i(rleft_q),
      .data_i(rd_data_i),
      .word_o(word)
  );

  assign w_we_o = w_we_q;
  assign w_waddr_o = w_wptr_q[$clog2(WeightWords)-1:0];
  assign w_wdata_o = word[WordBits-1:0];
  assign p_we_o = p_we_q;
  assign p_waddr_o = p_waddr_q;
  assign p_wdata_o = word[64*SubRow-1:0];
  assign w_wptr_o = w_wptr_q;
  assign p_wptr_o = p_wptr_q;

  logic unused_bits;
  assign unused_bits = ^{cmd_q, word, w_free_i, p_free_i};

endmodule
