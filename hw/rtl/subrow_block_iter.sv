// Walks the blocks of one instruction in loop-nest order (pass, by, bx) and gives the geometry of each.
//
// Contract: hold `cmd_i` stable from `load_i` until the last block is done. `load_i` starts at block (0,0), at any time.
//   `valid_o` rises 4 cycles later; all outputs are then stable until `next_i`, which counts only while `valid_o` is
//   high: it moves to the next block (valid again 4 cycles later), or, at `last_o`, ends the walk (valid stays low
//   until `load_i`). `load_i` wins over `next_i`. A unit that walks ahead of another one takes its own iterator.
// Outputs (docs/hardware.md, loop nest): th, tw: tiles; iy0, ix0: first input pixel, negative in the padding; ry0,
//   nrows, rx0, ncols: input rows and columns inside the image; q: tile groups; cy0, crows, cx0, ccols: output pixels
//   before pooling, clipped to conv_h x conv_w; oy0, orows, ox0, ocols: output pixels in memory, after pooling (these
//   counts are 0 when a pooled layer's last odd row or column is all that the block has); half: block parity;
//   kgs: output channel groups of the pass; pass_end: last block of the pass; last: of the layer.
// Parameters: none. Cost: about 250 registers, adders of 16 bits, no multiplier.
module subrow_block_iter (
    input  logic                      clk_i,
    input  logic                      rst_ni,
    input  subrow_pkg::instr_t        cmd_i,
    input  logic                      load_i,
    input  logic                      next_i,
    output logic                      valid_o,
    output logic                      last_y_o,  // by is the last one
    output logic                      last_x_o,  // bx is the last one
    output logic                      last_o,    // last block of the layer
    output logic                      pass_end_o,
    output logic               [11:0] kgs_o,
    output logic                      half_o,
    output logic               [ 9:0] by_o,
    output logic               [ 9:0] bx_o,
    output logic               [ 9:0] th_o,
    output logic               [ 9:0] tw_o,
    output logic               [11:0] q_o,
    output logic signed        [15:0] iy0_o,
    output logic signed        [15:0] ix0_o,
    output logic               [11:0] ry0_o,
    output logic               [11:0] nrows_o,
    output logic               [11:0] rx0_o,
    output logic               [11:0] ncols_o,
    output logic               [11:0] cy0_o,
    output logic               [11:0] crows_o,
    output logic               [11:0] cx0_o,
    output logic               [11:0] ccols_o,
    output logic               [11:0] oy0_o,
    output logic               [11:0] orows_o,
    output logic               [11:0] ox0_o,
    output logic               [11:0] ocols_o
);

  import subrow_pkg::*;

  // Axis 0 is y, axis 1 is x.
  logic [1:0][9:0] block, blocks;
  logic [1:0][11:0] conv, in_size, out_size;
  logic [1:0][5:0] pad, ext;
  assign block = {cmd_i.block_tw, cmd_i.block_th};
  assign blocks = {cmd_i.blocks_x, cmd_i.blocks_y};
  assign conv = {cmd_i.conv_w, cmd_i.conv_h};
  assign in_size = {cmd_i.in_w, cmd_i.in_h};
  assign out_size = {cmd_i.out_w, cmd_i.out_h};
  assign pad = {cmd_i.pad_left, cmd_i.pad_top};
  assign ext = (cmd_i.tile == TileDirect || cmd_i.tile == TileLinear) ? {cmd_i.kernel_w, cmd_i.kernel_h} : {6'd3, 6'd3};

  logic m4, s2;
  assign m4 = cmd_i.tile == TileF4;
  assign s2 = cmd_i.stride == 2'd2;

  logic [1:0][9:0] pos_q;         // block index
  logic [1:0][11:0] rem_q;        // tiles from the block's first to the layer's last
  logic [1:0][15:0] i0_q;         // first input pixel, signed
  logic [1:0][11:0] c0_q;         // first output pixel before pooling
  logic [1:0][9:0] t_q;
  logic [1:0][11:0] r0_q, n_q, cn_q, on_q;
  logic [1:0][15:0] i1_q;
  logic half_q;
  logic [11:0] kg_left_q, kgs_q;  // channel groups from the pass's first to the layer's last; of the pass
  logic pass_last;
  logic [2:0] phase_q;            // 0 idle, 1..3 stages, 4 valid
  logic [1:0] is_last, is_last_yx;
  assign is_last_yx = {is_last[0], is_last[1]};

  for (genvar a = 0; a < 2; a++) begin : g_axis
    logic [12:0] span;            // output pixels of the block before clipping
    logic [15:0] reach, end_clip;
    logic [12:0] c_left, o_left, o_span;
    logic step, init;
    assign is_last[a] = pos_q[a] + 10'd1 == blocks[a];
    assign init = load_i || is_last[a];
    assign step = load_i || (a == 1 || is_last[1]);
    assign span = m4 ? {1'b0, t_q[a], 2'b0} : {2'b0, t_q[a], 1'b0};
    assign reach = s2 ? {2'b0, span - 13'd1, 1'b0} : {3'b0, span - 13'd1};
    assign end_clip = ($signed(i1_q[a]) < $signed({4'b0, in_size[a]})) ? i1_q[a] : {4'b0, in_size[a]};
    assign c_left = {1'b0, conv[a]} - {1'b0, c0_q[a]};
    assign o_left = {1'b0, out_size[a]} - {2'b0, c0_q[a][11:1]};
    assign o_span = {1'b0, span[12:1]};

    logic [12:0] tiles;           // of the layer
    logic [12:0] c_step;
    logic [15:0] i_step;
    assign tiles = m4 ? ({1'b0, conv[a]} + 13'd3) >> 2 : ({1'b0, conv[a]} + 13'd1) >> 1;
    assign c_step = m4 ? {1'b0, block[a], 2'b0} : {2'b0, block[a], 1'b0};
    assign i_step = s2 ? {2'b0, c_step, 1'b0} : {3'b0, c_step};

    always_ff @(posedge clk_i) begin
      if (load_i || (next_i && valid_o && step)) begin
        if (init) begin
          pos_q[a] <= '0;
          rem_q[a] <= tiles[11:0];
          i0_q[a]  <= -{10'd0, pad[a]};
          c0_q[a]  <= '0;
        end else begin
          pos_q[a] <= pos_q[a] + 10'd1;
          rem_q[a] <= rem_q[a] - {2'b0, block[a]};
          i0_q[a]  <= i0_q[a] + i_step;
          c0_q[a]  <= c0_q[a] + c_step[11:0];
        end
      end
      if (phase_q == 3'd1) begin
        t_q[a]  <= (rem_q[a] < {2'b0, block[a]}) ? rem_q[a][9:0] : block[a];
        r0_q[a] <= i0_q[a][15] ? 12'd0 : i0_q[a][11:0];
      end
      if (phase_q == 3'd2) begin
        i1_q[a] <= i0_q[a] + reach + {10'b0, ext[a]};
        cn_q[a] <= (span < c_left) ? span[11:0] : c_left[11:0];
      end
      if (phase_q == 3'd3) begin
        n_q[a]  <= end_clip[11:0] - r0_q[a];
        on_q[a] <= !cmd_i.pool ? cn_q[a] : (o_span < o_left) ? o_span[11:0] : o_left[11:0];
      end
    end

    logic unused_axis;
    assign unused_axis = ^{tiles[12], c_step[12], end_clip[15:12], c_left[12], o_left[12], o_span[12]};
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      phase_q <= 3'd0;
    end else if (load_i) begin
      phase_q <= 3'd1;
    end else if (valid_o) begin
      if (next_i) phase_q <= last_o ? 3'd0 : 3'd1;
    end else if (phase_q != 3'd0) begin
      phase_q <= phase_q + 3'd1;
    end
    if (load_i) kg_left_q <= cmd_i.kgs;
    else if (next_i && valid_o && pass_end_o) kg_left_q <= kg_left_q - cmd_i.pass_kgs;
    if (phase_q == 3'd1) kgs_q <= pass_last ? kg_left_q : cmd_i.pass_kgs;
    if (load_i) half_q <= 1'b0;
    else if (next_i && valid_o) half_q <= !half_q;
  end

  assign valid_o  = phase_q == 3'd4;
  assign last_y_o = is_last[0];
  assign last_x_o = is_last[1];
  assign pass_last = kg_left_q <= cmd_i.pass_kgs;
  assign pass_end_o = &is_last;
  assign last_o   = &is_last && pass_last;
  assign kgs_o    = kgs_q;
  assign half_o   = half_q;
  assign q_o      = cmd_i.q_count[is_last_yx];
  assign by_o     = pos_q[0];
  assign bx_o     = pos_q[1];
  assign th_o     = t_q[0];
  assign tw_o     = t_q[1];
  assign iy0_o    = i0_q[0];
  assign ix0_o    = i0_q[1];
  assign ry0_o    = r0_q[0];
  assign rx0_o    = r0_q[1];
  assign nrows_o  = n_q[0];
  assign ncols_o  = n_q[1];
  assign cy0_o    = c0_q[0];
  assign cx0_o    = c0_q[1];
  assign crows_o  = cn_q[0];
  assign ccols_o  = cn_q[1];
  assign oy0_o    = cmd_i.pool ? {1'b0, c0_q[0][11:1]} : c0_q[0];
  assign ox0_o    = cmd_i.pool ? {1'b0, c0_q[1][11:1]} : c0_q[1];
  assign orows_o  = on_q[0];
  assign ocols_o  = on_q[1];

  logic unused_cmd;
  assign unused_cmd = ^cmd_i;

endmodule
