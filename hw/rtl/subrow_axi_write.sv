// Write engine: turns requests and a stream of words into AXI4 write bursts and counts the responses.
//
// Contract: a request names a byte address, of which the words that hold it count, and 1..65535 words; the words of all requests follow each other
//   on `wd`, in order. The stream may come before, with or after its request. Bursts are INCR, at most BurstBeats
//   long, never cross a multiple of BurstBeats * DataBytes, and at most MaxOutstanding are open. `wd_strb_i` goes with each word.
//   `idle_o` falls in the cycle after a request is taken and rises when every response is in. `error_o` pulses for a
//   response that is not OKAY, with that response in `error_resp_o`.
//   A burst whose page (address >> 12) is in neither window first_i..last_i is outside: it goes to the page first_i[0] with
//   strobes 0, as all words behind it do until a flush, and `outside_o` is high while its address is offered. Windows may
//   change while idle.
//   `flush_i` (level): nothing more is asked; open bursts are finished with strobes 0. After `flush_i && idle_o` the
//   engine is as after reset. `rst_ni` itself must only come with a reset of the bus.
// Parameters: DataBytes 4..64, a power of two; BurstBeats a power of two, 2..256; MaxOutstanding a power of two, 2..64.
// Cost: two address registers, one 40-bit adder, one word of data, four comparators of pages.
module subrow_axi_write #(
    parameter int unsigned DataBytes = 8,
    parameter int unsigned BurstBeats = 16,
    parameter int unsigned MaxOutstanding = 8
) (
    input  logic                   clk_i,
    input  logic                   rst_ni,
    input  logic                   flush_i,
    output logic                   idle_o,
    output logic                   error_o,
    output logic [            1:0] error_resp_o,
    input  logic [     1:0][ 27:0] first_i,
    input  logic [     1:0][ 27:0] last_i,
    output logic                   outside_o,
    input  logic                   wr_valid_i,
    output logic                   wr_ready_o,
    input  logic [           39:0] wr_addr_i,
    input  logic [           15:0] wr_beats_i,
    input  logic                   wd_valid_i,
    output logic                   wd_ready_o,
    input  logic [8*DataBytes-1:0] wd_data_i,
    input  logic [  DataBytes-1:0] wd_strb_i,
    output logic                   aw_valid_o,
    input  logic                   aw_ready_i,
    output logic [           39:0] aw_addr_o,
    output logic [            7:0] aw_len_o,
    output logic [            2:0] aw_size_o,
    output logic [            1:0] aw_burst_o,
    output logic                   w_valid_o,
    input  logic                   w_ready_i,
    output logic [8*DataBytes-1:0] w_data_o,
    output logic [  DataBytes-1:0] w_strb_o,
    output logic                   w_last_o,
    input  logic                   b_valid_i,
    output logic                   b_ready_o,
    input  logic [            1:0] b_resp_i
);

  localparam int unsigned WordLsb = $clog2(DataBytes);
  localparam int unsigned BurstBits = $clog2(BurstBeats);
  localparam int unsigned CountBits = $clog2(MaxOutstanding + 1);

  if (DataBytes < 4 || DataBytes > 64 || (DataBytes & (DataBytes - 1)) != 0) begin : g_bad_width
    $error("subrow_axi_write: DataBytes = %0d must be a power of two, 4..64", DataBytes);
  end
  if (BurstBeats < 2 || BurstBeats > 256 || (BurstBeats & (BurstBeats - 1)) != 0) begin : g_bad_burst
    $error("subrow_axi_write: BurstBeats = %0d must be a power of two, 2..256", BurstBeats);
  end
  if (MaxOutstanding < 2 || MaxOutstanding > 64 || (MaxOutstanding & (MaxOutstanding - 1)) != 0) begin : g_bad_open
    $error("subrow_axi_write: MaxOutstanding = %0d must be a power of two, 2..64", MaxOutstanding);
  end

  logic busy_q, aw_valid_q, w_valid_q, w_last_q, outside_q, mute_q;
  logic [1:0] allowed;                   // the windows
  logic [39:WordLsb] addr_q, aw_addr_q;  // words
  logic [15:0] left_q;
  logic [7:0] aw_len_q, beat_q;
  logic [8*DataBytes-1:0] w_data_q;
  logic [DataBytes-1:0] w_strb_q;
  logic [CountBits-1:0] open_q;          // bursts from the AW register to their response
  logic [BurstBits:0] room;
  logic [15:0] take;
  logic issue, close, load;
  logic len_valid, len_last, lens_ready;
  logic [7:0] len;

  assign room = (BurstBits + 1)'(BurstBeats) - {1'b0, addr_q[WordLsb+:BurstBits]};
  assign take = (left_q < 16'(room)) ? left_q : 16'(room);
  assign issue = busy_q && !flush_i && (!aw_valid_q || aw_ready_i) && open_q != CountBits'(MaxOutstanding) &&
                 lens_ready;
  assign close = b_valid_i;

  subrow_fifo #(
      .Width(8),
      .Depth(MaxOutstanding)
  ) u_lens (
      .clk_i,
      .rst_ni,
      .in_valid_i (issue),
      .in_ready_o (lens_ready),
      .in_data_i  (8'(take - 16'd1)),
      .out_valid_o(len_valid),
      .out_ready_i(load && len_last),
      .out_data_o (len)
  );

  assign len_last = beat_q == len;
  assign load = len_valid && (wd_valid_i || flush_i) && (!w_valid_q || w_ready_i);

  assign wr_ready_o = !busy_q && !flush_i;
  assign wd_ready_o = len_valid && !flush_i && (!w_valid_q || w_ready_i);
  assign aw_valid_o = aw_valid_q;
  assign aw_addr_o = outside_q ? {first_i[0], 12'b0} : {aw_addr_q, {WordLsb{1'b0}}};
  assign aw_len_o = aw_len_q;
  assign aw_size_o = 3'(WordLsb);
  assign aw_burst_o = 2'b01;
  assign w_valid_o = w_valid_q;
  assign w_data_o = w_data_q;
  assign w_strb_o = w_strb_q;
  assign w_last_o = w_last_q;
  assign b_ready_o = 1'b1;
  assign error_o = b_valid_i && b_resp_i != 2'b00;
  assign error_resp_o = b_resp_i;
  assign outside_o = aw_valid_q && outside_q;
  for (genvar i = 0; i < 2; i++) begin : g_window
    assign allowed[i] = addr_q[39:12] >= first_i[i] && addr_q[39:12] <= last_i[i];
  end
  assign idle_o = !busy_q && open_q == '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q <= 1'b0;
      aw_valid_q <= 1'b0;
      w_valid_q <= 1'b0;
      open_q <= '0;
      beat_q <= '0;
      mute_q <= 1'b0;
    end else begin
      // The address register is at least one cycle ahead of the burst's words, so none of them passes with a strobe.
      mute_q <= (mute_q || outside_o) && !flush_i;
      if (flush_i) busy_q <= 1'b0;
      else if (wr_valid_i && wr_ready_o) busy_q <= 1'b1;
      else if (issue && take == left_q) busy_q <= 1'b0;
      if (issue) aw_valid_q <= 1'b1;
      else if (aw_ready_i) aw_valid_q <= 1'b0;
      if (load) w_valid_q <= 1'b1;
      else if (w_ready_i) w_valid_q <= 1'b0;
      if (load) beat_q <= len_last ? 8'd0 : beat_q + 8'd1;
      open_q <= open_q + CountBits'(issue) - CountBits'(close);
    end
    if (wr_valid_i && wr_ready_o) begin
      addr_q <= wr_addr_i[39:WordLsb];
      left_q <= wr_beats_i;
    end else if (issue) begin
      addr_q <= addr_q + (40 - WordLsb)'(take);
      left_q <= left_q - take;
    end
    if (issue) begin
      aw_addr_q <= addr_q;
      outside_q <= allowed == 2'b00;
      aw_len_q  <= 8'(take - 16'd1);
    end
    if (load) begin
      w_data_q <= wd_data_i;
      w_strb_q <= flush_i || mute_q || outside_o ? '0 : wd_strb_i;
      w_last_q <= len_last;
    end
  end

  logic unused_addr;
  assign unused_addr = ^wr_addr_i[WordLsb-1:0];

endmodule
