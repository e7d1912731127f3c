// The numbers of the output transform: SubRow channels of Y = A^T (M << em) A, under the control of subrow_otrans.
//
// Rows: a word of four taps per step is aligned, then half a row of M A (two of its four columns) is made of it. F4:
// taps 4 and 5 of two rows come first, in a word of their own, and stay; each row's word comes twice. F2: rows 0, 1, 2
// and 5. Direct: rows 0 and 5, the same word twice; linear likewise, and pixel (0, 0) is the sum of the word. Columns: one pixel per step; what a tile size lacks is 0.
//
// Contract: the words of stages 1 to 3 move with en_i. Stage 1: m_i, em_i. Stage 2: tail_i keeps the word, else odd_i
//   (F4: second row of the pair; direct: second row), upper_i (columns 2, 3) and pick_i (x5: 0, 1 of the first, second row from the kept word, 2
//   tap 3, 3 tap 1) say what to add. Stage 3: write_i puts
//   two numbers into row row3_i. copy_i moves all rows to the other side, where col_i, row_i select the pixel;
//   a_en_i, b_en_i step its two stages. All arithmetic is modulo 2^YBits.
// Parameters: as subrow_otrans. Cost per channel: 48 * YBits flip-flops for the two sides of the transform, 12 * YBits
//   for its stages, about 24 * YBits LUTs.

