// Two sums of products of one weight on one DSP48E1: lo = sum of w * v0, hi = sum of w * v1.
//
// The operand is v1 * 2^Shift + v0 (the DSP's pre-adder), and the DSP's accumulator P = hi * 2^Shift + lo never
// unpacks. Its field of Shift bits holds lo modulo 2^Shift only; a counter beside the DSP holds the rest, floor(lo /
// 2^Shift): one product is shorter than a quarter of the field, so the field's upper two bits show each wrap as a step
// from 3 to 0 or from 0 to 3. The same number has gone from the lower sum into the upper one as carries and borrows.
//
// Contract: operand, M, P register and counter one after the other, each with its own enable. In the cycle of acc_en_i
// lo_o holds the sum of w * v0 of the steps so far, and hi_o that of w * v1 plus (lo_o >>> Shift), which the reader
// subtracts. p_first_i (with p_en_i) and acc_first_i (with acc_en_i, the cycle after it) start from 0. v0, v1 >
// -2^(VBits-1), which the symmetric clamp of the input transform guarantees; w is any value. Sums wrap at AccBits.
// Parameters: UBits 1..18, UBits + 2 * VBits + 1 <= 25, AccBits UBits + VBits..47 - UBits - VBits.
// Cost: one DSP48E1; AccBits - Shift + 2 LUTs and flip-flops.
module subrow_mac2 #(
  parameter  int unsigned UBits   = 8,
  parameter  int unsigned VBits   = 8,
  parameter  int unsigned AccBits = 26,
  localparam int unsigned Shift   = UBits + VBits + 1
) (
  input  logic                      clk_i,
  input  logic                      ab_en_i,
  input  logic                      m_en_i,
  input  logic                      p_en_i,
  input  logic                      p_first_i,
  input  logic                      acc_en_i,
  input  logic                      acc_first_i,
  input  logic signed [  UBits-1:0] w_i,
  input  logic signed [  VBits-1:0] v0_i,
  input  logic signed [  VBits-1:0] v1_i,
  output logic signed [AccBits-1:0] lo_o,
  output logic signed [AccBits-1:0] hi_o
);
  localparam int unsigned ABits = Shift + VBits;
  localparam int unsigned MBits = ABits + UBits;
  localparam int unsigned PBits = Shift + AccBits;
  localparam int unsigned WBits = AccBits > Shift ? AccBits - Shift : 1;

  if (UBits < 1 || UBits > 18 || VBits < 1 || ABits > 25) begin : g_illegal
    $error("subrow_mac2: UBits + 2 * VBits + 1 must be at most 25 and UBits 1..18");
  end
  if (AccBits < UBits + VBits || PBits > 48) begin : g_illegal_acc
    $error("subrow_mac2: AccBits must be UBits + VBits..47 - UBits - VBits");
  end

  logic signed [ABits-1:0] a_q;
  logic signed [UBits-1:0] b_q;
  logic signed [MBits-1:0] m_q;
  logic signed [PBits-1:0] p_q;

  always_ff @(posedge clk_i) begin
    if (ab_en_i) begin
      a_q <= $signed({v1_i, {Shift{1'b0}}}) + ABits'(v0_i);
      b_q <= w_i;
    end
    if (m_en_i) m_q <= MBits'(a_q) * MBits'(b_q);
    if (p_en_i) p_q <= (p_first_i ? '0 : p_q) + PBits'(m_q);
  end

  logic [1:0] top, seen_q, seen;
  logic signed [WBits-1:0] wraps_q, wraps;
  logic up, down;
  assign top    = p_q[Shift-1-:2];
  assign seen   = acc_first_i ? 2'd0 : seen_q;
  assign up     = seen   == 2'd3 && top == 2'd0;
  assign down   = seen   == 2'd0 && top == 2'd3;
  assign wraps  = WBits'($signed({down, up | down})) + (acc_first_i ? '0 : wraps_q);

  always_ff @(posedge clk_i) begin
    if (acc_en_i) begin
      seen_q <= top;
      wraps_q  <= wraps;
    end
  end

  assign lo_o = AccBits'({wraps, p_q[Shift-1:0]});
  assign hi_o = p_q[Shift+:AccBits];
endmodule
