// The engine with the AXI identifiers that bus models expect: it sends 0 and ignores what comes back.
//
// Parameters: those of subrow_engine.
module subrow_engine_ids #(
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
    parameter int unsigned ConfigHash = 0,
    localparam int unsigned ActBytes = SubRow * PortWords,
    localparam int unsigned AddrBits = 40
) (
    input logic clk_i,
    input logic rst_ni,

    input  logic        s_axil_awvalid,
    output logic        s_axil_awready,
    input  logic [11:0] s_axil_awaddr,
    input  logic        s_axil_wvalid,
    output logic        s_axil_wready,
    input  logic [31:0] s_axil_wdata,
    input  logic [ 3:0] s_axil_wstrb,
    output logic        s_axil_bvalid,
    input  logic        s_axil_bready,
    output logic [ 1:0] s_axil_bresp,
    input  logic        s_axil_arvalid,
    output logic        s_axil_arready,
    input  logic [11:0] s_axil_araddr,
    output logic        s_axil_rvalid,
    input  logic        s_axil_rready,
    output logic [31:0] s_axil_rdata,
    output logic [ 1:0] s_axil_rresp,

    output logic                  m_axi_act_arid,
    output logic                  m_axi_act_arvalid,
    input  logic                  m_axi_act_arready,
    output logic [AddrBits-1:0]   m_axi_act_araddr,
    output logic [7:0]            m_axi_act_arlen,
    output logic [2:0]            m_axi_act_arsize,
    output logic [1:0]            m_axi_act_arburst,
    input  logic                  m_axi_act_rid,
    input  logic                  m_axi_act_rvalid,
    output logic                  m_axi_act_rready,
    input  logic [8*ActBytes-1:0] m_axi_act_rdata,
    input  logic [1:0]            m_axi_act_rresp,
    input  logic                  m_axi_act_rlast,
    output logic                  m_axi_act_awid,
    output logic                  m_axi_act_awvalid,
    input  logic                  m_axi_act_awready,
    output logic [AddrBits-1:0]   m_axi_act_awaddr,
    output logic [7:0]            m_axi_act_awlen,
    output logic [2:0]            m_axi_act_awsize,
    output logic [1:0]            m_axi_act_awburst,
    output logic                  m_axi_act_wvalid,
    input  logic                  m_axi_act_wready,
    output logic [8*ActBytes-1:0] m_axi_act_wdata,
    output logic [ActBytes-1:0]   m_axi_act_wstrb,
    output logic                  m_axi_act_wlast,
    input  logic                  m_axi_act_bid,
    input  logic                  m_axi_act_bvalid,
    output logic                  m_axi_act_bready,
    input  logic [1:0]            m_axi_act_bresp,

    output logic                     m_axi_wgt_arid,
    output logic                     m_axi_wgt_arvalid,
    input  logic                     m_axi_wgt_arready,
    output logic [AddrBits-1:0]      m_axi_wgt_araddr,
    output logic [7:0]               m_axi_wgt_arlen,
    output logic [2:0]               m_axi_wgt_arsize,
    output logic [1:0]               m_axi_wgt_arburst,
    input  logic                     m_axi_wgt_rid,
    input  logic                     m_axi_wgt_rvalid,
    output logic                     m_axi_wgt_rready,
    input  logic [8*WeightBytes-1:0] m_axi_wgt_rdata,
    input  logic [1:0]               m_axi_wgt_rresp,
    input  logic                     m_axi_wgt_rlast,

    output logic irq_o
);

  assign m_axi_act_arid = 1'b0;
  assign m_axi_act_awid = 1'b0;
  assign m_axi_wgt_arid = 1'b0;

  logic unused_ids;
  assign unused_ids = ^{m_axi_act_rid, m_axi_act_bid, m_axi_wgt_rid};

  subrow_engine #(
      .Channels(Channels),
      .Tiles(Tiles),
      .SubRow(SubRow),
      .UBits(UBits),
      .VBits(VBits),
      .AccBits(AccBits),
      .YBits(YBits),
      .NarrowU(NarrowU),
      .ActWords(ActWords),
      .VWords(VWords),
      .WeightWords(WeightWords),
      .ParamGroups(ParamGroups),
      .OutWords(OutWords),
      .WeightBytes(WeightBytes),
      .BurstBeats(BurstBeats),
      .PortWords(PortWords),
      .ConfigHash(ConfigHash)
  ) u_engine (
      .*
  );

endmodule