module subrow_otrans_data #(
    parameter int unsigned SubRow = 8,
    parameter int unsigned AccBits = 26,
    parameter int unsigned YBits = 36
) (
    input logic clk_i,
    input logic f4_i,
    input logic f2_i,
    input logic linear_i,

    input logic                        en_i,
    input logic [4*SubRow*AccBits-1:0] m_i,
    input logic [        3:0][3:0]     em_i,
    input logic                        tail_i,
    input logic                        odd_i,
    input logic [             1:0]     pick_i,
    input logic                        upper_i,

    input logic       write_i,
    input logic [2:0] row3_i,
    input logic       upper3_i,

    input  logic                    copy_i,
    input  logic                    a_en_i,
    input  logic [             1:0] row_i,
    input  logic [             1:0] col_i,
    input  logic                    b_en_i,
    output logic [SubRow*YBits-1:0] y_o
);

  if (SubRow != 4 && SubRow != 8 && SubRow != 16) begin : g_bad_sub_row
    $error("subrow_otrans_data: SubRow = %0d must be 4, 8 or 16", SubRow);
  end
  if (AccBits < 1 || AccBits > YBits || YBits > 48) begin : g_bad_bits
    $error("subrow_otrans_data: AccBits = %0d must be 1..YBits, YBits = %0d at most 48", AccBits, YBits);
  end

  typedef logic signed [YBits-1:0] y_t;

  // a - b or a + b on one carry chain
  function automatic y_t add_sub(input logic sub, input y_t a, input y_t b);
    return y_t'(({a, 1'b1} + {b ^ {YBits{sub}}, sub}) >> 1);
  endfunction

  // Loops over channels stand inside the conditions: a simulator then tests each once, not for every channel.
  // ---- rows: row of M A at column b: [b=0] x0 + (x1 + x2) + (x3 + x4) << b, when b is odd (x1 - x2) + (x3 - x4) << b +
  //      [b=last] x5; F2 has x3 for x5 and no x3, x4 ---------------------------------------------------------------------
  y_t x_q[SubRow][4], tail_q[SubRow][4];
  y_t s12_q[SubRow], d12_q[SubRow], s34_q[SubRow], d34_q[SubRow], h0_q[SubRow], h5_q[SubRow];
  y_t r_q[SubRow][6][4], e_q[SubRow][6][4];

  // m << em by two 4:1 multiplexers
  function automatic y_t align(input logic signed [AccBits-1:0] m, input logic [3:0] em);
    logic signed [AccBits+2:0] x, fine;
    logic signed [YBits+15:0] y;
    x = (AccBits + 3)'(m);
    fine = em[1] ? (em[0] ? x <<< 3 : x <<< 2) : (em[0] ? x <<< 1 : x);
    y = (YBits + 16)'(fine);
    return YBits'(em[3] ? (em[2] ? y <<< 12 : y <<< 8) : (em[2] ? y <<< 4 : y));
  endfunction

  always_ff @(posedge clk_i) begin
    if (en_i) begin
      for (int l = 0; l < int'(SubRow); l++) begin
        for (int t = 0; t < 4; t++) x_q[l][t] <= align(m_i[(t*SubRow+l)*AccBits+:AccBits], em_i[t]);
        if (f4_i || linear_i) s34_q[l] <= x_q[l][3] + (!f4_i ? '0 : odd_i ? tail_q[l][2] : tail_q[l][0]);
        else s34_q[l] <= '0;
        if (f4_i) d34_q[l] <= x_q[l][3] - (odd_i ? tail_q[l][2] : tail_q[l][0]);
        else d34_q[l] <= '0;
        if (f4_i || f2_i || linear_i) begin
          s12_q[l] <= x_q[l][1] + x_q[l][2];
          d12_q[l] <= x_q[l][1] - x_q[l][2];
        end else {s12_q[l], d12_q[l]} <= '0;
        if (upper_i) h0_q[l] <= '0;
        else h0_q[l] <= !f4_i && !f2_i && odd_i ? x_q[l][2] : x_q[l][0];
        if (f4_i && !upper_i) h5_q[l] <= '0;
        else
          h5_q[l] <= pick_i[1] ? (pick_i[0] ? x_q[l][1] : x_q[l][3]) : (pick_i[0] ? tail_q[l][3] : tail_q[l][1]);
      end
    end
    if (en_i && tail_i) tail_q <= x_q;
    if (copy_i) e_q <= r_q;
  end

  y_t even[SubRow], odd[SubRow];  // columns 0, 1 or 2, 3
  for (genvar l = 0; l < SubRow; l++) begin : g_half_row
    assign even[l] = h0_q[l] + (s12_q[l] + (upper3_i ? s34_q[l] <<< 2 : s34_q[l]));
    assign odd[l]  = h5_q[l] + (d12_q[l] + (upper3_i ? d34_q[l] <<< 3 : d34_q[l] <<< 1));
  end
  for (genvar r = 0; r < 6; r++) begin : g_row
    for (genvar u = 0; u < 2; u++) begin : g_half
      always_ff @(posedge clk_i) begin
        if (write_i && row3_i == 3'(r) && upper3_i == 1'(u)) begin
          for (int l = 0; l < int'(SubRow); l++) begin
            r_q[l][r][2*u]   <= even[l];
            r_q[l][r][2*u+1] <= odd[l];
          end
        end
      end
    end
  end

  // ---- columns: pixel at row a of column c: the same transform, x5 always in row 5 -----------------------------------
  logic [1:0] shift_q;
  wire row_last = row_i == (f4_i ? 2'd3 : 2'd1);
  always_ff @(posedge clk_i) if (a_en_i) shift_q <= row_i;

  for (genvar l = 0; l < SubRow; l++) begin : g_out
    y_t x[6], s05_q, s12_c_q, s34_c_q, y_q;
    for (genvar i = 0; i < 6; i++) begin : g_x
      assign x[i] = e_q[l][i][col_i];
    end
    assign y_o[l*YBits+:YBits] = y_q;
    always_ff @(posedge clk_i) begin
      if (a_en_i) begin
        if (row_i != 2'd0 && !row_last) s05_q <= '0;
        else s05_q <= row_i == 2'd0 ? x[0] : x[5];
        s12_c_q <= f4_i || f2_i ? add_sub(row_i[0], x[1], x[2]) : '0;
        s34_c_q <= f4_i ? add_sub(row_i[0], x[3], x[4]) : '0;
      end
      if (b_en_i) y_q <= s05_q + (s12_c_q + (s34_c_q <<< shift_q));
    end
  end

endmodule
