// One reader on several memory ports: bursts go to the ports in turn, their words come back in the order of asking.
//
// Contract: read bursts of one ID, at most BurstBeats words. Burst i goes to port i % Ports; each port answers in order.
//   A FIFO of two bursts behind each port lets all of them fetch while one is read. Neither channel adds a word or takes
//   one away; valid never waits for ready.
// Parameters: Ports 2, 4; DataBytes 4..64, BurstBeats 4, 8, 16, powers of two.
// Cost: Ports x 2 x BurstBeats words of LUT RAM, a multiplexer of words, two counters.
module subrow_spread #(
    parameter int unsigned Ports = 2,
    parameter int unsigned DataBytes = 16,
    parameter int unsigned BurstBeats = 16
) (
    input  logic                          clk_i,
    input  logic                          rst_ni,
    input  logic                          s_arvalid_i,
    output logic                          s_arready_o,
    output logic                          s_rvalid_o,
    input  logic                          s_rready_i,
    output logic [       8*DataBytes-1:0] s_rdata_o,
    output logic [                   1:0] s_rresp_o,
    output logic                          s_rlast_o,
    output logic [             Ports-1:0] m_arvalid_o,
    input  logic [             Ports-1:0] m_arready_i,
    input  logic [             Ports-1:0] m_rvalid_i,
    output logic [             Ports-1:0] m_rready_o,
    input  logic [Ports*8*DataBytes-1:0]  m_rdata_i,
    input  logic [           2*Ports-1:0] m_rresp_i,
    input  logic [             Ports-1:0] m_rlast_i
);

  localparam int unsigned PortBits = $clog2(Ports);
  localparam int unsigned Width = 8 * DataBytes + 3;

  if (Ports != 2 && Ports != 4) begin : g_bad_ports
    $error("subrow_spread: Ports = %0d must be 2 or 4", Ports);
  end

  logic [PortBits-1:0] ask_q, answer_q;
  logic [Ports-1:0] valid;
  logic [Ports-1:0][Width-1:0] word;
  logic ask, take;

  assign ask = s_arvalid_i && s_arready_o;
  assign take = s_rvalid_o && s_rready_i;
  assign s_arready_o = m_arready_i[ask_q];
  assign s_rvalid_o = valid[answer_q];
  assign {s_rlast_o, s_rresp_o, s_rdata_o} = word[answer_q];

  for (genvar p = 0; p < Ports; p++) begin : g_port
    assign m_arvalid_o[p] = s_arvalid_i && ask_q == PortBits'(p);

    subrow_fifo #(
        .Width(Width),
        .Depth(2 * BurstBeats)
    ) u_words (
        .clk_i,
        .rst_ni,
        .in_valid_i (m_rvalid_i[p]),
        .in_ready_o (m_rready_o[p]),
        .in_data_i  ({m_rlast_i[p], m_rresp_i[2*p+:2], m_rdata_i[8*DataBytes*p+:8*DataBytes]}),
        .out_valid_o(valid[p]),
        .out_ready_i(s_rready_i && answer_q == PortBits'(p)),
        .out_data_o (word[p])
    );
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      ask_q <= '0;
      answer_q <= '0;
    end else begin
      if (ask) ask_q <= ask_q + PortBits'(1);
      if (take && s_rlast_o) answer_q <= answer_q + PortBits'(1);
    end
  end

endmodule
