// A stand-in for the engine that proves the open flow on a small design: its registers, one DSP48E1, one block RAM.
//
// Contract: the ports of subrow_engine. In every cycle PROG_ADDR_LO goes into the memory word that ACT_ADDR_LO names; STATE0
//   is the word that RECORD_ADDR_LO names, STATE1 the sum over the cycles of its lower 16 bits times LAYERS. Both memory
//   ports stay silent.
// Parameters: those of the engine; most have no effect.
// Cost: one DSP48E1, one RAMB36.

/* verilator lint_off UNUSEDPARAM */
/* verilator lint_off UNUSEDSIGNAL */
module subrow_engine
#(
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

    output logic                  m_axi_act_arvalid,
    input  logic                  m_axi_act_arready,
    output logic [AddrBits-1:0]   m_axi_act_araddr,
    output logic [7:0]            m_axi_act_arlen,
    output logic [2:0]            m_axi_act_arsize,
    output logic [1:0]            m_axi_act_arburst,
    input  logic                  m_axi_act_rvalid,
    output logic                  m_axi_act_rready,
    input  logic [8*ActBytes-1:0] m_axi_act_rdata,
    input  logic [1:0]            m_axi_act_rresp,
    input  logic                  m_axi_act_rlast,
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
    input  logic                  m_axi_act_bvalid,
    output logic                  m_axi_act_bready,
    input  logic [1:0]            m_axi_act_bresp,

    output logic                     m_axi_wgt_arvalid,
    input  logic                     m_axi_wgt_arready,
    output logic [AddrBits-1:0]      m_axi_wgt_araddr,
    output logic [7:0]               m_axi_wgt_arlen,
    output logic [2:0]               m_axi_wgt_arsize,
    output logic [1:0]               m_axi_wgt_arburst,
    input  logic                     m_axi_wgt_rvalid,
    output logic                     m_axi_wgt_rready,
    input  logic [8*WeightBytes-1:0] m_axi_wgt_rdata,
    input  logic [1:0]               m_axi_wgt_rresp,
    input  logic                     m_axi_wgt_rlast,

    output logic irq_o
);

  subrow_regs_pkg::subrow_regs__in_t regs_in;
  subrow_regs_pkg::subrow_regs__out_t regs_out;

  subrow_regs u_regs (
      .clk(clk_i),
      .rst_n(rst_ni),
      .s_axil_awready, .s_axil_awvalid, .s_axil_awaddr, .s_axil_awprot(3'b0), .s_axil_wready, .s_axil_wvalid,
      .s_axil_wdata, .s_axil_wstrb, .s_axil_bready, .s_axil_bvalid, .s_axil_bresp, .s_axil_arready, .s_axil_arvalid,
      .s_axil_araddr, .s_axil_arprot(3'b0), .s_axil_rready, .s_axil_rvalid, .s_axil_rdata, .s_axil_rresp,
      .hwif_in(regs_in),
      .hwif_out(regs_out)
  );
  assign irq_o = regs_out.STATUS.intr;

  // ---- one RAMB36 of 36 bits ---------------------------------------------------------------------------------------
  (* ram_style = "block" *)
  logic [35:0] memory[1024];
  logic [35:0] word_q;

  always_ff @(posedge clk_i) begin
    memory[regs_out.ACT_ADDR_LO.value.value[9:0]] <= {4'b0, regs_out.PROG_ADDR_LO.value.value};
    word_q <= memory[regs_out.RECORD_ADDR_LO.value.value[9:0]];
  end

  // ---- one DSP48E1 -------------------------------------------------------------------------------------------------
  logic [31:0] sum;
  subrow_mac1 #(.UBits(16), .VBits(16), .AccBits(32)) u_mac (
      .clk_i,
      .ab_en_i(1'b1), .m_en_i(1'b1), .p_en_i(1'b1),
      .p_first_i(regs_out.CTRL.start.value),
      .w_i(word_q[15:0]), .v_i(regs_out.LAYERS.count.value),
      .p_o(sum)
  );

  always_comb begin
    regs_in = '{default: '0};
    regs_in.ID.hash.next = ConfigHash;
    regs_in.STATE0.value.next = word_q[31:0];
    regs_in.STATE1.value.next = sum;
  end

  // ---- silent memory ports -----------------------------------------------------------------------------------------
  assign {
      m_axi_act_arvalid, m_axi_act_araddr, m_axi_act_arlen, m_axi_act_arsize, m_axi_act_arburst,
      m_axi_act_rready, m_axi_act_awvalid, m_axi_act_awaddr, m_axi_act_awlen, m_axi_act_awsize,
      m_axi_act_awburst, m_axi_act_wvalid, m_axi_act_wdata, m_axi_act_wstrb, m_axi_act_wlast,
      m_axi_act_bready, m_axi_wgt_arvalid, m_axi_wgt_araddr, m_axi_wgt_arlen, m_axi_wgt_arsize,
      m_axi_wgt_arburst, m_axi_wgt_rready
  } = '0;
endmodule
