// Fetches the input blocks of a layer into the activation buffer.
//
// Contract: one layer per command; `cmd_ready_o` is high when idle. Block b is asked for as soon as b - act_free_i < 2,
//   with `whole_a` (a block has the whole buffer) < 1, row after row without waiting for data, so that the memory's latency is paid once per layer; a block as wide as
//   the tensor asks for a whole row of all channel blocks at once. A request names the first word and the beats of PortWords
//   words that hold the run. `rd_ready_o` is always high while a block is open: one beat per cycle, in the order y, cb, x.
//   `a_*` writes up to PortWords words into one of 8 banks (one-hot): way w (a_way_o) at a_waddr_o[w], an address of that way.
//   `rows_o` counts input rows that are completely in the buffer since the command, modulo 2^16; it moves one cycle
//   after the row's last write. act_free_i must be 0 from the cycle after the command on.
// Parameters: SubRow 4, 8 or 16; ActWords a power of two, 4..65536; PortWords 1, 2, 4. Cost: two 40-bit adders, a block
//   iterator, subrow_lanes.
module subrow_afetch #(
    parameter int unsigned SubRow   = 8,
    parameter int unsigned ActWords = 1024,
    parameter int unsigned PortWords = 1,
    localparam int unsigned PortBits = 8 * SubRow * PortWords
) (
    input  logic                             clk_i,
    input  logic                             rst_ni,
    input  logic                             cmd_valid_i,
    output logic                             cmd_ready_o,
    input  logic [subrow_pkg::InstrBits-1:0] cmd_data_i,
    input  logic [                     39:0] act_base_i,
    input  logic [                     15:0] act_free_i,
    output logic [                     15:0] rows_o,
    output logic                             req_valid_o,
    input  logic                             req_ready_i,
    output logic [                     39:0] req_addr_o,
    output logic [                     15:0] req_beats_o,
    input  logic                             rd_valid_i,
    output logic                             rd_ready_o,
    input  logic [             PortBits-1:0] rd_data_i,
    output logic [                      7:0] a_we_o,
    output logic [            PortWords-1:0] a_way_o,
    output logic [PortWords-1:0][$clog2(ActWords)-1:0] a_waddr_o,
    output logic [PortWords-1:0][8*SubRow-1:0] a_wdata_o
);

  import subrow_pkg::*;

  localparam int unsigned WordLsb = $clog2(SubRow);
  localparam int unsigned AddrBits = $clog2(ActWords);
  localparam int unsigned LaneBits = $clog2(PortWords);
  localparam int unsigned PhaseBits = PortWords > 1 ? LaneBits : 1;

  if (SubRow != 4 && SubRow != 8 && SubRow != 16) begin : g_bad_sub_row
    $error("subrow_afetch: SubRow = %0d must be 4, 8 or 16", SubRow);
  end
  if (ActWords < 4 || ActWords > 65536 || (ActWords & (ActWords - 1)) != 0) begin : g_bad_words
    $error("subrow_afetch: ActWords = %0d must be a power of two, 4..65536", ActWords);
  end

  if (PortWords != 1 && PortWords != 2 && PortWords != 4) begin : g_bad_port
    $error("subrow_afetch: PortWords = %0d must be 1, 2 or 4", PortWords);
  end

  typedef enum logic [2:0] {StIdle, StLoad, StBlock, StSeek, StAsk, StDrain} state_e;
  state_e state_q;
  instr_t cmd, cmd_q;
  assign cmd = cmd_data_i;
  assign cmd_ready_o = state_q == StIdle;

  // ---- requests ----
  logic bl_valid, bl_next, bl_last, pass_end, desc_ready, desc_valid, desc_pop, whole_q;
  logic [11:0] ry0, nrows, rx0, ncols;
  logic [15:0] block_q;           // blocks asked for
  logic [11:0] y_q, row_q, cb_q;
  logic [39:0] y_addr_q;          // first byte of row y_q
  logic [39:0] row_addr_q;        // first segment of the row
  logic [39:0] seg_addr_q;
  logic credit, ask, row_done;
  logic req_valid_q;
  logic [39:0] req_addr_q;
  logic [15:0] req_beats_q;
  logic [15:0] credit_used;
  logic row_end_q;                // a row's last word is being written
  logic [16:0] seg_words, seg_span;  // of the request: words, and from its first beat's first word on
  assign seg_words = {1'b0, whole_q ? cmd_q.in_row_words[15:0] : {4'd0, ncols}};
  assign seg_span = PortWords == 1 ? seg_words : seg_words + 17'(seg_addr_q[WordLsb+:PhaseBits]) + 17'(PortWords - 1);

  subrow_block_iter u_blocks (
      .clk_i,
      .rst_ni,
      .cmd_i   (cmd_q),
      .load_i  (state_q == StLoad),
      .next_i  (bl_next),
      .valid_o (bl_valid),
      .last_y_o(),
      .last_x_o(),
      .last_o  (bl_last),
      .pass_end_o(pass_end),
      .kgs_o   (),
      .half_o  (),
      .by_o    (),
      .bx_o    (),
      .th_o    (),
      .tw_o    (),
      .q_o     (),
      .iy0_o   (),
      .ix0_o   (),
      .ry0_o   (ry0),
      .nrows_o (nrows),
      .rx0_o   (rx0),
      .ncols_o (ncols),
      .cy0_o   (),
      .crows_o (),
      .cx0_o   (),
      .ccols_o (),
      .oy0_o   (),
      .orows_o (),
      .ox0_o   (),
      .ocols_o ()
  );
  // verilator lint_on PINCONNECTEMPTY

  assign credit_used = block_q - act_free_i;
  assign credit = credit_used < (cmd_q.whole_a ? 16'd1 : 16'd2) && desc_ready;
  assign ask = state_q == StAsk && (!req_valid_q || req_ready_i);
  assign row_done = whole_q || cb_q + 12'd1 == cmd_q.in_cb;
  assign bl_next = ask && row_done && row_q + 12'd1 == nrows;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= StIdle;
      req_valid_q <= 1'b0;
    end else begin
      unique case (state_q)
        StIdle:  if (cmd_valid_i) state_q <= StLoad;
        StLoad:  state_q <= StBlock;
        StBlock: if (bl_valid && credit) state_q <= StSeek;
        StSeek:  if (y_q == ry0) state_q <= StAsk;
        StAsk:   if (bl_next) state_q <= bl_last ? StDrain : StBlock;
        default: if (!desc_valid && !row_end_q) state_q <= StIdle;
      endcase
      if (ask) req_valid_q <= 1'b1;
      else if (req_ready_i) req_valid_q <= 1'b0;
    end
    if (cmd_valid_i && cmd_ready_o) cmd_q <= cmd;
    if (state_q == StLoad) begin
      block_q  <= '0;
      y_q      <= '0;
      y_addr_q <= act_base_i + {8'd0, cmd_q.in_offset};
    end
    if (state_q == StBlock && bl_valid && credit) begin
      block_q <= block_q + 16'd1;
      whole_q <= ncols == cmd_q.in_w;
    end
    if (state_q == StSeek) begin
      if (y_q != ry0) begin
        y_q <= y_q + 12'd1;
        y_addr_q <= y_addr_q + {16'd0, cmd_q.in_row_bytes};
      end
      row_addr_q <= y_addr_q + {{28 - WordLsb{1'b0}}, rx0, {WordLsb{1'b0}}};
      seg_addr_q <= y_addr_q + {{28 - WordLsb{1'b0}}, rx0, {WordLsb{1'b0}}};
      row_q <= '0;
      cb_q <= '0;
    end
    if (bl_next && pass_end) begin
      y_q      <= '0;
      y_addr_q <= act_base_i + {8'd0, cmd_q.in_offset};
    end
    if (ask) begin
      req_addr_q  <= seg_addr_q;
      req_beats_q <= 16'(seg_span >> LaneBits);
      if (row_done) begin
        cb_q <= '0;
        row_q <= row_q + 12'd1;
        row_addr_q <= row_addr_q + {16'd0, cmd_q.in_row_bytes};
        seg_addr_q <= row_addr_q + {16'd0, cmd_q.in_row_bytes};
      end else begin
        cb_q <= cb_q + 12'd1;
        seg_addr_q <= seg_addr_q + {{28 - WordLsb{1'b0}}, cmd_q.in_w, {WordLsb{1'b0}}};
      end
    end
  end

  assign req_valid_o = req_valid_q;
  assign req_addr_o  = req_addr_q;
  assign req_beats_o = req_beats_q;

  // ---- words ----
  logic [11:0] d_nrows, d_ncols, wcb_q, wy_q;
  logic d_whole, half_q, take, x_end, row_end, block_end;
  logic [PhaseBits-1:0] start_phase, d_phase, phase, skip;
  logic [15:0] words, words_done;
  logic [2:0] words_gone;
  logic [PortWords-1:0] lane_en;
  logic [7:0] bank_q, a_we_q;
  logic [AddrBits-1:0] addr_q, group_q;  // within the half, or the whole; group_q: first word of the group of 8 rows
  logic [AddrBits-1:0] addr_end, place;
  logic [PortWords-1:0][AddrBits-LaneBits-1:0] a_row;
  logic [15:0] rows_q;

  subrow_fifo #(
      .Width(25 + PhaseBits),
      .Depth(4)
  ) u_desc (
      .clk_i,
      .rst_ni,
      .in_valid_i (state_q == StBlock && bl_valid && credit),
      .in_ready_o (desc_ready),
      .in_data_i  ({start_phase, ncols == cmd_q.in_w, nrows, ncols}),
      .out_valid_o(desc_valid),
      .out_ready_i(desc_pop),
      .out_data_o ({d_phase, d_whole, d_nrows, d_ncols})
  );

  // The lane of a run's first word. Only its place in a beat counts: a few low bits of word addresses.
  if (PortWords == 1) begin : g_aligned
    assign start_phase = '0;
    assign phase = d_phase;
  end else begin : g_phase
    logic fresh_q;  // first run of a block
    logic [PhaseBits-1:0] row_step, run_phase_q, row_phase_q, row_phase;
    assign row_step = cmd_q.in_row_bytes[WordLsb+:PhaseBits];
    assign start_phase = act_base_i[WordLsb+:PhaseBits] + cmd_q.in_offset[WordLsb+:PhaseBits] +
        PhaseBits'(ry0[PhaseBits-1:0] * row_step) + rx0[PhaseBits-1:0];
    assign phase = fresh_q ? d_phase : run_phase_q;
    assign row_phase = fresh_q ? d_phase : row_phase_q;
    always_ff @(posedge clk_i) begin
      if (state_q == StIdle) fresh_q <= 1'b1;
      else if (take && x_end) begin
        fresh_q <= block_end;
        run_phase_q <= row_end ? row_phase + row_step : phase + cmd_q.in_w[PhaseBits-1:0];
        row_phase_q <= row_end ? row_phase + row_step : row_phase;
      end
    end
  end

  subrow_run #(
      .Lanes(PortWords),
      .WordBits(16)
  ) u_run (
      .clk_i,
      .clear_i(state_q == StIdle),
      .next_i (take),
      .phase_i(phase),
      .words_i(words),
      .en_o   (lane_en),
      .skip_o (skip),
      .done_o (words_done),
      .gone_o (words_gone),
      .last_o (x_end)
  );

  assign words = d_whole ? cmd_q.in_row_words[15:0] : {4'd0, d_ncols};
  assign rd_ready_o = desc_valid;
  assign take = rd_valid_i && desc_valid;
  assign row_end = x_end && (d_whole || wcb_q + 12'd1 == cmd_q.in_cb);
  assign block_end = row_end && wy_q + 12'd1 == d_nrows;
  assign desc_pop = take && block_end;
  assign addr_end = addr_q + (PortWords == 1 ? AddrBits'(1) : x_end ? AddrBits'(words - words_done) :
                              AddrBits'(words_gone));

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      a_we_q <= '0;
      row_end_q <= 1'b0;
    end else begin
      a_we_q <= take ? bank_q : 8'd0;
      row_end_q <= take && row_end;
    end
    if (state_q == StIdle) begin
      if (cmd_valid_i || !rst_ni) rows_q <= '0;
      wcb_q <= '0;
      wy_q <= '0;
      half_q <= 1'b0;
      bank_q <= 8'd1;
      addr_q <= '0;
      group_q <= '0;
    end else begin
      if (row_end_q) rows_q <= rows_q + 16'd1;
      if (take) begin
        addr_q <= addr_end;
        if (x_end) wcb_q <= row_end ? 12'd0 : wcb_q + 12'd1;
        if (row_end) begin
          wy_q   <= wy_q + 12'd1;
          bank_q <= {bank_q[6:0], bank_q[7]};
          if (bank_q[7]) group_q <= addr_end;
          else addr_q <= group_q;
        end
        if (block_end) begin
          wy_q <= '0;
          bank_q <= 8'd1;
          half_q <= !half_q;
          addr_q <= '0;
          group_q <= '0;
        end
      end
    end
  end

  assign place = {cmd_q.whole_a ? addr_q[AddrBits-1] : half_q, addr_q[AddrBits-2:0]};

  subrow_lanes #(
      .Lanes(PortWords),
      .Width(8 * SubRow),
      .ItemBits(AddrBits)
  ) u_lanes (
      .clk_i,
      .rst_ni,
      .take_i(take),
      .en_i  (lane_en),
      .item_i(place - AddrBits'(skip)),
      .data_i(rd_data_i),
      .we_o  (a_way_o),
      .row_o (a_row),
      .data_o(a_wdata_o)
  );

  for (genvar w = 0; w < PortWords; w++) begin : g_way
    assign a_waddr_o[w] = AddrBits'(a_row[w]) << LaneBits | AddrBits'(w);
  end
  assign rows_o = rows_q;
  assign a_we_o = a_we_q;

  logic unused_cmd;
  assign unused_cmd = ^{cmd_q, words_done, words_gone};

endmodule
