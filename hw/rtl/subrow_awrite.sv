// Output writer: moves every (block, kg) unit from the output buffer to memory, then writes the counter record.
//
// For each unit, for y of the block, for kb: one segment of ocols words, one writer request per segment. Requests are
// issued up to `Ahead` segments before their data, and name the beats of PortWords words that hold the segment; strobes leave
// out what lies beside it. Upsampling reads every row and word of the buffer twice. Units whose block has no output pixel
// (pooling) are only counted.
//
// Contract
//   command   one layer per transfer; cmd_ready_o is high when idle; the 16-bit counter restarts with each command.
//   o read    way w (pixels that are w modulo PortWords) at o_raddr_o[w]; latency 1; the RAM keeps o_rdata_i while o_re_o is
//             low. A unit is read once o_ready_i has passed it;
//             o_free_o counts units whose last word has been read.
//   writer    wr: byte address of a segment's first word, and its beats; wd: the beats of all requests in order, one per
//             cycle, word i in lane i, with strobes. valid never waits for ready. wr_idle_i: all responses are in; low from the cycle after a request is taken.
//   end       wait for wr_idle_i, sample record_i, write it to record_base_i + 64 * layer_id, wait for wr_idle_i, pulse
//             layer_done_o; cmd_ready_o rises in the cycle after.
//   address   act_base_i + out_offset + ..., modulo 2^40; both base addresses are multiples of SubRow.
// Parameters: SubRow 4, 8, 16; Channels a power of two, SubRow..128; OutWords a power of two, 4 * PortWords * Cb..
//   65536; PortWords 1, 2, 4.
// Cost: four 40-bit adders, a 4-deep queue, the 512-bit record register, a word multiplexer of PortWords inputs per lane.

module subrow_awrite
  import subrow_pkg::*;
