// Buffer that is written word by word and read beat by beat: a subrow_ram for each way.
//
// Contract: bits WayLsb + log2(Ways) - 1..WayLsb of a word's address are its way. Way w is read at raddr_i[w], whose way is
//   w; all ways are read at once. Latency 1, the words stay until the next read.
// Parameters: Ways 1, 2, 4; WayLsb 0..log2(Depth / Ways) - 1; Depth a power of two, from 2 * Ways on.
// Cost: Ways memories of Depth / Ways words.
module subrow_ram_drain #(
    parameter int unsigned Width = 64,
    parameter int unsigned Depth = 1024,
    parameter int unsigned Ways = 1,
    parameter int unsigned WayLsb = 0,
    localparam int unsigned AddrBits = $clog2(Depth)
) (
    input  logic                           clk_i,
    input  logic                           we_i,
    input  logic [AddrBits-1:0]            waddr_i,
    input  logic [   Width-1:0]            wdata_i,
    input  logic                           re_i,
    input  logic [Ways-1:0][AddrBits-1:0]  raddr_i,
    output logic [Ways-1:0][   Width-1:0]  rdata_o
);

  if (Ways != 1 && Ways != 2 && Ways != 4) begin : g_bad_ways
    $error("subrow_ram_drain: Ways = %0d must be 1, 2 or 4", Ways);
  end

  if (Ways == 1) begin : g_one
    subrow_ram #(.Width(Width), .Depth(Depth)) u_ram (
        .clk_i, .we_i, .waddr_i, .wdata_i, .re_i, .raddr_i(raddr_i[0]), .rdata_o(rdata_o[0])
    );
  end else begin : g_more
    localparam int unsigned WayBits = $clog2(Ways);
    localparam int unsigned RowBits = AddrBits - WayBits;
    localparam int unsigned Low = (1 << WayLsb) - 1;  // mask of the bits below the way

    function automatic logic [RowBits-1:0] row(input logic [AddrBits-1:0] addr);
      return RowBits'(addr >> WayBits) & RowBits'(~Low) | RowBits'(addr) & RowBits'(Low);
    endfunction

    for (genvar w = 0; w < Ways; w++) begin : g_way
      subrow_ram #(.Width(Width), .Depth(Depth / Ways)) u_ram (
          .clk_i, .we_i(we_i && waddr_i[WayLsb+:WayBits] == WayBits'(w)), .waddr_i(row(waddr_i)), .wdata_i, .re_i,
          .raddr_i(row(raddr_i[w])), .rdata_o(rdata_o[w])
      );
    end
  end

endmodule
