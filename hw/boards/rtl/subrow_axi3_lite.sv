// An AXI3 port of a Zynq-7000 PS (M_AXI_GP) to the AXI4-Lite slave of the registers.
//
// Contract: any burst of the PS, beat by beat: a 32-bit access each, INCR and WRAP as INCR, FIXED at one address. One
//   read and one write burst at a time; IDs come back with the answers. The answer of a write burst is the worst of its
//   beats. valid never waits for ready.
// Cost: two state machines, two 12-bit addresses and IDs.
module subrow_axi3_lite (
    input  logic        clk_i,
    input  logic        rst_ni,
    input  logic        s_awvalid_i,
    output logic        s_awready_o,
    input  logic [11:0] s_awid_i,
    input  logic [11:0] s_awaddr_i,
    input  logic [ 3:0] s_awlen_i,
    input  logic [ 1:0] s_awburst_i,
    input  logic        s_wvalid_i,
    output logic        s_wready_o,
    input  logic [31:0] s_wdata_i,
    input  logic [ 3:0] s_wstrb_i,
    output logic        s_bvalid_o,
    input  logic        s_bready_i,
    output logic [11:0] s_bid_o,
    output logic [ 1:0] s_bresp_o,
    input  logic        s_arvalid_i,
    output logic        s_arready_o,
    input  logic [11:0] s_arid_i,
    input  logic [11:0] s_araddr_i,
    input  logic [ 3:0] s_arlen_i,
    input  logic [ 1:0] s_arburst_i,
    output logic        s_rvalid_o,
    input  logic        s_rready_i,
    output logic [11:0] s_rid_o,
    output logic [31:0] s_rdata_o,
    output logic [ 1:0] s_rresp_o,
    output logic        s_rlast_o,
    output logic        m_awvalid_o,
    input  logic        m_awready_i,
    output logic [11:0] m_awaddr_o,
    output logic        m_wvalid_o,
    input  logic        m_wready_i,
    output logic [31:0] m_wdata_o,
    output logic [ 3:0] m_wstrb_o,
    input  logic        m_bvalid_i,
    output logic        m_bready_o,
    input  logic [ 1:0] m_bresp_i,
    output logic        m_arvalid_o,
    input  logic        m_arready_i,
    output logic [11:0] m_araddr_o,
    input  logic        m_rvalid_i,
    output logic        m_rready_o,
    input  logic [31:0] m_rdata_i,
    input  logic [ 1:0] m_rresp_i
);

  // ---- writes: take the address, then for each beat: take the data, write, wait for the answer; then answer ---------
  typedef enum logic [1:0] {WIdle, WData, WWrite, WAnswer} wstate_e;
  wstate_e wstate_q;
  logic waddr_sent_q, wdata_sent_q, wfixed_q, wlast;
  logic [3:0] wleft_q;

  assign s_awready_o = wstate_q == WIdle;
  assign s_wready_o = wstate_q == WData;
  assign s_bvalid_o = wstate_q == WAnswer;
  assign m_awvalid_o = wstate_q == WWrite && !waddr_sent_q;
  assign m_wvalid_o = wstate_q == WWrite && !wdata_sent_q;
  assign m_bready_o = wstate_q == WWrite;
  assign wlast = wleft_q == '0;

  always_ff @(posedge clk_i) begin
    unique case (wstate_q)
      WIdle: begin
        if (s_awvalid_i) wstate_q <= WData;
        s_bid_o <= s_awid_i;
        s_bresp_o <= 2'b00;
        m_awaddr_o <= s_awaddr_i;
        wleft_q <= s_awlen_i;
        wfixed_q <= s_awburst_i == 2'b00;
      end
      WData: begin
        if (s_wvalid_i) wstate_q <= WWrite;
        m_wdata_o <= s_wdata_i;
        m_wstrb_o <= s_wstrb_i;
        waddr_sent_q <= 1'b0;
        wdata_sent_q <= 1'b0;
      end
      WWrite: begin
        if (m_awready_i) waddr_sent_q <= 1'b1;
        if (m_wready_i) wdata_sent_q <= 1'b1;
        if (m_bvalid_i) begin
          wstate_q <= wlast ? WAnswer : WData;
          if (m_bresp_i > s_bresp_o) s_bresp_o <= m_bresp_i;
          wleft_q <= wleft_q - 4'd1;
          if (!wfixed_q) m_awaddr_o <= m_awaddr_o + 12'd4;
        end
      end
      default: if (s_bready_i) wstate_q <= WIdle;
    endcase
    if (!rst_ni) wstate_q <= WIdle;
  end

  // ---- reads: take the address, then for each beat: read, pass the answer on -----------------------------------------
  typedef enum logic [1:0] {RIdle, RRead, RAnswer} rstate_e;
  rstate_e rstate_q;
  logic raddr_sent_q, rfixed_q;
  logic [3:0] rleft_q;

  assign s_arready_o = rstate_q == RIdle;
  assign s_rvalid_o = rstate_q == RAnswer;
  assign s_rlast_o = rleft_q == '0;
  assign m_arvalid_o = rstate_q == RRead && !raddr_sent_q;
  assign m_rready_o = rstate_q == RRead;

  always_ff @(posedge clk_i) begin
    unique case (rstate_q)
      RIdle: begin
        if (s_arvalid_i) rstate_q <= RRead;
        s_rid_o <= s_arid_i;
        m_araddr_o <= s_araddr_i;
        rleft_q <= s_arlen_i;
        rfixed_q <= s_arburst_i == 2'b00;
        raddr_sent_q <= 1'b0;
      end
      RRead: begin
        if (m_arready_i) raddr_sent_q <= 1'b1;
        if (m_rvalid_i) rstate_q <= RAnswer;
        s_rdata_o <= m_rdata_i;
        s_rresp_o <= m_rresp_i;
      end
      default:
      if (s_rready_i) begin
        rstate_q <= s_rlast_o ? RIdle : RRead;
        rleft_q <= rleft_q - 4'd1;
        raddr_sent_q <= 1'b0;
        if (!rfixed_q) m_araddr_o <= m_araddr_o + 12'd4;
      end
    endcase
    if (!rst_ni) rstate_q <= RIdle;
  end

endmodule
