// The units of docs/hardware.md and the buffers between them: from fetched words to written ones.
//
// Contract: docs/hardware.md. Every buffer stands here, between the unit that writes it and the one that reads it. A layer
// starts in subrow_wfetch with wcmd_valid_i, in all other units with cmd_fire_i, when those that it goes to are ready.
// Requests, streams and counters as in the tables there; y_valid_o, y_ready_o and the counters are for the watchdog and
// the state dump.
// Parameters: HwConfig.rtl_parameters(); the units check their ranges at elaboration.

module subrow_datapath
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
    localparam int unsigned ActBytes = SubRow * PortWords,
    localparam int unsigned AddrBits = 40
) (
    input logic clk_i,
    input logic rst_ni,

    input  logic wcmd_valid_i,
    input  logic [InstrBits-1:0] wcmd_data_i,
    input  logic cmd_fire_i,
    input  logic [InstrBits-1:0] cmd_data_i,
    output logic ready_wfetch_o,
    output logic ready_afetch_o,
    output logic ready_rfetch_o,
    output logic ready_itrans_o,
    output logic ready_array_o,
    output logic ready_otrans_o,
    output logic ready_post_o,
    output logic ready_awrite_o,
    input  logic [AddrBits-1:0] prog_base_i,
    input  logic [AddrBits-1:0] act_base_i,
    input  logic [AddrBits-1:0] record_base_i,
    input  logic [64*RecordWords-1:0] record_i,
    output logic layer_done_o,
    output logic issued_o,
    output logic starved_input_o,
    output logic starved_weights_o,
    output logic blocked_output_o,
    output logic y_valid_o,
    output logic y_ready_o,
    output logic [15:0] rows_o,
    output logic [15:0] q_ready_o,
    output logic [15:0] act_free_o,
    output logic [15:0] v_free_o,
    output logic [15:0] m_ready_o,
    output logic [15:0] m_free_o,
    output logic [15:0] o_ready_o,
    output logic [15:0] o_free_o,
    output logic [15:0] r_ready_o,
    output logic [23:0] w_wptr_o,
    output logic [23:0] w_free_o,

    output logic wfetch_req_valid_o,
    input  logic wfetch_req_ready_i,
    output logic [AddrBits-1:0] wfetch_req_addr_o,
    output logic [15:0] wfetch_req_beats_o,
    input  logic wfetch_rd_valid_i,
    output logic wfetch_rd_ready_o,
    input  logic [8*WeightBytes-1:0] wfetch_rd_data_i,

    output logic afetch_req_valid_o,
    input  logic afetch_req_ready_i,
    output logic [AddrBits-1:0] afetch_req_addr_o,
    output logic [15:0] afetch_req_beats_o,
    input  logic afetch_rd_valid_i,
    output logic afetch_rd_ready_o,
    input  logic [8*ActBytes-1:0] afetch_rd_data_i,

    output logic rfetch_req_valid_o,
    input  logic rfetch_req_ready_i,
    output logic [AddrBits-1:0] rfetch_req_addr_o,
    output logic [15:0] rfetch_req_beats_o,
    input  logic rfetch_rd_valid_i,
    output logic rfetch_rd_ready_o,
    input  logic [8*ActBytes-1:0] rfetch_rd_data_i,

    output logic wr_valid_o,
    input  logic wr_ready_i,
    output logic [AddrBits-1:0] wr_addr_o,
    output logic [15:0] wr_beats_o,
    output logic wd_valid_o,
    input  logic wd_ready_i,
    output logic [8*ActBytes-1:0] wd_data_o,
    output logic [ActBytes-1:0] wd_strb_o,
    input  logic write_idle_i
);

  localparam int unsigned Cb = Channels / SubRow;
  localparam int unsigned KbBits = Cb > 1 ? $clog2(Cb) : 1;
  localparam int unsigned Nk = Tiles * Cb;
  localparam int unsigned IdxBits = $clog2(SubRow);
  localparam int unsigned WordBits = 4 * Channels * (UBits + IdxBits);
  localparam int unsigned ParamWords = ParamGroups * Cb;
  localparam int unsigned MWords = 18 * Nk;

  logic [23:0] p_wptr, p_free;

  // ---- fetch --------------------------------------------------------------------------------------------------------
  logic w_we, w_re, p_we, p_re, r_re;
  logic [$clog2(WeightWords)-1:0] w_waddr, w_raddr;
  logic [WordBits-1:0] w_wdata, w_rdata;
  logic [$clog2(ParamWords)-1:0] p_waddr, p_raddr;
  logic [64*SubRow-1:0] p_wdata, p_rdata;
  logic [PortWords-1:0] r_we, a_way;
  logic [PortWords-1:0][$clog2(OutWords)-1:0] r_waddr;
  logic [$clog2(OutWords)-1:0] r_raddr;
  logic [PortWords-1:0][8*SubRow-1:0] r_wdata, a_wdata;
  logic [8*SubRow-1:0] r_rdata;
  logic [7:0] a_we;
  logic a_re;
  logic [PortWords-1:0][$clog2(ActWords)-1:0] a_waddr;
  logic [7:0][$clog2(ActWords)-1:0] a_raddr;
  logic [7:0][SubRow-1:0][7:0] a_rdata;

  subrow_wfetch #(
      .Channels(Channels), .SubRow(SubRow), .UBits(UBits), .NarrowU(NarrowU), .WeightWords(WeightWords),
      .ParamGroups(ParamGroups), .WeightBytes(WeightBytes), .BurstBeats(BurstBeats)
  ) u_wfetch (
      .clk_i,
      .rst_ni,
      .cmd_valid_i(wcmd_valid_i),
      .cmd_ready_o(ready_wfetch_o),
      .cmd_data_i(wcmd_data_i),
      .prog_base_i(prog_base_i),
      .w_wptr_o(w_wptr_o),
      .p_wptr_o(p_wptr),
      .w_free_i(w_free_o),
      .p_free_i(p_free),
      .req_valid_o(wfetch_req_valid_o),
      .req_ready_i(wfetch_req_ready_i),
      .req_addr_o(wfetch_req_addr_o),
      .req_beats_o(wfetch_req_beats_o),
      .rd_valid_i(wfetch_rd_valid_i),
      .rd_ready_o(wfetch_rd_ready_o),
      .rd_data_i(wfetch_rd_data_i),
      .w_we_o(w_we),
      .w_waddr_o(w_waddr),
      .w_wdata_o(w_wdata),
      .p_we_o(p_we),
      .p_waddr_o(p_waddr),
      .p_wdata_o(p_wdata)
  );

  subrow_ram #(.Width(WordBits), .Depth(WeightWords)) u_wbuf (
      .clk_i,
      .we_i(w_we),
      .waddr_i(w_waddr),
      .wdata_i(w_wdata),
      .re_i(w_re),
      .raddr_i(w_raddr),
      .rdata_o(w_rdata)
  );

  subrow_ram #(.Width(64 * SubRow), .Depth(ParamWords)) u_pbuf (
      .clk_i,
      .we_i(p_we),
      .waddr_i(p_waddr),
      .wdata_i(p_wdata),
      .re_i(p_re),
      .raddr_i(p_raddr),
      .rdata_o(p_rdata)
  );

  subrow_afetch #(.SubRow(SubRow), .ActWords(ActWords), .PortWords(PortWords)) u_afetch (
      .clk_i,
      .rst_ni,
      .cmd_valid_i(cmd_fire_i),
      .cmd_ready_o(ready_afetch_o),
      .cmd_data_i(cmd_data_i),
      .act_base_i(act_base_i),
      .act_free_i(act_free_o),
      .rows_o(rows_o),
      .req_valid_o(afetch_req_valid_o),
      .req_ready_i(afetch_req_ready_i),
      .req_addr_o(afetch_req_addr_o),
      .req_beats_o(afetch_req_beats_o),
      .rd_valid_i(afetch_rd_valid_i),
      .rd_ready_o(afetch_rd_ready_o),
      .rd_data_i(afetch_rd_data_i),
      .a_we_o(a_we),
      .a_way_o(a_way),
      .a_waddr_o(a_waddr),
      .a_wdata_o(a_wdata)
  );

  for (genvar b = 0; b < 8; b++) begin : g_abuf
    subrow_ram_fill #(.Width(8 * SubRow), .Depth(ActWords), .Ways(PortWords)) u_abuf (
        .clk_i,
        .we_i(a_way & {PortWords{a_we[b]}}),
        .waddr_i(a_waddr),
        .wdata_i(a_wdata),
        .re_i(a_re),
        .raddr_i(a_raddr[b]),
        .rdata_o(a_rdata[b])
    );
  end

  subrow_rfetch #(
      .Channels(Channels), .SubRow(SubRow), .OutWords(OutWords), .PortWords(PortWords)
  ) u_rfetch (
      .clk_i,
      .rst_ni,
      .cmd_valid_i(cmd_fire_i),
      .cmd_ready_o(ready_rfetch_o),
      .cmd_data_i(cmd_data_i),
      .act_base_i(act_base_i),
      .o_ready_i(o_ready_o),
      .r_ready_o(r_ready_o),
      .req_valid_o(rfetch_req_valid_o),
      .req_ready_i(rfetch_req_ready_i),
      .req_addr_o(rfetch_req_addr_o),
      .req_beats_o(rfetch_req_beats_o),
      .rd_valid_i(rfetch_rd_valid_i),
      .rd_ready_o(rfetch_rd_ready_o),
      .rd_data_i(rfetch_rd_data_i),
      .r_we_o(r_we),
      .r_waddr_o(r_waddr),
      .r_wdata_o(r_wdata)
  );

  subrow_ram_fill #(.Width(8 * SubRow), .Depth(OutWords), .Ways(PortWords), .WayLsb($clog2(Cb))) u_rbuf (
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

  subrow_itrans #(.Tiles(Tiles), .SubRow(SubRow), .VBits(VBits), .ActWords(ActWords), .VWords(VWords)) u_itrans (
      .clk_i,
      .rst_ni,
      .cmd_valid_i(cmd_fire_i),
      .cmd_ready_o(ready_itrans_o),
      .cmd_data_i(cmd_data_i),
      .a_re_o(a_re),
      .a_raddr_o(a_raddr),
      .a_rdata_i(a_rdata),
      .v_we_o(v_we),
      .v_waddr_o(v_waddr),
      .v_wdata_o(v_wdata),
      .rows_i(rows_o),
      .act_free_o(act_free_o),
      .q_ready_o(q_ready_o),
      .v_free_i(v_free_o)
  );

  for (genvar n = 0; n < Tiles; n++) begin : g_vbuf
    subrow_ram #(.Width(4 * SubRow * VBits), .Depth(VWords)) u_vbuf (
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
      .Channels(Channels), .Tiles(Tiles), .SubRow(SubRow), .UBits(UBits), .VBits(VBits), .AccBits(AccBits),
      .VWords(VWords), .WeightWords(WeightWords)
  ) u_array (
      .clk_i,
      .rst_ni,
      .cmd_valid_i(cmd_fire_i),
      .cmd_ready_o(ready_array_o),
      .cmd_data_i(cmd_data_i),
      .v_re_o(v_re),
      .v_raddr_o(v_raddr),
      .v_rdata_i(v_rdata),
      .w_re_o(w_re),
      .w_raddr_o(w_raddr),
      .w_rdata_i(w_rdata),
      .m_we_o(m_we),
      .m_waddr_o(m_waddr),
      .m_wdata_o(m_wdata),
      .q_ready_i(q_ready_o),
      .v_free_o(v_free_o),
      .m_ready_o(m_ready_o),
      .m_free_i(m_free_o),
      .w_wptr_i(w_wptr_o),
      .w_free_o(w_free_o),
      .issued_o(issued_o),
      .starved_input_o(starved_input_o),
      .starved_weights_o(starved_weights_o),
      .blocked_output_o(blocked_output_o)
  );

  subrow_ram #(.Width(4 * SubRow * AccBits), .Depth(MWords)) u_mbuf (
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
  logic [$clog2(OutWords)-1:0] o_waddr;
  logic [PortWords-1:0][$clog2(OutWords)-1:0] o_raddr;
  logic [8*SubRow-1:0] o_wdata;
  logic [PortWords-1:0][8*SubRow-1:0] o_rdata;

  subrow_otrans #(.Channels(Channels), .Tiles(Tiles), .SubRow(SubRow), .AccBits(AccBits), .YBits(YBits)) u_otrans (
      .clk_i,
      .rst_ni,
      .cmd_valid_i(cmd_fire_i),
      .cmd_ready_o(ready_otrans_o),
      .cmd_data_i(cmd_data_i),
      .m_ready_i(m_ready_o),
      .m_free_o(m_free_o),
      .m_re_o(m_re),
      .m_raddr_o(m_raddr),
      .m_rdata_i(m_rdata),
      .y_valid_o(y_valid_o),
      .y_ready_i(y_ready_o),
      .y_data_o(y_data),
      .y_meta_o(y_meta)
  );

  subrow_post #(
      .Channels(Channels), .SubRow(SubRow), .YBits(YBits), .ParamGroups(ParamGroups), .OutWords(OutWords)
  ) u_post (
      .clk_i,
      .rst_ni,
      .cmd_valid_i(cmd_fire_i),
      .cmd_ready_o(ready_post_o),
      .cmd_data_i(cmd_data_i),
      .y_valid_i(y_valid_o),
      .y_ready_o(y_ready_o),
      .y_data_i(y_data),
      .y_meta_i(y_meta),
      .p_wptr_i(p_wptr),
      .p_free_o(p_free),
      .r_ready_i(r_ready_o),
      .o_free_i(o_free_o),
      .o_ready_o(o_ready_o),
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

  subrow_ram_drain #(.Width(8 * SubRow), .Depth(OutWords), .Ways(PortWords), .WayLsb($clog2(Cb))) u_obuf (
      .clk_i,
      .we_i(o_we),
      .waddr_i(o_waddr),
      .wdata_i(o_wdata),
      .re_i(o_re),
      .raddr_i(o_raddr),
      .rdata_o(o_rdata)
  );

  subrow_awrite #(
      .Channels(Channels), .SubRow(SubRow), .OutWords(OutWords), .PortWords(PortWords)
  ) u_awrite (
      .clk_i,
      .rst_ni,
      .cmd_valid_i(cmd_fire_i),
      .cmd_ready_o(ready_awrite_o),
      .cmd_data_i(cmd_data_i),
      .act_base_i(act_base_i),
      .record_base_i(record_base_i),
      .record_i(record_i),
      .o_ready_i(o_ready_o),
      .o_free_o(o_free_o),
      .layer_done_o(layer_done_o),
      .o_re_o(o_re),
      .o_raddr_o(o_raddr),
      .o_rdata_i(o_rdata),
      .wr_valid_o(wr_valid_o),
      .wr_ready_i(wr_ready_i),
      .wr_addr_o(wr_addr_o),
      .wr_beats_o(wr_beats_o),
      .wd_valid_o(wd_valid_o),
      .wd_ready_i(wd_ready_i),
      .wd_data_o(wd_data_o),
      .wd_strb_o(wd_strb_o),
      .wr_idle_i(write_idle_i)
  );
endmodule
