// Small synchronous FIFO in distributed RAM.
//
// Contract: valid/ready on both sides, in order, latency 1; a full FIFO takes nothing, also while it is read.
// Parameters: Width 1 and up, Depth a power of two from 2. Cost: Depth x Width LUT RAM, two counters.
module subrow_fifo #(
    parameter int unsigned Width = 8,
    parameter int unsigned Depth = 4
) (
    input  logic             clk_i,
    input  logic             rst_ni,
    input  logic             in_valid_i,
    output logic             in_ready_o,
    input  logic [Width-1:0] in_data_i,
    output logic             out_valid_o,
    input  logic             out_ready_i,
    output logic [Width-1:0] out_data_o
);

  localparam int unsigned AddrBits = $clog2(Depth);

  if (Width < 1 || Depth < 2 || (Depth & (Depth - 1)) != 0) begin : g_bad
    $error("subrow_fifo: Width = %0d must be at least 1, Depth = %0d a power of two from 2", Width, Depth);
  end

  logic [Width-1:0] mem[Depth];
  logic [AddrBits:0] wptr_q, rptr_q;

  assign in_ready_o  = wptr_q != {!rptr_q[AddrBits], rptr_q[AddrBits-1:0]};
  assign out_valid_o = wptr_q != rptr_q;
  assign out_data_o  = mem[rptr_q[AddrBits-1:0]];

  always_ff @(posedge clk_i) begin
    if (in_valid_i && in_ready_o) mem[wptr_q[AddrBits-1:0]] <= in_data_i;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      wptr_q <= '0;
      rptr_q <= '0;
    end else begin
      if (in_valid_i && in_ready_o) wptr_q <= wptr_q + 1'b1;
      if (out_valid_o && out_ready_i) rptr_q <= rptr_q + 1'b1;
    end
  end

endmodule
