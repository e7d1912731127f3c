// The sparse array: 4 x Channels x Tiles multiply-accumulates that walk a layer's reduction, one array step per cycle.
//
// Loop nest of a layer: block, output channel group kg, tile group q, tap group g, V word w, sub-row step j. A step
// issues when its V word (q_ready_i) and its weight word (w_wptr_i) are there; the last step of a tap group also waits
// until the hold register will be free and the half of the M buffer is (m_free_i). Behind the issue nothing stalls,
// and no nest level costs a cycle, so full supply means one step per cycle from first to last.
//
// Contract: one layer per command; cmd_ready_o is high when idle, with every sum of the layer before in the M buffer.
// RAM reads have latency 1. A tap group's sums leave in Tiles * Channels / SubRow consecutive writes, 6 cycles after
// its last step. q_ready_i, m_free_i, v_free_o, m_ready_o: 16-bit counters that restart with the command; w_wptr_i,
// w_free_o: 24-bit ring pointers that only a reset clears. Each cycle of a layer up to its last step pulses exactly
// one of issued_o, starved_input_o, starved_weights_o, blocked_output_o (in this priority when several are missing).
// Parameters: SubRow 4, 8, 16; Channels a power of two, SubRow..128; Tiles even, 2..32; UBits 4..16; VBits 8..16;
// AccBits UBits+VBits..40; VWords and WeightWords powers of two, 4..65536.
// Cost: four times subrow_lane, about 300 flip-flops of control.
module subrow_array
  import subrow_pkg::*;
