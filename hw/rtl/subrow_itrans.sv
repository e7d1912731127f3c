// Input transform: cuts windows out of the activation buffer and writes V = clamp(round_shift(B^T x B, ev)).
//
// Windows in loop-nest order (docs/hardware.md): tile, channel block, window row, window column. One column of a
// window is read per cycle (up to six rows, one per bank), the columns are transformed as they come, the rows while
// the next window is read, one tap group written per cycle. A window takes max(columns, groups) cycles: direct 2, F2
// 4, F4 9. Pixels outside the image are 0. Tiles past the last one of a block are not written.
//
// Contract: one layer per command; cmd_ready_o is high when idle. A window waits until its rows are there (rows_i); a
// block waits until its half of the V buffer is free (v_free_i). RAM reads have latency 1; writes never wait.
// act_free_o counts blocks behind their last read, q_ready_o tile groups behind their last write; all counters have 16
// bits and restart with the command. Between blocks: 7 idle cycles.
// Parameters: SubRow 4, 8, 16; Tiles even, 2..32; VBits 8..16; ActWords, VWords powers of two, 4..65536.
// Cost: two multipliers for addresses, 140 * 12 flip-flops per channel of the sub-row, about 100 adders per channel.
module subrow_itrans
  import subrow_pkg::*;
