// Two products of one weight on one DSP48E1: p0 = w * v0, p1 = w * v1.
//
// Contract: latency 3 (operand, M and P register, each with its own enable). v0, v1 > -2^(VBits-1), which the
// symmetric clamp of the input transform guarantees; w is any value. The operand is v1 * 2^Shift + v0 (the DSP's pre-
// adder, Shift = UBits + VBits + 1); half of 2^Shift, added in the DSP's post-adder, is the correction of the upper
// product for a negative lower one, so that both products are plain bit fields of P.
// Parameters: UBits 1..18, UBits + 2 * VBits + 1 <= 25.
// Cost: one DSP48E1, no LUTs.
module subrow_mac2 #(
  parameter int unsigned UBits = 8,
  parameter int unsigned VBits = 8
) (
  input  logic                          clk_i,
  input  logic                          ab_en_i,
  input  logic                          m_en_i,
  input  logic                          p_en_i,
  input  logic signed [      UBits-1:0] w_i,
  input  logic signed [      VBits-1:0] v0_i,
  input  logic signed [      VBits-1:0] v1_i,
  output logic signed [UBits+VBits-1:0] p0_o,
  output logic signed [UBits+VBits-1:0] p1_o
);
  localparam int unsigned Shift = UBits + VBits + 1;
  localparam int unsigned ABits = Shift + VBits;
  localparam int unsigned PBits = ABits + UBits;

  if (UBits < 1 || UBits > 18 || VBits < 1 || ABits > 25) begin : g_illegal
    $error("subrow_mac2: UBits + 2 * VBits + 1 must be at most 25 and UBits 1..18");
  end

  logic signed [ABits-1:0] a_q;
  logic signed [UBits-1:0] b_q;
  logic signed [PBits-1:0] m_q, p_q;

  always_ff @(posedge clk_i) begin
    if (ab_en_i) begin
      a_q <= $signed({v1_i, {Shift{1'b0}}}) + ABits'(v0_i);
      b_q <= w_i;
    end
    if (m_en_i) m_q <= PBits'(a_q) * PBits'(b_q);
    if (p_en_i) p_q <= m_q + (PBits'(1) <<< (Shift - 1));
  end

  assign p0_o = p_q[UBits+VBits-1:0];
  assign p1_o = p_q[Shift+:UBits+VBits];

  logic unused;
  assign unused = p_q[Shift-1];
endmodule
