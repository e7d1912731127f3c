// Lets two requesters, a and b, share one read engine.
//
// Contract: requests pass in turn (each has at most one request of the other before its own) through one register; the
//   words come back in request order and go to the requester that asked, without a gap between requests. A requester
//   that does not take its words blocks the other one. At most Depth requests are open.
// Parameters: DataBytes 4..64; Depth a power of two from 2. Cost: one request register, Depth x 17 bits.
module subrow_arb2 #(
    parameter int unsigned DataBytes = 8,
    parameter int unsigned Depth = 16
) (
    input  logic                   clk_i,
    input  logic                   rst_ni,
    input  logic                   a_req_valid_i,
    output logic                   a_req_ready_o,
    input  logic [           39:0] a_req_addr_i,
    input  logic [           15:0] a_req_beats_i,
    output logic                   a_rd_valid_o,
    input  logic                   a_rd_ready_i,
    output logic [8*DataBytes-1:0] a_rd_data_o,
    input  logic                   b_req_valid_i,
    output logic                   b_req_ready_o,
    input  logic [           39:0] b_req_addr_i,
    input  logic [           15:0] b_req_beats_i,
    output logic                   b_rd_valid_o,
    input  logic                   b_rd_ready_i,
    output logic [8*DataBytes-1:0] b_rd_data_o,
    output logic                   req_valid_o,
    input  logic                   req_ready_i,
    output logic [           39:0] req_addr_o,
    output logic [           15:0] req_beats_o,
    input  logic                   rd_valid_i,
    output logic                   rd_ready_o,
    input  logic [8*DataBytes-1:0] rd_data_i
);

  if (DataBytes < 4 || DataBytes > 64) begin : g_bad
    $error("subrow_arb2: DataBytes = %0d must be 4..64", DataBytes);
  end

  logic req_valid_q, last_b_q, pick_b, take, space, order_ready;
  logic [39:0] req_addr_q;
  logic [15:0] req_beats_q, served_q;
  logic front_valid, front_b, front_last;
  logic [15:0] front_beats, beats;

  assign pick_b = b_req_valid_i && !(a_req_valid_i && last_b_q);
  assign space = !req_valid_q || req_ready_i;
  assign take = (a_req_valid_i || b_req_valid_i) && space && order_ready;
  assign beats = pick_b ? b_req_beats_i : a_req_beats_i;
  assign a_req_ready_o = space && order_ready && !pick_b;
  assign b_req_ready_o = space && order_ready && pick_b;
  assign req_valid_o = req_valid_q;
  assign req_addr_o = req_addr_q;
  assign req_beats_o = req_beats_q;

  subrow_fifo #(
      .Width(17),
      .Depth(Depth)
  ) u_order (
      .clk_i,
      .rst_ni,
      .in_valid_i (take),
      .in_ready_o (order_ready),
      .in_data_i  ({pick_b, beats}),
      .out_valid_o(front_valid),
      .out_ready_i(rd_valid_i && rd_ready_o && front_last),
      .out_data_o ({front_b, front_beats})
  );

  assign front_last   = served_q + 16'd1 == front_beats;
  assign a_rd_valid_o = rd_valid_i && front_valid && !front_b;
  assign b_rd_valid_o = rd_valid_i && front_valid && front_b;
  assign a_rd_data_o  = rd_data_i;
  assign b_rd_data_o  = rd_data_i;
  assign rd_ready_o   = front_valid && (front_b ? b_rd_ready_i : a_rd_ready_i);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      req_valid_q <= 1'b0;
      last_b_q <= 1'b0;
      served_q <= '0;
    end else begin
      if (take) req_valid_q <= 1'b1;
      else if (req_ready_i) req_valid_q <= 1'b0;
      if (take) last_b_q <= pick_b;
      if (rd_valid_i && rd_ready_o) served_q <= front_last ? 16'd0 : served_q + 16'd1;
    end
    if (take) begin
      req_addr_q  <= pick_b ? b_req_addr_i : a_req_addr_i;
      req_beats_q <= beats;
    end
  end

endmodule
