// The numbers of the input transform: SubRow channels of clamp(round_shift(B^T x B, ev)), under the control of
// subrow_itrans.
//
// A column of the window comes in one step (its rows from the banks that bank_i names, 0 where mask_i is 0), is
// transformed and waits for the window's last column. Then rows are transformed, one per step; four taps leave per step.
// Both transforms are a subrow_bt: places of rows and columns follow its inputs and outputs, so a window's last column
// always stands in place 5, F2 has columns 1 and 2 twice, and rows of F2 are 0, 1, 2, 5, of direct layers 0, 5. F4's
// taps 4 and 5 of two rows, and the first row of a direct layer, wait for a step of their own.
// With max_i (direct layers) a column only replaces what is smaller in the column of the window before, until first_i
// begins anew; pixels outside the image are then the lowest number in place of 0. hold_i keeps the pixel of row 0.
//
// Contract: stages follow each other cycle by cycle, each with its own enable: x_en_i, xf_en_i, col_en_i (column col_i;
//   last_i: the window is complete; first_i: nothing of the window before counts), then row_en_i (place row_i), and on the cycles after it y_en_i, t_en_i, v_en_i.
//   With y_en_i: keep_a_i, keep_b_i keep taps of this row, tail_i sends what is kept. With t_en_i: ev_i.
// Parameters: as subrow_itrans. Cost per channel: 140 * 12 flip-flops, about 800 LUTs.
module subrow_itrans_data #(
  parameter int unsigned SubRow = 8,
  parameter int unsigned VBits  = 8
) (
  input  logic                             clk_i,
  input  logic                             f4_i,
  input  logic                             f2_i,
  input  logic                             max_i,
  input  logic                             first_i,
  input  logic                             hold_i,
  input  logic                             x_en_i,
  input  logic [5:0][       2:0]           bank_i,
  input  logic [5:0]                       mask_i,
  input  logic [7:0][SubRow-1:0][     7:0] a_i,
  input  logic                             xf_en_i,
  input  logic                             col_en_i,
  input  logic [2:0]                       col_i,
  input  logic                             last_i,
  input  logic                             row_en_i,
  input  logic [2:0]                       row_i,
  input  logic                             y_en_i,
  input  logic                             keep_a_i,
  input  logic                             keep_b_i,
  input  logic                             tail_i,
  input  logic                             t_en_i,
  input  logic [3:0][       3:0]           ev_i,
  input  logic                             v_en_i,
  output logic [3:0][SubRow-1:0][VBits-1:0] v_o
);
  if (!(SubRow inside {4, 8, 16}) || VBits < 8 || VBits > 16) begin : g_illegal
    $error("subrow_itrans_data: SubRow must be 4, 8 or 16, VBits 8..16");
  end

  localparam int unsigned CBits = 12;  // B^T x: at most 10 * 128
  localparam int unsigned YBits = 15;  // B^T x B: at most 100 * 128
  localparam int unsigned RBits = VBits > YBits ? VBits : YBits;
  localparam logic signed [VBits-1:0] VMax = VBits'((1 << (VBits - 1)) - 1);

  logic direct;
  assign direct = !(f4_i || f2_i);

  // ---- columns. Loops over channels stand inside the conditions: a simulator then tests each once ---------------------
  logic [5:0][7:0] x_q[SubRow];
  logic [5:0][CBits-1:0] xf[SubRow], xf_q[SubRow], part_q[SubRow][5], full_q[SubRow][6];  // [column][row]
  logic [5:0][CBits-1:0] row_q[SubRow];
  logic [5:0][YBits-1:0] y[SubRow];
  logic [4:0] part_en;
  assign part_en = {col_i == (f2_i ? 3'd2 : 3'd4), col_i == (f2_i ? 3'd1 : 3'd3), col_i == 3'd2, col_i == 3'd1,
                    col_i == 3'd0};

  for (genvar l = 0; l < SubRow; l++) begin : g_transform
    subrow_bt #(
      .InBits (8),
      .OutBits(CBits)
    ) u_column (
      .f4_i,
      .x_i(x_q[l]),
      .y_o(xf[l])
    );
    subrow_bt #(
      .InBits (CBits),
      .OutBits(YBits)
    ) u_row (
      .f4_i,
      .x_i(row_q[l]),
      .y_o(y[l])
    );
  end

  for (genvar r = 0; r < 6; r++) begin : g_row
    logic [7:0] outside;
    assign outside = {(r == 0 || r == 5) && max_i, 7'd0};  // the rows of a direct layer
    always_ff @(posedge clk_i) begin
      if (x_en_i) for (int l = 0; l < int'(SubRow); l++) x_q[l][r] <= mask_i[r] ? a_i[bank_i[r]][l] : outside;
    end
  end

  // Pixels of a direct layer (rows 0 and 5 of the first and of the last column) that stay, because they are the larger.
  logic [5:0] stay_first[SubRow], stay_last[SubRow];
  for (genvar l = 0; l < SubRow; l++) begin : g_maximum
    always_comb begin
      {stay_first[l], stay_last[l]} = {6'(hold_i), 6'(hold_i)};
      for (int r = 0; r < 6; r += 5) begin
        stay_first[l][r] |= max_i && !first_i && $signed(part_q[l][0][r][7:0]) > $signed(xf_q[l][r][7:0]);
        stay_last[l][r]  |= max_i && !first_i && $signed(full_q[l][5][r][7:0]) > $signed(xf_q[l][r][7:0]);
      end
    end
  end

  for (genvar c = 0; c < 6; c++) begin : g_column
    if (c < 5) begin : g_part
      always_ff @(posedge clk_i) begin
        if (col_en_i & part_en[c]) begin
          for (int l = 0; l < int'(SubRow); l++) begin
            for (int r = 0; r < 6; r++) if (c != 0 || !stay_first[l][r]) part_q[l][c][r] <= xf_q[l][r];
          end
        end
        if (col_en_i & last_i) begin
          for (int l = 0; l < int'(SubRow); l++) full_q[l][c] <= direct && c != 0 ? '0 : part_q[l][c];
        end
      end
    end else begin : g_last
      always_ff @(posedge clk_i) begin
        if (col_en_i & last_i) begin
          for (int l = 0; l < int'(SubRow); l++) begin
            for (int r = 0; r < 6; r++) if (!stay_last[l][r]) full_q[l][c][r] <= xf_q[l][r];
          end
        end
      end
    end
    always_ff @(posedge clk_i) begin
      if (row_en_i) for (int l = 0; l < int'(SubRow); l++) row_q[l][c] <= full_q[l][c][row_i];
    end
  end

  always_ff @(posedge clk_i) if (xf_en_i) xf_q <= xf;

  // ---- rows: four taps, kept ones instead or besides ------------------------------------------------------------------
  logic signed [YBits-1:0] keep_q[SubRow][4], y_q[SubRow][4];
  always_ff @(posedge clk_i) begin
    if (y_en_i) begin
      for (int l = 0; l < int'(SubRow); l++) begin
        y_q[l][0] <= tail_i || direct ? keep_q[l][0] : y[l][0];
        y_q[l][1] <= tail_i || direct ? keep_q[l][1] : y[l][1];
        y_q[l][2] <= tail_i ? keep_q[l][2] : direct ? y[l][0] : y[l][2];
        y_q[l][3] <= tail_i ? keep_q[l][3] : f4_i ? y[l][3] : y[l][5];
      end
    end
    if (y_en_i & keep_a_i) begin
      for (int l = 0; l < int'(SubRow); l++) begin
        keep_q[l][0] <= direct ? y[l][0] : y[l][4];
        keep_q[l][1] <= y[l][5];
      end
    end
    if (y_en_i & keep_b_i) begin
      for (int l = 0; l < int'(SubRow); l++) begin
        keep_q[l][2] <= y[l][4];
        keep_q[l][3] <= y[l][5];
      end
    end
  end

  // ---- round_shift(y, ev) = ((2 y >>> ev) + 1) >>> 1, then clamp --------------------------------------------------------
  // x >>> (n * unit) by one 4:1 multiplexer
  function automatic logic signed [YBits:0] shift4(input logic signed [YBits:0] x, input logic [1:0] n,
                                                   input int unsigned unit);
    return n[1] ? (n[0] ? x >>> (3 * unit) : x >>> (2 * unit)) : (n[0] ? x >>> unit : x);
  endfunction

  for (genvar t = 0; t < 4; t++) begin : g_tap
    for (genvar l = 0; l < SubRow; l++) begin : g_channel
      logic signed [YBits:0] far, t_q;
      logic signed [YBits+1:0] sum;
      logic signed [RBits-1:0] r;
      logic fits;
      logic signed [VBits-1:0] v_q;
      assign far  = shift4($signed({y_q[l][t], 1'b0}), ev_i[t][3:2], 4);
      assign sum  = (YBits + 2)'(t_q) + (YBits + 2)'(1);
      assign r    = RBits'(sum >>> 1);
      assign fits = (&r[RBits-1:VBits-1] && |r[VBits-2:0]) || !(|r[RBits-1:VBits-1]);
      assign v_o[t][l] = v_q;
      always_ff @(posedge clk_i) begin
        if (t_en_i) t_q <= shift4(far, ev_i[t][1:0], 1);
        if (v_en_i) v_q <= fits ? r[VBits-1:0] : r[RBits-1] ? -VMax : VMax;
      end
    end
  end
endmodule
