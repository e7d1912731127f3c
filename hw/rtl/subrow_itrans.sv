// Input transform: cuts windows out of the activation buffer and writes V = clamp(round_shift(B^T x B, ev)).
//
// Windows in loop-nest order (docs/hardware.md): tile, channel block, window row, window column. One column of a
// window is read per cycle (up to six rows, one per bank), the columns are transformed as they come, the rows while
// the next window is read, one per cycle (subrow_itrans_data does both). A window takes direct 2, F2 4, F4 9 cycles.
// Pixels outside the image are 0. Tiles past the last one of a block are not written. With max_window the windows of a
// channel block's kernel make one V word: subrow_itrans_data keeps their maximum, and only the last of them is written.
// A linear layer has one window: four of its words make a V word, one read per cycle, in the places of a direct layer's
// four pixels; words past the last one are 0. It begins when all of its rows are there.
//
// Contract: one layer per command; cmd_ready_o is high when idle. A window waits until its rows are there (rows_i); a
// block waits until its half of the V buffer, with whole_v all of it, is free (v_free_i). RAM reads have latency 1; writes never wait.
// act_free_o counts blocks behind their last read, q_ready_o tile groups behind their last write; all counters have 16
// bits and restart with the command. Between blocks: 7 idle cycles.
// Parameters: SubRow 4, 8, 16; Tiles even, 2..32; VBits 8..16; ActWords, VWords powers of two, 4..65536.
// Cost: subrow_itrans_data, two multipliers for addresses, about 1,500 flip-flops of control.
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

  // What travels with a window from its last read to its writes.
  typedef struct packed {
    logic [Tiles-1:0] lane;
    logic             half;
    logic [15:0]      addr;    // of tap group 0
    logic             q_last;  // last window of a tile group
    logic             first;   // of the windows whose maximum is taken
    logic             write;   // V word complete
    logic             hold;    // linear: the first row has its words
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

  logic direct, linear, f2, wide_step;  // direct: linear too; wide_step: rows and columns of a window are two apart
  logic maximum, whole, whole_a;  // whole, whole_a: blocks take turns in the whole V buffer, activation buffer
  logic [2:0] cols_last;
  logic [3:0] pace_last, step_last;  // cycles of a window, row steps
  logic [4:0] tile_step;
  assign direct      = cmd_q.tile == TileDirect || linear;
  assign linear      = cmd_q.tile == TileLinear;
  assign f2          = cmd_q.tile == TileF2;
  assign wide_step   = direct && cmd_q.stride == 2'd2;
  assign maximum     = cmd_q.max_window[0];
  assign whole       = cmd_q.whole_v[0];
  assign whole_a     = cmd_q.whole_a[0];
  assign cols_last   = f2 || linear ? 3'd3 : direct ? 3'd1 : 3'd5;
  assign pace_last   = f2 || linear ? 4'd3 : direct ? 4'd1 : 4'd8;
  assign step_last   = direct ? 4'd1 : f2 ? 4'd3 : 4'd8;
  assign tile_step   = wide_step || !(direct || f2) ? 5'd4 : 5'd2;

  // ---- stage 0: window and column --------------------
  logic [3:0] c_q;
  logic [5:0] kx_q, ky_q;
  logic [11:0] cb_q;
  logic [15:0] word_q, q_base_q, cb_cols_q, cb_row_q, block_q, rows_base_q, avail_q, all_words_q;
  logic [9:0] tx_q, ty_q;
  // last values of the counters above; the command and the block's size stand long before the first window
  logic [5:0] kx_last_q, ky_last_q;
  logic [11:0] cb_last_q;
  logic [9:0] tx_last_q, ty_last_q;
  logic signed [15:0] ly_q, lx_q;  // tile origin, from the first row and column in the buffer
  logic [Tiles-1:0] lane_q;
  logic all_rows_q, past_q;  // past: behind the last word of a linear layer

  logic signed [15:0] ly0, lx0, ly_end;
  logic [15:0] block_lead;
  logic rows_ok, run, read, w_end, next, kx_end, ky_end, v_end, cb_end, tx_end, ty_end, tile_end, lane_end;
  assign ly0        = ly_q + 16'(ky_q);
  assign lx0        = lx_q + 16'(kx_q) + (linear ? '0 : wide_step ? 16'({c_q, 1'b0}) : 16'(c_q));
  assign ly_end     = ly0 + (direct ? (wide_step ? 16'sd2 : 16'sd1) : 16'({13'd0, cols_last}));
  assign rows_ok    = all_rows_q || (!linear && $signed(avail_q) > ly_end);
  assign run        = state_q == Run && (c_q != '0 || rows_ok);
  assign read       = run && c_q <= {1'b0, cols_last};
  assign w_end      = c_q == pace_last;
  assign next       = w_end | (linear & !tile_end);
  assign kx_end     = kx_q == kx_last_q;
  assign ky_end     = ky_q == ky_last_q;
  assign v_end      = !maximum | (kx_end & ky_end);
  assign cb_end     = cb_q == cb_last_q;
  assign tile_end   = kx_end & ky_end & cb_end;
  assign tx_end     = tx_q == tx_last_q;
  assign ty_end     = ty_q == ty_last_q;
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
        Block:   if (blk_valid && block_lead < (whole ? 16'd1 : 16'd2)) state_q <= Run;
        default: if (block_done) state_q <= blk_last ? Idle : Block;
      endcase
    end

    kx_last_q <= cmd_q.kernel_w - 6'd1;
    ky_last_q <= cmd_q.kernel_h - 6'd1;
    cb_last_q <= cmd_q.in_cb - 12'd1;
    tx_last_q <= tw - 10'd1;
    ty_last_q <= th - 10'd1;

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
      {c_q, kx_q, ky_q, cb_q, word_q, q_base_q, cb_cols_q, tx_q, ty_q, past_q} <= '0;
      ly_q     <= iy0[15] ? iy0 : '0;
      lx_q     <= ix0[15] ? ix0 : '0;
      lane_q   <= Tiles'(1);
      cb_row_q <= 16'(cmd_q.in_cb * ncols);
    end else if (run) begin
      c_q    <= w_end ? '0 : c_q + 1'b1;
      past_q <= linear & tile_end & !w_end;
      if (next) begin
        kx_q   <= kx_end ? '0 : kx_q + 1'b1;
        if (kx_end) ky_q <= ky_end ? '0 : ky_q + 1'b1;
        if (kx_end & ky_end) begin
          cb_q      <= cb_end ? '0 : cb_q + 1'b1;
          cb_cols_q <= cb_end ? '0 : cb_cols_q + 16'(ncols);
        end
      end
      if (w_end) begin
        word_q <= tile_end ? '0 : word_q + 16'(v_end);
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
  logic [2:0] bank_q[1:2];  // bank of row 0
  logic [5:0][2:0] bank3_q;
  logic signed [15:0] ly1_q;
  logic in_cols_q, half1_q, half2_q;
  logic [15:0] offset_q, product_q, act_free_q;
  logic [AAddrBits-1:0] addr0_q, addr1_q;  // of banks from row 0's on, of those below it
  logic [5:0] mask2_q, mask3_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) valid_q <= '0;
    else valid_q <= {valid_q[4:1], read};
    last_q   <= {last_q[4:1], linear ? c_q[0] : c_q == {1'b0, cols_last}};
    free_q   <= {free_q[1], c_q == {1'b0, cols_last} && tile_end && tx_end && ty_end};
    col_q[1] <= linear ? {2'd0, c_q[0]} : c_q[2:0];
    win_q[1] <= '{lane: lane_q, half: blk_half, addr: q_base_q + word_q, q_last: tile_end & lane_end,
                  first: kx_q == '0 && ky_q == '0, write: v_end & (!linear | c_q[1]),
                  hold: linear & c_q[1]};
    for (int unsigned i = 2; i <= 5; i++) begin
      col_q[i] <= col_q[i-1];
      win_q[i] <= win_q[i-1];
    end

    ly1_q     <= ly0;
    in_cols_q <= !past_q && !lx0[15] && lx0 < $signed({4'd0, ncols});
    offset_q  <= cb_cols_q + lx0;
    product_q <= 16'($signed(ly0[15:3]) * $signed(cb_row_q));
    half1_q   <= blk_half;
    bank_q[1] <= ly0[2:0];

    addr0_q   <= AAddrBits'(product_q + offset_q);
    addr1_q   <= AAddrBits'(product_q + offset_q + cb_row_q);
    half2_q   <= half1_q;
    bank_q[2] <= bank_q[1];
    mask3_q   <= mask2_q;
    if (start || !rst_ni) act_free_q <= '0;
    else if (valid_q[2] & free_q[2]) act_free_q <= act_free_q + 1'b1;
  end

  // Places of the column transform: see subrow_itrans_data.
  for (genvar r = 0; r < 6; r++) begin : g_place
    logic signed [15:0] ly;
    logic [2:0] row;
    if (r < 3) begin : g_same
      assign row = 3'(r);
    end else if (r < 5) begin : g_twice
      assign row = f2 ? 3'(r - 2) : 3'(r);
    end else begin : g_last
      assign row = linear ? 3'd0 : direct ? (wide_step ? 3'd2 : 3'd1) : f2 ? 3'd3 : 3'd5;
    end
    assign ly = ly1_q + 16'(row);
    always_ff @(posedge clk_i) begin
      mask2_q[r] <= in_cols_q && !ly[15] && ly < $signed({4'd0, nrows}) && (r == 0 || r == 5 || !direct);
      bank3_q[r] <= bank_q[2] + row;
    end
  end

  assign a_re_o     = valid_q[2];
  assign act_free_o = act_free_q;
  logic [7:0] below;  // banks below row 0's: their row of the window is one bank height further down
  assign below = ~(8'hff << bank_q[2]);
  for (genvar b = 0; b < 8; b++) begin : g_bank
    logic [AAddrBits-1:0] addr;
    assign addr = below[b] ? addr1_q : addr0_q;
    assign a_raddr_o[b] = {whole_a ? addr[AAddrBits-1] : half2_q, addr[AAddrBits-2:0]};
  end

  // ---- writer: one row of the window or the kept taps of two rows per step, one tap group each ------------------------
  logic step_q, q_last_q, half_out_q, load, step_end;
  logic [2:0] row_q;   // place of the row
  logic [1:0] part_q;  // F4: a row, the next row, then taps 4, 5 of both; direct: a row, the next row
  logic [3:0] g_q;     // step of the window
  logic [Tiles-1:0] lane_out_q;
  logic [15:0] out_addr_q;
  assign load     = valid_q[5] & last_q[5] & win_q[5].write;
  assign step_end = g_q == step_last;

  // Behind the steps: row, taps, shifted, written.
  logic [4:1] step_d_q, write_d_q, ends_d_q;
  logic [4:1][Tiles-1:0] lane_d_q;
  logic [4:1][VAddrBits-1:0] addr_d_q;
  logic [1:0] part1_q;
  logic [3:0] g1_q;
  logic [3:0][3:0] ev_q;
  logic [15:0] q_ready_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {step_q, step_d_q, write_d_q, ends_d_q} <= '0;
    end else begin
      if (load) step_q <= 1'b1;
      else if (step_end) step_q <= 1'b0;
      step_d_q  <= {step_d_q[3:1], step_q};
      write_d_q <= {write_d_q[3:1], step_q & (!direct | step_end)};
      ends_d_q  <= {ends_d_q[3:1], step_q & step_end & q_last_q};
    end
    if (load) begin
      {g_q, row_q, part_q} <= '0;
      lane_out_q <= win_q[5].lane;
      half_out_q <= win_q[5].half;
      q_last_q   <= win_q[5].q_last;
      out_addr_q <= win_q[5].addr;
    end else if (step_q) begin
      g_q    <= g_q + 1'b1;
      part_q <= part_q == 2'd2 ? '0 : part_q + 1'b1;
      if (!direct) out_addr_q <= out_addr_q + cmd_q.v_words;
      if (direct || (f2 && row_q == 3'd2)) row_q <= 3'd5;
      else if (f2 || part_q != 2'd1) row_q <= row_q + 3'd1;
    end
    lane_d_q <= {lane_d_q[3:1], lane_out_q};
    addr_d_q <= {addr_d_q[3:1], {whole ? out_addr_q[VAddrBits-1] : half_out_q, out_addr_q[VAddrBits-2:0]}};
    part1_q  <= part_q;
    g1_q     <= direct ? '0 : g_q;
    for (int unsigned t = 0; t < 4; t++) ev_q[t] <= cmd_q.ev[{g1_q, t[1:0]}];
    if (start || !rst_ni) q_ready_q <= '0;
    else if (ends_d_q[4]) q_ready_q <= q_ready_q + 1'b1;
  end

  subrow_itrans_data #(
    .SubRow(SubRow),
    .VBits (VBits)
  ) u_data (
    .clk_i,
    .f4_i    (!direct && !f2),
    .f2_i    (f2),
    .max_i   (maximum),
    .first_i (win_q[5].first),
    .hold_i  (win_q[5].hold),
    .x_en_i  (valid_q[3]),
    .bank_i  (bank3_q),
    .mask_i  (mask3_q),
    .a_i     (a_rdata_i),
    .xf_en_i (valid_q[4]),
    .col_en_i(valid_q[5]),
    .col_i   (col_q[5]),
    .last_i  (last_q[5]),
    .row_en_i(step_q),
    .row_i   (row_q),
    .y_en_i  (step_d_q[1]),
    .keep_a_i(part1_q == 2'd0),
    .keep_b_i(part1_q == 2'd1),
    .tail_i  (!direct && !f2 && part1_q == 2'd2),
    .t_en_i  (step_d_q[2]),
    .ev_i    (ev_q),
    .v_en_i  (step_d_q[3]),
    .v_o     (v_wdata_o)
  );

  assign v_we_o      = write_d_q[4] ? lane_d_q[4] : '0;
  assign v_waddr_o   = addr_d_q[4];
  assign q_ready_o   = q_ready_q;
  assign cmd_ready_o = state_q == Idle && !(|valid_q | step_q | (|step_d_q));
endmodule
