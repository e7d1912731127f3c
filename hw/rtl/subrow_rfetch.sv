// Fetches the residual tensor of a layer, output segment by output segment, into the residual buffer.
//
// Contract: one layer per command; `cmd_ready_o` is high when idle; a layer without residual ends at once. Unit u of
//   (block, kg) is asked for as soon as u - o_ready_i < 2, segment after segment without waiting for data, in the order
//   y, kb, x; `rd_ready_o` is high while a unit is open: one word per cycle. Address of pixel (oy, ox) of the block,
//   channel block kb: half * OutWords/2 + (oy * ccols + ox) * CB + kb. `r_ready_o` counts units completely in the buffer
//   since the command, modulo 2^16, and moves one cycle after the unit's last write.
// Parameters: SubRow 4, 8 or 16; Channels a power of two, SubRow..128; OutWords a power of two, 4..65536.
// Cost: two 40-bit adders, a block iterator.
module subrow_rfetch #(
    parameter int unsigned Channels = 8,
    parameter int unsigned SubRow   = 8,
    parameter int unsigned OutWords = 1024
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
    input  logic [             8*SubRow-1:0] rd_data_i,
    output logic                             r_we_o,
    output logic [     $clog2(OutWords)-1:0] r_waddr_o,
    output logic [             8*SubRow-1:0] r_wdata_o
);

  import subrow_pkg::*;

  localparam int unsigned WordLsb = $clog2(SubRow);
  localparam int unsigned GroupLsb = $clog2(Channels);
  localparam int unsigned Blocks = Channels / SubRow;  // CB
  localparam int unsigned AddrBits = $clog2(OutWords);

  if (SubRow != 4 && SubRow != 8 && SubRow != 16) begin : g_bad_sub_row
    $error("subrow_rfetch: SubRow = %0d must be 4, 8 or 16", SubRow);
  end
  if (Channels < SubRow || Channels > 128 || (Channels & (Channels - 1)) != 0) begin : g_bad_channels
    $error("subrow_rfetch: Channels = %0d must be a power of two, SubRow = %0d..128", Channels, SubRow);
  end
  if (OutWords < 4 || OutWords > 65536 || (OutWords & (OutWords - 1)) != 0) begin : g_bad_words
    $error("subrow_rfetch: OutWords = %0d must be a power of two, 4..65536", OutWords);
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
      req_beats_q <= {4'd0, ccols};
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
  logic [11:0] d_rows, d_cols, d_kbs, wx_q, wkb_q, wy_q;
  logic half_q, take, x_end, row_end, unit_end;
  logic [AddrBits-2:0] addr_q, row_base_q;  // within the half
  logic r_we_q;
  logic [AddrBits-1:0] r_waddr_q;
  logic [8*SubRow-1:0] r_wdata_q;
  logic [15:0] ready_q;

  subrow_fifo #(
      .Width(36),
      .Depth(4)
  ) u_desc (
      .clk_i,
      .rst_ni,
      .in_valid_i (state_q == StUnit && credit),
      .in_ready_o (desc_ready),
      .in_data_i  ({crows, ccols, kb_count}),
      .out_valid_o(desc_valid),
      .out_ready_i(desc_pop),
      .out_data_o ({d_rows, d_cols, d_kbs})
  );

  assign rd_ready_o = desc_valid;
  assign take = rd_valid_i && desc_valid;
  assign x_end = wx_q + 12'd1 == d_cols;
  assign row_end = x_end && wkb_q + 12'd1 == d_kbs;
  assign unit_end = row_end && wy_q + 12'd1 == d_rows;
  assign desc_pop = take && unit_end;

  logic [AddrBits-2:0] next_row;
  assign next_row = row_base_q + (AddrBits - 1)'(24'(d_cols) * 24'(Blocks));  // CB is a power of two: a shift

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      r_we_q <= 1'b0;
      unit_end_q <= 1'b0;
    end else begin
      r_we_q <= take;
      unit_end_q <= take && unit_end;
    end
    if (state_q == StIdle) begin
      if (cmd_valid_i || !rst_ni) ready_q <= '0;
      wx_q <= '0;
      wkb_q <= '0;
      wy_q <= '0;
      half_q <= 1'b0;
      addr_q <= '0;
      row_base_q <= '0;
    end else begin
      if (unit_end_q) ready_q <= ready_q + 16'd1;
      if (take) begin
        wx_q   <= x_end ? 12'd0 : wx_q + 12'd1;
        addr_q <= addr_q + (AddrBits - 1)'(Blocks);
        if (x_end) begin
          wkb_q  <= row_end ? 12'd0 : wkb_q + 12'd1;
          addr_q <= row_base_q + (AddrBits - 1)'(wkb_q) + 1'b1;
        end
        if (row_end) begin
          wy_q <= wy_q + 12'd1;
          row_base_q <= next_row;
          addr_q <= next_row;
        end
        if (unit_end) begin
          wy_q <= '0;
          half_q <= !half_q;
          addr_q <= '0;
          row_base_q <= '0;
        end
      end
    end
    r_waddr_q <= {half_q, addr_q};
    r_wdata_q <= rd_data_i;
  end

  assign r_ready_o = ready_q;
  assign r_we_o = r_we_q;
  assign r_waddr_o = r_waddr_q;
  assign r_wdata_o = r_wdata_q;

  logic unused_cmd;
  assign unused_cmd = ^{cmd, cmd_q};

endmodule
