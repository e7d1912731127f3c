// One of the four tap lanes of the array: Channels x Tiles multiply-accumulates, the hold register and its reader.
//
// Contract: a step's V words and weights stand at the inputs in the cycle of cap_en_i; the enables of the stages
// behind it follow one cycle after each other: ab_en_i, m_en_i, p_en_i, acc_en_i. p_first_i with p_en_i and acc_first_i
// with acc_en_i start sums from 0, acc_last_i with acc_en_i moves them to the hold register (which must be free).
// drain_en_i puts sums of word drain_nk_i (tile * Channels / SubRow + channel block) into m_o one cycle later. Sums wrap at AccBits; the compiler
// excludes it.
// Parameters: SubRow 4, 8, 16; Channels a multiple of SubRow; Tiles even.
// Cost: Channels * Tiles / 2 DSP48E1, each with a counter of AccBits - UBits - VBits - 1 bits (Channels * Tiles DSPs and
// no counters when two sums do not fit), Channels * Tiles * AccBits flip-flops with one reader, and a SubRow:1
// multiplexer of VBits per product.
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
  input  logic                                       p_first_i,
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

  localparam int unsigned Shift = UBits + VBits + 1;  // of subrow_mac2
  localparam bit Packed = Shift + VBits <= 25 && Shift + AccBits <= 48;
  localparam int unsigned BlockBits = $clog2(Blocks);

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
      logic signed [AccBits-1:0] sum0, sum1;
      if (Packed) begin : g_mac2
        subrow_mac2 #(
          .UBits  (UBits),
          .VBits  (VBits),
          .AccBits(AccBits)
        ) u_mac (
          .clk_i,
          .ab_en_i,
          .m_en_i,
          .p_en_i,
          .p_first_i,
          .acc_en_i,
          .acc_first_i,
          .w_i (w_q[k]),
          .v0_i(v_q[n][idx_q[k]]),
          .v1_i(v_q[n+1][idx_q[k]]),
          .lo_o(sum0),
          .hi_o(sum1)
        );
      end else begin : g_mac1
        subrow_mac1 #(
          .UBits  (UBits),
          .VBits  (VBits),
          .AccBits(AccBits)
        ) u_mac0 (
          .clk_i,
          .ab_en_i,
          .m_en_i,
          .p_en_i,
          .p_first_i,
          .w_i(w_q[k]),
          .v_i(v_q[n][idx_q[k]]),
          .p_o(sum0)
        );
        subrow_mac1 #(
          .UBits  (UBits),
          .VBits  (VBits),
          .AccBits(AccBits)
        ) u_mac1 (
          .clk_i,
          .ab_en_i,
          .m_en_i,
          .p_en_i,
          .p_first_i,
          .w_i(w_q[k]),
          .v_i(v_q[n+1][idx_q[k]]),
          .p_o(sum1)
        );
      end
      assign sum[n*Blocks+k/SubRow][k%SubRow] = sum0;
      assign sum[(n+1)*Blocks+k/SubRow][k%SubRow] = sum1;
    end
  end

  // A sum of an odd tile still holds what has spilled from its DSP's lower sum, that of the tile before.
  localparam int unsigned PairBits = Words > 2 ? $clog2(Words / 2) : 1;
  logic odd;
  logic [PairBits-1:0] pair;
  assign odd  = drain_nk_i[BlockBits];
  assign pair = PairBits'((drain_nk_i >> (BlockBits + 1) << BlockBits) | (drain_nk_i & NkBits'(Blocks - 1)));
  for (genvar l = 0; l < SubRow; l++) begin : g_drain
    logic signed [AccBits-1:0] spill[Words/2], minus;
    for (genvar i = 0; i < Words / 2; i++) begin : g_spill
      if (Packed) begin : g_packed
        assign spill[i] = hold_q[i/Blocks*2*Blocks+i%Blocks][l] >>> Shift;
      end else begin : g_single
        assign spill[i] = '0;
      end
    end
    assign minus = odd ? spill[pair] : '0;
    always_ff @(posedge clk_i) if (drain_en_i) m_o[l] <= hold_q[drain_nk_i][l] - minus;
  end
endmodule
