// The engine with Zynq-7000 ports as bus models see it: AXI4 with bursts of at most 16 beats is AXI3 for one ID in order.
//
// Parameters: those of subrow_zynq7.
module subrow_zynq7_ids #(
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
    input logic clk_i,
    input logic rst_ni,

    input  logic        s_axil_awvalid,
    output logic        s_axil_awready,
    input  logic [11:0] s_axil_awid,
    input  logic [11:0] s_axil_awaddr,
    input  logic [ 7:0] s_axil_awlen,
    input  logic [ 2:0] s_axil_awsize,
    input  logic [ 1:0] s_axil_awburst,
    input  logic        s_axil_wvalid,
    output logic        s_axil_wready,
    input  logic [31:0] s_axil_wdata,
    input  logic [ 3:0] s_axil_wstrb,
    input  logic        s_axil_wlast,
    output logic        s_axil_bvalid,
    input  logic        s_axil_bready,
    output logic [11:0] s_axil_bid,
    output logic [ 1:0] s_axil_bresp,
    input  logic        s_axil_arvalid,
    output logic        s_axil_arready,
    input  logic [11:0] s_axil_arid,
    input  logic [11:0] s_axil_araddr,
    input  logic [ 7:0] s_axil_arlen,
    input  logic [ 2:0] s_axil_arsize,
    input  logic [ 1:0] s_axil_arburst,
    output logic        s_axil_rvalid,
    input  logic        s_axil_rready,
    output logic [11:0] s_axil_rid,
    output logic [31:0] s_axil_rdata,
    output logic [ 1:0] s_axil_rresp,
    output logic        s_axil_rlast,

    output logic                  m_axi_act_arid,
    output logic                  m_axi_act_arvalid,
    input  logic                  m_axi_act_arready,
    output logic [31:0]   m_axi_act_araddr,
    output logic [7:0]            m_axi_act_arlen,
    output logic [2:0]            m_axi_act_arsize,
    output logic [1:0]            m_axi_act_arburst,
    input  logic                  m_axi_act_rid,
    input  logic                  m_axi_act_rvalid,
    output logic                  m_axi_act_rready,
    input  logic [63:0] m_axi_act_rdata,
    input  logic [1:0]            m_axi_act_rresp,
    input  logic                  m_axi_act_rlast,
    output logic                  m_axi_act_awid,
    output logic                  m_axi_act_awvalid,
    input  logic                  m_axi_act_awready,
    output logic [31:0]   m_axi_act_awaddr,
    output logic [7:0]            m_axi_act_awlen,
    output logic [2:0]            m_axi_act_awsize,
    output logic [1:0]            m_axi_act_awburst,
    output logic                  m_axi_act_wvalid,
    input  logic                  m_axi_act_wready,
    output logic [63:0] m_axi_act_wdata,
    output logic [7:0] m_axi_act_wstrb,
    output logic                  m_axi_act_wlast,
    input  logic                  m_axi_act_bid,
    input  logic                  m_axi_act_bvalid,
    output logic                  m_axi_act_bready,
    input  logic [1:0]            m_axi_act_bresp,

    output logic                     m_axi_wgt_arid,
    output logic                     m_axi_wgt_arvalid,
    input  logic                     m_axi_wgt_arready,
    output logic [31:0]      m_axi_wgt_araddr,
    output logic [7:0]               m_axi_wgt_arlen,
    output logic [2:0]               m_axi_wgt_arsize,
    output logic [1:0]               m_axi_wgt_arburst,
    input  logic                     m_axi_wgt_rid,
    input  logic                     m_axi_wgt_rvalid,
    output logic                     m_axi_wgt_rready,
    input  logic [63:0] m_axi_wgt_rdata,
    input  logic [1:0]               m_axi_wgt_rresp,
    input  logic                     m_axi_wgt_rlast,

    output logic irq_o
);

  assign m_axi_act_arid = 1'b0;
  assign m_axi_act_awid = 1'b0;
  assign m_axi_wgt_arid = 1'b0;
  assign {m_axi_act_arlen[7:4], m_axi_act_awlen[7:4], m_axi_wgt_arlen[7:4]} = '0;
  assign {m_axi_act_arsize, m_axi_act_awsize, m_axi_wgt_arsize} = {3{3'd3}};
  assign {m_axi_act_arburst, m_axi_act_awburst, m_axi_wgt_arburst} = {3{2'b01}};

  logic unused_ids;
  assign unused_ids = ^{m_axi_act_rid, m_axi_act_bid, m_axi_wgt_rid, s_axil_awsize, s_axil_arsize, s_axil_wlast,
                        s_axil_awlen[7:4], s_axil_arlen[7:4]};

  subrow_zynq7 #(
      .Channels(Channels), .Tiles(Tiles), .SubRow(SubRow), .UBits(UBits), .VBits(VBits), .AccBits(AccBits),
      .YBits(YBits), .NarrowU(NarrowU), .ActWords(ActWords), .VWords(VWords), .WeightWords(WeightWords),
      .ParamGroups(ParamGroups), .OutWords(OutWords), .WeightBytes(WeightBytes), .BurstBeats(BurstBeats),
      .PortWords(PortWords),
      .ConfigHash(ConfigHash)
  ) u_zynq7 (
      .clk_i, .rst_ni, .irq_o, .gp_awvalid_i(s_axil_awvalid), .gp_awready_o(s_axil_awready),
      .gp_awid_i(s_axil_awid), .gp_awaddr_i(s_axil_awaddr), .gp_awlen_i(s_axil_awlen[3:0]),
      .gp_awburst_i(s_axil_awburst), .gp_wvalid_i(s_axil_wvalid), .gp_wready_o(s_axil_wready),
      .gp_wdata_i(s_axil_wdata), .gp_wstrb_i(s_axil_wstrb), .gp_bvalid_o(s_axil_bvalid),
      .gp_bready_i(s_axil_bready), .gp_bid_o(s_axil_bid), .gp_bresp_o(s_axil_bresp),
      .gp_arvalid_i(s_axil_arvalid), .gp_arready_o(s_axil_arready), .gp_arid_i(s_axil_arid),
      .gp_araddr_i(s_axil_araddr), .gp_arlen_i(s_axil_arlen[3:0]), .gp_arburst_i(s_axil_arburst),
      .gp_rvalid_o(s_axil_rvalid), .gp_rready_i(s_axil_rready), .gp_rid_o(s_axil_rid),
      .gp_rdata_o(s_axil_rdata), .gp_rresp_o(s_axil_rresp), .gp_rlast_o(s_axil_rlast),
      .hp0_arvalid_o(m_axi_act_arvalid), .hp0_arready_i(m_axi_act_arready), .hp0_araddr_o(m_axi_act_araddr),
      .hp0_arlen_o(m_axi_act_arlen[3:0]), .hp0_rvalid_i(m_axi_act_rvalid), .hp0_rready_o(m_axi_act_rready),
      .hp0_rdata_i(m_axi_act_rdata), .hp0_rresp_i(m_axi_act_rresp), .hp0_rlast_i(m_axi_act_rlast),
      .hp0_awvalid_o(m_axi_act_awvalid), .hp0_awready_i(m_axi_act_awready), .hp0_awaddr_o(m_axi_act_awaddr),
      .hp0_awlen_o(m_axi_act_awlen[3:0]), .hp0_wvalid_o(m_axi_act_wvalid), .hp0_wready_i(m_axi_act_wready),
      .hp0_wdata_o(m_axi_act_wdata), .hp0_wstrb_o(m_axi_act_wstrb), .hp0_wlast_o(m_axi_act_wlast),
      .hp0_bvalid_i(m_axi_act_bvalid), .hp0_bready_o(m_axi_act_bready), .hp0_bresp_i(m_axi_act_bresp),
      .hp1_arvalid_o(m_axi_wgt_arvalid), .hp1_arready_i(m_axi_wgt_arready), .hp1_araddr_o(m_axi_wgt_araddr),
      .hp1_arlen_o(m_axi_wgt_arlen[3:0]), .hp1_rvalid_i(m_axi_wgt_rvalid), .hp1_rready_o(m_axi_wgt_rready),
      .hp1_rdata_i(m_axi_wgt_rdata), .hp1_rresp_i(m_axi_wgt_rresp), .hp1_rlast_i(m_axi_wgt_rlast)
  );

endmodule
