// One sum of products on one DSP48E1, for widths that subrow_mac2 cannot pack.
//
// Contract: operand, M and P register one after the other, each with its own enable. p_o holds the sum of w * v from
// the cycle after p_en_i; p_first_i, with p_en_i, starts from 0. Every value of w and v is exact; sums wrap at AccBits.
// Parameters: UBits 1..18, VBits 1..25, AccBits UBits + VBits..48.
// Cost: one DSP48E1.
module subrow_mac1 #(
  parameter int unsigned UBits   = 12,
  parameter int unsigned VBits   = 10,
  parameter int unsigned AccBits = 32
) (
  input  logic                      clk_i,
  input  logic                      ab_en_i,
  input  logic                      m_en_i,
  input  logic                      p_en_i,
  input  logic                      p_first_i,
  input  logic signed [  UBits-1:0] w_i,
  input  logic signed [  VBits-1:0] v_i,
  output logic signed [AccBits-1:0] p_o
);
  localparam int unsigned MBits = UBits + VBits;

  if (UBits < 1 || UBits > 18 || VBits < 1 || VBits > 25) begin : g_illegal
    $error("subrow_mac1: UBits must be 1..18 and VBits 1..25");
  end
  if (AccBits < MBits || AccBits > 48) begin : g_illegal_acc
    $error("subrow_mac1: AccBits must be UBits + VBits..48");
  end

  logic signed [VBits-1:0] a_q;
  logic signed [UBits-1:0] b_q;
  logic signed [MBits-1:0] m_q;
  logic signed [AccBits-1:0] p_q;

  always_ff @(posedge clk_i) begin
    if (ab_en_i) begin
      a_q <= v_i;
      b_q <= w_i;
    end
    if (m_en_i) m_q <= MBits'(a_q) * MBits'(b_q);
    if (p_en_i) p_q <= (p_first_i ? '0 : p_q) + AccBits'(m_q);
  end

  assign p_o = p_q;
endmodule
