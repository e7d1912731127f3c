// Write bursts of the engine on a 64-bit AXI3 port of a Zynq-7000 PS (S_AXI_HP).
//
// Contract: the engine's bursts (INCR, at most 16 beats, one ID, whole words, never across 128 bytes) leave as bursts of
//   64-bit beats; bytes outside the burst have strobe 0. Data waits for its address. Addresses have 32 bits on the PS
//   side: the upper eight must be 0. No latency on a channel but half a wide beat.
// Parameters: DataBytes 4 or 8; MaxOutstanding >= the engine's, a power of two.
// Cost: none for 8 bytes; a FIFO of MaxOutstanding x 1 bit and a word of data for 4.
module subrow_axi3_write #(
    parameter int unsigned DataBytes = 8,
    parameter int unsigned MaxOutstanding = 8
) (
    input  logic                   clk_i,
    input  logic                   rst_ni,
    input  logic                   s_awvalid_i,
    output logic                   s_awready_o,
    input  logic [           39:0] s_awaddr_i,
    input  logic [            7:0] s_awlen_i,
    input  logic                   s_wvalid_i,
    output logic                   s_wready_o,
    input  logic [8*DataBytes-1:0] s_wdata_i,
    input  logic [  DataBytes-1:0] s_wstrb_i,
    input  logic                   s_wlast_i,
    output logic                   m_awvalid_o,
    input  logic                   m_awready_i,
    output logic [           31:0] m_awaddr_o,
    output logic [            3:0] m_awlen_o,
    output logic                   m_wvalid_o,
    input  logic                   m_wready_i,
    output logic [           63:0] m_wdata_o,
    output logic [            7:0] m_wstrb_o,
    output logic                   m_wlast_o
);

  if (DataBytes != 4 && DataBytes != 8) begin : g_bad_width
    $error("subrow_axi3_write: DataBytes = %0d must be 4 or 8", DataBytes);
  end

  if (DataBytes == 8) begin : g_same
    assign m_awvalid_o = s_awvalid_i;
    assign s_awready_o = m_awready_i;
    assign m_awaddr_o = s_awaddr_i[31:0];
    assign m_awlen_o = s_awlen_i[3:0];
    assign m_wvalid_o = s_wvalid_i;
    assign s_wready_o = m_wready_i;
    assign m_wdata_o = 64'(s_wdata_i);
    assign m_wstrb_o = 8'(s_wstrb_i);
    logic unused;
    assign unused = ^{clk_i, rst_ni};
  end else begin : g_wider
    logic open_ready, burst_valid, burst_odd, first_q, half_q, half, take, whole;
    logic [31:0] low_q;
    logic [ 3:0] low_strb_q;

    assign m_awvalid_o = s_awvalid_i && open_ready;
    assign s_awready_o = m_awready_i && open_ready;
    assign m_awaddr_o = {s_awaddr_i[31:3], 3'b0};
    assign m_awlen_o = 4'((5'(s_awlen_i[3:0]) + 5'(s_awaddr_i[2])) >> 1);

    subrow_fifo #(
        .Width(1),
        .Depth(MaxOutstanding)
    ) u_open (
        .clk_i,
        .rst_ni,
        .in_valid_i (s_awvalid_i && m_awready_i),
        .in_ready_o (open_ready),
        .in_data_i  (s_awaddr_i[2]),
        .out_valid_o(burst_valid),
        .out_ready_i(take && s_wlast_i),
        .out_data_o (burst_odd)
    );

    // The low half of a wide beat waits for the high one, unless the burst ends with it.
    assign half = first_q ? burst_odd : half_q;
    assign whole = half || s_wlast_i;
    assign take = s_wvalid_i && s_wready_o;
    assign s_wready_o = burst_valid && (!whole || m_wready_i);
    assign m_wvalid_o = s_wvalid_i && burst_valid && whole;
    assign m_wdata_o = half ? {32'(s_wdata_i), low_q} : 64'(s_wdata_i);
    assign m_wstrb_o = half ? {4'(s_wstrb_i), first_q ? 4'b0 : low_strb_q} : 8'(s_wstrb_i);

    always_ff @(posedge clk_i) begin
      if (!rst_ni) first_q <= 1'b1;
      else if (take) first_q <= s_wlast_i;
      if (take) begin
        half_q <= !half;
        low_q <= 32'(s_wdata_i);
        low_strb_q <= 4'(s_wstrb_i);
      end
    end
  end

  assign m_wlast_o = s_wlast_i;

  logic unused_addr;
  assign unused_addr = ^{s_awaddr_i[39:32], s_awaddr_i[2:0], s_awlen_i[7:4]};

endmodule
