// The engine: control and registers, the units (subrow_datapath) and the memory ports (subrow_memory).
//
// Contract: docs/hardware.md. Two AXI4 masters (activations: read and write; weights: read only), one AXI4-Lite slave
// (hw/regs), one level interrupt.
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


  // ---- control ------------------------------------------------------------------------------------------------------
  logic core_rst_n, flush, cmd_fire, wcmd_valid;
  logic [InstrBits-1:0] cmd_data, wcmd_data;
  logic [AddrBits-1:0] prog_base, act_base, record_base;
  logic [64*RecordWords-1:0] record;
  logic layer_done, issued, starved_input, starved_weights, blocked_output;
  logic ready_wfetch, ready_afetch, ready_rfetch, ready_itrans, ready_array, ready_otrans, ready_post, ready_awrite;
  logic act_read_idle, act_read_error, wgt_read_idle, wgt_read_error, write_idle, write_error;
  logic [1:0] act_read_resp, wgt_read_resp, write_resp;
  logic [2:0] outside;

  // Counters between the units; see the table in docs/hardware.md.
  /* verilator lint_off UNUSEDSIGNAL */
  logic [15:0] rows, act_free, q_ready, v_free, m_ready, m_free, o_ready, o_free, r_ready;
  logic [23:0] w_wptr, w_free;  // of most only the low bits are shown
  /* verilator lint_on UNUSEDSIGNAL */

  logic y_valid, y_ready, act_beat;
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
  logic [ActBytes-1:0] wd_strb;

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

  subrow_ctrl #(.SubRow(SubRow), .PortWords(PortWords), .WeightBytes(WeightBytes), .Units(7)) u_ctrl (
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
      .outside_i(outside),
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
      .act_beat_i(act_beat),
      .wgt_beat_i(wfetch_rd_valid & wfetch_rd_ready),
      .progress_i((m_axi_act_wvalid & m_axi_act_wready) | (y_valid & y_ready)),
      .record_o(record)
  );

  subrow_memory #(
      .SubRow(SubRow), .WeightBytes(WeightBytes), .BurstBeats(BurstBeats), .PortWords(PortWords)
  ) u_memory (
      .clk_i,
      .rst_ni,
      .core_rst_n_i(core_rst_n), .flush_i(flush), .act_read_idle_o(act_read_idle),
      .act_read_error_o(act_read_error), .act_read_resp_o(act_read_resp), .wgt_read_idle_o(wgt_read_idle),
      .wgt_read_error_o(wgt_read_error), .wgt_read_resp_o(wgt_read_resp), .write_idle_o(write_idle),
      .write_error_o(write_error), .write_resp_o(write_resp), .act_beat_o(act_beat),
      .first_i({regs_out.RECORD_FIRST.page.value, regs_out.ACT_FIRST.page.value, regs_out.PROG_FIRST.page.value}),
      .last_i({regs_out.RECORD_LAST.page.value, regs_out.ACT_LAST.page.value, regs_out.PROG_LAST.page.value}),
      .outside_o(outside),
      .afetch_req_valid_i(afetch_req_valid), .afetch_req_ready_o(afetch_req_ready),
      .afetch_req_addr_i(afetch_req_addr), .afetch_req_beats_i(afetch_req_beats),
      .afetch_rd_valid_o(afetch_rd_valid), .afetch_rd_ready_i(afetch_rd_ready),
      .afetch_rd_data_o(afetch_rd_data), .rfetch_req_valid_i(rfetch_req_valid),
      .rfetch_req_ready_o(rfetch_req_ready), .rfetch_req_addr_i(rfetch_req_addr),
      .rfetch_req_beats_i(rfetch_req_beats), .rfetch_rd_valid_o(rfetch_rd_valid),
      .rfetch_rd_ready_i(rfetch_rd_ready), .rfetch_rd_data_o(rfetch_rd_data), .ctrl_req_valid_i(ctrl_req_valid),
      .ctrl_req_ready_o(ctrl_req_ready), .ctrl_req_addr_i(ctrl_req_addr), .ctrl_req_beats_i(ctrl_req_beats),
      .ctrl_rd_valid_o(ctrl_rd_valid), .ctrl_rd_ready_i(ctrl_rd_ready), .ctrl_rd_data_o(ctrl_rd_data),
      .wfetch_req_valid_i(wfetch_req_valid), .wfetch_req_ready_o(wfetch_req_ready),
      .wfetch_req_addr_i(wfetch_req_addr), .wfetch_req_beats_i(wfetch_req_beats),
      .wfetch_rd_valid_o(wfetch_rd_valid), .wfetch_rd_ready_i(wfetch_rd_ready),
      .wfetch_rd_data_o(wfetch_rd_data), .wr_valid_i(wr_valid), .wr_ready_o(wr_ready), .wr_addr_i(wr_addr),
      .wr_beats_i(wr_beats), .wd_valid_i(wd_valid), .wd_ready_o(wd_ready), .wd_data_i(wd_data), .wd_strb_i(wd_strb),
      .m_axi_act_arvalid, .m_axi_act_arready, .m_axi_act_araddr, .m_axi_act_arlen, .m_axi_act_arsize,
      .m_axi_act_arburst, .m_axi_act_rvalid, .m_axi_act_rready, .m_axi_act_rdata, .m_axi_act_rresp,
      .m_axi_act_rlast, .m_axi_act_awvalid, .m_axi_act_awready, .m_axi_act_awaddr, .m_axi_act_awlen,
      .m_axi_act_awsize, .m_axi_act_awburst, .m_axi_act_wvalid, .m_axi_act_wready, .m_axi_act_wdata,
      .m_axi_act_wstrb, .m_axi_act_wlast, .m_axi_act_bvalid, .m_axi_act_bready, .m_axi_act_bresp,
      .m_axi_wgt_arvalid, .m_axi_wgt_arready, .m_axi_wgt_araddr, .m_axi_wgt_arlen, .m_axi_wgt_arsize,
      .m_axi_wgt_arburst, .m_axi_wgt_rvalid, .m_axi_wgt_rready, .m_axi_wgt_rdata, .m_axi_wgt_rresp,
      .m_axi_wgt_rlast
  );

  subrow_datapath #(
      .Channels(Channels), .Tiles(Tiles), .SubRow(SubRow), .UBits(UBits), .VBits(VBits), .AccBits(AccBits),
      .YBits(YBits), .NarrowU(NarrowU), .ActWords(ActWords), .VWords(VWords), .WeightWords(WeightWords),
      .ParamGroups(ParamGroups), .OutWords(OutWords), .WeightBytes(WeightBytes), .BurstBeats(BurstBeats),
      .PortWords(PortWords)
  ) u_datapath (
      .clk_i,
      .rst_ni(core_rst_n),
      .wcmd_valid_i(wcmd_valid), .wcmd_data_i(wcmd_data), .cmd_fire_i(cmd_fire), .cmd_data_i(cmd_data),
      .ready_wfetch_o(ready_wfetch), .ready_afetch_o(ready_afetch), .ready_rfetch_o(ready_rfetch),
      .ready_itrans_o(ready_itrans), .ready_array_o(ready_array), .ready_otrans_o(ready_otrans),
      .ready_post_o(ready_post), .ready_awrite_o(ready_awrite), .prog_base_i(prog_base), .act_base_i(act_base),
      .record_base_i(record_base), .record_i(record), .layer_done_o(layer_done), .issued_o(issued),
      .starved_input_o(starved_input), .starved_weights_o(starved_weights), .blocked_output_o(blocked_output),
      .y_valid_o(y_valid), .y_ready_o(y_ready), .rows_o(rows), .q_ready_o(q_ready), .act_free_o(act_free),
      .v_free_o(v_free), .m_ready_o(m_ready), .m_free_o(m_free), .o_ready_o(o_ready), .o_free_o(o_free),
      .r_ready_o(r_ready), .w_wptr_o(w_wptr), .w_free_o(w_free), .wfetch_req_valid_o(wfetch_req_valid),
      .wfetch_req_ready_i(wfetch_req_ready), .wfetch_req_addr_o(wfetch_req_addr),
      .wfetch_req_beats_o(wfetch_req_beats), .wfetch_rd_valid_i(wfetch_rd_valid),
      .wfetch_rd_ready_o(wfetch_rd_ready), .wfetch_rd_data_i(wfetch_rd_data),
      .afetch_req_valid_o(afetch_req_valid), .afetch_req_ready_i(afetch_req_ready),
      .afetch_req_addr_o(afetch_req_addr), .afetch_req_beats_o(afetch_req_beats),
      .afetch_rd_valid_i(afetch_rd_valid), .afetch_rd_ready_o(afetch_rd_ready),
      .afetch_rd_data_i(afetch_rd_data), .rfetch_req_valid_o(rfetch_req_valid),
      .rfetch_req_ready_i(rfetch_req_ready), .rfetch_req_addr_o(rfetch_req_addr),
      .rfetch_req_beats_o(rfetch_req_beats), .rfetch_rd_valid_i(rfetch_rd_valid),
      .rfetch_rd_ready_o(rfetch_rd_ready), .rfetch_rd_data_i(rfetch_rd_data), .wr_valid_o(wr_valid),
      .wr_ready_i(wr_ready), .wr_addr_o(wr_addr), .wr_beats_o(wr_beats), .wd_valid_o(wd_valid),
      .wd_ready_i(wd_ready), .wd_data_o(wd_data), .wd_strb_o(wd_strb), .write_idle_i(write_idle)
  );
endmodule
