// The place of each word of a beat in runs of consecutive words that begin and end anywhere in a beat.
//
// Contract: a run has words_i words, the first in lane phase_i of its first beat, then Lanes words a beat. en_o: lanes that
//   hold words of the run; done_o: words of the run before this beat's first one; gone_o: words that this beat holds
//   when it is not the last (last_o). next_i ends a beat; behind the last one the next run begins. clear_i: begin anew.
// Parameters: Lanes 1, 2, 4; WordBits of words_i. Cost: one counter, two adders, two small shifters.
module subrow_run #(
    parameter int unsigned Lanes = 2,
    parameter int unsigned WordBits = 16,
    localparam int unsigned PhaseBits = Lanes > 1 ? $clog2(Lanes) : 1
) (
    input  logic                 clk_i,
    input  logic                 clear_i,
    input  logic                 next_i,
    input  logic [PhaseBits-1:0] phase_i,
    input  logic [ WordBits-1:0] words_i,
    output logic [    Lanes-1:0] en_o,
    output logic [PhaseBits-1:0] skip_o,  // lanes before the first word of the run
    output logic [ WordBits-1:0] done_o,
    output logic [          2:0] gone_o,
    output logic                 last_o
);

  if (Lanes != 1 && Lanes != 2 && Lanes != 4) begin : g_bad_lanes
    $error("subrow_run: Lanes = %0d must be 1, 2 or 4", Lanes);
  end

  logic [WordBits-1:0] done_q;
  logic [WordBits:0] left;  // words from this beat on
  assign left = {1'b0, words_i} - {1'b0, done_q};
  assign done_o = done_q;
  assign last_o = left <= (WordBits + 1)'(gone_o);

  if (Lanes == 1) begin : g_one
    assign skip_o = '0;
    assign gone_o = 3'd1;
    assign en_o = 1'b1;
    logic unused_phase;
    assign unused_phase = phase_i[0];
  end else begin : g_more
    logic first_q;
    assign skip_o = first_q ? phase_i : '0;
    assign gone_o = 3'(Lanes) - 3'(skip_o);
    assign en_o = ({Lanes{1'b1}} << skip_o) & ~(last_o ? {Lanes{1'b1}} << (3'(left) + 3'(skip_o)) : '0);
    always_ff @(posedge clk_i) begin
      if (clear_i) first_q <= 1'b1;
      else if (next_i) first_q <= last_o;
    end
  end

  always_ff @(posedge clk_i) begin
    if (clear_i) done_q <= '0;
    else if (next_i) done_q <= last_o ? '0 : done_q + WordBits'(gone_o);
  end

endmodule
