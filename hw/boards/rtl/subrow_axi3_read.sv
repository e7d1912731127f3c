// Read bursts of the engine on a 64-bit AXI3 port of a Zynq-7000 PS (S_AXI_HP).
//
// Contract: the engine's bursts (INCR, at most 16 beats, one ID, whole words, never across 128 bytes) leave as bursts of
//   64-bit beats with the same bytes; answers come back beat by beat, in order, with the response of the wide beat that
//   they stand in. Addresses have 32 bits on the PS side: the upper eight must be 0. No latency on either channel.
// Parameters: DataBytes 4 or 8; MaxOutstanding >= the engine's, a power of two.
// Cost: none for 8 bytes; a FIFO of MaxOutstanding x 5 bits and a multiplexer for 4.
module subrow_axi3_read #(
    parameter int unsigned DataBytes = 8,
    parameter int unsigned MaxOutstanding = 8
) (
    input  logic                   clk_i,
    input  logic                   rst_ni,
    input  logic                   s_arvalid_i,
    output logic                   s_arready_o,
    input  logic [           39:0] s_araddr_i,
    input  logic [            7:0] s_arlen_i,
    output logic                   s_rvalid_o,
    input  logic                   s_rready_i,
    output logic [8*DataBytes-1:0] s_rdata_o,
    output logic [            1:0] s_rresp_o,
    output logic                   s_rlast_o,
    output logic                   m_arvalid_o,
    input  logic                   m_arready_i,
    output logic [           31:0] m_araddr_o,
    output logic [            3:0] m_arlen_o,
    input  logic                   m_rvalid_i,
    output logic                   m_rready_o,
    input  logic [           63:0] m_rdata_i,
    input  logic [            1:0] m_rresp_i,
    input  logic                   m_rlast_i
);

  if (DataBytes != 4 && DataBytes != 8) begin : g_bad_width
    $error("subrow_axi3_read: DataBytes = %0d must be 4 or 8", DataBytes);
  end

  if (DataBytes == 8) begin : g_same
    assign m_arvalid_o = s_arvalid_i;
    assign s_arready_o = m_arready_i;
    assign m_araddr_o = s_araddr_i[31:0];
    assign m_arlen_o = s_arlen_i[3:0];
    assign s_rvalid_o = m_rvalid_i;
    assign m_rready_o = s_rready_i;
    assign s_rdata_o = m_rdata_i[8*DataBytes-1:0];
    assign s_rlast_o = m_rlast_i;
    logic unused;
    assign unused = ^{clk_i, rst_ni};
  end else begin : g_wider
    logic open_ready, burst_valid, burst_odd, first_q, half_q, half, last, take;
    logic [3:0] burst_len, left_q, left;

    // A burst is asked for only when its start and length have a place in the FIFO, which never closes by itself.
    assign m_arvalid_o = s_arvalid_i && open_ready;
    assign s_arready_o = m_arready_i && open_ready;
    assign m_araddr_o = {s_araddr_i[31:3], 3'b0};
    assign m_arlen_o = 4'((5'(s_arlen_i[3:0]) + 5'(s_araddr_i[2])) >> 1);

    subrow_fifo #(
        .Width(5),
        .Depth(MaxOutstanding)
    ) u_open (
        .clk_i,
        .rst_ni,
        .in_valid_i (s_arvalid_i && m_arready_i),
        .in_ready_o (open_ready),
        .in_data_i  ({s_araddr_i[2], s_arlen_i[3:0]}),
        .out_valid_o(burst_valid),
        .out_ready_i(take && last),
        .out_data_o ({burst_odd, burst_len})
    );

    assign half = first_q ? burst_odd : half_q;
    assign left = first_q ? burst_len : left_q;
    assign last = left == '0;
    assign take = s_rvalid_o && s_rready_i;
    assign s_rvalid_o = m_rvalid_i && burst_valid;
    assign s_rdata_o = half ? m_rdata_i[63-:8*DataBytes] : m_rdata_i[8*DataBytes-1:0];
    assign s_rlast_o = last;
    assign m_rready_o = take && (half || last);

    always_ff @(posedge clk_i) begin
      if (!rst_ni) first_q <= 1'b1;
      else if (take) first_q <= last;
      if (take) begin
        half_q <= !half;
        left_q <= left - 4'd1;
      end
    end
    logic unused;
    assign unused = m_rlast_i;
  end

  assign s_rresp_o = m_rresp_i;

  logic unused_addr;
  assign unused_addr = ^{s_araddr_i[39:32], s_araddr_i[2:0], s_arlen_i[7:4]};

endmodule
