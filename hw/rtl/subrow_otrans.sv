// Output transform: Y = A^T (M << em) A of every output tile of a layer, one pixel of SubRow channels per transfer.
//
// Walks block, kg, q, n, kb (docs/hardware.md). Reads the tap groups of one tile from the M buffer, one word per cycle,
// and makes half a row of the row transform of each, while pixels of the tile before leave through the column transform:
// subrow_otrans_data does both. F4 takes 15 reads: for each two rows the word of their taps 4 and 5, then each row's word
// twice; F2 takes 4, direct and linear the same word twice. All arithmetic is modulo 2^YBits; the compiler guarantees that Y fits.
//
// Contract
//   command   one layer per transfer; cmd_ready_o is high when idle; counters restart at 0 with each command.
//   m read    latency 1; the RAM keeps m_rdata_i while m_re_o is low. A unit is read once m_ready_i has passed it;
//             m_free_o counts units whose last word has been read (address issued, so the half may be overwritten).
//   y stream  valid never waits for ready. y_meta = {last_of_unit, drop, kb, oy[11:0], ox[11:0], quad_last,
//             quad_first}: last_of_unit closes a (block, kg); drop marks pixels outside the convolution's output or,
//             with pooling, pixels of quads whose pooled pixel lies outside; oy, ox count from the block's corner.
//   rate      m * m cycles per tile; latency 7 cycles from the last read of a tile to its first pixel.
// Parameters: SubRow 4, 8, 16; Channels a power of two, SubRow..128; Tiles 2..32; AccBits <= YBits <= 48.
// Cost: subrow_otrans_data, about 600 flip-flops of control, no DSP, no RAM.

module subrow_otrans
  import subrow_pkg::*;
