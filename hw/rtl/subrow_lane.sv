// One of the four tap lanes of the array: Channels x Tiles multiply-accumulates, the hold register and its reader.
//
// Contract: a step's V words and weights stand at the inputs in the cycle of cap_en_i; the enables of the stages
// behind it follow one cycle after each other: ab_en_i, m_en_i, p_en_i, acc_en_i. acc_first_i starts sums from 0,
// acc_last_i moves them to the hold register (which must be free), both with acc_en_i. drain_en_i puts sums of word
// drain_nk_i (tile * Channels / SubRow + channel block) into m_o one cycle later. Sums wrap at AccBits; the compiler
// excludes it.
// Parameters: SubRow 4, 8, 16; Channels a multiple of SubRow; Tiles even.
// Cost: Channels * Tiles / 2 DSP48E1 (Channels * Tiles when two products do not fit), 2 * Channels * Tiles * AccBits
// flip-flops, and a SubRow:1 multiplexer of VBits per product.
module subrow_lane #(
  parameter  int unsigned Channels = 16,
  parameter  int unsigned Tiles    = 6,
  parameter  int unsigned SubRow   = 8,
  parameter  int unsigned UBits    = 8,
  parameter  int unsigned VBits    = 8,
  parameter  int unsigned AccBits  = 26,
  localparam int unsigned IdxBits  = $clog2(SubRow),
  localparam int unsigned Blocks   = Channels / SubRow,
  localparam int unsigned Words    = Tiles * Blocks,
  localparam int unsigned NkBits   = $clog2(Words)
) (
  input  logic                                       clk_i,
  input  logic                                       cap_en_i,
  input  logic                                       ab_en_i,
  input  logic                                       m_en_i,
  input  logic                                       p_en_i,
  input  logic                                       acc_en_i,
  input  logic                                       acc_first_i,
  input  logic                                       acc_last_i,
  input  logic [Tiles-1:0][SubRow-1:0][   VBits-1:0] v_i,
  input  logic            [Channels-1:0][ UBits-1:0] w_i,
  input  logic            [Channels-1:0][IdxBits-1:0] idx_i,
  input  logic                                       drain_en_i,
  input  logic [NkBits-1:0]                          drain_nk_i,
  output logic [SubRow-1:0][AccBits-1:0]             m_o
);
  if (Channels % SubRow != 0 || Tiles % 2 != 0 || Tiles < 2) begin : g_illegal
    $error("subrow_lane: Channels must be a multiple of SubRow, and Tiles even");
  end

  localparam int unsigned PBits = UBits + VBits;
  localparam bit Packed = UBits + 2 * VBits + 1 <= 25;

  logic signed [  VBits-1:0] v_q   [Tiles][SubRow];
  logic signed [  UBits-1:0] w_q   [Channels];
  logic        [IdxBits-1:0] idx_q [Channels];
  logic signed [AccBits-1:0] hold_q[Words][SubRow], sum[Words][SubRow];

  // Loops stand inside the conditions: a simulator then tests each once, not for every element.
  for (genvar n = 0; n < Tiles; n++) begin : g_v
    always_ff @(posedge clk_i) begin
      if (cap_en_i) for (int l = 0; l < int'(SubRow); l++) v_q[n][l] <= v_i[n][l];
    end
  end

  always_ff @(posedge clk_i) begin
    if (cap_en_i) begin
      for (int k = 0; k < int'(Channels); k++) begin
        w_q[k]   <= w_i[k];
        idx_q[k] <= idx_i[k];
      end
    end
    if (acc_en_i & acc_last_i) hold_q <= sum;
  end

  for (genvar k = 0; k < Channels; k++) begin : g_k
    for (genvar n = 0; n < Tiles; n += 2) begin : g_pair
      logic signed [PBits-1:0] p0, p1;
      if (Packed) begin : g_mac2
        subrow_mac2 #(
          .UBits(UBits),
          .VBits(VBits)
        ) u_mac (
          .clk_i,
          .ab_en_i,
          .m_en_i,
          .p_en_i,
          .w_i (w_q[k]),
          .v0_i(v_q[n][idx_q[k]]),
          .v1_i(v_q[n+1][idx_q[k]]),
          .p0_o(p0),
          .p1_o(p1)
        );
      end else begin : g_mac1
        subrow_mac1 #(
          .UBits(UBits),
          .VBits(VBits)
        ) u_mac0 (
          .clk_i,
          .ab_en_i,
          .m_en_i,
          .p_en_i,
          .w_i(w_q[k]),
          .v_i(v_q[n][idx_q[k]]),
          .p_o(p0)
        );
        subrow_mac1 #(
          .UBits(UBits),
          .VBits(VBits)
        ) u_mac1 (
          .clk_i,
          .ab_en_i,
          .m_en_i,
          .p_en_i,
          .w_i(w_q[k]),
          .v_i(v_q[n+1][idx_q[k]]),
          .p_o(p1)
        );
      end

      logic signed [AccBits-1:0] acc0_q, acc1_q, sum0, sum1;
      assign sum0 = (acc_first_i ? '0 : acc0_q) + AccBits'(p0);
      assign sum1 = (acc_first_i ? '0 : acc1_q) + AccBits'(p1);
      assign sum[n*Blocks+k/SubRow][k%SubRow] = sum0;
      assign sum[(n+1)*Blocks+k/SubRow][k%SubRow] = sum1;
      always_ff @(posedge clk_i) begin
        if (acc_en_i) begin
          acc0_q <= sum0;
          acc1_q <= sum1;
        end
      end
    end
  end

  for (genvar l = 0; l < SubRow; l++) begin : g_drain
    always_ff @(posedge clk_i) if (drain_en_i) m_o[l] <= hold_q[drain_nk_i][l];
  end
endmodule
