// The engine: control, fetchers, compute and write-back around their buffers.
//
// Contract: docs/hardware.md. Two AXI4 masters (activations: read and write; weights: read only), one AXI4-Lite slave
// (hw/regs), one level interrupt. Every buffer stands here, between the unit that writes it and the one that reads it.
//
// Parameters: HwConfig.rtl_parameters(); the units check their ranges at elaboration.

module subrow_engine
  import subrow_pkg::*;
#(
    parameter int unsigned Channels = 8,
    parameter int unsigned Tiles = 2,
    parameter int unsigned SubRow = 8,
    parameter int unsigned UBits = 8,
    parameter int unsigned VBits = 8,
    parameter int unsigned AccBits = 26,
    parameter int unsigned YBits = 36,
    parameter int unsigned ActWords = 1024,
    parameter int unsigned VWords = 1024,
    parameter int unsigned WeightWords = 1024,
    parameter int unsigned ParamGroups = 32,
    parameter int unsigned OutWords = 1024,
    parameter int unsigned WeightBytes = 8,
    parameter int unsigned BurstBeats = 16,
    parameter int unsigned ConfigHash = 0,
    localparam int unsigned ActBytes = SubRow,
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

  localparam int unsigned IdxBits = $clog2(SubRow);
  localparam int unsigned Cb = Channels / SubRow;
  localparam int unsigned Nk = Tiles * Cb;
  localparam int unsigned KbBits = Cb > 1 ? $clog2(Cb) : 1;
  localparam int unsigned WordBits = 4 * Channels * (UBits + IdxBits);
  localparam int unsigned ParamWords = ParamGroups * Cb;
  localparam int unsigned MWords = 18 * Nk;

  // ---- control ------------------------------------------------------------------------------------------------------
  logic core_rst_n, flush, cmd_fire, wcmd_valid;
  logic [InstrBits-1:0] cmd_data, wcmd_data;
  logic [AddrBits-1:0] prog_base, act_base, record_base;
  logic [64*RecordWords-1:0] record;
  logic layer_done, issued, starved_input, starved_weights, blocked_output;
  logic ready_wfetch, ready_afetch, ready_rfetch, ready_itrans, ready_array, ready_otrans, ready_post, ready_awrite;
  logic act_read_idle, act_read_error, wgt_read_idle, wgt_read_error, write_idle, write_error;
  logic [1:0] act_read_resp, wgt_read_resp, write_resp;

  // Counters between the units; see the table in docs/hardware.md.
  logic [15:0] rows, act_free, q_ready, v_free, m_ready, m_free, o_ready, o_free, r_ready;
  logic [23:0] w_wptr, w_free, p_wptr, p_free;

  logic y_valid, y_ready;
  logic act_req_valid, act_req_ready, act_rd_valid, act_rd_ready;
  logic [AddrBits-1:0] act_req_addr;
  logic [15:0] act_req_beats;
  logic [8*ActBytes-1:0] act_rd_data;
  logic wgt_req_valid, wgt_req_ready, wgt_rd_valid, wgt_rd_ready;
  logic [AddrBits-1:0] wgt_req_addr;
  logic [15:0] wgt_req_beats;
  logic [8*WeightBytes-1:0] wgt_rd_data;
  logic afetch_req_valid, afetch_req_ready, afetch_rd_valid, afetch_rd_ready;
  logic [AddrBits-1:0] afetch_req_addr;
  logic [15:0] afetch_req_beats;
  logic [8*ActBytes-1:0] afetch_rd_data;
  logic rfetch_req_valid, rfetch_req_ready, rfetch_rd_valid, rfetch_rd_ready;
  logic [AddrBits-1:0] rfetch_req_addr;
  logic [15:0] rfetch_req_beats;
  logic [8*ActBytes-1:0] rfetch_rd_data;
  logic wfetch_req_valid, wfetch_req_ready, wfetch_rd_valid, wfetch_rd_ready;
  logic [AddrBits-1:0] wfetch_req_addr;
  logic [15:0] wfetch_req_beats;
  logic [8*WeightBytes-1:0] wfetch_rd_data;
  logic ctrl_req_valid, ctrl_req_ready, ctrl_rd_valid, ctrl_rd_ready;
  logic [AddrBits-1:0] ctrl_req_addr;
  logic [15:0] ctrl_req_beats;
  logic [8*WeightBytes-1:0] ctrl_rd_data;
  logic wr_valid, wr_ready, wd_valid, wd_ready;
  logic [AddrBits-1:0] wr_addr;
  logic [15:0] wr_beats;
  logic [8*ActBytes-1:0] wd_data;

  subrow_regs_pkg::subrow_regs__in_t regs_in;
  subrow_regs_pkg::subrow_regs__out_t regs_out;
  logic busy, done, error;
  logic [7:0] error_code;
  logic [15:0] layer;
  logic [63:0] cycles;
  logic [3:0] axi_port;
  logic [1:0] axi_resp;
  logic [127:0] state_live, state;

  subrow_regs u_regs (
      .clk(clk_i),
      .rst_n(rst_ni),
      .s_axil_awready,
      .s_axil_awvalid,
      .s_axil_awaddr,
      .s_axil_awprot(3'b0),
      .s_axil_wready,
      .s_axil_wvalid,
      .s_axil_wdata,
      .s_axil_wstrb,
      .s_axil_bready,
      .s_axil_bvalid,
      .s_axil_bresp,
      .s_axil_arready,
      .s_axil_arvalid,
      .s_axil_araddr,
      .s_axil_arprot(3'b0),
      .s_axil_rready,
      .s_axil_rvalid,
      .s_axil_rdata,
      .s_axil_rresp,
      .hwif_in(regs_in),
      .hwif_out(regs_out)
  );

  assign prog_base = {regs_out.PROG_ADDR_HI.value.value[7:0], regs_out.PROG_ADDR_LO.value.value};
  assign act_base = {regs_out.ACT_ADDR_HI.value.value[7:0], regs_out.ACT_ADDR_LO.value.value};
  assign record_base = {regs_out.RECORD_ADDR_HI.value.value[7:0], regs_out.RECORD_ADDR_LO.value.value};
  assign irq_o = regs_out.STATUS.intr;

  always_comb begin
    regs_in.ID.hash.next = ConfigHash;
    regs_in.VERSION.major.next = 16'(IsaVersion);
    regs_in.VERSION.minor.next = '0;
    regs_in.STATUS.busy.next = busy;
    regs_in.STATUS.done.next = done;
    regs_in.STATUS.error.next = error;
    regs_in.STATUS.error_code.next = error_code;
    regs_in.STATUS.error_code.we = error;
    regs_in.LAYER.index.next = layer;
    regs_in.CYCLES_LO.value.next = cycles[31:0];
    regs_in.CYCLES_HI.value.next = cycles[63:32];
    regs_in.STATE0.value.next = state[31:0];
    regs_in.STATE1.value.next = state[63:32];
    regs_in.STATE2.value.next = state[95:64];
    regs_in.STATE3.value.next = state[127:96];
    regs_in.AXI_ERRORS.resp.next = axi_resp;
    regs_in.AXI_ERRORS.port.next = axi_port;
  end

  // STATE0: which units are idle, then valid/ready of every stream; STATE1..3: counters between the units.
  assign state_live[31:0] = {
    act_read_idle, wgt_read_idle, write_idle,
    m_axi_act_bvalid, m_axi_act_wready, m_axi_act_wvalid, m_axi_act_awready, m_axi_act_awvalid,
    m_axi_wgt_rready, m_axi_wgt_rvalid, m_axi_wgt_arready, m_axi_wgt_arvalid,
    m_axi_act_rready, m_axi_act_rvalid, m_axi_act_arready, m_axi_act_arvalid,
    y_ready, y_valid, wd_ready, wd_valid, wr_ready, wr_valid, wcmd_valid, cmd_fire,
    ready_awrite, ready_post, ready_otrans, ready_array, ready_itrans, ready_rfetch, ready_afetch, ready_wfetch
  };
  assign state_live[63:32] = {q_ready, rows};
  assign state_live[95:64] = {m_free[7:0], m_ready[7:0], v_free[7:0], act_free[7:0]};
  assign state_live[127:96] = {r_ready[7:0], o_free[7:0], o_ready[7:0], w_wptr[7:0] - w_free[7:0]};

  subrow_ctrl #(
      .SubRow(SubRow),
      .WeightBytes(WeightBytes),
      .Units(7)
  ) u_ctrl (
      .clk_i,
      .rst_ni,
      .start_i(regs_out.CTRL.start.value),
      .soft_reset_i(regs_out.CTRL.soft_reset.value),
      .layers_i(regs_out.LAYERS.count.value),
      .watchdog_i(regs_out.WATCHDOG.value.value),
      .prog_base_i(prog_base),
      .busy_o(busy),
      .done_o(done),
      .error_o(error),
      .error_code_o(error_code),
      .layer_o(layer),
      .cycles_o(cycles),
      .axi_port_o(axi_port),
      .axi_resp_o(axi_resp),
      .state_i(state_live),
      .state_o(state),
      .core_rst_no(core_rst_n),
      .flush_o(flush),
      .bus_idle_i(act_read_idle & wgt_read_idle & write_idle),
      .axi_error_i({write_error, wgt_read_error, act_read_error}),
      .axi_resp_i({write_resp, wgt_read_resp, act_read_resp}),
      .req_valid_o(ctrl_req_valid),
      .req_ready_i(ctrl_req_ready),
      .req_addr_o(ctrl_req_addr),
      .req_beats_o(ctrl_req_beats),
      .rd_valid_i(ctrl_rd_valid),
      .rd_ready_o(ctrl_rd_ready),
      .rd_data_i(ctrl_rd_data),
      .w_cmd_valid_o(wcmd_valid),
      .w_cmd_ready_i(ready_wfetch),
      .w_cmd_data_o(wcmd_data),
      .cmd_valid_o(cmd_fire),
      .cmd_ready_i({
        ready_awrite, ready_post, ready_otrans, ready_array, ready_itrans, ready_rfetch, ready_afetch
      }),
      .cmd_data_o(cmd_data),
      .layer_done_i(layer_done),
      .issued_i(issued),
      .starved_input_i(starved_input),
      .starved_weights_i(starved_weights),
      .blocked_output_i(blocked_output),
      .act_beat_i(act_rd_valid & act_rd_ready),
      .wgt_beat_i(wfetch_rd_valid & wfetch_rd_ready),
      .progress_i((m_axi_act_wvalid & m_axi_act_wready) | (y_valid & y_ready)),
      .record_o(record)
  );

  // ---- memory ports -------------------------------------------------------------------------------------------------

  subrow_arb2 #(
      .DataBytes(ActBytes)
  ) u_arb_act (
      .clk_i,
      .rst_ni(core_rst_n),
      .a_req_valid_i(rfetch_req_valid),
      .a_req_ready_o(rfetch_req_ready),
      .a_req_addr_i(rfetch_req_addr),
      .a_req_beats_i(rfetch_req_beats),
      .a_rd_valid_o(rfetch_rd_valid),
      .a_rd_ready_i(rfetch_rd_ready),
      .a_rd_data_o(rfetch_rd_data),
      .b_req_valid_i(afetch_req_valid),
      .b_req_ready_o(afetch_req_ready),
      .b_req_addr_i(afetch_req_addr),
      .b_req_beats_i(afetch_req_beats),
      .b_rd_valid_o(afetch_rd_valid),
      .b_rd_ready_i(afetch_rd_ready),
      .b_rd_data_o(afetch_rd_data),
      .req_valid_o(act_req_valid),
      .req_ready_i(act_req_ready),
      .req_addr_o(act_req_addr),
      .req_beats_o(act_req_beats),
      .rd_valid_i(act_rd_valid),
      .rd_ready_o(act_rd_ready),
      .rd_data_i(act_rd_data)
  );

  subrow_arb2 #(
      .DataBytes(WeightBytes)
  ) u_arb_wgt (
      .clk_i,
      .rst_ni(core_rst_n),
      .a_req_valid_i(ctrl_req_valid),
      .a_req_ready_o(ctrl_req_ready),
      .a_req_addr_i(ctrl_req_addr),
      .a_req_beats_i(ctrl_req_beats),
      .a_rd_valid_o(ctrl_rd_valid),
      .a_rd_ready_i(ctrl_rd_ready),
      .a_rd_data_o(ctrl_rd_data),
      .b_req_valid_i(wfetch_req_valid),
      .b_req_ready_o(wfetch_req_ready),
      .b_req_addr_i(wfetch_req_addr),
      .b_req_beats_i(wfetch_req_beats),
      .b_rd_valid_o(wfetch_rd_valid),
      .b_rd_ready_i(wfetch_rd_ready),
      .b_rd_data_o(wfetch_rd_data),
      .req_valid_o(wgt_req_valid),
      .req_ready_i(wgt_req_ready),
      .req_addr_o(wgt_req_addr),
      .req_beats_o(wgt_req_beats),
      .rd_valid_i(wgt_rd_valid),
      .rd_ready_o(wgt_rd_ready),
      .rd_data_i(wgt_rd_data)
  );

  subrow_axi_read #(
      .DataBytes(ActBytes),
      .BurstBeats(BurstBeats)
  ) u_axi_read_act (
      .clk_i,
      .rst_ni,
      .flush_i(flush),
      .idle_o(act_read_idle),
      .error_o(act_read_error),
      .error_resp_o(act_read_resp),
      .req_valid_i(act_req_valid),
      .req_ready_o(act_req_ready),
      .req_addr_i(act_req_addr),
      .req_beats_i(act_req_beats),
      .rd_valid_o(act_rd_valid),
      .rd_ready_i(act_rd_ready),
      .rd_data_o(act_rd_data),
      .ar_valid_o(m_axi_act_arvalid),
      .ar_ready_i(m_axi_act_arready),
      .ar_addr_o(m_axi_act_araddr),
      .ar_len_o(m_axi_act_arlen),
      .ar_size_o(m_axi_act_arsize),
      .ar_burst_o(m_axi_act_arburst),
      .r_valid_i(m_axi_act_rvalid),
      .r_ready_o(m_axi_act_rready),
      .r_data_i(m_axi_act_rdata),
      .r_resp_i(m_axi_act_rresp),
      .r_last_i(m_axi_act_rlast)
  );

  subrow_axi_read #(
      .DataBytes(WeightBytes),
      .BurstBeats(BurstBeats)
  ) u_axi_read_wgt (
      .clk_i,
      .rst_ni,
      .flush_i(flush),
      .idle_o(wgt_read_idle),
      .error_o(wgt_read_error),
      .error_resp_o(wgt_read_resp),
      .req_valid_i(wgt_req_valid),
      .req_ready_o(wgt_req_ready),
      .req_addr_i(wgt_req_addr),
      .req_beats_i(wgt_req_beats),
      .rd_valid_o(wgt_rd_valid),
      .rd_ready_i(wgt_rd_ready),
      .rd_data_o(wgt_rd_data),
      .ar_valid_o(m_axi_wgt_arvalid),
      .ar_ready_i(m_axi_wgt_arready),
      .ar_addr_o(m_axi_wgt_araddr),
      .ar_len_o(m_axi_wgt_arlen),
      .ar_size_o(m_axi_wgt_arsize),
      .ar_burst_o(m_axi_wgt_arburst),
      .r_valid_i(m_axi_wgt_rvalid),
      .r_ready_o(m_axi_wgt_rready),
      .r_data_i(m_axi_wgt_rdata),
      .r_resp_i(m_axi_wgt_rresp),
      .r_last_i(m_axi_wgt_rlast)
  );

  subrow_axi_write #(
      .DataBytes(ActBytes),
      .BurstBeats(BurstBeats)
  ) u_axi_write (
      .clk_i,
      .rst_ni,
      .flush_i(flush),
      .idle_o(write_idle),
      .error_o(write_error),
      .error_resp_o(write_resp),
      .wr_valid_i(wr_valid),
      .wr_ready_o(wr_ready),
      .wr_addr_i(wr_addr),
      .wr_beats_i(wr_beats),
      .wd_valid_i(wd_valid),
      .wd_ready_o(wd_ready),
      .wd_data_i(wd_data),
      .aw_valid_o(m_axi_act_awvalid),
      .aw_ready_i(m_axi_act_awready),
      .aw_addr_o(m_axi_act_awaddr),
      .aw_len_o(m_axi_act_awlen),
      .aw_size_o(m_axi_act_awsize),
      .aw_burst_o(m_axi_act_awburst),
      .w_valid_o(m_axi_act_wvalid),
      .w_ready_i(m_axi_act_wready),
      .w_data_o(m_axi_act_wdata),
      .w_strb_o(m_axi_act_wstrb),
      .w_last_o(m_axi_act_wlast),
      .b_valid_i(m_axi_act_bvalid),
      .b_ready_o(m_axi_act_bready),
      .b_resp_i(m_axi_act_bresp)
  );

  // ---- fetch --------------------------------------------------------------------------------------------------------
  logic w_we, w_re, p_we, p_re, r_we, r_re;
  logic [$clog2(WeightWords)-1:0] w_waddr, w_raddr;
  logic [WordBits-1:0] w_wdata, w_rdata;
  logic [$clog2(ParamWords)-1:0] p_waddr, p_raddr;
  logic [64*SubRow-1:0] p_wdata, p_rdata;
  logic [$clog2(OutWords)-1:0] r_waddr, r_raddr;
  logic [8*SubRow-1:0] r_wdata, r_rdata;
  logic [7:0] a_we;
  logic a_re;
  logic [$clog2(ActWords)-1:0] a_waddr;
  logic [8*SubRow-1:0] a_wdata;
  logic [7:0][$clog2(ActWords)-1:0] a_raddr;
  logic [7:0][SubRow-1:0][7:0] a_rdata;

  subrow_wfetch #(
      .Channels(Channels),
      .SubRow(SubRow),
      .UBits(UBits),
      .WeightWords(WeightWords),
      .ParamGroups(ParamGroups),
      .WeightBytes(WeightBytes),
      .BurstBeats(BurstBeats)
  ) u_wfetch (
      .clk_i,
      .rst_ni(core_rst_n),
      .cmd_valid_i(wcmd_valid),
      .cmd_ready_o(ready_wfetch),
      .cmd_data_i(wcmd_data),
      .prog_base_i(prog_base),
      .w_wptr_o(w_wptr),
      .p_wptr_o(p_wptr),
      .w_free_i(w_free),
      .p_free_i(p_free),
      .req_valid_o(wfetch_req_valid),
      .req_ready_i(wfetch_req_ready),
      .req_addr_o(wfetch_req_addr),
      .req_beats_o(wfetch_req_beats),
      .rd_valid_i(wfetch_rd_valid),
      .rd_ready_o(wfetch_rd_ready),
      .rd_data_i(wfetch_rd_data),
      .w_we_o(w_we),
      .w_waddr_o(w_waddr),
      .w_wdata_o(w_wdata),
      .p_we_o(p_we),
      .p_waddr_o(p_waddr),
      .p_wdata_o(p_wdata)
  );

  subrow_ram #(
      .Width(WordBits),
      .Depth(WeightWords)
  ) u_wbuf (
      .clk_i,
      .we_i(w_we),
      .waddr_i(w_waddr),
      .wdata_i(w_wdata),
      .re_i(w_re),
      .raddr_i(w_raddr),
      .rdata_o(w_rdata)
  );

  subrow_ram #(
      .Width(64 * SubRow),
      .Depth(ParamWords)
  ) u_pbuf (
      .clk_i,
      .we_i(p_we),
      .waddr_i(p_waddr),
      .wdata_i(p_wdata),
      .re_i(p_re),
      .raddr_i(p_raddr),
      .rdata_o(p_rdata)
  );

  subrow_afetch #(
      .SubRow(SubRow),
      .ActWords(ActWords)
  ) u_afetch (
      .clk_i,
      .rst_ni(core_rst_n),
      .cmd_valid_i(cmd_fire),
      .cmd_ready_o(ready_afetch),
      .cmd_data_i(cmd_data),
      .act_base_i(act_base),
      .act_free_i(act_free),
      .rows_o(rows),
      .req_valid_o(afetch_req_valid),
      .req_ready_i(afetch_req_ready),
      .req_addr_o(afetch_req_addr),
      .req_beats_o(afetch_req_beats),
      .rd_valid_i(afetch_rd_valid),
      .rd_ready_o(afetch_rd_ready),
      .rd_data_i(afetch_rd_data),
      .a_we_o(a_we),
      .a_waddr_o(a_waddr),
      .a_wdata_o(a_wdata)
  );

  for (genvar b = 0; b < 8; b++) begin : g_abuf
    subrow_ram #(
        .Width(8 * SubRow),
        .Depth(ActWords)
    ) u_abuf (
        .clk_i,
        .we_i(a_we[b]),
        .waddr_i(a_waddr),
        .wdata_i(a_wdata),
        .re_i(a_re),
        .raddr_i(a_raddr[b]),
        .rdata_o(a_rdata[b])
    );
  end

  subrow_rfetch #(
      .Channels(Channels),
      .SubRow(SubRow),
      .OutWords(OutWords)
  ) u_rfetch (
      .clk_i,
      .rst_ni(core_rst_n),
      .cmd_valid_i(cmd_fire),
      .cmd_ready_o(ready_rfetch),
      .cmd_data_i(cmd_data),
      .act_base_i(act_base),
      .o_ready_i(o_ready),
      .r_ready_o(r_ready),
      .req_valid_o(rfetch_req_valid),
      .req_ready_i(rfetch_req_ready),
      .req_addr_o(rfetch_req_addr),
      .req_beats_o(rfetch_req_beats),
      .rd_valid_i(rfetch_rd_valid),
      .rd_ready_o(rfetch_rd_ready),
      .rd_data_i(rfetch_rd_data),
      .r_we_o(r_we),
      .r_waddr_o(r_waddr),
      .r_wdata_o(r_wdata)
  );

  subrow_ram #(
      .Width(8 * SubRow),
      .Depth(OutWords)
  ) u_rbuf (
      .clk_i,
      .we_i(r_we),
      .waddr_i(r_waddr),
      .wdata_i(r_wdata),
      .re_i(r_re),
      .raddr_i(r_raddr),
      .rdata_o(r_rdata)
  );

  // ---- compute ------------------------------------------------------------------------------------------------------
  logic [Tiles-1:0] v_we;
  logic v_re, m_we, m_re;
  logic [$clog2(VWords)-1:0] v_waddr, v_raddr;
  logic [3:0][SubRow-1:0][VBits-1:0] v_wdata;
  logic [Tiles-1:0][3:0][SubRow-1:0][VBits-1:0] v_rdata;
  logic [$clog2(MWords)-1:0] m_waddr, m_raddr;
  logic [4*SubRow*AccBits-1:0] m_wdata, m_rdata;

  subrow_itrans #(
      .Tiles(Tiles),
      .SubRow(SubRow),
      .VBits(VBits),
      .ActWords(ActWords),
      .VWords(VWords)
  ) u_itrans (
      .clk_i,
      .rst_ni(core_rst_n),
      .cmd_valid_i(cmd_fire),
      .cmd_ready_o(ready_itrans),
      .cmd_data_i(cmd_data),
      .a_re_o(a_re),
      .a_raddr_o(a_raddr),
      .a_rdata_i(a_rdata),
      .v_we_o(v_we),
      .v_waddr_o(v_waddr),
      .v_wdata_o(v_wdata),
      .rows_i(rows),
      .act_free_o(act_free),
      .q_ready_o(q_ready),
      .v_free_i(v_free)
  );

  for (genvar n = 0; n < Tiles; n++) begin : g_vbuf
    subrow_ram #(
        .Width(4 * SubRow * VBits),
        .Depth(VWords)
    ) u_vbuf (
        .clk_i,
        .we_i(v_we[n]),
        .waddr_i(v_waddr),
        .wdata_i(v_wdata),
        .re_i(v_re),
        .raddr_i(v_raddr),
        .rdata_o(v_rdata[n])
    );
  end

  subrow_array #(
      .Channels(Channels),
      .Tiles(Tiles),
      .SubRow(SubRow),
      .UBits(UBits),
      .VBits(VBits),
      .AccBits(AccBits),
      .VWords(VWords),
      .WeightWords(WeightWords)
  ) u_array (
      .clk_i,
      .rst_ni(core_rst_n),
      .cmd_valid_i(cmd_fire),
      .cmd_ready_o(ready_array),
      .cmd_data_i(cmd_data),
      .v_re_o(v_re),
      .v_raddr_o(v_raddr),
      .v_rdata_i(v_rdata),
      .w_re_o(w_re),
      .w_raddr_o(w_raddr),
      .w_rdata_i(w_rdata),
      .m_we_o(m_we),
      .m_waddr_o(m_waddr),
      .m_wdata_o(m_wdata),
      .q_ready_i(q_ready),
      .v_free_o(v_free),
      .m_ready_o(m_ready),
      .m_free_i(m_free),
      .w_wptr_i(w_wptr),
      .w_free_o(w_free),
      .issued_o(issued),
      .starved_input_o(starved_input),
      .starved_weights_o(starved_weights),
      .blocked_output_o(blocked_output)
  );

  subrow_ram #(
      .Width(4 * SubRow * AccBits),
      .Depth(MWords)
  ) u_mbuf (
      .clk_i,
      .we_i(m_we),
      .waddr_i(m_waddr),
      .wdata_i(m_wdata),
      .re_i(m_re),
      .raddr_i(m_raddr),
      .rdata_o(m_rdata)
  );

  // ---- output -------------------------------------------------------------------------------------------------------
  logic o_we, o_re;
  logic [SubRow*YBits-1:0] y_data;
  logic [28+KbBits-1:0] y_meta;
  logic [$clog2(OutWords)-1:0] o_waddr, o_raddr;
  logic [8*SubRow-1:0] o_wdata, o_rdata;

  subrow_otrans #(
      .Channels(Channels),
      .Tiles(Tiles),
      .SubRow(SubRow),
      .AccBits(AccBits),
      .YBits(YBits)
  ) u_otrans (
      .clk_i,
      .rst_ni(core_rst_n),
      .cmd_valid_i(cmd_fire),
      .cmd_ready_o(ready_otrans),
      .cmd_data_i(cmd_data),
      .m_ready_i(m_ready),
      .m_free_o(m_free),
      .m_re_o(m_re),
      .m_raddr_o(m_raddr),
      .m_rdata_i(m_rdata),
      .y_valid_o(y_valid),
      .y_ready_i(y_ready),
      .y_data_o(y_data),
      .y_meta_o(y_meta)
  );

  subrow_post #(
      .Channels(Channels),
      .SubRow(SubRow),
      .YBits(YBits),
      .ParamGroups(ParamGroups),
      .OutWords(OutWords)
  ) u_post (
      .clk_i,
      .rst_ni(core_rst_n),
      .cmd_valid_i(cmd_fire),
      .cmd_ready_o(ready_post),
      .cmd_data_i(cmd_data),
      .y_valid_i(y_valid),
      .y_ready_o(y_ready),
      .y_data_i(y_data),
      .y_meta_i(y_meta),
      .p_wptr_i(p_wptr),
      .p_free_o(p_free),
      .r_ready_i(r_ready),
      .o_free_i(o_free),
      .o_ready_o(o_ready),
      .p_re_o(p_re),
      .p_raddr_o(p_raddr),
      .p_rdata_i(p_rdata),
      .r_re_o(r_re),
      .r_raddr_o(r_raddr),
      .r_rdata_i(r_rdata),
      .o_we_o(o_we),
      .o_waddr_o(o_waddr),
      .o_wdata_o(o_wdata)
  );

  subrow_ram #(
      .Width(8 * SubRow),
      .Depth(OutWords)
  ) u_obuf (
      .clk_i,
      .we_i(o_we),
      .waddr_i(o_waddr),
      .wdata_i(o_wdata),
      .re_i(o_re),
      .raddr_i(o_raddr),
      .rdata_o(o_rdata)
  );

  subrow_awrite #(
      .Channels(Channels),
      .SubRow(SubRow),
      .OutWords(OutWords)
  ) u_awrite (
      .clk_i,
      .rst_ni(core_rst_n),
      .cmd_valid_i(cmd_fire),
      .cmd_ready_o(ready_awrite),
      .cmd_data_i(cmd_data),
      .act_base_i(act_base),
      .record_base_i(record_base),
      .record_i(record),
      .o_ready_i(o_ready),
      .o_free_o(o_free),
      .layer_done_o(layer_done),
      .o_re_o(o_re),
      .o_raddr_o(o_raddr),
      .o_rdata_i(o_rdata),
      .wr_valid_o(wr_valid),
      .wr_ready_i(wr_ready),
      .wr_addr_o(wr_addr),
      .wr_beats_o(wr_beats),
      .wd_valid_o(wd_valid),
      .wd_ready_i(wd_ready),
      .wd_data_o(wd_data),
      .wr_idle_i(write_idle)
  );
endmodule
