// One product on one DSP48E1, p = w * v, for widths that subrow_mac2 cannot pack.
//
// Contract: latency 3 (operand, M and P register, each with its own enable). Every value of w and v is exact.
// Parameters: UBits 1..18, VBits 1..25.
// Cost: one DSP48E1.
module subrow_mac1 #(
  parameter int unsigned UBits = 12,
  parameter int unsigned VBits = 10
) (
  input  logic                          clk_i,
  input  logic                          ab_en_i,
  input  logic                          m_en_i,
  input  logic                          p_en_i,
  input  logic signed [      UBits-1:0] w_i,
  input  logic signed [      VBits-1:0] v_i,
  output logic signed [UBits+VBits-1:0] p_o
);
  localparam int unsigned PBits = UBits + VBits;

  if (UBits < 1 || UBits > 18 || VBits < 1 || VBits > 25) begin : g_illegal
    $error("subrow_mac1: UBits must be 1..18 and VBits 1..25");
  end

  logic signed [VBits-1:0] a_q;
  logic signed [UBits-1:0] b_q;
  logic signed [PBits-1:0] m_q, p_q;

  always_ff @(posedge clk_i) begin
    if (ab_en_i) begin
      a_q <= v_i;
      b_q <= w_i;
    end
    if (m_en_i) m_q <= PBits'(a_q) * PBits'(b_q);
    if (p_en_i) p_q <= m_q;
  end

  assign p_o = p_q;
endmodule