#(
    parameter int unsigned Channels = 16,
    parameter int unsigned SubRow = 8,
    parameter int unsigned OutWords = 2048,
    parameter int unsigned PortWords = 1,
    localparam int unsigned Cb = Channels / SubRow,
    localparam int unsigned ActBytes = SubRow * PortWords,
    localparam int unsigned OAddrBits = $clog2(OutWords)
) (
    input logic clk_i,
    input logic rst_ni,

    input  logic                 cmd_valid_i,
    output logic                 cmd_ready_o,
    input  logic [InstrBits-1:0] cmd_data_i,

    input  logic [ 39:0] act_base_i,
    input  logic [ 39:0] record_base_i,
    input  logic [511:0] record_i,
    input  logic [ 15:0] o_ready_i,
    output logic [ 15:0] o_free_o,
    output logic         layer_done_o,

    output logic                 o_re_o,
    output logic [PortWords-1:0][OAddrBits-1:0] o_raddr_o,
    input  logic [PortWords-1:0][ SubRow*8-1:0] o_rdata_i,

    output logic                wr_valid_o,
    input  logic                wr_ready_i,
    output logic [        39:0] wr_addr_o,
    output logic [        15:0] wr_beats_o,
    output logic                wd_valid_o,
    input  logic                wd_ready_i,
    output logic [ActBytes*8-1:0] wd_data_o,
    output logic [ActBytes-1:0] wd_strb_o,
    input  logic                wr_idle_i
);

  if (SubRow != 4 && SubRow != 8 && SubRow != 16) begin : g_bad_sub_row
    $error("subrow_awrite: SubRow = %0d must be 4, 8 or 16", SubRow);
  end
  if (Channels < SubRow || Channels > 128 || (Channels & (Channels - 1)) != 0) begin : g_bad_channels
    $error("subrow_awrite: Channels = %0d must be a power of two, SubRow..128", Channels);
  end
  if (OutWords < 4 * PortWords * Cb || OutWords > 65536 || (OutWords & (OutWords - 1)) != 0) begin : g_bad_out
    $error("subrow_awrite: OutWords = %0d must be a power of two, 4 * PortWords * Cb..65536", OutWords);
  end
  if (PortWords != 1 && PortWords != 2 && PortWords != 4) begin : g_bad_port
    $error("subrow_awrite: PortWords = %0d must be 1, 2 or 4", PortWords);
  end

  localparam int unsigned KbBits = Cb > 1 ? $clog2(Cb) : 1;
  localparam int unsigned PixelBits = OAddrBits - 1 - $clog2(Cb);
  localparam int unsigned LaneBits = $clog2(PortWords);
  localparam int unsigned PhaseBits = PortWords > 1 ? LaneBits : 1;
  localparam int unsigned Ahead = 4;
  localparam int unsigned WordLsb = $clog2(SubRow);
  localparam int unsigned GroupLsb = $clog2(Channels);
  localparam int unsigned RecordBeats = 64 / ActBytes;

  typedef struct packed {
    logic                 unit_last;  // last segment of its unit
    logic                 half;       // of the output buffer
    logic [KbBits-1:0]    kb;
    logic [PixelBits-1:0] pixel;      // of the first word
    logic [PhaseBits-1:0] phase;      // lane of the first word
    logic [11:0]          words;      // 0: nothing to read, count the unit
  } seg_t;
  typedef enum logic [2:0] {Idle, Block, Unit, Walk, Next, Drain, Record, Done} state_e;

  // ---- command -----------------------------------------------------------------------------------------------------
  /* verilator lint_off UNUSEDSIGNAL */
  instr_t in_q;  // fields of other units stay unused
  /* verilator lint_on UNUSEDSIGNAL */
  state_e state_q;
  logic load_q, blk_valid, blk_last, bx_last, blk_next, pass_end;
  logic [11:0] orows, ocols, kgs;
  wire start = cmd_valid_i && cmd_ready_o;
  assign cmd_ready_o = state_q == Idle;
  always_ff @(posedge clk_i) if (start) in_q <= cmd_data_i;

  /* verilator lint_off PINCONNECTEMPTY */
  subrow_block_iter u_blocks (
      .clk_i, .rst_ni,
      .cmd_i(in_q), .load_i(load_q), .next_i(blk_next), .valid_o(blk_valid), .last_o(blk_last),
      .pass_end_o(pass_end), .kgs_o(kgs),
      .last_y_o(), .last_x_o(bx_last), .half_o(), .by_o(), .bx_o(), .th_o(), .tw_o(), .q_o(),
      .iy0_o(), .ix0_o(), .ry0_o(), .nrows_o(), .rx0_o(), .ncols_o(),
      .cy0_o(), .crows_o(), .cx0_o(), .ccols_o(),
      .oy0_o(), .orows_o(orows), .ox0_o(), .ocols_o(ocols)
  );
  /* verilator lint_on PINCONNECTEMPTY */

  // ---- walk: one segment per cycle into the request register and the queue of the reader -----------------------------
  logic [15:0] unit_q;
  logic [11:0] kg_q, left_q, first_q, kb_q, y_q;  // first_q: as left_q, from the first group of the pass
  // byte addresses: first row of the blocks below; this block's corner in the pass's first group, in kg; this row, this
  // segment; the next pass
  logic [39:0] band_q, block_q, group_q;
  logic [39:0] row_q, seg_q, pass_q;
  logic [11:0] y_last_q, kg_last_q;  // last values; they stand a cycle after the block is valid, before Walk
  logic first_x_q, corner_q;       // bx is 0; by, too
  logic [PixelBits-1:0] orow_q;    // first pixel of this row in the output buffer
  logic [12:0] span;               // words of the segment, from its first beat's first word on
  logic [4:0] rec_left_q;          // record words to send
  logic drained;
  logic req_v_q, queue_ready, seg_v;
  logic [39:0] req_addr_q;
  logic [15:0] req_beats_q;
  seg_t seg, queue_seg;
  logic queue_v, queue_take;

  wire up = in_q.upsample[0];
  wire [11:0] rows = up ? {orows[10:0], 1'b0} : orows;  // in memory
  wire [11:0] columns = up ? {ocols[10:0], 1'b0} : ocols;
  wire first = first_x_q && kg_q == 12'd0;
  wire empty = orows == 12'd0 || ocols == 12'd0;
  wire kb_last = 32'(kb_q) == Cb - 1 || kb_q + 12'd1 == left_q;
  wire y_last = y_q == y_last_q;
  wire kg_last = kg_q == kg_last_q;
  wire req_free = !req_v_q || wr_ready_i;
  wire step = state_q == Walk && queue_ready && req_free;
  wire walk_done = step && (empty || (kb_last && y_last));
  wire [39:0] row_bytes = {16'd0, in_q.out_row_bytes};
  wire [39:0] cb_bytes = 40'(in_q.out_w) << WordLsb;
  wire [39:0] next_group = group_q + (40'(in_q.out_w) << GroupLsb);
  wire [39:0] next_row = row_q + row_bytes;
  assign seg_v = state_q == Walk && req_free;
  assign seg = '{
      unit_last: empty || (kb_last && y_last),
      half: unit_q[0],
      kb: KbBits'(kb_q),
      pixel: orow_q,
      phase: PortWords == 1 ? '0 : seg_q[WordLsb+:PhaseBits],
      words: empty ? 12'd0 : columns
  };
  assign span = PortWords == 1 ? {1'b0, columns} : {1'b0, columns} + 13'(seg.phase) + 13'(PortWords - 1);
  assign blk_next = state_q == Next && kg_last;

  always_ff @(posedge clk_i) begin
    load_q <= rst_ni && start;
    y_last_q <= rows - 12'd1;
    kg_last_q <= kgs - 12'd1;
    if (!rst_ni || start) unit_q <= '0;
    else if (walk_done) unit_q <= unit_q + 16'd1;
    if (load_q) begin
      first_x_q <= 1'b1;
      corner_q <= 1'b1;
      first_q <= in_q.out_cb;
      block_q <= act_base_i + {8'd0, in_q.out_offset};
    end
    case (state_q)
      Block: begin
        group_q <= block_q;
        kg_q <= '0;
        left_q <= first_q;
      end
      Unit: begin
        row_q <= group_q;
        seg_q <= group_q;
        orow_q <= '0;
        kb_q <= '0;
        y_q <= '0;
      end
      Walk: if (step) begin
        kb_q <= kb_last ? 12'd0 : kb_q + 12'd1;
        seg_q <= kb_last ? next_row : seg_q + cb_bytes;
        if (kb_last) begin
          row_q <= next_row;
          y_q <= y_q + 12'd1;
          if (!up || y_q[0]) orow_q <= orow_q + PixelBits'(ocols);
        end
      end
      Next: begin
        kg_q <= kg_q + 12'd1;
        left_q <= left_q - 12'(Cb);
        group_q <= next_group;
        if (first) band_q <= row_q;
        if (kg_last) begin
          first_x_q <= bx_last;
          corner_q <= pass_end;
          if (corner_q) pass_q <= next_group;
          if (pass_end) first_q <= left_q - 12'(Cb);
          if (pass_end) block_q <= corner_q ? next_group : pass_q;
          else if (!bx_last) block_q <= block_q + (40'(columns) << WordLsb);
          else block_q <= first ? row_q : band_q;
        end
      end
      default: ;
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) state_q <= Idle;
    else begin
      case (state_q)
        Idle:    if (start) state_q <= Block;
        Block:   if (blk_valid) state_q <= Unit;
        Unit:    if (o_ready_i != unit_q) state_q <= Walk;
        Walk:    if (walk_done) state_q <= Next;
        Next:    state_q <= !kg_last ? Unit : blk_last ? Drain : Block;
        Drain:   if (drained && wr_idle_i) state_q <= Record;
        Record:  if (rec_left_q == '0 && !req_v_q && wr_idle_i) state_q <= Done;
        default: state_q <= Idle;
      endcase
    end
  end

  // ---- requests ----------------------------------------------------------------------------------------------------
  wire rec_start = state_q == Drain && drained && wr_idle_i;
  assign wr_valid_o = req_v_q;
  assign wr_addr_o = req_addr_q;
  assign wr_beats_o = req_beats_q;
  assign layer_done_o = state_q == Done;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) req_v_q <= 1'b0;
    else if ((step && !empty) || rec_start) req_v_q <= 1'b1;
    else if (wr_ready_i) req_v_q <= 1'b0;
    if (req_free) begin
      req_addr_q <= rec_start ? record_base_i + {19'd0, in_q.layer_id, 6'd0} : seg_q;
      req_beats_q <= rec_start ? 16'(RecordBeats) : 16'(span >> LaneBits);
    end
  end

  // ---- data: segments from the queue, then the record -----------------------------------------------------------------
  logic cur_v_q, word_v_q;
  /* verilator lint_off UNUSEDSIGNAL */
  seg_t cur_q;  // its pixel goes on in place_q
  /* verilator lint_on UNUSEDSIGNAL */
  logic [15:0] free_q;
  logic [511:0] record_q;

  subrow_fifo #(
      .Width($bits(seg_t)),
      .Depth(Ahead)
  ) u_queue (
      .clk_i, .rst_ni,
      .in_valid_i(seg_v), .in_ready_o(queue_ready), .in_data_i(seg),
      .out_valid_o(queue_v), .out_ready_i(queue_take), .out_data_o(queue_seg)
  );

  // Pixels of a beat in half pixels, of which a word takes two, or one where each pixel is sent twice.
  logic [PortWords-1:0] lane_en, en_q;
  logic [PortWords-1:0][PhaseBits-1:0] way_q;  // of each lane's word
  logic [PhaseBits-1:0] skip;
  logic [2:0] words_gone;
  logic run_last;
  logic [PixelBits:0] place_q, place;  // of the next word; of the beat's first lane
  logic [PixelBits-1:0] first_pixel;
  assign place = place_q - (up ? (PixelBits + 1)'(skip) : (PixelBits + 1)'({skip, 1'b0}));
  assign first_pixel = place[PixelBits:1];

  subrow_run #(
      .Lanes(PortWords),
      .WordBits(12)
  ) u_run (
      .clk_i,
      .clear_i(!cur_v_q || cur_q.words == 12'd0),
      .next_i (o_re_o),
      .phase_i(cur_q.phase),
      .words_i(cur_q.words),
      .en_o   (lane_en),
      .skip_o (skip),
      .done_o (),
      .gone_o (words_gone),
      .last_o (run_last)
  );

  for (genvar w = 0; w < PortWords; w++) begin : g_way
    logic [PixelBits-1:0] pixel;
    if (PortWords == 1) begin : g_one
      assign pixel = first_pixel;
    end else begin : g_more
      logic [LaneBits-1:0] behind;  // pixels from the first one to this way's
      assign behind = LaneBits'(w) - first_pixel[LaneBits-1:0];
      assign pixel = first_pixel + PixelBits'(behind);
    end
    assign o_raddr_o[w] = OAddrBits'({cur_q.half, pixel}) << $clog2(Cb) | OAddrBits'(Cb > 1 ? cur_q.kb : '0);
  end

  wire rec_v = rec_left_q != '0;
  for (genvar i = 0; i < PortWords; i++) begin : g_lane
    logic [PhaseBits-1:0] way;
    assign way = PortWords == 1 ? '0 : PhaseBits'((place + (PixelBits + 1)'(up ? i : 2 * i)) >> 1);
    always_ff @(posedge clk_i) if (o_re_o) way_q[i] <= way;
    assign wd_data_o[SubRow*8*i+:SubRow*8] = rec_v ? record_q[SubRow*8*i+:SubRow*8] : o_rdata_i[way_q[i]];
    assign wd_strb_o[SubRow*i+:SubRow] = {SubRow{rec_v || en_q[i]}};
  end

  wire cur_done = cur_v_q && (cur_q.words == 12'd0 || (o_re_o && run_last));
  assign queue_take = !cur_v_q || cur_done;
  assign drained = !req_v_q && !queue_v && !cur_v_q && !word_v_q;
  assign o_re_o = cur_v_q && cur_q.words != 12'd0 && (!word_v_q || wd_ready_i);
  assign o_free_o = free_q;
  assign wd_valid_o = word_v_q || rec_v;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      cur_v_q <= 1'b0;
      word_v_q <= 1'b0;
      free_q <= '0;
      rec_left_q <= '0;
    end else begin
      if (queue_take) cur_v_q <= queue_v;
      if (o_re_o) word_v_q <= 1'b1;
      else if (wd_ready_i) word_v_q <= 1'b0;
      if (start) free_q <= '0;
      else if (cur_done && cur_q.unit_last) free_q <= free_q + 16'd1;
      if (rec_start) rec_left_q <= 5'(RecordBeats);
      else if (rec_v && wd_ready_i) rec_left_q <= rec_left_q - 5'd1;
    end
    if (o_re_o) en_q <= lane_en;
    if (queue_take) begin
      cur_q <= queue_seg;
      place_q <= {queue_seg.pixel, 1'b0};
    end else if (o_re_o) begin
      place_q <= place_q + (up ? (PixelBits + 1)'(words_gone) : (PixelBits + 1)'({words_gone, 1'b0}));
    end
    if (rec_start) record_q <= record_i;
    else if (rec_v && wd_ready_i) record_q <= record_q >> (ActBytes * 8);
  end

endmodule
