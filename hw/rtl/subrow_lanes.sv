// A beat of Lanes words into a buffer of Lanes ways: puts each word into the way that its place in the buffer picks.
//
// Contract: word i of a beat belongs to item item_i + i (modulo 2^ItemBits) of the buffer, and counts when en_i[i]. Item n
//   is in way n % Lanes, row n / Lanes. In the cycle after take_i, way w has its enable, row and word; all of one cycle
//   are different ways. Latency 1, a beat per cycle.
// Parameters: Lanes 1, 2, 4; ItemBits from log2(Lanes) + 1 on. Cost: a word multiplexer of Lanes inputs per way.
module subrow_lanes #(
    parameter int unsigned Lanes = 2,
    parameter int unsigned Width = 64,
    parameter int unsigned ItemBits = 10,
    localparam int unsigned LaneBits = $clog2(Lanes),
    localparam int unsigned RowBits = ItemBits - LaneBits
) (
    input  logic                              clk_i,
    input  logic                              rst_ni,
    input  logic                              take_i,
    input  logic [  Lanes-1:0]                en_i,
    input  logic [ItemBits-1:0]               item_i,
    input  logic [  Lanes-1:0][    Width-1:0] data_i,
    output logic [  Lanes-1:0]                we_o,
    output logic [  Lanes-1:0][  RowBits-1:0] row_o,
    output logic [  Lanes-1:0][    Width-1:0] data_o
);

  if (Lanes != 1 && Lanes != 2 && Lanes != 4) begin : g_bad_lanes
    $error("subrow_lanes: Lanes = %0d must be 1, 2 or 4", Lanes);
  end
  if (ItemBits <= LaneBits || Width < 1) begin : g_bad_bits
    $error("subrow_lanes: ItemBits = %0d must be over log2(Lanes), Width = %0d at least 1", ItemBits, Width);
  end

  if (Lanes == 1) begin : g_one
    always_ff @(posedge clk_i) begin
      we_o <= rst_ni && take_i && en_i[0];
      row_o <= item_i;
      data_o <= data_i;
    end
  end else begin : g_more
    for (genvar w = 0; w < Lanes; w++) begin : g_way
      logic [LaneBits-1:0] lane;
      assign lane = LaneBits'(w) - item_i[LaneBits-1:0];
      always_ff @(posedge clk_i) begin
        we_o[w] <= rst_ni && take_i && en_i[lane];
        row_o[w] <= RowBits'((item_i + ItemBits'(lane)) >> LaneBits);
        data_o[w] <= data_i[lane];
      end
    end
  end

endmodule
