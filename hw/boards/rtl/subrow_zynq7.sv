// The engine with the ports of a Zynq-7000 PS: what a bitstream made without vendor tools holds beside the PS itself.
//
// Contract: docs/hardware.md behind adapters. M_AXI_GP (AXI3, any burst) reaches the registers, S_AXI_HP0 carries the
//   activations, S_AXI_HP1 the weights and instructions (read only); one clock; bursts of at most 16 beats, ID 0.
// Parameters: those of subrow_engine; SubRow * PortWords 4 or 8, WeightBytes 8, because a port of the PS has 8 bytes.
module subrow_zynq7 #(
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
) (
    input  logic        clk_i,
    input  logic        rst_ni,
    output logic        irq_o,
    input  logic        gp_awvalid_i,
    output logic        gp_awready_o,
    input  logic [11:0] gp_awid_i,
    input  logic [11:0] gp_awaddr_i,
    input  logic [ 3:0] gp_awlen_i,
    input  logic [ 1:0] gp_awburst_i,
    input  logic        gp_wvalid_i,
    output logic        gp_wready_o,
    input  logic [31:0] gp_wdata_i,
    input  logic [ 3:0] gp_wstrb_i,
    output logic        gp_bvalid_o,
    input  logic        gp_bready_i,
    output logic [11:0] gp_bid_o,
    output logic [ 1:0] gp_bresp_o,
    input  logic        gp_arvalid_i,
    output logic        gp_arready_o,
    input  logic [11:0] gp_arid_i,
    input  logic [11:0] gp_araddr_i,
    input  logic [ 3:0] gp_arlen_i,
    input  logic [ 1:0] gp_arburst_i,
    output logic        gp_rvalid_o,
    input  logic        gp_rready_i,
    output logic [11:0] gp_rid_o,
    output logic [31:0] gp_rdata_o,
    output logic [ 1:0] gp_rresp_o,
    output logic        gp_rlast_o,
    output logic        hp0_arvalid_o,
    input  logic        hp0_arready_i,
    output logic [31:0] hp0_araddr_o,
    output logic [ 3:0] hp0_arlen_o,
    input  logic        hp0_rvalid_i,
    output logic        hp0_rready_o,
    input  logic [63:0] hp0_rdata_i,
    input  logic [ 1:0] hp0_rresp_i,
    input  logic        hp0_rlast_i,
    output logic        hp0_awvalid_o,
    input  logic        hp0_awready_i,
    output logic [31:0] hp0_awaddr_o,
    output logic [ 3:0] hp0_awlen_o,
    output logic        hp0_wvalid_o,
    input  logic        hp0_wready_i,
    output logic [63:0] hp0_wdata_o,
    output logic [ 7:0] hp0_wstrb_o,
    output logic        hp0_wlast_o,
    input  logic        hp0_bvalid_i,
    output logic        hp0_bready_o,
    input  logic [ 1:0] hp0_bresp_i,
    output logic        hp1_arvalid_o,
    input  logic        hp1_arready_i,
    output logic [31:0] hp1_araddr_o,
    output logic [ 3:0] hp1_arlen_o,
    input  logic        hp1_rvalid_i,
    output logic        hp1_rready_o,
    input  logic [63:0] hp1_rdata_i,
    input  logic [ 1:0] hp1_rresp_i,
    input  logic        hp1_rlast_i
);

  localparam int unsigned ActBytes = SubRow * PortWords;

  if (WeightBytes != 8) begin : g_bad_weight_port
    $error("subrow_zynq7: WeightBytes = %0d must be 8, the width of one port of the PS", WeightBytes);
  end
  if (ActBytes != 4 && ActBytes != 8) begin : g_bad_act_port
    $error("subrow_zynq7: SubRow * PortWords = %0d must be 4 or 8, at most the width of one port of the PS", ActBytes);
  end

  logic lite_awvalid, lite_awready, lite_wvalid, lite_wready, lite_bvalid, lite_bready;
  logic lite_arvalid, lite_arready, lite_rvalid, lite_rready;
  logic [11:0] lite_awaddr, lite_araddr;
  logic [31:0] lite_wdata, lite_rdata;
  logic [3:0] lite_wstrb;
  logic [1:0] lite_bresp, lite_rresp;
  logic act_arvalid, act_arready, act_rvalid, act_rready, act_rlast, act_awvalid, act_awready, act_wvalid, act_wready;
  logic act_wlast, wgt_arvalid, wgt_arready, wgt_rvalid, wgt_rready, wgt_rlast;
  logic [39:0] act_araddr, act_awaddr, wgt_araddr;
  logic [7:0] act_arlen, act_awlen, wgt_arlen;
  logic [8*ActBytes-1:0] act_rdata, act_wdata;
  logic [ActBytes-1:0] act_wstrb;
  logic [63:0] wgt_rdata;
  logic [1:0] act_rresp, wgt_rresp;

  subrow_axi3_lite u_lite (
      .clk_i,
      .rst_ni,
      .s_awvalid_i(gp_awvalid_i), .s_awready_o(gp_awready_o), .s_awid_i(gp_awid_i), .s_awaddr_i(gp_awaddr_i),
      .s_awlen_i(gp_awlen_i), .s_awburst_i(gp_awburst_i), .s_wvalid_i(gp_wvalid_i), .s_wready_o(gp_wready_o),
      .s_wdata_i(gp_wdata_i), .s_wstrb_i(gp_wstrb_i), .s_bvalid_o(gp_bvalid_o), .s_bready_i(gp_bready_i),
      .s_bid_o(gp_bid_o), .s_bresp_o(gp_bresp_o), .s_arvalid_i(gp_arvalid_i), .s_arready_o(gp_arready_o),
      .s_arid_i(gp_arid_i), .s_araddr_i(gp_araddr_i), .s_arlen_i(gp_arlen_i), .s_arburst_i(gp_arburst_i),
      .s_rvalid_o(gp_rvalid_o), .s_rready_i(gp_rready_i), .s_rid_o(gp_rid_o), .s_rdata_o(gp_rdata_o),
      .s_rresp_o(gp_rresp_o), .s_rlast_o(gp_rlast_o), .m_awvalid_o(lite_awvalid), .m_awready_i(lite_awready),
      .m_awaddr_o(lite_awaddr), .m_wvalid_o(lite_wvalid), .m_wready_i(lite_wready), .m_wdata_o(lite_wdata),
      .m_wstrb_o(lite_wstrb), .m_bvalid_i(lite_bvalid), .m_bready_o(lite_bready), .m_bresp_i(lite_bresp),
      .m_arvalid_o(lite_arvalid), .m_arready_i(lite_arready), .m_araddr_o(lite_araddr),
      .m_rvalid_i(lite_rvalid), .m_rready_o(lite_rready), .m_rdata_i(lite_rdata), .m_rresp_i(lite_rresp)
  );

  subrow_engine #(
      .Channels(Channels), .Tiles(Tiles), .SubRow(SubRow), .UBits(UBits), .VBits(VBits), .AccBits(AccBits),
      .YBits(YBits), .NarrowU(NarrowU), .ActWords(ActWords), .VWords(VWords), .WeightWords(WeightWords),
      .ParamGroups(ParamGroups), .OutWords(OutWords), .WeightBytes(WeightBytes), .BurstBeats(BurstBeats),
      .PortWords(PortWords),
      .ConfigHash(ConfigHash)
  ) u_engine (
      .clk_i,
      .rst_ni,
      .s_axil_awvalid(lite_awvalid), .s_axil_awready(lite_awready), .s_axil_awaddr(lite_awaddr),
      .s_axil_wvalid(lite_wvalid), .s_axil_wready(lite_wready), .s_axil_wdata(lite_wdata),
      .s_axil_wstrb(lite_wstrb), .s_axil_bvalid(lite_bvalid), .s_axil_bready(lite_bready),
      .s_axil_bresp(lite_bresp), .s_axil_arvalid(lite_arvalid), .s_axil_arready(lite_arready),
      .s_axil_araddr(lite_araddr), .s_axil_rvalid(lite_rvalid), .s_axil_rready(lite_rready),
      .s_axil_rdata(lite_rdata), .s_axil_rresp(lite_rresp), .m_axi_act_arvalid(act_arvalid),
      .m_axi_act_arready(act_arready), .m_axi_act_araddr(act_araddr), .m_axi_act_arlen(act_arlen),
      .m_axi_act_rvalid(act_rvalid), .m_axi_act_rready(act_rready), .m_axi_act_rdata(act_rdata),
      .m_axi_act_rresp(act_rresp), .m_axi_act_rlast(act_rlast), .m_axi_act_awvalid(act_awvalid),
      .m_axi_act_awready(act_awready), .m_axi_act_awaddr(act_awaddr), .m_axi_act_awlen(act_awlen),
      .m_axi_act_wvalid(act_wvalid), .m_axi_act_wready(act_wready), .m_axi_act_wdata(act_wdata),
      .m_axi_act_wstrb(act_wstrb), .m_axi_act_wlast(act_wlast), .m_axi_act_bvalid(hp0_bvalid_i),
      .m_axi_act_bready(hp0_bready_o), .m_axi_act_bresp(hp0_bresp_i), .m_axi_wgt_arvalid(wgt_arvalid),
      .m_axi_wgt_arready(wgt_arready), .m_axi_wgt_araddr(wgt_araddr), .m_axi_wgt_arlen(wgt_arlen),
      .m_axi_wgt_rvalid(wgt_rvalid), .m_axi_wgt_rready(wgt_rready), .m_axi_wgt_rdata(wgt_rdata),
      .m_axi_wgt_rresp(wgt_rresp), .m_axi_wgt_rlast(wgt_rlast), .m_axi_act_arsize(), .m_axi_act_arburst(),
      .m_axi_act_awsize(), .m_axi_act_awburst(), .m_axi_wgt_arsize(), .m_axi_wgt_arburst(), .irq_o
  );

  subrow_axi3_read #(
      .DataBytes(ActBytes)
  ) u_act_read (
      .clk_i,
      .rst_ni,
      .s_arvalid_i(act_arvalid), .s_arready_o(act_arready), .s_araddr_i(act_araddr), .s_arlen_i(act_arlen),
      .s_rvalid_o(act_rvalid), .s_rready_i(act_rready), .s_rdata_o(act_rdata), .s_rresp_o(act_rresp),
      .s_rlast_o(act_rlast), .m_arvalid_o(hp0_arvalid_o), .m_arready_i(hp0_arready_i),
      .m_araddr_o(hp0_araddr_o), .m_arlen_o(hp0_arlen_o), .m_rvalid_i(hp0_rvalid_i), .m_rready_o(hp0_rready_o),
      .m_rdata_i(hp0_rdata_i), .m_rresp_i(hp0_rresp_i), .m_rlast_i(hp0_rlast_i)
  );

  subrow_axi3_write #(
      .DataBytes(ActBytes)
  ) u_act_write (
      .clk_i,
      .rst_ni,
      .s_awvalid_i(act_awvalid), .s_awready_o(act_awready), .s_awaddr_i(act_awaddr), .s_awlen_i(act_awlen),
      .s_wvalid_i(act_wvalid), .s_wready_o(act_wready), .s_wdata_i(act_wdata), .s_wstrb_i(act_wstrb),
      .s_wlast_i(act_wlast), .m_awvalid_o(hp0_awvalid_o), .m_awready_i(hp0_awready_i),
      .m_awaddr_o(hp0_awaddr_o), .m_awlen_o(hp0_awlen_o), .m_wvalid_o(hp0_wvalid_o), .m_wready_i(hp0_wready_i),
      .m_wdata_o(hp0_wdata_o), .m_wstrb_o(hp0_wstrb_o), .m_wlast_o(hp0_wlast_o)
  );

  subrow_axi3_read #(
      .DataBytes(8)
  ) u_wgt_read (
      .clk_i,
      .rst_ni,
      .s_arvalid_i(wgt_arvalid), .s_arready_o(wgt_arready), .s_araddr_i(wgt_araddr), .s_arlen_i(wgt_arlen),
      .s_rvalid_o(wgt_rvalid), .s_rready_i(wgt_rready), .s_rdata_o(wgt_rdata), .s_rresp_o(wgt_rresp),
      .s_rlast_o(wgt_rlast), .m_arvalid_o(hp1_arvalid_o), .m_arready_i(hp1_arready_i),
      .m_araddr_o(hp1_araddr_o), .m_arlen_o(hp1_arlen_o), .m_rvalid_i(hp1_rvalid_i), .m_rready_o(hp1_rready_o),
      .m_rdata_i(hp1_rdata_i), .m_rresp_i(hp1_rresp_i), .m_rlast_i(hp1_rlast_i)
  );

endmodule
