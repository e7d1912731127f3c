// Read engine: turns requests for runs of words into AXI4 bursts and hands the words on as a stream.
//
// Contract: a request names a byte address, from whose word on, and 1..65535 words. Requests are served in order; their words
//   leave in order without marks between requests. Bursts are INCR, at most BurstBeats long, never cross a multiple of
//   BurstBeats * DataBytes, and at most MaxOutstanding are open. R passes straight through (latency 0): a requester
//   that has asked must be able to take the words without another reader's help. `error_o` pulses for each beat whose
//   response is not OKAY, with that response in `error_resp_o`; the beat is delivered all the same.
//   A burst whose page (address >> 12) is not first_i..last_i is outside: it reads the page first_i instead, words of that
//   page are delivered, and `outside_o` is high while its address is offered. Windows may change while idle.
//   `flush_i` (level): nothing more is asked or delivered, open bursts are drained into nothing; `idle_o`: nothing open.
//   After `flush_i && idle_o` the engine is as after reset. `rst_ni` itself must only come with a reset of the bus.
// Parameters: DataBytes 4..64, a power of two; BurstBeats a power of two, 2..256; MaxOutstanding 1..64.
// Cost: two address registers, one 40-bit adder, two comparators of pages.
module subrow_axi_read #(
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
    input  logic [           27:0] first_i,
    input  logic [           27:0] last_i,
    output logic                   outside_o,
    input  logic                   req_valid_i,
    output logic                   req_ready_o,
    input  logic [           39:0] req_addr_i,
    input  logic [           15:0] req_beats_i,
    output logic                   rd_valid_o,
    input  logic                   rd_ready_i,
    output logic [8*DataBytes-1:0] rd_data_o,
    output logic                   ar_valid_o,
    input  logic                   ar_ready_i,
    output logic [           39:0] ar_addr_o,
    output logic [            7:0] ar_len_o,
    output logic [            2:0] ar_size_o,
    output logic [            1:0] ar_burst_o,
    input  logic                   r_valid_i,
    output logic                   r_ready_o,
    input  logic [8*DataBytes-1:0] r_data_i,
    input  logic [            1:0] r_resp_i,
    input  logic                   r_last_i
);

  localparam int unsigned WordLsb = $clog2(DataBytes);
  localparam int unsigned BurstBits = $clog2(BurstBeats);
  localparam int unsigned CountBits = $clog2(MaxOutstanding + 1);

  if (DataBytes < 4 || DataBytes > 64 || (DataBytes & (DataBytes - 1)) != 0) begin : g_bad_width
    $error("subrow_axi_read: DataBytes = %0d must be a power of two, 4..64", DataBytes);
  end
  if (BurstBeats < 2 || BurstBeats > 256 || (BurstBeats & (BurstBeats - 1)) != 0) begin : g_bad_burst
    $error("subrow_axi_read: BurstBeats = %0d must be a power of two, 2..256", BurstBeats);
  end
  if (MaxOutstanding < 1 || MaxOutstanding > 64) begin : g_bad_outstanding
    $error("subrow_axi_read: MaxOutstanding = %0d must be 1..64", MaxOutstanding);
  end

  logic busy_q, ar_valid_q, outside_q;
  logic [39:WordLsb] addr_q, ar_addr_q;  // words
  logic [15:0] left_q;
  logic [7:0] ar_len_q;
  logic [CountBits-1:0] open_q;          // bursts from the AR register to their last beat
  logic [BurstBits:0] room;              // words up to the burst boundary
  logic [15:0] take;
  logic issue, close;

  assign room = (BurstBits + 1)'(BurstBeats) - {1'b0, addr_q[WordLsb+:BurstBits]};
  assign take = (left_q < 16'(room)) ? left_q : 16'(room);
  assign issue = busy_q && !flush_i && (!ar_valid_q || ar_ready_i) && open_q != CountBits'(MaxOutstanding);
  assign close = r_valid_i && r_ready_o && r_last_i;

  assign req_ready_o = !busy_q && !flush_i;
  assign ar_valid_o = ar_valid_q;
  assign ar_addr_o = outside_q ? {first_i, 12'b0} : {ar_addr_q, {WordLsb{1'b0}}};
  assign ar_len_o = ar_len_q;
  assign ar_size_o = 3'(WordLsb);
  assign ar_burst_o = 2'b01;
  assign rd_valid_o = r_valid_i && !flush_i;
  assign rd_data_o = r_data_i;
  assign r_ready_o = rd_ready_i || flush_i;
  assign error_o = r_valid_i && r_ready_o && r_resp_i != 2'b00;
  assign error_resp_o = r_resp_i;
  assign outside_o = ar_valid_q && outside_q;
  assign idle_o = !busy_q && open_q == '0;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q <= 1'b0;
      ar_valid_q <= 1'b0;
      open_q <= '0;
    end else begin
      if (flush_i) busy_q <= 1'b0;
      else if (req_valid_i && req_ready_o) busy_q <= 1'b1;
      else if (issue && take == left_q) busy_q <= 1'b0;
      if (issue) ar_valid_q <= 1'b1;
      else if (ar_ready_i) ar_valid_q <= 1'b0;
      open_q <= open_q + CountBits'(issue) - CountBits'(close);
    end
    if (req_valid_i && req_ready_o) begin
      addr_q <= req_addr_i[39:WordLsb];
      left_q <= req_beats_i;
    end else if (issue) begin
      addr_q <= addr_q + (40 - WordLsb)'(take);
      left_q <= left_q - take;
    end
    if (issue) begin
      ar_addr_q <= addr_q;
      outside_q <= addr_q[39:12] < first_i || addr_q[39:12] > last_i;
      ar_len_q  <= 8'(take - 16'd1);
    end
  end

  logic unused_addr;
  assign unused_addr = ^req_addr_i[WordLsb-1:0];

endmodule
