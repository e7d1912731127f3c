// Fetches the residual tensor of a layer, output segment by output segment, into the residual buffer.
//
// Contract: one layer per command; `cmd_ready_o` is high when idle; a layer without residual ends at once. Unit u of
//   (block, kg) is asked for as soon as u - o_ready_i < 2, segment after segment without waiting for data, in the order
//   y, kb, x; a request names the first word and the beats of PortWords words that hold the segment. `rd_ready_o` is high
//   while a unit is open: one beat per cycle. Address of pixel (oy, ox) of the block, channel block kb: half * OutWords/2 +
//   (oy * ccols + ox) * CB + kb; its way: the pixel modulo PortWords. `r_ready_o` counts units completely in the buffer
//   since the command, modulo 2^16, and moves one cycle after the unit's last write.
// Parameters: SubRow 4, 8 or 16; Channels a power of two, SubRow..128; OutWords a power of two,
//   4 * PortWords * CB..65536; PortWords 1, 2, 4. Cost: two 40-bit adders, a block iterator, subrow_lanes.
module subrow_rfetch #(
    parameter int unsigned Channels = 8,
    parameter int unsigned SubRow   = 8,
    parameter int unsigned OutWords = 1024,
    parameter int unsigned PortWords = 1,
    localparam int unsigned PortBits = 8 * SubRow * PortWords
) (
    input  logic                             clk_i,
    input  logic                             rst_ni,
    input  logic                             cmd_valid_i,
    output logic                             cmd_ready_o,
    input  logic [subrow_pkg::InstrBits-1:0] cmd_data_i,
    input  logic [                     39:0] act_base_i,
    input  logic [                     15:0] o_ready_i,
    output logic [                     15:0] r_ready_o,
    output logic                             req_valid_o,
    input  logic                             req_ready_i,
    output logic [                     39:0] req_addr_o,
    output logic [                     15:0] req_beats_o,
    input  logic                             rd_valid_i,
    output logic                             rd_ready_o,
    input  logic [             PortBits-1:0] rd_data_i,
    output logic [            PortWords-1:0] r_we_o,
    output logic [PortWords-1:0][$clog2(OutWords)-1:0] r_waddr_o,
    output logic [PortWords-1:0][8*SubRow-1:0] r_wdata_o
);

  import subrow_pkg::*;

  localparam int unsigned WordLsb = $clog2(SubRow);
  localparam int unsigned GroupLsb = $clog2(Channels);
  localparam int unsigned Blocks = Channels / SubRow;  // CB
  localparam int unsigned AddrBits = $clog2(OutWords);
  localparam int unsigned KbBits = $clog2(Blocks);
  localparam int unsigned PixelBits = AddrBits - 1 - KbBits;
  localparam int unsigned LaneBits = $clog2(PortWords);
  localparam int unsigned PhaseBits = PortWords > 1 ? LaneBits : 1;

  if (SubRow != 4 && SubRow != 8 && SubRow != 16) begin : g_bad_sub_row
    $error("subrow_rfetch: SubRow = %0d must be 4, 8 or 16", SubRow);
  end
  if (Channels < SubRow || Channels > 128 || (Channels & (Channels - 1)) != 0) begin : g_bad_channels
    $error("subrow_rfetch: Channels = %0d must be a power of two, SubRow = %0d..128", Channels, SubRow);
  end
  if (OutWords < 4 * PortWords * Blocks || OutWords > 65536 || (OutWords & (OutWords - 1)) != 0) begin : g_bad_words
    $error("subrow_rfetch: OutWords = %0d must be a power of two, 4 * PortWords * Blocks..65536", OutWords);
  end
  if (PortWords != 1 && PortWords != 2 && PortWords != 4) begin : g_bad_port
    $error("subrow_rfetch: PortWords = %0d must be 1, 2 or 4", PortWords);
  end

  typedef enum logic [2:0] {StIdle, StLoad, StBlock, StSeek, StUnit, StAsk, StDrain} state_e;
  state_e state_q;
  instr_t cmd, cmd_q;
  assign cmd = cmd_data_i;
  assign cmd_ready_o = state_q == StIdle;

  // ---- requests ----
  logic bl_valid, bl_next, bl_last, pass_end, corner_q, desc_ready, desc_valid, desc_pop;
  logic [11:0] cy0, crows, cx0, ccols, kgs;
  logic [15:0] unit_q, credit_used;  // units asked for
  logic [11:0] y_q, row_q, kg_q, kb_left_q, kb_first_q, kb_q, kb_count;  // kb_first_q: kb_left_q of the pass's first
  logic [39:0] y_addr_q, pass_addr_q, unit_addr_q, next_unit, row_addr_q, seg_addr_q;
  logic credit, ask, row_done, unit_done;
  logic unit_end_q;               // a unit's last word is being written
  logic req_valid_q;
  logic [39:0] req_addr_q;
  logic [15:0] req_beats_q;
  logic [12:0] seg_span;  // words from the first beat's first word on
  assign seg_span = PortWords == 1 ? {1'b0, ccols} : {1'b0, ccols} + 13'(seg_addr_q[WordLsb+:PhaseBits]) +
      13'(PortWords - 1);

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
      .kgs_o   (kgs),
      .half_o  (),
      .by_o    (),
      .bx_o    (),
      .th_o    (),
      .tw_o    (),
      .q_o     (),
      .iy0_o   (),
      .ix0_o   (),
      .ry0_o   (),
      .nrows_o (),
      .rx0_o   (),
      .ncols_o (),
      .cy0_o   (cy0),
      .crows_o (crows),
      .cx0_o   (cx0),
      .ccols_o (ccols),
      .oy0_o   (),
      .orows_o (),
      .ox0_o   (),
      .ocols_o ()
  );
  // verilator lint_on PINCONNECTEMPTY

  assign credit_used = unit_q - o_ready_i;
  assign credit = credit_used < 16'd2 && desc_ready;
  assign kb_count = (kb_left_q < 12'(Blocks)) ? kb_left_q : 12'(Blocks);
  assign ask = state_q == StAsk && (!req_valid_q || req_ready_i);
  assign row_done = kb_q + 12'd1 == kb_count;
  assign unit_done = ask && row_done && row_q + 12'd1 == crows;
  assign bl_next = unit_done && kg_q + 12'd1 == kgs;
  assign next_unit = unit_addr_q + {{28 - GroupLsb{1'b0}}, cmd_q.conv_w, {GroupLsb{1'b0}}};

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= StIdle;
      req_valid_q <= 1'b0;
    end else begin
      unique case (state_q)
        StIdle:  if (cmd_valid_i && cmd.residual) state_q <= StLoad;
        StLoad:  state_q <= StBlock;
        StBlock: if (bl_valid) state_q <= StSeek;
        StSeek:  if (y_q == cy0) state_q <= StUnit;
        StUnit:  if (credit) state_q <= StAsk;
        StAsk:   if (unit_done) state_q <= !bl_next ? StUnit : bl_last ? StDrain : StBlock;
        default: if (!desc_valid && !unit_end_q) state_q <= StIdle;
      endcase
      if (ask) req_valid_q <= 1'b1;
      else if (req_ready_i) req_valid_q <= 1'b0;
    end
    if (cmd_valid_i && cmd_ready_o) cmd_q <= cmd;
    if (state_q == StLoad) begin
      unit_q   <= '0;
      y_q      <= '0;
      y_addr_q <= act_base_i + {8'd0, cmd_q.res_offset};
      corner_q <= 1'b1;
      kb_first_q <= cmd_q.out_cb;
    end
    if (state_q == StSeek) begin
      if (y_q != cy0) begin
        y_q <= y_q + 12'd1;
        y_addr_q <= y_addr_q + {16'd0, cmd_q.res_row_bytes};
      end
      unit_addr_q <= y_addr_q + {{28 - WordLsb{1'b0}}, cx0, {WordLsb{1'b0}}};
      kg_q <= '0;
      kb_left_q <= kb_first_q;
    end
    if (state_q == StUnit) begin
      if (credit) unit_q <= unit_q + 16'd1;
      row_addr_q <= unit_addr_q;
      seg_addr_q <= unit_addr_q;
      row_q <= '0;
      kb_q <= '0;
    end
    if (unit_done) begin
      kg_q <= kg_q + 12'd1;
      kb_left_q <= kb_left_q - 12'(Blocks);
      unit_addr_q <= next_unit;
    end
    if (bl_next) begin  // block (0, 0) knows where the next pass begins
      if (corner_q) pass_addr_q <= next_unit;
      corner_q <= pass_end;
      if (pass_end) begin
        y_q <= '0;
        y_addr_q <= corner_q ? next_unit : pass_addr_q;
        kb_first_q <= kb_left_q - 12'(Blocks);
      end
    end
    if (ask) begin
      req_addr_q  <= seg_addr_q;
      req_beats_q <= 16'(seg_span >> LaneBits);
      if (row_done) begin
        kb_q <= '0;
        row_q <= row_q + 12'd1;
        row_addr_q <= row_addr_q + {16'd0, cmd_q.res_row_bytes};
        seg_addr_q <= row_addr_q + {16'd0, cmd_q.res_row_bytes};
      end else begin
        kb_q <= kb_q + 12'd1;
        seg_addr_q <= seg_addr_q + {{28 - WordLsb{1'b0}}, cmd_q.conv_w, {WordLsb{1'b0}}};
      end
    end
  end

  assign req_valid_o = req_valid_q;
  assign req_addr_o  = req_addr_q;
  assign req_beats_o = req_beats_q;

  // ---- words ----
  logic [11:0] d_rows, d_cols, d_kbs, wkb_q, wy_q;
  logic half_q, take, x_end, row_end, unit_end, r_half_q;
  logic [PhaseBits-1:0] start_phase, d_phase, phase, skip;
  logic [11:0] words_done;
  logic [2:0] words_gone;
  logic [PortWords-1:0] lane_en;
  logic [PixelBits-1:0] pixel_q, row_pixel_q, next_row;
  logic [PortWords-1:0][PixelBits-LaneBits-1:0] r_row;
  logic [AddrBits-1:0] r_kb_q;
  logic [15:0] ready_q;

  subrow_fifo #(
      .Width(36 + PhaseBits),
      .Depth(4)
  ) u_desc (
      .clk_i,
      .rst_ni,
      .in_valid_i (state_q == StUnit && credit),
      .in_ready_o (desc_ready),
      .in_data_i  ({start_phase, crows, ccols, kb_count}),
      .out_valid_o(desc_valid),
      .out_ready_i(desc_pop),
      .out_data_o ({d_phase, d_rows, d_cols, d_kbs})
  );

  // The lane of a segment's first word. Only its place in a beat counts: a few low bits of word addresses.
  if (PortWords == 1) begin : g_aligned
    assign start_phase = '0;
    assign phase = d_phase;
  end else begin : g_phase
    logic fresh_q;  // first segment of a unit
    logic [PhaseBits-1:0] row_step, seg_phase_q, row_phase_q, row_phase;
    assign row_step = cmd_q.res_row_bytes[WordLsb+:PhaseBits];
    assign start_phase = unit_addr_q[WordLsb+:PhaseBits];
    assign phase = fresh_q ? d_phase : seg_phase_q;
    assign row_phase = fresh_q ? d_phase : row_phase_q;
    always_ff @(posedge clk_i) begin
      if (state_q == StIdle) fresh_q <= 1'b1;
      else if (take && x_end) begin
        fresh_q <= unit_end;
        seg_phase_q <= row_end ? row_phase + row_step : phase + cmd_q.conv_w[PhaseBits-1:0];
        row_phase_q <= row_end ? row_phase + row_step : row_phase;
      end
    end
  end

  subrow_run #(
      .Lanes(PortWords),
      .WordBits(12)
  ) u_run (
      .clk_i,
      .clear_i(state_q == StIdle),
      .next_i (take),
      .phase_i(phase),
      .words_i(d_cols),
      .en_o   (lane_en),
      .skip_o (skip),
      .done_o (words_done),
      .gone_o (words_gone),
      .last_o (x_end)
  );

  assign rd_ready_o = desc_valid;
  assign take = rd_valid_i && desc_valid;
  assign row_end = x_end && wkb_q + 12'd1 == d_kbs;
  assign unit_end = row_end && wy_q + 12'd1 == d_rows;
  assign desc_pop = take && unit_end;
  assign next_row = row_pixel_q + PixelBits'(d_cols);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) unit_end_q <= 1'b0;
    else unit_end_q <= take && unit_end;
    if (state_q == StIdle) begin
      if (cmd_valid_i || !rst_ni) ready_q <= '0;
      wkb_q <= '0;
      wy_q <= '0;
      half_q <= 1'b0;
      pixel_q <= '0;
      row_pixel_q <= '0;
    end else begin
      if (unit_end_q) ready_q <= ready_q + 16'd1;
      if (take) begin
        pixel_q <= pixel_q + PixelBits'(words_gone);
        if (x_end) begin
          wkb_q <= row_end ? 12'd0 : wkb_q + 12'd1;
          pixel_q <= row_end ? next_row : row_pixel_q;
        end
        if (row_end) begin
          wy_q <= wy_q + 12'd1;
          row_pixel_q <= next_row;
        end
        if (unit_end) begin
          wy_q <= '0;
          half_q <= !half_q;
          pixel_q <= '0;
          row_pixel_q <= '0;
        end
      end
    end
    r_half_q <= half_q;
    r_kb_q   <= AddrBits'(wkb_q);
  end

  subrow_lanes #(
      .Lanes(PortWords),
      .Width(8 * SubRow),
      .ItemBits(PixelBits)
  ) u_lanes (
      .clk_i,
      .rst_ni,
      .take_i(take),
      .en_i  (lane_en),
      .item_i(pixel_q - PixelBits'(skip)),
      .data_i(rd_data_i),
      .we_o  (r_we_o),
      .row_o (r_row),
      .data_o(r_wdata_o)
  );

  for (genvar w = 0; w < PortWords; w++) begin : g_way
    logic [PixelBits-1:0] pixel;
    assign pixel = PixelBits'(r_row[w]) << LaneBits | PixelBits'(w);
    assign r_waddr_o[w] = AddrBits'({r_half_q, pixel}) << KbBits | r_kb_q;
  end
  assign r_ready_o = ready_q;

  logic unused_cmd;
  assign unused_cmd = ^{cmd, cmd_q, words_done};

endmodule