#(
  parameter  int unsigned Tiles     = 6,
  parameter  int unsigned SubRow    = 8,
  parameter  int unsigned VBits     = 8,
  parameter  int unsigned ActWords  = 1024,
  parameter  int unsigned VWords    = 1024,
  localparam int unsigned AAddrBits = $clog2(ActWords),
  localparam int unsigned VAddrBits = $clog2(VWords)
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic                 cmd_valid_i,
  output logic                 cmd_ready_o,
  input  logic [InstrBits-1:0] cmd_data_i,

  output logic                            a_re_o,
  output logic [7:0][      AAddrBits-1:0] a_raddr_o,
  input  logic [7:0][SubRow-1:0][    7:0] a_rdata_i,

  output logic [Tiles-1:0]                  v_we_o,
  output logic [VAddrBits-1:0]              v_waddr_o,
  output logic [3:0][SubRow-1:0][VBits-1:0] v_wdata_o,

  input  logic [15:0] rows_i,
  output logic [15:0] act_free_o,
  output logic [15:0] q_ready_o,
  input  logic [15:0] v_free_i
);
  if (!(SubRow inside {4, 8, 16}) || Tiles % 2 != 0 || Tiles < 2 || Tiles > 32 || VBits < 8 || VBits > 16)
  begin : g_illegal
    $error("subrow_itrans: SubRow must be 4, 8 or 16, Tiles even, 2..32, VBits 8..16");
  end
  if ((VWords & (VWords - 1)) != 0 || VWords < 4 || VWords > 65536 || (ActWords & (ActWords - 1)) != 0 ||
      ActWords < 4 || ActWords > 65536) begin : g_illegal_words
    $error("subrow_itrans: ActWords and VWords must be powers of two, 4..65536");
  end

  localparam int unsigned TBits = 12;  // B^T x: at most 10 * 128
  localparam int unsigned YBits = 16;  // B^T x B: at most 100 * 128

  // What travels with a window from its last read to its writes.
  typedef struct packed {
    logic [Tiles-1:0] lane;
    logic             half;
    logic [15:0]      addr;    // of tap group 0
    logic             q_last;  // last window of a tile group
  } window_t;

  // ---- command and block --------------------
  typedef enum logic [1:0] {Idle, Load, Block, Run} state_e;
  state_e state_q;
  /* verilator lint_off UNUSEDSIGNAL */
  instr_t cmd_q;  // also holds the fields that only other units use
  /* verilator lint_on UNUSEDSIGNAL */
  logic start, block_done, blk_valid, blk_last, blk_half;
  logic [9:0] th, tw;
  logic [11:0] nrows, ncols;
  logic signed [15:0] iy0, ix0;
  assign start = cmd_valid_i & cmd_ready_o;

  /* verilator lint_off PINCONNECTEMPTY */
  subrow_block_iter u_iter (
    .clk_i,
    .rst_ni,
    .cmd_i   (cmd_q),
    .load_i  (state_q == Load),
    .next_i  (block_done),
    .valid_o (blk_valid),
    .last_y_o(),
    .last_x_o(),
    .last_o  (blk_last),
    .pass_end_o(),
    .kgs_o   (),
    .half_o  (blk_half),
    .by_o    (),
    .bx_o    (),
    .th_o    (th),
    .tw_o    (tw),
    .q_o     (),
    .iy0_o   (iy0),
    .ix0_o   (ix0),
    .ry0_o   (),
    .nrows_o (nrows),
    .rx0_o   (),
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
  /* verilator lint_on PINCONNECTEMPTY */

  logic direct, f2, wide_step;  // wide_step: rows and columns of a window are two apart
  logic [2:0] cols_last;
  logic [3:0] pace_last, groups_last;
  logic [4:0] tile_step;
  assign direct      = cmd_q.tile == TileDirect;
  assign f2          = cmd_q.tile == TileF2;
  assign wide_step   = direct && cmd_q.stride == 2'd2;
  assign cols_last   = direct ? 3'd1 : f2 ? 3'd3 : 3'd5;
  assign groups_last = direct ? 4'd0 : f2 ? 4'd3 : 4'd8;
  assign pace_last   = direct ? 4'd1 : groups_last;
  assign tile_step   = wide_step || !(direct || f2) ? 5'd4 : 5'd2;

  // ---- stage 0: window and column --------------------
  logic [3:0] c_q;
  logic [5:0] kx_q, ky_q;
  logic [11:0] cb_q;
  logic [15:0] word_q, q_base_q, cb_cols_q, cb_row_q, block_q, rows_base_q, avail_q, all_words_q;
  logic [9:0] tx_q, ty_q;
  logic signed [15:0] ly_q, lx_q;  // tile origin, from the first row and column in the buffer
  logic [Tiles-1:0] lane_q;
  logic all_rows_q;

  logic signed [15:0] ly0, lx0, ly_end;
  logic [15:0] block_lead;
  logic rows_ok, run, read, w_end, kx_end, ky_end, cb_end, tx_end, ty_end, tile_end, lane_end;
  assign ly0        = ly_q + 16'(ky_q);
  assign lx0        = lx_q + 16'(kx_q) + (wide_step ? 16'({c_q, 1'b0}) : 16'(c_q));
  assign ly_end     = ly0 + (direct ? (wide_step ? 16'sd2 : 16'sd1) : 16'({13'd0, cols_last}));
  assign rows_ok    = all_rows_q || $signed(avail_q) > ly_end;
  assign run        = state_q == Run && (c_q != '0 || rows_ok);
  assign read       = run && c_q <= {1'b0, cols_last};
  assign w_end      = c_q == pace_last;
  assign kx_end     = kx_q + 6'd1 == cmd_q.kernel_w;
  assign ky_end     = ky_q + 6'd1 == cmd_q.kernel_h;
  assign cb_end     = cb_q + 12'd1 == cmd_q.in_cb;
  assign tile_end   = kx_end & ky_end & cb_end;
  assign tx_end     = tx_q + 10'd1 == tw;
  assign ty_end     = ty_q + 10'd1 == th;
  assign lane_end   = lane_q[Tiles-1] | (tx_end & ty_end);
  assign block_done = run & w_end & tile_end & tx_end & ty_end;
  assign block_lead = block_q - v_free_i;

  always_ff @(posedge clk_i) begin
    if (start) cmd_q <= cmd_data_i;
    if (!rst_ni) begin
      state_q <= Idle;
    end else begin
      unique case (state_q)
        Idle:    if (start) state_q <= Load;
        Load:    state_q <= Block;
        Block:   if (blk_valid && block_lead < 16'd2) state_q <= Run;
        default: if (block_done) state_q <= blk_last ? Idle : Block;
      endcase
    end

    avail_q    <= rows_i - rows_base_q;
    all_rows_q <= $signed(avail_q) >= $signed({4'd0, nrows}) && state_q == Run;
    if (state_q == Load) begin
      block_q     <= '0;
      rows_base_q <= '0;
      all_words_q <= direct ? cmd_q.v_words : f2 ? cmd_q.v_words << 2 : (cmd_q.v_words << 3) + cmd_q.v_words;
    end else if (block_done) begin
      block_q     <= block_q + 1'b1;
      rows_base_q <= rows_base_q + 16'(nrows);
    end

    if (state_q == Block) begin
      {c_q, kx_q, ky_q, cb_q, word_q, q_base_q, cb_cols_q, tx_q, ty_q} <= '0;
      ly_q     <= iy0[15] ? iy0 : '0;
      lx_q     <= ix0[15] ? ix0 : '0;
      lane_q   <= Tiles'(1);
      cb_row_q <= 16'(cmd_q.in_cb * ncols);
    end else if (run) begin
      c_q <= w_end ? '0 : c_q + 1'b1;
      if (w_end) begin
        word_q <= tile_end ? '0 : word_q + 1'b1;
        kx_q   <= kx_end ? '0 : kx_q + 1'b1;
        if (kx_end) ky_q <= ky_end ? '0 : ky_q + 1'b1;
        if (kx_end & ky_end) begin
          cb_q      <= cb_end ? '0 : cb_q + 1'b1;
          cb_cols_q <= cb_end ? '0 : cb_cols_q + 16'(ncols);
        end
        if (tile_end) begin
          lane_q <= lane_q << 1;
          tx_q   <= tx_q + 1'b1;
          lx_q   <= lx_q + 16'(tile_step);
          if (tx_end) begin
            tx_q <= '0;
            lx_q <= ix0[15] ? ix0 : '0;
            ty_q <= ty_q + 1'b1;
            ly_q <= ly_q + 16'(tile_step);
          end
          if (lane_end) begin
            lane_q   <= Tiles'(1);
            q_base_q <= q_base_q + all_words_q;
          end
        end
      end
    end
  end

  // ---- stages 1, 2: addresses. 3: RAM data --------------------
  logic [5:1] valid_q, last_q;  // a column; the last column of its window
  logic [2:1] free_q;  // the last column of its block
  logic [2:0] col_q[1:5];
  window_t win_q[1:5];
  logic [2:0] bank_q[1:3];  // bank of row 0
  logic signed [15:0] ly1_q;
  logic in_cols_q, half1_q, half2_q;
  logic [15:0] offset_q, product_q, act_free_q;
  logic [AAddrBits-2:0] addr0_q, addr1_q;  // of banks from row 0's on, of those below it
  logic [5:0] mask2_q, mask3_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_q <= '0;
    else valid_q <= {valid_q[4:1], read};
    last_q   <= {last_q[4:1], c_q == {1'b0, cols_last}};
    free_q   <= {free_q[1], c_q == {1'b0, cols_last} && tile_end && tx_end && ty_end};
    col_q[1] <= c_q[2:0];
    win_q[1] <= '{lane: lane_q, half: blk_half, addr: q_base_q + word_q, q_last: tile_end & lane_end};
    for (int unsigned i = 2; i <= 5; i++) begin
      col_q[i] <= col_q[i-1];
      win_q[i] <= win_q[i-1];
    end

    ly1_q     <= ly0;
    in_cols_q <= !lx0[15] && lx0 < $signed({4'd0, ncols});
    offset_q  <= cb_cols_q + lx0;
    product_q <= 16'($signed(ly0[15:3]) * $signed(cb_row_q));
    half1_q   <= blk_half;
    bank_q[1] <= ly0[2:0];

    addr0_q   <= (AAddrBits - 1)'(product_q + offset_q);
    addr1_q   <= (AAddrBits - 1)'(product_q + offset_q + cb_row_q);
    half2_q   <= half1_q;
    bank_q[2] <= bank_q[1];
    bank_q[3] <= bank_q[2];
    mask3_q   <= mask2_q;
    if (start || !rst_ni) act_free_q <= '0;
    else if (valid_q[2] & free_q[2]) act_free_q <= act_free_q + 1'b1;
  end

  for (genvar r = 0; r < 6; r++) begin : g_mask
    logic signed [15:0] ly;
    logic in_tile;
    assign in_tile = r < 2 || (r < 4 ? !direct : !direct && !f2);
    assign ly = ly1_q + (wide_step ? 16'(2 * r) : 16'(r));
    always_ff @(posedge clk_i) begin
      mask2_q[r] <= in_cols_q && !ly[15] && ly < $signed({4'd0, nrows}) && in_tile;
    end
  end

  assign a_re_o     = valid_q[2];
  assign act_free_o = act_free_q;
  logic [7:0] below;  // banks below row 0's: their row of the window is one bank height further down
  assign below = ~(8'hff << bank_q[2]);
  for (genvar b = 0; b < 8; b++) begin : g_bank
    assign a_raddr_o[b] = {half2_q, below[b] ? addr1_q : addr0_q};
  end

  // ---- stage 4: rows in order. 5: column transform. 6: into the window --------------------
  logic signed [7:0] x_q[6][SubRow];
  logic signed [TBits-1:0] xf_q[6][SubRow], part_q[6][SubRow][5], full_q[6][SubRow][6];

  // Loops over channels stand inside the conditions: a simulator then tests each once, not for every channel.
  for (genvar r = 0; r < 6; r++) begin : g_row
    logic [2:0] bank;
    assign bank = bank_q[3] + (wide_step ? 3'(2 * r) : 3'(r));
    always_ff @(posedge clk_i) begin
      if (valid_q[3]) for (int l = 0; l < int'(SubRow); l++) x_q[r][l] <= mask3_q[r] ? a_rdata_i[bank][l] : '0;
      if (valid_q[4] && direct) for (int l = 0; l < int'(SubRow); l++) xf_q[r][l] <= TBits'(x_q[r][l]);
      else if (valid_q[4] && f2) begin
        for (int l = 0; l < int'(SubRow); l++) begin
          xf_q[r][l] <= TBits'(bt_f2(r, 32'(x_q[0][l]), 32'(x_q[1][l]), 32'(x_q[2][l]), 32'(x_q[3][l])));
        end
      end else if (valid_q[4]) begin
        for (int l = 0; l < int'(SubRow); l++) begin
          xf_q[r][l] <= TBits'(bt_f4(r, 32'(x_q[0][l]), 32'(x_q[1][l]), 32'(x_q[2][l]), 32'(x_q[3][l]),
                                     32'(x_q[4][l]), 32'(x_q[5][l])));
        end
      end
    end
    for (genvar c = 0; c < 6; c++) begin : g_col
      if (c < 5) begin : g_part
        always_ff @(posedge clk_i) begin
          if (valid_q[5] && col_q[5] == 3'(c)) for (int l = 0; l < int'(SubRow); l++) part_q[r][l][c] <= xf_q[r][l];
          if (valid_q[5] & last_q[5]) begin
            // A window ends with an odd column: 1, 3 or 5.
            for (int l = 0; l < int'(SubRow); l++) begin
              full_q[r][l][c] <= c % 2 == 1 && col_q[5] == 3'(c) ? xf_q[r][l] : part_q[r][l][c];
            end
          end
        end
      end else begin : g_final
        always_ff @(posedge clk_i) begin
          if (valid_q[5] & last_q[5]) for (int l = 0; l < int'(SubRow); l++) full_q[r][l][c] <= xf_q[r][l];
        end
      end
    end
  end

  // ---- writer: one tap group per cycle; row transform, then shift and clamp --------------------
  logic write_q, ends_q;
  logic [2:0] row_q;   // first row of the group
  logic [1:0] part3_q; // F4: columns 0..3 of a row, of the next row, then columns 4, 5 of both
  logic [3:0] g_q;
  logic [Tiles-1:0] lane_out_q;
  logic half_out_q, q_last_q;
  logic [15:0] out_addr_q;
  logic [2:0] row_a, row_b;
  logic tail, write_end;
  assign tail      = !direct && !f2 && part3_q == 2'd2;
  assign row_a     = row_q;
  assign row_b     = direct || tail ? row_q + 3'd1 : row_q;
  assign write_end = g_q == groups_last;

  logic write1_q, write2_q, ends1_q;
  logic [Tiles-1:0] lane1_q, lane2_q;
  logic [15:0] q_ready_q;
  logic [VAddrBits-1:0] addr_d, waddr1_q, waddr2_q;
  assign addr_d = {half_out_q, out_addr_q[VAddrBits-2:0]};

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {write_q, write1_q, write2_q} <= '0;
    end else begin
      if (valid_q[5] & last_q[5]) write_q <= 1'b1;
      else if (write_end) write_q <= 1'b0;
      write1_q <= write_q;
      write2_q <= write1_q;
    end
    if (valid_q[5] & last_q[5]) begin
      {g_q, row_q, part3_q} <= '0;
      lane_out_q <= win_q[5].lane;
      half_out_q <= win_q[5].half;
      q_last_q   <= win_q[5].q_last;
      out_addr_q <= win_q[5].addr;
    end else if (write_q) begin
      g_q        <= g_q + 1'b1;
      out_addr_q <= out_addr_q + cmd_q.v_words;
      part3_q    <= part3_q == 2'd2 ? '0 : part3_q + 1'b1;
      if (f2 || part3_q != 2'd1) row_q <= row_q + 3'd1;
      if (!f2 && part3_q == 2'd1) row_q <= row_q - 3'd1;
      if (!f2 && part3_q == 2'd2) row_q <= row_q + 3'd2;
    end
    lane1_q  <= lane_out_q;
    waddr1_q <= addr_d;
    ends1_q  <= write_q & write_end & q_last_q;
    lane2_q  <= lane1_q;
    waddr2_q <= waddr1_q;
    ends_q   <= ends1_q;
    if (start || !rst_ni) q_ready_q <= '0;
    else if (ends_q) q_ready_q <= q_ready_q + 1'b1;
  end

  for (genvar t = 0; t < 4; t++) begin : g_tap
    logic [2:0] row;
    logic [3:0] ev_q;
    logic signed [YBits:0] half_unit;
    assign row       = t < 2 ? row_a : row_b;
    assign half_unit = ev_q == '0 ? '0 : (YBits + 1)'(1) << (ev_q - 4'd1);
    always_ff @(posedge clk_i) ev_q <= cmd_q.ev[{g_q, 2'(t)}];

    for (genvar l = 0; l < SubRow; l++) begin : g_channel
      logic signed [31:0] x[6];
      logic signed [YBits-1:0] y_q;
      logic signed [YBits:0] shifted;
      logic signed [VBits-1:0] v_q;
      localparam logic signed [YBits:0] VMax = (1 << (VBits - 1)) - 1;
      for (genvar c = 0; c < 6; c++) begin : g_x
        assign x[c] = 32'(full_q[row][l][c]);
      end
      always_ff @(posedge clk_i) begin
        if (write_q) begin
          if (direct) y_q <= YBits'(x[t%2]);
          else if (f2) y_q <= YBits'(bt_f2(t, x[0], x[1], x[2], x[3]));
          else if (tail) y_q <= YBits'(bt_f4(4 + t % 2, x[0], x[1], x[2], x[3], x[4], x[5]));
          else y_q <= YBits'(bt_f4(t, x[0], x[1], x[2], x[3], x[4], x[5]));
        end
        if (write1_q) v_q <= shifted > VMax ? VBits'(VMax) : shifted < -VMax ? VBits'(-VMax) : VBits'(shifted);
      end
      assign shifted         = ((YBits + 1)'(y_q) + half_unit) >>> ev_q;
      assign v_wdata_o[t][l] = v_q;
    end
  end

  assign v_we_o      = write2_q ? lane2_q : '0;
  assign v_waddr_o   = waddr2_q;
  assign q_ready_o   = q_ready_q;
  assign cmd_ready_o = state_q == Idle && !(|valid_q | write_q | write1_q | write2_q | ends_q);
endmodule
