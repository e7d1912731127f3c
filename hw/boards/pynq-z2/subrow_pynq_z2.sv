// Top of the PYNQ-Z2 bitstream that is made without vendor tools: the PS, the engine, a clock and its reset.
//
// Contract: FCLK0 of the PS is the only clock. GP0 has the registers at any address of its window; HP0 and HP1 see the
//   PS's memory; IRQF2P[0] (interrupt 61) is the engine's. Every other input of the PS is 0. No pads.
// Parameters: those of subrow_zynq7.
module subrow_pynq_z2 #(
    parameter int unsigned Channels = 8,
    parameter int unsigned Tiles = 2,
    parameter int unsigned SubRow = 8,
    parameter int unsigned UBits = 8,
    parameter int unsigned VBits = 8,
    parameter int unsigned AccBits = 26,
    parameter int unsigned YBits = 36,
    parameter int unsigned NarrowU = 1,
    parameter int unsigned ActWords = 1024,
    parameter int unsigned VWords = 1024,
    parameter int unsigned WeightWords = 1024,
    parameter int unsigned ParamGroups = 32,
    parameter int unsigned OutWords = 1024,
    parameter int unsigned WeightBytes = 8,
    parameter int unsigned BurstBeats = 16,
    parameter int unsigned PortWords = 1,
    parameter int unsigned ConfigHash = 0
);

  logic gp_awvalid, gp_awready, gp_wvalid, gp_wready, gp_bvalid, gp_bready, gp_arvalid, gp_arready, gp_rvalid,
  gp_rready, gp_rlast, hp0_arvalid, hp0_arready, hp0_rvalid, hp0_rready, hp0_rlast, hp0_awvalid, hp0_awready,
  hp0_wvalid, hp0_wready, hp0_wlast, hp0_bvalid, hp0_bready, hp1_arvalid, hp1_arready, hp1_rvalid, hp1_rready,
  hp1_rlast;
  logic [1:0] gp_awburst, gp_bresp, gp_arburst, gp_rresp, hp0_rresp, hp0_bresp, hp1_rresp;
  logic [3:0] gp_awlen, gp_wstrb, gp_arlen, hp0_arlen, hp0_awlen, hp1_arlen;
  logic [7:0] hp0_wstrb;
  logic [11:0] gp_awid, gp_bid, gp_arid, gp_rid;
  logic [31:0] gp_awaddr, gp_wdata, gp_araddr, gp_rdata, hp0_araddr, hp0_awaddr, hp1_araddr;
  logic [63:0] hp0_rdata, hp0_wdata, hp1_rdata;
  logic [3:0] fclk, fclk_resetn;
  logic clk, irq;
  logic [3:0] rst_n_q;
  logic unused;
  assign unused = ^{gp_awaddr[31:12], gp_araddr[31:12], fclk[3:1], fclk_resetn[3:1]};

  BUFG u_clock (
      .I(fclk[0]),
      .O(clk)
  );

  // The PS releases FCLKRESETN at any time; four registers bring the release to the clock and past its metastable edge.
  always_ff @(posedge clk) rst_n_q <= {rst_n_q[2:0], fclk_resetn[0]};

  subrow_zynq7 #(
      .Channels(Channels), .Tiles(Tiles), .SubRow(SubRow), .UBits(UBits), .VBits(VBits), .AccBits(AccBits),
      .YBits(YBits), .NarrowU(NarrowU), .ActWords(ActWords), .VWords(VWords), .WeightWords(WeightWords),
      .ParamGroups(ParamGroups), .OutWords(OutWords), .WeightBytes(WeightBytes), .BurstBeats(BurstBeats),
      .PortWords(PortWords),
      .ConfigHash(ConfigHash)
  ) u_zynq7 (
      .clk_i(clk),
      .rst_ni(rst_n_q[3]),
      .irq_o(irq),
      .gp_awvalid_i(gp_awvalid), .gp_awready_o(gp_awready), .gp_awid_i(gp_awid), .gp_awaddr_i(gp_awaddr[11:0]),
      .gp_awlen_i(gp_awlen), .gp_awburst_i(gp_awburst), .gp_wvalid_i(gp_wvalid), .gp_wready_o(gp_wready),
      .gp_wdata_i(gp_wdata), .gp_wstrb_i(gp_wstrb), .gp_bvalid_o(gp_bvalid), .gp_bready_i(gp_bready),
      .gp_bid_o(gp_bid), .gp_bresp_o(gp_bresp), .gp_arvalid_i(gp_arvalid), .gp_arready_o(gp_arready),
      .gp_arid_i(gp_arid), .gp_araddr_i(gp_araddr[11:0]), .gp_arlen_i(gp_arlen), .gp_arburst_i(gp_arburst),
      .gp_rvalid_o(gp_rvalid), .gp_rready_i(gp_rready), .gp_rid_o(gp_rid), .gp_rdata_o(gp_rdata),
      .gp_rresp_o(gp_rresp), .gp_rlast_o(gp_rlast), .hp0_arvalid_o(hp0_arvalid), .hp0_arready_i(hp0_arready),
      .hp0_araddr_o(hp0_araddr), .hp0_arlen_o(hp0_arlen), .hp0_rvalid_i(hp0_rvalid), .hp0_rready_o(hp0_rready),
      .hp0_rdata_i(hp0_rdata), .hp0_rresp_i(hp0_rresp), .hp0_rlast_i(hp0_rlast), .hp0_awvalid_o(hp0_awvalid),
      .hp0_awready_i(hp0_awready), .hp0_awaddr_o(hp0_awaddr), .hp0_awlen_o(hp0_awlen),
      .hp0_wvalid_o(hp0_wvalid), .hp0_wready_i(hp0_wready), .hp0_wdata_o(hp0_wdata), .hp0_wstrb_o(hp0_wstrb),
      .hp0_wlast_o(hp0_wlast), .hp0_bvalid_i(hp0_bvalid), .hp0_bready_o(hp0_bready), .hp0_bresp_i(hp0_bresp),
      .hp1_arvalid_o(hp1_arvalid), .hp1_arready_i(hp1_arready), .hp1_araddr_o(hp1_araddr),
      .hp1_arlen_o(hp1_arlen), .hp1_rvalid_i(hp1_rvalid), .hp1_rready_o(hp1_rready), .hp1_rdata_i(hp1_rdata),
      .hp1_rresp_i(hp1_rresp), .hp1_rlast_i(hp1_rlast)
  );

  (* keep *)
  PS7 u_ps7 (
      .MAXIGP0ACLK(clk), .SAXIHP0ACLK(clk), .SAXIHP1ACLK(clk), .MAXIGP0AWVALID(gp_awvalid),
      .MAXIGP0AWREADY(gp_awready), .MAXIGP0AWID(gp_awid), .MAXIGP0AWADDR(gp_awaddr), .MAXIGP0AWLEN(gp_awlen),
      .MAXIGP0AWBURST(gp_awburst), .MAXIGP0WVALID(gp_wvalid), .MAXIGP0WREADY(gp_wready),
      .MAXIGP0WDATA(gp_wdata), .MAXIGP0WSTRB(gp_wstrb), .MAXIGP0BVALID(gp_bvalid), .MAXIGP0BREADY(gp_bready),
      .MAXIGP0BID(gp_bid), .MAXIGP0BRESP(gp_bresp), .MAXIGP0ARVALID(gp_arvalid), .MAXIGP0ARREADY(gp_arready),
      .MAXIGP0ARID(gp_arid), .MAXIGP0ARADDR(gp_araddr), .MAXIGP0ARLEN(gp_arlen), .MAXIGP0ARBURST(gp_arburst),
      .MAXIGP0RVALID(gp_rvalid), .MAXIGP0RREADY(gp_rready), .MAXIGP0RID(gp_rid), .MAXIGP0RDATA(gp_rdata),
      .MAXIGP0RRESP(gp_rresp), .MAXIGP0RLAST(gp_rlast), .SAXIHP0ARVALID(hp0_arvalid),
      .SAXIHP0ARREADY(hp0_arready), .SAXIHP0ARADDR(hp0_araddr), .SAXIHP0ARLEN(hp0_arlen),
      .SAXIHP0RVALID(hp0_rvalid), .SAXIHP0RREADY(hp0_rready), .SAXIHP0RDATA(hp0_rdata),
      .SAXIHP0RRESP(hp0_rresp), .SAXIHP0RLAST(hp0_rlast), .SAXIHP0AWVALID(hp0_awvalid),
      .SAXIHP0AWREADY(hp0_awready), .SAXIHP0AWADDR(hp0_awaddr), .SAXIHP0AWLEN(hp0_awlen),
      .SAXIHP0WVALID(hp0_wvalid), .SAXIHP0WREADY(hp0_wready), .SAXIHP0WDATA(hp0_wdata),
      .SAXIHP0WSTRB(hp0_wstrb), .SAXIHP0WLAST(hp0_wlast), .SAXIHP0BVALID(hp0_bvalid),
      .SAXIHP0BREADY(hp0_bready), .SAXIHP0BRESP(hp0_bresp), .SAXIHP1ARVALID(hp1_arvalid),
      .SAXIHP1ARREADY(hp1_arready), .SAXIHP1ARADDR(hp1_araddr), .SAXIHP1ARLEN(hp1_arlen),
      .SAXIHP1RVALID(hp1_rvalid), .SAXIHP1RREADY(hp1_rready), .SAXIHP1RDATA(hp1_rdata),
      .SAXIHP1RRESP(hp1_rresp), .SAXIHP1RLAST(hp1_rlast), .SAXIHP0ARSIZE(2'b11), .SAXIHP0ARBURST(2'b01),
      .SAXIHP0ARCACHE(4'b0011), .SAXIHP0AWSIZE(2'b11), .SAXIHP0AWBURST(2'b01), .SAXIHP0AWCACHE(4'b0011),
      .SAXIHP1ARSIZE(2'b11), .SAXIHP1ARBURST(2'b01), .SAXIHP1ARCACHE(4'b0011), .FCLKCLK(fclk),
      .FCLKRESETN(fclk_resetn), .IRQF2P({19'b0, irq}), .FPGAIDLEN(1'b0),

      // the rest of the PS is not used
      .DDRARB('0), .DMA0ACLK('0), .DMA0DAREADY('0), .DMA0DRLAST('0), .DMA0DRTYPE('0), .DMA0DRVALID('0),
      .DMA1ACLK('0), .DMA1DAREADY('0), .DMA1DRLAST('0), .DMA1DRTYPE('0), .DMA1DRVALID('0), .DMA2ACLK('0),
      .DMA2DAREADY('0), .DMA2DRLAST('0), .DMA2DRTYPE('0), .DMA2DRVALID('0), .DMA3ACLK('0), .DMA3DAREADY('0),
      .DMA3DRLAST('0), .DMA3DRTYPE('0), .DMA3DRVALID('0), .EMIOCAN0PHYRX('0), .EMIOCAN1PHYRX('0),
      .EMIOENET0EXTINTIN('0), .EMIOENET0GMIICOL('0), .EMIOENET0GMIICRS('0), .EMIOENET0GMIIRXCLK('0),
      .EMIOENET0GMIIRXD('0), .EMIOENET0GMIIRXDV('0), .EMIOENET0GMIIRXER('0), .EMIOENET0GMIITXCLK('0),
      .EMIOENET0MDIOI('0), .EMIOENET1EXTINTIN('0), .EMIOENET1GMIICOL('0), .EMIOENET1GMIICRS('0),
      .EMIOENET1GMIIRXCLK('0), .EMIOENET1GMIIRXD('0), .EMIOENET1GMIIRXDV('0), .EMIOENET1GMIIRXER('0),
      .EMIOENET1GMIITXCLK('0), .EMIOENET1MDIOI('0), .EMIOGPIOI('0), .EMIOI2C0SCLI('0), .EMIOI2C0SDAI('0),
      .EMIOI2C1SCLI('0), .EMIOI2C1SDAI('0), .EMIOPJTAGTCK('0), .EMIOPJTAGTDI('0), .EMIOPJTAGTMS('0),
      .EMIOSDIO0CDN('0), .EMIOSDIO0CLKFB('0), .EMIOSDIO0CMDI('0), .EMIOSDIO0DATAI('0), .EMIOSDIO0WP('0),
      .EMIOSDIO1CDN('0), .EMIOSDIO1CLKFB('0), .EMIOSDIO1CMDI('0), .EMIOSDIO1DATAI('0), .EMIOSDIO1WP('0),
      .EMIOSPI0MI('0), .EMIOSPI0SCLKI('0), .EMIOSPI0SI('0), .EMIOSPI0SSIN('0), .EMIOSPI1MI('0),
      .EMIOSPI1SCLKI('0), .EMIOSPI1SI('0), .EMIOSPI1SSIN('0), .EMIOSRAMINTIN('0), .EMIOTRACECLK('0),
      .EMIOTTC0CLKI('0), .EMIOTTC1CLKI('0), .EMIOUART0CTSN('0), .EMIOUART0DCDN('0), .EMIOUART0DSRN('0),
      .EMIOUART0RIN('0), .EMIOUART0RX('0), .EMIOUART1CTSN('0), .EMIOUART1DCDN('0), .EMIOUART1DSRN('0),
      .EMIOUART1RIN('0), .EMIOUART1RX('0), .EMIOUSB0VBUSPWRFAULT('0), .EMIOUSB1VBUSPWRFAULT('0),
      .EMIOWDTCLKI('0), .EVENTEVENTI('0), .FCLKCLKTRIGN('0), .FTMDTRACEINATID('0), .FTMDTRACEINCLOCK('0),
      .FTMDTRACEINDATA('0), .FTMDTRACEINVALID('0), .FTMTF2PDEBUG('0), .FTMTF2PTRIG('0), .FTMTP2FTRIGACK('0),
      .MAXIGP1ACLK('0), .MAXIGP1ARREADY('0), .MAXIGP1AWREADY('0), .MAXIGP1BID('0), .MAXIGP1BRESP('0),
      .MAXIGP1BVALID('0), .MAXIGP1RDATA('0), .MAXIGP1RID('0), .MAXIGP1RLAST('0), .MAXIGP1RRESP('0),
      .MAXIGP1RVALID('0), .MAXIGP1WREADY('0), .SAXIACPACLK('0), .SAXIACPARADDR('0), .SAXIACPARBURST('0),
      .SAXIACPARCACHE('0), .SAXIACPARID('0), .SAXIACPARLEN('0), .SAXIACPARLOCK('0), .SAXIACPARPROT('0),
      .SAXIACPARQOS('0), .SAXIACPARSIZE('0), .SAXIACPARUSER('0), .SAXIACPARVALID('0), .SAXIACPAWADDR('0),
      .SAXIACPAWBURST('0), .SAXIACPAWCACHE('0), .SAXIACPAWID('0), .SAXIACPAWLEN('0), .SAXIACPAWLOCK('0),
      .SAXIACPAWPROT('0), .SAXIACPAWQOS('0), .SAXIACPAWSIZE('0), .SAXIACPAWUSER('0), .SAXIACPAWVALID('0),
      .SAXIACPBREADY('0), .SAXIACPRREADY('0), .SAXIACPWDATA('0), .SAXIACPWID('0), .SAXIACPWLAST('0),
      .SAXIACPWSTRB('0), .SAXIACPWVALID('0), .SAXIGP0ACLK('0), .SAXIGP0ARADDR('0), .SAXIGP0ARBURST('0),
      .SAXIGP0ARCACHE('0), .SAXIGP0ARID('0), .SAXIGP0ARLEN('0), .SAXIGP0ARLOCK('0), .SAXIGP0ARPROT('0),
      .SAXIGP0ARQOS('0), .SAXIGP0ARSIZE('0), .SAXIGP0ARVALID('0), .SAXIGP0AWADDR('0), .SAXIGP0AWBURST('0),
      .SAXIGP0AWCACHE('0), .SAXIGP0AWID('0), .SAXIGP0AWLEN('0), .SAXIGP0AWLOCK('0), .SAXIGP0AWPROT('0),
      .SAXIGP0AWQOS('0), .SAXIGP0AWSIZE('0), .SAXIGP0AWVALID('0), .SAXIGP0BREADY('0), .SAXIGP0RREADY('0),
      .SAXIGP0WDATA('0), .SAXIGP0WID('0), .SAXIGP0WLAST('0), .SAXIGP0WSTRB('0), .SAXIGP0WVALID('0),
      .SAXIGP1ACLK('0), .SAXIGP1ARADDR('0), .SAXIGP1ARBURST('0), .SAXIGP1ARCACHE('0), .SAXIGP1ARID('0),
      .SAXIGP1ARLEN('0), .SAXIGP1ARLOCK('0), .SAXIGP1ARPROT('0), .SAXIGP1ARQOS('0), .SAXIGP1ARSIZE('0),
      .SAXIGP1ARVALID('0), .SAXIGP1AWADDR('0), .SAXIGP1AWBURST('0), .SAXIGP1AWCACHE('0), .SAXIGP1AWID('0),
      .SAXIGP1AWLEN('0), .SAXIGP1AWLOCK('0), .SAXIGP1AWPROT('0), .SAXIGP1AWQOS('0), .SAXIGP1AWSIZE('0),
      .SAXIGP1AWVALID('0), .SAXIGP1BREADY('0), .SAXIGP1RREADY('0), .SAXIGP1WDATA('0), .SAXIGP1WID('0),
      .SAXIGP1WLAST('0), .SAXIGP1WSTRB('0), .SAXIGP1WVALID('0), .SAXIHP0ARID('0), .SAXIHP0ARLOCK('0),
      .SAXIHP0ARPROT('0), .SAXIHP0ARQOS('0), .SAXIHP0AWID('0), .SAXIHP0AWLOCK('0), .SAXIHP0AWPROT('0),
      .SAXIHP0AWQOS('0), .SAXIHP0RDISSUECAP1EN('0), .SAXIHP0WID('0), .SAXIHP0WRISSUECAP1EN('0),
      .SAXIHP1ARID('0), .SAXIHP1ARLOCK('0), .SAXIHP1ARPROT('0), .SAXIHP1ARQOS('0), .SAXIHP1AWADDR('0),
      .SAXIHP1AWBURST('0), .SAXIHP1AWCACHE('0), .SAXIHP1AWID('0), .SAXIHP1AWLEN('0), .SAXIHP1AWLOCK('0),
      .SAXIHP1AWPROT('0), .SAXIHP1AWQOS('0), .SAXIHP1AWSIZE('0), .SAXIHP1AWVALID('0), .SAXIHP1BREADY('0),
      .SAXIHP1RDISSUECAP1EN('0), .SAXIHP1WDATA('0), .SAXIHP1WID('0), .SAXIHP1WLAST('0),
      .SAXIHP1WRISSUECAP1EN('0), .SAXIHP1WSTRB('0), .SAXIHP1WVALID('0), .SAXIHP2ACLK('0), .SAXIHP2ARADDR('0),
      .SAXIHP2ARBURST('0), .SAXIHP2ARCACHE('0), .SAXIHP2ARID('0), .SAXIHP2ARLEN('0), .SAXIHP2ARLOCK('0),
      .SAXIHP2ARPROT('0), .SAXIHP2ARQOS('0), .SAXIHP2ARSIZE('0), .SAXIHP2ARVALID('0), .SAXIHP2AWADDR('0),
      .SAXIHP2AWBURST('0), .SAXIHP2AWCACHE('0), .SAXIHP2AWID('0), .SAXIHP2AWLEN('0), .SAXIHP2AWLOCK('0),
      .SAXIHP2AWPROT('0), .SAXIHP2AWQOS('0), .SAXIHP2AWSIZE('0), .SAXIHP2AWVALID('0), .SAXIHP2BREADY('0),
      .SAXIHP2RDISSUECAP1EN('0), .SAXIHP2RREADY('0), .SAXIHP2WDATA('0), .SAXIHP2WID('0), .SAXIHP2WLAST('0),
      .SAXIHP2WRISSUECAP1EN('0), .SAXIHP2WSTRB('0), .SAXIHP2WVALID('0), .SAXIHP3ACLK('0), .SAXIHP3ARADDR('0),
      .SAXIHP3ARBURST('0), .SAXIHP3ARCACHE('0), .SAXIHP3ARID('0), .SAXIHP3ARLEN('0), .SAXIHP3ARLOCK('0),
      .SAXIHP3ARPROT('0), .SAXIHP3ARQOS('0), .SAXIHP3ARSIZE('0), .SAXIHP3ARVALID('0), .SAXIHP3AWADDR('0),
      .SAXIHP3AWBURST('0), .SAXIHP3AWCACHE('0), .SAXIHP3AWID('0), .SAXIHP3AWLEN('0), .SAXIHP3AWLOCK('0),
      .SAXIHP3AWPROT('0), .SAXIHP3AWQOS('0), .SAXIHP3AWSIZE('0), .SAXIHP3AWVALID('0), .SAXIHP3BREADY('0),
      .SAXIHP3RDISSUECAP1EN('0), .SAXIHP3RREADY('0), .SAXIHP3WDATA('0), .SAXIHP3WID('0), .SAXIHP3WLAST('0),
      .SAXIHP3WRISSUECAP1EN('0), .SAXIHP3WSTRB('0), .SAXIHP3WVALID('0)
  );

endmodule
