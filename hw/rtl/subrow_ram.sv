// Block RAM with one write port and one read port.
//
// Contract: `rdata_o` holds the word read at `raddr_i` from the cycle after `re_i` until the next read. A read of the
//   word that is written in the same cycle gives either value: there is no forwarding. Contents are not reset.
// Parameters: Width 1 and up, Depth 2 and up. Cost: RAMB36/18 by inference, one output latch.
module subrow_ram #(
    parameter int unsigned Width = 64,
    parameter int unsigned Depth = 1024
) (
    input  logic                     clk_i,
    input  logic                     we_i,
    input  logic [$clog2(Depth)-1:0] waddr_i,
    input  logic [        Width-1:0] wdata_i,
    input  logic                     re_i,
    input  logic [$clog2(Depth)-1:0] raddr_i,
    output logic [        Width-1:0] rdata_o
);

  if (Width < 1 || Depth < 2) begin : g_bad
    $error("subrow_ram: Width = %0d must be at least 1, Depth = %0d at least 2", Width, Depth);
  end

  logic [Width-1:0] mem[Depth];

  always_ff @(posedge clk_i) begin
    if (we_i) mem[waddr_i] <= wdata_i;
  end

  always_ff @(posedge clk_i) begin
    if (re_i) rdata_o <= mem[raddr_i];
  end

endmodule
