// Buffer that is written beat by beat and read word by word: a subrow_ram for each way.
//
// Contract: bits WayLsb + log2(Ways) - 1..WayLsb of a word's address are its way. Way w is written at waddr_i[w], whose way
//   is w, with we_i[w]. Reading as of subrow_ram: latency 1, the word stays until the next read.
// Parameters: Ways 1, 2, 4; WayLsb 0..log2(Depth / Ways) - 1; Depth a power of two, from 2 * Ways on.
// Cost: Ways memories of Depth / Ways words, a word multiplexer of Ways inputs.
module subrow_ram_fill #(
    parameter int unsigned Width = 64,
    parameter int unsigned Depth = 1024,
    parameter int unsigned Ways = 1,
    parameter int unsigned WayLsb = 0,
    localparam int unsigned AddrBits = $clog2(Depth)
) (
    input  logic                           clk_i,
    input  logic [Ways-1:0]                we_i,
    input  logic [Ways-1:0][AddrBits-1:0]  waddr_i,
    input  logic [Ways-1:0][   Width-1:0]  wdata_i,
    input  logic                           re_i,
    input  logic [AddrBits-1:0]            raddr_i,
    output logic [   Width-1:0]            rdata_o
);

  if (Ways != 1 && Ways != 2 && Ways != 4) begin : g_bad_ways
    $error("subrow_ram_fill: Ways = %0d must be 1, 2 or 4", Ways);
  end

  if (Ways == 1) begin : g_one
    subrow_ram #(.Width(Width), .Depth(Depth)) u_ram (
        .clk_i, .we_i(we_i[0]), .waddr_i(waddr_i[0]), .wdata_i(wdata_i[0]), .re_i, .raddr_i, .rdata_o
    );
  end else begin : g_more
    localparam int unsigned WayBits = $clog2(Ways);
    localparam int unsigned RowBits = AddrBits - WayBits;
    localparam int unsigned Low = (1 << WayLsb) - 1;  // mask of the bits below the way
    logic [Ways-1:0][Width-1:0] rdata;
    logic [WayBits-1:0] way_q;

    function automatic logic [RowBits-1:0] row(input logic [AddrBits-1:0] addr);
      return RowBits'(addr >> WayBits) & RowBits'(~Low) | RowBits'(addr) & RowBits'(Low);
    endfunction

    for (genvar w = 0; w < Ways; w++) begin : g_way
      subrow_ram #(.Width(Width), .Depth(Depth / Ways)) u_ram (
          .clk_i, .we_i(we_i[w]), .waddr_i(row(waddr_i[w])), .wdata_i(wdata_i[w]), .re_i, .raddr_i(row(raddr_i)),
          .rdata_o(rdata[w])
      );
    end
    always_ff @(posedge clk_i) if (re_i) way_q <= raddr_i[WayLsb+:WayBits];
    assign rdata_o = rdata[way_q];
  end

endmodule
