// Requantiser: bias, scale, residual, clamp and 2x2 maximum of one pixel of SubRow channels per cycle.
//
//   out = max over the quad of clamp(round_shift((Y + bias) * mult, shift) + round_shift(res * res_mult, res_shift))
//
// A leaky layer multiplies sums Y + bias below 0 by `negative` * 64 in place of mult.
//
// Contract
//   command   one layer per transfer; cmd_ready_o is high when idle; the 16-bit counters restart with each command.
//   y stream  as subrow_otrans emits it. y_ready_o depends on counters only: it is high once the (block, kg) unit has
//             its parameters (p_wptr_i), its residual (r_ready_i) and an output half (o_free_i). Never stalls within it.
//   p, r read latency 1. Parameter word: address (group modulo ParamGroups) * Cb + kb, 64 bits per channel =
//             {negative[9:0], shift[5:0], mult[15:0], bias[31:0]}. Group pointers never restart. p_free_o passes a group after
//             its (block, kg), or all groups of a resident layer at its end.
//   o write   12 cycles after the transfer; o_ready_o counts units completely written.
//   overflow  none: Y + bias fits YBits (guaranteed by the compiler), everything after it is exact until the clamp.
// Parameters: SubRow 4, 8, 16; Channels a power of two, SubRow..128; YBits 12..48; ParamGroups, OutWords powers of two,
//   4..65536. Cost: 3 DSPs per lane (2 for the scale, 1 for the residual), 2 address multipliers.

module subrow_post
  import subrow_pkg::*;
