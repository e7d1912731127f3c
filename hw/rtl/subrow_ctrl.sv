// Runs a program: fetches and checks instructions, hands layers to the units, counts, watches for errors.
//
// Contract: `start_i` (pulse) runs `layers_i` instructions at `prog_base_i`; `busy_o` is high until the one-cycle pulse
//   `done_o`, or `error_o` with `error_code_o`. Codes: 1 illegal opcode (once all layers before are complete), 2 AXI
//   error (port 0 activation reads, 1 weight reads, 2 writes), 3 watchdog, 4 an address outside its port's windows (ports
//   likewise). A start during a run is ignored.
//   An instruction goes to wfetch (`w_cmd`) when wfetch is idle, up to 4 layers ahead, and to all other units together
//   (`cmd_valid_o` for one cycle, in which every bit of `cmd_ready_i` is high) once the layer before is done.
//   `record_o` is the current layer's counter record, live: awrite samples it after its last output response.
//   After an error, and while `soft_reset_i` is high, `core_rst_no` holds the units in reset and `flush_o` drains the AXI
//   engines until `bus_idle_i`; a start in that time waits for its end. `state_o` shows `state_i`; after an error, as it
//   was at the error, until the next start.
// Parameters: SubRow 4, 8, 16; PortWords 1, 2, 4; WeightBytes a power of two, 8..64; Units (those on `cmd`) 1..16.
// Cost: 6 instructions in registers and LUT RAM, 8 counters of 40 bits.
module subrow_ctrl #(
    parameter int unsigned SubRow = 8,
    parameter int unsigned PortWords = 1,
    parameter int unsigned WeightBytes = 8,
    parameter int unsigned Units = 7
) (
    input  logic                             clk_i,
    input  logic                             rst_ni,
    // registers
    input  logic                             start_i,
    input  logic                             soft_reset_i,
    input  logic [                     15:0] layers_i,
    input  logic [                     31:0] watchdog_i,
    input  logic [                     39:0] prog_base_i,
    output logic                             busy_o,
    output logic                             done_o,
    output logic                             error_o,
    output logic [                      7:0] error_code_o,
    output logic [                     15:0] layer_o,
    output logic [                     63:0] cycles_o,
    output logic [                      3:0] axi_port_o,
    output logic [                      1:0] axi_resp_o,
    input  logic [                    127:0] state_i,
    output logic [                    127:0] state_o,
    // reset and AXI engines
    output logic                             core_rst_no,
    output logic                             flush_o,
    input  logic                             bus_idle_i,
    input  logic [                      2:0] axi_error_i,
    input  logic [                      2:0] outside_i,
    input  logic [                 2:0][1:0] axi_resp_i,
    // instruction reader
    output logic                             req_valid_o,
    input  logic                             req_ready_i,
    output logic [                     39:0] req_addr_o,
    output logic [                     15:0] req_beats_o,
    input  logic                             rd_valid_i,
    output logic                             rd_ready_o,
    input  logic [        8*WeightBytes-1:0] rd_data_i,
    // units
    output logic                             w_cmd_valid_o,
    input  logic                             w_cmd_ready_i,
    output logic [subrow_pkg::InstrBits-1:0] w_cmd_data_o,
    output logic                             cmd_valid_o,
    input  logic [                Units-1:0] cmd_ready_i,
    output logic [subrow_pkg::InstrBits-1:0] cmd_data_o,
    input  logic                             layer_done_i,
    // one-cycle pulses to count; progress_i: anything else that shows that the engine is alive
    input  logic                             issued_i,
    input  logic                             starved_input_i,
    input  logic                             starved_weights_i,
    input  logic                             blocked_output_i,
    input  logic                             act_beat_i,  // beat taken by afetch or rfetch
    input  logic                             wgt_beat_i,  // word taken by wfetch
    input  logic                             progress_i,
    output logic [                    511:0] record_o
);

  import subrow_pkg::*;

  localparam int unsigned Beats = InstrBytes / WeightBytes;
  localparam int unsigned BeatBits = 8 * WeightBytes;
  localparam logic [7:0] ErrorOpcode = 8'd1, ErrorAxi = 8'd2, ErrorWatchdog = 8'd3;
  localparam logic [7:0] ErrorBounds = 8'd4;

  if (SubRow != 4 && SubRow != 8 && SubRow != 16) begin : g_bad_sub_row
    $error("subrow_ctrl: SubRow = %0d must be 4, 8 or 16", SubRow);
  end
  if (WeightBytes < 8 || WeightBytes > 64 || (WeightBytes & (WeightBytes - 1)) != 0) begin : g_bad_width
    $error("subrow_ctrl: WeightBytes = %0d must be a power of two, 8..64", WeightBytes);
  end
  if (Units < 1 || Units > 16) begin : g_bad_units
    $error("subrow_ctrl: Units = %0d must be 1..16", Units);
  end

  typedef enum logic [1:0] {StIdle, StRun, StStop} state_e;
  state_e state_q;
  logic core_rst_nq, pend_q, run, begin_run, fail, finish, dispatch, active_q;
  logic [1:0] hold_q;             // least length of StStop
  logic [7:0] code;
  logic [15:0] layer_q, fetched_q;
  logic [31:0] quiet_q;
  logic frozen_q;
  logic [127:0] state_copy_q;

  assign run = state_q == StRun;
  assign begin_run = state_q == StIdle && (start_i || pend_q) && !soft_reset_i;

  // ---- instruction fetch, wfetch dispatch ----
  typedef enum logic [1:0] {FeAsk, FeReceive, FeOffer, FeEnd} fetch_e;
  fetch_e fetch_q;
  logic [$clog2(Beats+1)-1:0] beat_q;
  logic [Beats-1:0][BeatBits-1:0] raw_q;
  logic [8*InstrBytes-1:0] raw;
  instr_t fetched;
  logic illegal, queue_ready, push;

  assign raw = raw_q;
  assign fetched = raw[InstrBits-1:0];
  assign illegal = fetched.opcode != OpcodeLayer;
  assign req_valid_o = run && fetch_q == FeAsk;
  assign req_addr_o = prog_base_i + {17'd0, fetched_q, 7'd0};
  assign req_beats_o = 16'(Beats);
  assign rd_ready_o = fetch_q == FeReceive;
  assign w_cmd_valid_o = run && fetch_q == FeOffer && !illegal && queue_ready;
  assign w_cmd_data_o = fetched;
  assign push = run && fetch_q == FeOffer && queue_ready && (illegal || w_cmd_ready_i);

  always_ff @(posedge clk_i) begin
    if (!rst_ni || !run) begin
      fetch_q   <= FeAsk;
      fetched_q <= '0;
      beat_q    <= '0;
    end else begin
      unique case (fetch_q)
        FeAsk: if (req_ready_i) fetch_q <= FeReceive;
        FeReceive: begin
          if (rd_valid_i) begin
            beat_q <= beat_q + 1'b1;
            if (beat_q == ($clog2(Beats + 1))'(Beats - 1)) begin
              beat_q  <= '0;
              fetch_q <= FeOffer;
            end
          end
        end
        FeOffer: begin
          if (push) begin
            fetched_q <= fetched_q + 16'd1;
            fetch_q   <= (illegal || fetched_q + 16'd1 == layers_i) ? FeEnd : FeAsk;
          end
        end
        default: ;
      endcase
    end
    if (rd_valid_i && rd_ready_o) raw_q <= {rd_data_i, raw_q[Beats-1:1]};
  end

  // ---- layers in flight ----
  logic front_valid, front_illegal, bytes_ready, bytes_valid, bytes_push, counting_q;
  instr_t front;
  logic [39:0] layer_beats, beats_q;
  logic queue_rst_n;
  assign queue_rst_n = rst_ni && run;

  subrow_fifo #(
      .Width(InstrBits + 1),
      .Depth(4)
  ) u_queue (
      .clk_i,
      .rst_ni     (queue_rst_n),
      .in_valid_i (push),
      .in_ready_o (queue_ready),
      .in_data_i  ({illegal, fetched}),
      .out_valid_o(front_valid),
      .out_ready_i(dispatch),
      .out_data_o ({front_illegal, front})
  );

  // Bytes that wfetch read for each layer in flight; a layer's entry is there long before its outputs are.
  subrow_fifo #(
      .Width(40),
      .Depth(8)
  ) u_weight_beats (
      .clk_i,
      .rst_ni     (queue_rst_n),
      .in_valid_i (bytes_push),
      .in_ready_o (bytes_ready),
      .in_data_i  (beats_q),
      .out_valid_o(bytes_valid),
      .out_ready_i(layer_done_i),
      .out_data_o (layer_beats)
  );

  assign bytes_push = counting_q && w_cmd_ready_i;
  always_ff @(posedge clk_i) begin
    if (!rst_ni || !run) counting_q <= 1'b0;
    else if (w_cmd_valid_o && w_cmd_ready_i) counting_q <= 1'b1;
    else if (bytes_push) counting_q <= 1'b0;
    if (w_cmd_valid_o && w_cmd_ready_i) beats_q <= '0;
    else if (wgt_beat_i) beats_q <= beats_q + 40'd1;
  end

  assign dispatch = run && front_valid && !front_illegal && !active_q && (&cmd_ready_i);
  assign cmd_valid_o = dispatch;
  assign cmd_data_o = front;
  assign finish = run && active_q && layer_done_i && layer_q + 16'd1 == layers_i;

  // ---- errors ----
  logic alive;
  assign alive = progress_i || act_beat_i || wgt_beat_i || issued_i || layer_done_i || rd_valid_i || dispatch;
  always_comb begin
    fail = 1'b1;
    code = ErrorAxi;
    if (outside_i != 3'd0) code = ErrorBounds;
    else if (axi_error_i != 3'd0) code = ErrorAxi;
    else if (front_valid && front_illegal && !active_q) code = ErrorOpcode;
    else if (watchdog_i != 32'd0 && quiet_q == watchdog_i) code = ErrorWatchdog;
    else fail = 1'b0;
    if (!run || finish) fail = 1'b0;
  end

  always_ff @(posedge clk_i) begin
    done_o  <= 1'b0;
    error_o <= 1'b0;
    if (!rst_ni) begin
      state_q <= StIdle;
      core_rst_nq <= 1'b0;
      pend_q <= 1'b0;
      active_q <= 1'b0;
      frozen_q <= 1'b0;
      axi_port_o <= '0;
      axi_resp_o <= '0;
      error_code_o <= '0;
      layer_q <= '0;
      cycles_o <= '0;
      quiet_q <= '0;
      hold_q <= '0;
    end else begin
      core_rst_nq <= 1'b1;
      pend_q <= soft_reset_i ? 1'b0 : (pend_q || (start_i && state_q == StStop)) && !begin_run;
      unique case (state_q)
        StIdle: begin
          if (soft_reset_i) state_q <= StStop;
          else if (begin_run && layers_i == 16'd0) done_o <= 1'b1;
          else if (begin_run) state_q <= StRun;
        end
        StRun: begin
          cycles_o <= cycles_o + 64'd1;
          quiet_q <= alive ? 32'd0 : quiet_q + 32'd1;
          if (dispatch) active_q <= 1'b1;
          else if (layer_done_i) active_q <= 1'b0;
          if (active_q && layer_done_i) layer_q <= layer_q + 16'd1;
          if (soft_reset_i) begin
            state_q <= StStop;
          end else if (finish) begin
            state_q <= StIdle;
            done_o  <= 1'b1;
          end else if (fail) begin
            state_q <= StStop;
            error_o <= 1'b1;
            error_code_o <= code;
            frozen_q <= 1'b1;
          end
        end
        default: begin
          core_rst_nq <= 1'b0;
          active_q <= 1'b0;
          hold_q <= soft_reset_i || !bus_idle_i ? 2'd0 : hold_q + 2'd1;
          if (hold_q == 2'd3) state_q <= StIdle;
        end
      endcase
      if (begin_run) begin
        layer_q <= '0;
        cycles_o <= '0;
        quiet_q <= '0;
        frozen_q <= 1'b0;
        hold_q <= '0;
        axi_port_o <= '0;
        axi_resp_o <= '0;
      end
      for (int unsigned p = 0; p < 3; p++) begin
        if (outside_i[p]) axi_port_o <= 4'(p);
        if (axi_error_i[p]) begin
          axi_port_o <= 4'(p);
          axi_resp_o <= axi_resp_i[p];
        end
      end
    end
    if (!frozen_q) state_copy_q <= state_i;
  end

  assign busy_o = run || pend_q;
  assign flush_o = state_q == StStop;
  assign core_rst_no = core_rst_nq;
  assign layer_o = layer_q;
  assign state_o = state_copy_q;

  // ---- counters of the layer ----
  logic [14:0] layer_id_q;
  logic [5:0] pulse;
  logic [5:0][39:0] count_q;
  assign pulse = {act_beat_i, blocked_output_i, starved_weights_i, starved_input_i, issued_i, 1'b1};

  always_ff @(posedge clk_i) begin
    for (int unsigned i = 0; i < 6; i++) begin
      if (dispatch) count_q[i] <= '0;
      else if (pulse[i]) count_q[i] <= count_q[i] + 40'd1;
    end
    if (dispatch) layer_id_q <= front.layer_id;
  end

  assign record_o = {
    64'(layer_beats) << $clog2(WeightBytes),
    64'(count_q[5]) << $clog2(SubRow * PortWords),
    64'(count_q[4]),
    64'(count_q[3]),
    64'(count_q[2]),
    64'(count_q[1]),
    64'(count_q[0]),
    64'(layer_id_q)
  };

  logic unused_ok;
  assign unused_ok = ^{raw, bytes_ready, bytes_valid};

endmodule