#(
  parameter  int unsigned Channels    = 16,
  parameter  int unsigned Tiles       = 6,
  parameter  int unsigned SubRow      = 8,
  parameter  int unsigned UBits       = 8,
  parameter  int unsigned VBits       = 8,
  parameter  int unsigned AccBits     = 26,
  parameter  int unsigned VWords      = 1024,
  parameter  int unsigned WeightWords = 2048,
  localparam int unsigned IdxBits     = $clog2(SubRow),
  localparam int unsigned Nk          = Tiles * (Channels / SubRow),
  localparam int unsigned VAddrBits   = $clog2(VWords),
  localparam int unsigned WAddrBits   = $clog2(WeightWords),
  localparam int unsigned MAddrBits   = $clog2(18 * Nk)
) (
  input  logic                 clk_i,
  input  logic                 rst_ni,
  input  logic                 cmd_valid_i,
  output logic                 cmd_ready_o,
  input  logic [InstrBits-1:0] cmd_data_i,

  output logic                                         v_re_o,
  output logic [VAddrBits-1:0]                         v_raddr_o,
  input  logic [Tiles-1:0][3:0][SubRow-1:0][VBits-1:0] v_rdata_i,

  output logic                                      w_re_o,
  output logic [               WAddrBits-1:0]       w_raddr_o,
  input  logic [4*Channels*(UBits+IdxBits)-1:0]     w_rdata_i,

  output logic                                m_we_o,
  output logic [MAddrBits-1:0]                m_waddr_o,
  output logic [3:0][SubRow-1:0][AccBits-1:0] m_wdata_o,

  input  logic [15:0] q_ready_i,
  output logic [15:0] v_free_o,
  output logic [15:0] m_ready_o,
  input  logic [15:0] m_free_i,
  input  logic [23:0] w_wptr_i,
  output logic [23:0] w_free_o,

  output logic issued_o,
  output logic starved_input_o,
  output logic starved_weights_o,
  output logic blocked_output_o
);
  if (!(SubRow inside {4, 8, 16}) || Channels < SubRow || Channels > 128 || (Channels & (Channels - 1)) != 0)
  begin : g_illegal_channels
    $error("subrow_array: SubRow must be 4, 8 or 16, and Channels a power of two, SubRow..128");
  end
  if (Tiles % 2 != 0 || Tiles < 2 || Tiles > 32) begin : g_illegal_tiles
    $error("subrow_array: Tiles must be even, 2..32");
  end
  if (UBits < 4 || UBits > 16 || VBits < 8 || VBits > 16 || AccBits < UBits + VBits || AccBits > 40)
  begin : g_illegal_bits
    $error("subrow_array: UBits must be 4..16, VBits 8..16, AccBits UBits + VBits..40");
  end
  if ((VWords & (VWords - 1)) != 0 || VWords < 4 || VWords > 65536 || (WeightWords & (WeightWords - 1)) != 0 ||
      WeightWords < 4 || WeightWords > 65536) begin : g_illegal_words
    $error("subrow_array: VWords and WeightWords must be powers of two, 4..65536");
  end

  // ---- the layer: fields that the nest needs, limits as "last value" --------------------
  /* verilator lint_off UNUSEDSIGNAL */
  instr_t cmd;
  /* verilator lint_on UNUSEDSIGNAL */
  assign cmd = cmd_data_i;

  logic direct_q, implicit_q, resident_q, whole_q;
  logic [3:0] g_last_q;
  logic [4:0] j_last_q;
  logic [15:0] red_last_q, v_words_q, v_kstep_q, chunk_q;
  logic [11:0] kg_last_q, pass_kgs_q, kg_left_q;  // the last two: groups of a pass; from this pass's first on
  logic [9:0] by_last_q, bx_last_q;
  logic [3:0][11:0] q_last_q;

  // ---- stage 0: the nest --------------------
  logic run_q, half_q;
  logic [9:0] by_q, bx_q;
  logic [11:0] kg_q, q_q;
  logic [3:0] g_q;
  logic [15:0] wi_q;
  logic [4:0] j_q;
  logic [1:0] step_q;  // direct: lane of the weight word
  logic [15:0] v_addr_q, v_group_q, v_kg_q;  // address, first word of (q, g), offset of kg
  logic [23:0] w_ptr_q, w_chunk_q, w_pass_q, w_free_q;  // word of the step, first word of chunk, of the pass
  logic [15:0] q_done_q, q_block_q, unit_q, v_free_q;  // tile groups before this one, before this block; units; blocks
  logic [$clog2(Nk)-1:0] hold_q;  // cycles until a last step may follow the previous one

  logic j_end, wi_end, group_end, g_end, unit_end, q_end, kg_end, bx_end, by_end, block_end;
  logic pass_end, pass_last, layer_end;
  assign bx_end    = bx_q == bx_last_q;
  assign by_end    = by_q == by_last_q;
  assign j_end     = j_q == j_last_q;
  assign wi_end    = wi_q == red_last_q;
  assign g_end     = g_q == g_last_q;
  assign q_end     = q_q == q_last_q[{by_end, bx_end}];
  assign kg_end    = kg_q == kg_last_q;
  assign group_end = j_end & wi_end;
  assign unit_end  = group_end & g_end;
  assign block_end = unit_end & q_end & kg_end;
  assign pass_end  = block_end & bx_end & by_end;
  assign pass_last = kg_left_q <= pass_kgs_q;
  assign layer_end = pass_end & pass_last;

  logic in_ok, w_ok, out_ok, issue, start;
  logic [15:0] unit_lead;
  assign unit_lead = unit_q - m_free_i;
  assign in_ok     = q_ready_i != q_done_q;
  assign w_ok      = w_wptr_i != w_ptr_q;
  assign out_ok    = !group_end || (hold_q == '0 && unit_lead < 16'd2);
  assign issue     = run_q & in_ok & w_ok & out_ok;
  assign start     = cmd_valid_i & cmd_ready_o;

  assign issued_o          = issue;
  assign starved_input_o   = run_q & !in_ok;
  assign starved_weights_o = run_q & in_ok & !w_ok;
  assign blocked_output_o  = run_q & in_ok & w_ok & !out_ok;

  assign v_re_o    = issue;
  assign v_raddr_o = {whole_q ? v_addr_q[VAddrBits-1] : half_q, v_addr_q[VAddrBits-2:0]};
  assign w_re_o    = issue;
  assign w_raddr_o = w_ptr_q[WAddrBits-1:0];
  assign w_free_o  = w_free_q;
  assign v_free_o  = v_free_q;

  logic [23:0] w_next_chunk;
  logic [15:0] v_next_group, v_next_kg;
  logic [11:0] next_left;
  assign next_left    = kg_left_q - pass_kgs_q;
  assign w_next_chunk = w_chunk_q + 24'(chunk_q);
  assign v_next_kg    = kg_end ? '0 : v_kg_q + v_kstep_q;
  assign v_next_group = v_group_q + v_words_q;

  always_ff @(posedge clk_i) begin
    if (start) begin
      direct_q   <= cmd.tile == TileDirect;
      implicit_q <= cmd.implicit_index;
      resident_q <= cmd.resident;
      whole_q    <= cmd.whole_v;
      g_last_q   <= cmd.tile == TileF2 ? 4'd3 : cmd.tile == TileF4 ? 4'd8 : 4'd0;
      j_last_q   <= cmd.sub_s - 5'd1;
      red_last_q <= cmd.red_words - 16'd1;
      v_words_q  <= cmd.v_words;
      v_kstep_q  <= cmd.v_kstep;
      chunk_q    <= cmd.chunk_words;
      pass_kgs_q <= cmd.pass_kgs;
      kg_left_q  <= cmd.kgs;
      kg_last_q  <= cmd.pass_kgs - 12'd1;
      by_last_q  <= cmd.blocks_y - 10'd1;
      bx_last_q  <= cmd.blocks_x - 10'd1;
      for (int unsigned i = 0; i < 4; i++) q_last_q[i] <= cmd.q_count[i] - 12'd1;
    end else if (issue && pass_end) begin
      kg_left_q <= next_left;
      if (next_left < pass_kgs_q) kg_last_q <= next_left - 12'd1;
    end
  end

  // Every counter returns to 0 at the end of its loop, so a layer leaves them ready for the next.
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {run_q, half_q} <= '0;
      {by_q, bx_q, kg_q, q_q, g_q, wi_q, j_q, step_q} <= '0;
      {v_addr_q, v_group_q, v_kg_q} <= '0;
      {w_ptr_q, w_chunk_q, w_pass_q, w_free_q} <= '0;
      {q_done_q, q_block_q, unit_q, v_free_q} <= '0;
      hold_q <= '0;
    end else begin
      if (hold_q != '0) hold_q <= hold_q - 1'b1;
      if (start) begin
        {run_q, half_q} <= 2'b10;
        {q_done_q, q_block_q, unit_q, v_free_q} <= '0;
      end else if (issue) begin
        run_q <= !layer_end;
        j_q   <= j_end ? '0 : j_q + 1'b1;
        if (j_end) begin
          wi_q     <= wi_end ? '0 : wi_q + 1'b1;
          v_addr_q <= v_addr_q + 1'b1;
        end
        step_q <= step_q + 1'b1;
        if (!direct_q || step_q == 2'd3) w_ptr_q <= w_ptr_q + 1'b1;
        if (group_end) begin
          hold_q    <= $clog2(Nk)'(Nk - 1);
          step_q    <= '0;
          g_q       <= g_end ? '0 : g_q + 1'b1;
          v_group_q <= v_next_group;
          v_addr_q  <= v_next_group + v_kg_q;
        end
        if (unit_end) begin
          unit_q   <= unit_q + 1'b1;
          q_q      <= q_end ? '0 : q_q + 1'b1;
          q_done_q <= q_done_q + 1'b1;
          w_ptr_q  <= w_chunk_q;
          if (q_end) begin  // next output channel group, over the same tile groups
            kg_q      <= kg_end ? '0 : kg_q + 1'b1;
            q_done_q  <= q_block_q;
            v_group_q <= '0;
            v_kg_q    <= v_next_kg;
            v_addr_q  <= v_next_kg;
            w_ptr_q   <= w_next_chunk;
            w_chunk_q <= w_next_chunk;
            if (!resident_q) w_free_q <= w_next_chunk;
          end
        end
        if (block_end) begin
          half_q    <= !half_q;
          v_free_q  <= v_free_q + 1'b1;
          q_done_q  <= q_done_q + 1'b1;
          q_block_q <= q_done_q + 1'b1;
          bx_q      <= bx_end ? '0 : bx_q + 1'b1;
          if (bx_end) by_q <= by_end ? '0 : by_q + 1'b1;
          if (pass_end) begin
            w_free_q <= w_next_chunk;
            w_pass_q <= w_next_chunk;
          end else if (resident_q) begin
            w_ptr_q   <= w_pass_q;
            w_chunk_q <= w_pass_q;
          end
        end
      end
    end
  end

  // ---- stages 1..5: RAM data, operands, M, P, hold --------------------
  logic [5:1] valid_q, first_q, last_q;
  logic [IdxBits-1:0] j1_q;
  logic [1:0] step1_q;
  logic       fresh_q;  // the next step is the first of its group

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      valid_q <= '0;
      fresh_q <= 1'b1;
    end else begin
      valid_q <= {valid_q[4:1], issue};
      if (issue) fresh_q <= group_end;
    end
    first_q <= {first_q[4:1], fresh_q};
    last_q  <= {last_q[4:1], group_end};
    j1_q    <= j_q[IdxBits-1:0];
    step1_q <= step_q;
  end

  // ---- drain: hold register to M buffer --------------------
  logic drain_q, m_we_q, done_q, m_half_q;
  logic [$clog2(Nk)-1:0] nk_q;
  logic [3:0] m_g_q;
  logic [MAddrBits-1:0] m_base_q, m_waddr_q;
  logic [15:0] m_ready_q;
  logic load, nk_end;
  assign load   = valid_q[5] & last_q[5];
  assign nk_end = nk_q == $clog2(Nk)'(Nk - 1);

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      {drain_q, m_we_q, done_q, m_half_q} <= '0;
      {nk_q, m_g_q, m_base_q, m_ready_q} <= '0;
    end else begin
      if (load) drain_q <= 1'b1;
      else if (nk_end) drain_q <= 1'b0;
      m_we_q <= drain_q;
      done_q <= drain_q & nk_end & (m_g_q == g_last_q);
      if (start) {m_half_q, m_base_q, m_ready_q} <= '0;
      else if (done_q) m_ready_q <= m_ready_q + 1'b1;
      if (drain_q) begin
        nk_q <= nk_end ? '0 : nk_q + 1'b1;
        if (nk_end) begin
          m_g_q    <= m_g_q + 1'b1;
          m_base_q <= m_base_q + MAddrBits'(Nk);
          if (m_g_q == g_last_q) begin
            m_g_q    <= '0;
            m_half_q <= !m_half_q;
            m_base_q <= m_half_q ? '0 : MAddrBits'(9 * Nk);
          end
        end
      end
    end
    m_waddr_q <= m_base_q + MAddrBits'(nk_q);
  end

  assign m_we_o      = m_we_q;
  assign m_waddr_o   = m_waddr_q;
  assign m_ready_o   = m_ready_q;
  assign cmd_ready_o = !(run_q | (|valid_q) | drain_q | m_we_q);

  // ---- the four lanes --------------------
  logic [3:0][Channels-1:0][UBits-1:0] w_word;
  logic [3:0][Channels-1:0][IdxBits-1:0] idx_word;
  assign {idx_word, w_word} = w_rdata_i;

  for (genvar t = 0; t < 4; t++) begin : g_lane
    logic [1:0] from;
    logic [Tiles-1:0][SubRow-1:0][VBits-1:0] v;
    logic [Channels-1:0][IdxBits-1:0] idx;
    assign from = direct_q ? step1_q : 2'(t);
    assign idx  = implicit_q ? {Channels{j1_q}} : idx_word[from];
    for (genvar n = 0; n < Tiles; n++) begin : g_v
      assign v[n] = v_rdata_i[n][t];
    end

    subrow_lane #(
      .Channels(Channels),
      .Tiles   (Tiles),
      .SubRow  (SubRow),
      .UBits   (UBits),
      .VBits   (VBits),
      .AccBits (AccBits)
    ) u_lane (
      .clk_i,
      .cap_en_i   (valid_q[1]),
      .ab_en_i    (valid_q[2]),
      .m_en_i     (valid_q[3]),
      .p_en_i     (valid_q[4]),
      .p_first_i  (first_q[4]),
      .acc_en_i   (valid_q[5]),
      .acc_first_i(first_q[5]),
      .acc_last_i (last_q[5]),
      .v_i        (v),
      .w_i        (w_word[from]),
      .idx_i      (idx),
      .drain_en_i (drain_q),
      .drain_nk_i (nk_q),
      .m_o        (m_wdata_o[t])
    );
  end
endmodule