#(
    parameter int unsigned Channels = 16,
    parameter int unsigned SubRow = 8,
    parameter int unsigned YBits = 36,
    parameter int unsigned ParamGroups = 64,
    parameter int unsigned OutWords = 2048,
    localparam int unsigned Cb = Channels / SubRow,
    localparam int unsigned KbBits = Cb > 1 ? $clog2(Cb) : 1,
    localparam int unsigned MetaBits = 28 + KbBits,
    localparam int unsigned PAddrBits = $clog2(ParamGroups * Cb),
    localparam int unsigned OAddrBits = $clog2(OutWords)
) (
    input logic clk_i,
    input logic rst_ni,

    input  logic                 cmd_valid_i,
    output logic                 cmd_ready_o,
    input  logic [InstrBits-1:0] cmd_data_i,

    input  logic                    y_valid_i,
    output logic                    y_ready_o,
    input  logic [SubRow*YBits-1:0] y_data_i,
    input  logic [    MetaBits-1:0] y_meta_i,

    input  logic [23:0] p_wptr_i,
    output logic [23:0] p_free_o,
    input  logic [15:0] r_ready_i,
    input  logic [15:0] o_free_i,
    output logic [15:0] o_ready_o,

    output logic                 p_re_o,
    output logic [PAddrBits-1:0] p_raddr_o,
    input  logic [SubRow*64-1:0] p_rdata_i,
    output logic                 r_re_o,
    output logic [OAddrBits-1:0] r_raddr_o,
    input  logic [ SubRow*8-1:0] r_rdata_i,
    output logic                 o_we_o,
    output logic [OAddrBits-1:0] o_waddr_o,
    output logic [ SubRow*8-1:0] o_wdata_o
);

  if (SubRow != 4 && SubRow != 8 && SubRow != 16) begin : g_bad_sub_row
    $error("subrow_post: SubRow = %0d must be 4, 8 or 16", SubRow);
  end
  if (Channels < SubRow || Channels > 128 || (Channels & (Channels - 1)) != 0) begin : g_bad_channels
    $error("subrow_post: Channels = %0d must be a power of two, SubRow..128", Channels);
  end
  if (YBits < 12 || YBits > 48) begin : g_bad_bits
    $error("subrow_post: YBits = %0d must be 12..48", YBits);
  end
  if (ParamGroups < 4 || ParamGroups > 65536 || (ParamGroups & (ParamGroups - 1)) != 0) begin : g_bad_groups
    $error("subrow_post: ParamGroups = %0d must be a power of two, 4..65536", ParamGroups);
  end
  if (OutWords < 4 || OutWords > 65536 || (OutWords & (OutWords - 1)) != 0 || OutWords < 4 * Cb) begin : g_bad_out
    $error("subrow_post: OutWords = %0d must be a power of two, 4 * Cb..65536", OutWords);
  end

  localparam int unsigned Last = 12;                              // pipeline stages
  localparam int unsigned HalfBits = OAddrBits - 1;
  localparam int unsigned PgBits = $clog2(ParamGroups);
  localparam int unsigned SBits = YBits < 20 ? 20 : YBits;        // Y + bias
  localparam int unsigned LoBits = SBits <= 42 ? 17 : 24;         // split so that each part meets a 25 x 18 multiplier
  localparam int unsigned HiBits = SBits - LoBits;
  localparam int unsigned ProdBits = SBits + 16;
  // Bits of the doubled shifted product that are kept: one that needs more outweighs any residual, so the clamp decides.
  localparam int unsigned KeepBits = 27;

  typedef struct packed {
    logic                 pass_last;
    logic                 unit_last;
    logic                 write;
    logic                 quad_first;
    logic [OAddrBits-1:0] addr;
  } ctl_t;
  typedef struct packed {
    logic              unit_last;
    logic              drop;
    logic [KbBits-1:0] kb;
    logic [11:0]       oy;
    logic [11:0]       ox;
    logic              quad_last;
    logic              quad_first;
  } meta_t;

  // ---- command and units -------------------------------------------------------------------------------------------
  /* verilator lint_off UNUSEDSIGNAL */
  instr_t in_q;  // fields of other units stay unused
  /* verilator lint_on UNUSEDSIGNAL */
  logic run_q, load_q, blk_valid, blk_last, blk_next, pass_end;
  logic [11:0] ccols, ocols, kgs, kg_q, kg_last_q;  // kg_last_q stands before blk_valid
  logic [15:0] unit_q, ready_q;
  logic [23:0] ptr_q, free_q;  // parameter group in use, first one not released
  logic [Last:1] v_q;
  ctl_t c_q[1:Last];

  wire start = cmd_valid_i && cmd_ready_o;
  assign cmd_ready_o = !run_q && v_q == '0;

  /* verilator lint_off PINCONNECTEMPTY */
  subrow_block_iter u_blocks (
      .clk_i, .rst_ni,
      .cmd_i(in_q), .load_i(load_q), .next_i(blk_next), .valid_o(blk_valid), .last_o(blk_last),
      .pass_end_o(pass_end), .kgs_o(kgs),
      .last_y_o(), .last_x_o(), .half_o(), .by_o(), .bx_o(), .th_o(), .tw_o(), .q_o(),
      .iy0_o(), .ix0_o(), .ry0_o(), .nrows_o(), .rx0_o(), .ncols_o(),
      .cy0_o(), .crows_o(), .cx0_o(), .ccols_o(ccols),
      .oy0_o(), .orows_o(), .ox0_o(), .ocols_o(ocols)
  );
  /* verilator lint_on PINCONNECTEMPTY */

  meta_t y_meta;
  assign y_meta = y_meta_i;
  wire pool = in_q.pool[0];
  wire kg_last = kg_q == kg_last_q;
  wire take = y_valid_i && y_ready_o;
  wire unit_done = take && y_meta.unit_last;
  assign y_ready_o = run_q && blk_valid && (unit_q - o_free_i) < 16'd2 && p_wptr_i != ptr_q &&
      (!in_q.residual[0] || r_ready_i != unit_q);
  assign blk_next = unit_done && kg_last;
  assign o_ready_o = ready_q;
  assign p_free_o = free_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      run_q <= 1'b0;
      load_q <= 1'b0;
      unit_q <= '0;
      ready_q <= '0;
      ptr_q <= '0;
      free_q <= '0;
    end else begin
      load_q <= start;
      if (start) run_q <= 1'b1;
      else if (blk_next && blk_last) run_q <= 1'b0;
      if (start) unit_q <= '0;
      else if (unit_done) unit_q <= unit_q + 16'd1;
      if (start) ready_q <= '0;
      else if (v_q[Last] && c_q[Last].unit_last) ready_q <= ready_q + 16'd1;
      if (unit_done) begin
        if (in_q.resident[0] && kg_last && !pass_end) ptr_q <= ptr_q - {12'd0, kgs} + 24'd1;
        else ptr_q <= ptr_q + 24'd1;
      end
      // A unit takes at least four transfers, so ptr_q still shows the group behind the released ones.
      if (v_q[3] && (in_q.resident[0] ? c_q[3].pass_last : c_q[3].unit_last)) free_q <= ptr_q;
    end
    kg_last_q <= kgs - 12'd1;
    if (start) in_q <= cmd_data_i;
    if (start) kg_q <= '0;
    else if (unit_done) kg_q <= kg_last ? 12'd0 : kg_q + 12'd1;
  end

  // ---- stages 1..3: addresses --------------------------------------------------------------------------------------
  logic [KbBits-1:0] kb1_q, kb2_q;
  logic [11:0] oy1_q, py1_q, ccols1_q, ocols1_q;
  logic [HalfBits-1:0] ox1_q, px1_q, rmul2_q, omul2_q, ox2_q, px2_q;
  logic [PgBits-1:0] group1_q, group2_q;
  logic [PAddrBits-1:0] paddr3_q;
  logic [OAddrBits-1:0] raddr3_q;

  function automatic logic [HalfBits-1:0] word(input logic [HalfBits-1:0] pixel, input logic [KbBits-1:0] kb);
    return HalfBits'(32'(pixel) * Cb + 32'(kb));
  endfunction

  always_ff @(posedge clk_i) begin
    if (!rst_ni) v_q <= '0;
    else v_q <= {v_q[Last-1:1], take};
    // 1: coordinates
    c_q[1] <= '{
        pass_last: y_meta.unit_last && kg_last && pass_end,
        unit_last: y_meta.unit_last,
        write: !y_meta.drop && (!pool || y_meta.quad_last),
        quad_first: y_meta.quad_first,
        addr: {unit_q[0], {HalfBits{1'b0}}}
    };
    kb1_q <= y_meta.kb;
    oy1_q <= y_meta.oy;
    ox1_q <= HalfBits'(y_meta.ox);
    py1_q <= pool ? y_meta.oy >> 1 : y_meta.oy;
    px1_q <= HalfBits'(pool ? y_meta.ox >> 1 : y_meta.ox);
    {ccols1_q, ocols1_q} <= {ccols, ocols};
    group1_q <= ptr_q[PgBits-1:0];
    // 2: rows
    rmul2_q <= HalfBits'(32'(oy1_q) * 32'(ccols1_q));
    omul2_q <= HalfBits'(32'(py1_q) * 32'(ocols1_q));
    ox2_q <= ox1_q;
    px2_q <= px1_q;
    kb2_q <= kb1_q;
    group2_q <= group1_q;
    c_q[2] <= c_q[1];
    // 3: words
    c_q[3] <= c_q[2];
    c_q[3].addr <= {c_q[2].addr[HalfBits], word(omul2_q + px2_q, kb2_q)};
    raddr3_q <= {c_q[2].addr[HalfBits], word(rmul2_q + ox2_q, kb2_q)};
    paddr3_q <= PAddrBits'(32'(group2_q) * Cb + 32'(kb2_q));
    for (int i = 4; i <= int'(Last); i++) c_q[i] <= c_q[i-1];
  end

  assign p_re_o = v_q[3];
  assign p_raddr_o = paddr3_q;
  assign r_re_o = v_q[3] && in_q.residual[0];
  assign r_raddr_o = raddr3_q;
  assign o_we_o = v_q[Last] && c_q[Last].write;
  assign o_waddr_o = c_q[Last].addr;

  // ---- stages 4..12: numbers ---------------------------------------------------------------------------------------
  // round_shift(x, n) = ((2 x >>> n) + 1) >>> 1; the shift takes its lower and its upper three bits one after the other.
  for (genvar l = 0; l < SubRow; l++) begin : g_lane
    logic signed [YBits-1:0] y1_q, y2_q, y3_q, y4_q;
    logic signed [SBits-1:0] sum5_q;
    logic [15:0] mult5_q, mult;
    logic [9:0] negative5_q;
    logic [5:0] shift5_q, shift6_q, shift7_q;
    logic [2:0] shift8_q;
    logic signed [24:0] res5_q, res6_q, res7_q, res8_q, res9_q;
    logic signed [LoBits+16:0] lo6_q;
    logic signed [HiBits+16:0] hi6_q;
    logic signed [ProdBits-1:0] prod7_q;
    logic signed [ProdBits:0] t8_q;
    logic signed [KeepBits-1:0] t9_q, z10_q;
    logic over8, low9_q, high9_q, low10_q, high10_q;  // the product does not fit: below, above
    logic fits10, below10, above10;
    logic signed [7:0] z11_q, max12_q, res;

    always_comb begin
      over8 = 1'b0;
      for (int unsigned i = KeepBits - 1; i < ProdBits; i++)
        if (32'(shift8_q) <= (i - KeepBits + 1) / 8 && t8_q[i] != t8_q[ProdBits]) over8 = 1'b1;
    end
    assign fits10 = &z10_q[KeepBits-1:7] || !(|z10_q[KeepBits-1:7]);
    assign below10 = low10_q || (!high10_q && (fits10 ? $signed(z10_q[7:0]) < in_q.act_min : z10_q[KeepBits-1]));
    assign above10 = high10_q || (!low10_q && (fits10 ? $signed(z10_q[7:0]) > in_q.act_max : !z10_q[KeepBits-1]));
    assign mult = in_q.leaky[0] && sum5_q[SBits-1] ? {negative5_q, 6'd0} : mult5_q;
    assign res = r_rdata_i[l*8+:8];
    assign o_wdata_o[l*8+:8] = max12_q;

    always_ff @(posedge clk_i) begin
      // 1 to 4: wait for the parameters. Each has an enable of its own, so that they take no LUTs as a shift register.
      if (take) y1_q <= y_data_i[l*YBits+:YBits];
      if (v_q[1]) y2_q <= y1_q;
      if (v_q[2]) y3_q <= y2_q;
      if (v_q[3]) y4_q <= y3_q;
      // 5: operands
      sum5_q <= SBits'(y4_q) + SBits'($signed(p_rdata_i[l*64+:32]));
      mult5_q <= p_rdata_i[l*64+32+:16];
      shift5_q <= p_rdata_i[l*64+48+:6];
      negative5_q <= p_rdata_i[l*64+54+:10];
      res5_q <= in_q.residual[0] ? 25'(res) * 25'($signed({1'b0, in_q.res_mult})) : '0;
      // 6, 7: product
      lo6_q <= (LoBits + 17)'($signed({1'b0, sum5_q[LoBits-1:0]})) * (LoBits + 17)'($signed({1'b0, mult}));
      hi6_q <= (HiBits + 17)'($signed(sum5_q[SBits-1:LoBits])) * (HiBits + 17)'($signed({1'b0, mult}));
      prod7_q <= (ProdBits'(hi6_q) <<< LoBits) + ProdBits'(lo6_q);
      shift6_q <= shift5_q;
      shift7_q <= shift6_q;
      shift8_q <= shift7_q[5:3];
      res6_q <= (res5_q <<< 1) >>> {in_q.res_shift[5:3], 3'd0};
      res7_q <= res6_q >>> in_q.res_shift[2:0];
      res8_q <= (res7_q >>> 1) + 25'($signed({1'b0, res7_q[0]}));
      res9_q <= res8_q;
      // 8, 9: shift
      t8_q <= $signed({prod7_q, 1'b0}) >>> shift7_q[2:0];
      t9_q <= KeepBits'(t8_q >>> {shift8_q, 3'd0});
      {low9_q, high9_q} <= {over8 && t8_q[ProdBits], over8 && !t8_q[ProdBits]};
      // 10, 11: residual and rounding (the sum of two equal lowest bits is its carry), clamp
      z10_q <= KeepBits'(((KeepBits + 1)'(t9_q) + (KeepBits + 1)'($signed({res9_q, t9_q[0]}))) >>> 1);
      {low10_q, high10_q} <= {low9_q, high9_q};
      z11_q <= below10 ? in_q.act_min : above10 ? in_q.act_max : z10_q[7:0];
      // 12: maximum over the quad
      if (v_q[11]) max12_q <= !pool || c_q[11].quad_first || z11_q > max12_q ? z11_q : max12_q;
    end
  end

endmodule