#(
    parameter int unsigned Channels = 16,
    parameter int unsigned Tiles = 6,
    parameter int unsigned SubRow = 8,
    parameter int unsigned AccBits = 26,
    parameter int unsigned YBits = 36,
    localparam int unsigned Cb = Channels / SubRow,
    localparam int unsigned KbBits = Cb > 1 ? $clog2(Cb) : 1,
    localparam int unsigned Nk = Tiles * Cb,
    localparam int unsigned MAddrBits = $clog2(18 * Nk),
    localparam int unsigned MetaBits = 28 + KbBits
) (
    input logic clk_i,
    input logic rst_ni,

    input  logic                 cmd_valid_i,
    output logic                 cmd_ready_o,
    input  logic [InstrBits-1:0] cmd_data_i,

    input  logic [15:0] m_ready_i,
    output logic [15:0] m_free_o,

    output logic                        m_re_o,
    output logic [       MAddrBits-1:0] m_raddr_o,
    input  logic [4*SubRow*AccBits-1:0] m_rdata_i,

    output logic                    y_valid_o,
    input  logic                    y_ready_i,
    output logic [SubRow*YBits-1:0] y_data_o,
    output logic [    MetaBits-1:0] y_meta_o
);

  if (SubRow != 4 && SubRow != 8 && SubRow != 16) begin : g_bad_sub_row
    $error("subrow_otrans: SubRow = %0d must be 4, 8 or 16", SubRow);
  end
  if (Channels < SubRow || Channels > 128 || (Channels & (Channels - 1)) != 0) begin : g_bad_channels
    $error("subrow_otrans: Channels = %0d must be a power of two, SubRow..128", Channels);
  end
  if (Tiles < 2 || Tiles > 32) begin : g_bad_tiles
    $error("subrow_otrans: Tiles = %0d must be 2..32", Tiles);
  end
  if (AccBits < 1 || AccBits > YBits || YBits > 48) begin : g_bad_bits
    $error("subrow_otrans: AccBits = %0d must be 1..YBits, YBits = %0d at most 48", AccBits, YBits);
  end

  typedef struct packed {
    logic              unit_last;  // last tile of the (block, kg)
    logic [KbBits-1:0] kb;
    logic [11:0]       oy;         // corner of the tile in the block
    logic [11:0]       ox;
    logic [12:0]       rem_h;      // rows of the block, from its corner, that count
    logic [12:0]       rem_w;
  } tile_t;
  typedef struct packed {
    logic       tail;   // F4: the word of taps 4, 5 of two rows
    logic       odd;    // F4: second row of the two; direct: second row
    logic [1:0] pick;   // the row's x5: see subrow_otrans_data
    logic       upper;  // columns 2, 3
    logic [2:0] row;
    logic       last;
  } step_t;

  // ---- command -----------------------------------------------------------------------------------------------------
  /* verilator lint_off UNUSEDSIGNAL */
  instr_t in_q;  // fields of other units stay unused
  /* verilator lint_on UNUSEDSIGNAL */
  logic run_q, busy;
  wire start = cmd_valid_i && cmd_ready_o;
  wire f4 = in_q.tile == TileF4;
  wire f2 = in_q.tile == TileF2;
  wire linear = in_q.tile == TileLinear;
  assign cmd_ready_o = !run_q && !busy;
  always_ff @(posedge clk_i) if (start) in_q <= cmd_data_i;

  // ---- walk --------------------------------------------------------------------------------------------------------
  logic load_q, blk_valid, blk_last, blk_next, pass_end;
  logic [9:0] th, tw;
  logic [11:0] crows, ccols, orows, ocols;
  logic [3:0] g_q;
  logic [2:0] phase_q, row_q;  // phase: F4: 0 tail, 1, 2 first row, 3, 4 second row; direct: row
  logic [KbBits-1:0] kb_q;
  logic [4:0] n_q;
  logic [9:0] ty_q, tx_q;
  logic [11:0] kgs, kg_q;        // output channel groups of the pass; the one at work
  logic [11:0] left_q, first_q;  // channel blocks to the last: from this group, from the first of the pass
  // last values; they stand before blk_valid
  logic [9:0] ty_last_q, tx_last_q;
  logic [11:0] kg_last_q;
  logic [15:0] unit_q;
  logic adv;

  /* verilator lint_off PINCONNECTEMPTY */
  subrow_block_iter u_blocks (
      .clk_i, .rst_ni,
      .cmd_i(in_q), .load_i(load_q), .next_i(blk_next), .valid_o(blk_valid), .last_o(blk_last),
      .pass_end_o(pass_end), .kgs_o(kgs),
      .last_y_o(), .last_x_o(), .half_o(), .by_o(), .bx_o(), .th_o(th), .tw_o(tw), .q_o(),
      .iy0_o(), .ix0_o(), .ry0_o(), .nrows_o(), .rx0_o(), .ncols_o(),
      .cy0_o(), .crows_o(crows), .cx0_o(), .ccols_o(ccols),
      .oy0_o(), .orows_o(orows), .ox0_o(), .ocols_o(ocols)
  );
  /* verilator lint_on PINCONNECTEMPTY */

  wire issue = run_q && blk_valid && m_ready_i != unit_q && adv;
  wire row_last = row_q == 3'd5;
  wire step_last = row_last && (!f4 || phase_q == 3'd4);
  wire kb_last = 32'(kb_q) == Cb - 1 || 12'(kb_q) + 12'd1 == left_q;
  wire tx_last = tx_q == tx_last_q;
  wire tile_last = tx_last && ty_q == ty_last_q;
  wire n_last = 32'(n_q) == Tiles - 1 || tile_last;
  wire kg_last = kg_q == kg_last_q;
  wire tile_done = issue && step_last && kb_last;
  assign blk_next = tile_done && tile_last && kg_last;

  assign m_free_o = unit_q;
  assign m_re_o = issue;
  assign m_raddr_o = MAddrBits'((unit_q[0] ? 9 * Nk : 0) + 32'(g_q) * Nk + 32'(n_q) * Cb + 32'(kb_q));

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      run_q <= 1'b0;
      load_q <= 1'b0;
      unit_q <= '0;
    end else begin
      load_q <= start;
      if (start) run_q <= 1'b1;
      else if (blk_next && blk_last) run_q <= 1'b0;
      if (start) unit_q <= '0;
      else if (tile_done && n_last) unit_q <= unit_q + 16'd1;
    end
    tx_last_q <= tw - 10'd1;
    ty_last_q <= th - 10'd1;
    kg_last_q <= kgs - 12'd1;
    if (load_q) begin
      {phase_q, row_q, kb_q, n_q, ty_q, tx_q, kg_q} <= '0;
      g_q <= f4 ? 4'd2 : 4'd0;
      left_q <= in_q.out_cb;
      first_q <= in_q.out_cb;
    end else if (issue) begin
      phase_q <= step_last || phase_q == 3'd4 || f2 ? 3'd0 : phase_q + 3'd1;
      if (step_last) g_q <= f4 ? 4'd2 : 4'd0;
      else if (f4) begin
        unique case (phase_q)
          3'd0: g_q <= g_q - 4'd2;
          3'd2: g_q <= g_q + 4'd1;
          3'd4: g_q <= g_q + 4'd4;
          default: ;
        endcase
      end else if (f2) g_q <= g_q + 4'd1;
      if (step_last) row_q <= 3'd0;
      else if (!f4) row_q <= f2 && row_q != 3'd2 ? row_q + 3'd1 : 3'd5;
      else if (phase_q == 3'd2 || phase_q == 3'd4) row_q <= row_q + 3'd1;
      if (step_last) kb_q <= kb_last ? '0 : kb_q + 1'b1;
      if (tile_done) begin
        n_q <= n_last ? 5'd0 : n_q + 5'd1;
        tx_q <= tx_last ? 10'd0 : tx_q + 10'd1;
        if (tx_last) ty_q <= tile_last ? 10'd0 : ty_q + 10'd1;
      end
      if (tile_done && tile_last) begin
        kg_q <= kg_last ? 12'd0 : kg_q + 12'd1;
        left_q <= kg_last && !pass_end ? first_q : left_q - 12'(Cb);
        if (kg_last && pass_end) first_q <= left_q - 12'(Cb);
      end
    end
  end

  // ---- stages 1..3: RAM data, aligned words, sums ------------------------------------------------------------------
  logic [3:1] s_v_q;
  step_t s_q[1:3];
  tile_t s_tile_q[1:3];
  logic [3:0][3:0] em_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) s_v_q <= '0;
    else if (adv) s_v_q <= {s_v_q[2:1], issue};
    if (adv) begin
      for (int unsigned t = 0; t < 4; t++) em_q[t] <= in_q.em[{g_q, t[1:0]}];
      s_q[1] <= '{
          tail: f4 && phase_q == 3'd0,
          odd: f4 ? row_q[0] : phase_q[0],
          pick: f4 ? {1'b0, row_q[0]} : {1'b1, !f2 && !phase_q[0]},
          upper: f4 && !phase_q[0],
          row: row_q,
          last: step_last
      };
      s_tile_q[1] <= '{
          unit_last: kb_last && tile_last,
          kb: kb_q,
          oy: f4 ? {ty_q, 2'b0} : {1'b0, ty_q, 1'b0},
          ox: f4 ? {tx_q, 2'b0} : {1'b0, tx_q, 1'b0},
          rem_h: in_q.pool[0] ? {orows, 1'b0} : {1'b0, crows},
          rem_w: in_q.pool[0] ? {ocols, 1'b0} : {1'b0, ccols}
      };
      for (int i = 2; i <= 3; i++) begin
        s_q[i] <= s_q[i-1];
        s_tile_q[i] <= s_tile_q[i-1];
      end
    end
  end

  // ---- rows of a whole tile, then its pixels -----------------------------------------------------------------------
  logic r_full_q, copy;
  tile_t r_tile_q;
  wire r_load = s_v_q[3] && (!r_full_q || copy);
  assign adv = !s_v_q[3] || r_load;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) r_full_q <= 1'b0;
    else if (r_load && s_q[3].last) r_full_q <= 1'b1;
    else if (copy) r_full_q <= 1'b0;
    if (r_load) r_tile_q <= s_tile_q[3];
  end

  logic e_v_q, a_v_q, b_v_q;
  tile_t e_tile_q;
  logic [3:0] pix_q;  // {qx, qy, dy, dx}
  logic [MetaBits-1:0] a_meta_q, b_meta_q;

  wire b_ready = !b_v_q || y_ready_i;
  wire a_ready = !a_v_q || b_ready;
  wire pix_last = f4 ? &pix_q : &pix_q[1:0];
  wire pix_fire = e_v_q && a_ready;
  wire [1:0] row = pix_q[2:1];
  wire [1:0] col = {pix_q[3], pix_q[0]};
  wire [11:0] oy = e_tile_q.oy | {10'd0, row};
  wire [11:0] ox = e_tile_q.ox | {10'd0, pix_q[3], pix_q[0]};
  wire drop = {1'b0, oy} >= e_tile_q.rem_h || {1'b0, ox} >= e_tile_q.rem_w;
  assign copy = r_full_q && (!e_v_q || (pix_fire && pix_last));
  assign busy = s_v_q != '0 || r_full_q || e_v_q || a_v_q || b_v_q;
  assign y_valid_o = b_v_q;
  assign y_meta_o = b_meta_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      e_v_q <= 1'b0;
      a_v_q <= 1'b0;
      b_v_q <= 1'b0;
    end else begin
      if (copy) e_v_q <= 1'b1;
      else if (pix_fire && pix_last) e_v_q <= 1'b0;
      if (a_ready) a_v_q <= e_v_q;
      if (b_ready) b_v_q <= a_v_q;
    end
    if (copy) pix_q <= 4'd0;
    else if (pix_fire) pix_q <= pix_q + 4'd1;
    if (copy) e_tile_q <= r_tile_q;
    if (a_ready) begin
      a_meta_q <= {e_tile_q.unit_last && pix_last, drop, e_tile_q.kb, oy, ox, &pix_q[1:0], ~|pix_q[1:0]};
    end
    if (b_ready) b_meta_q <= a_meta_q;
  end

  subrow_otrans_data #(
      .SubRow(SubRow),
      .AccBits(AccBits),
      .YBits(YBits)
  ) u_data (
      .clk_i,
      .f4_i(f4),
      .f2_i(f2),
      .linear_i(linear),
      .en_i(adv),
      .m_i(m_rdata_i),
      .em_i(em_q),
      .tail_i(s_q[2].tail),
      .odd_i(s_q[2].odd),
      .pick_i(s_q[2].pick),
      .upper_i(s_q[2].upper),
      .write_i(r_load && !s_q[3].tail),
      .row3_i(s_q[3].row),
      .upper3_i(s_q[3].upper),
      .copy_i(copy),
      .a_en_i(a_ready),
      .row_i(row),
      .col_i(col),
      .b_en_i(b_ready),
      .y_o(y_data_o)
  );

endmodule
