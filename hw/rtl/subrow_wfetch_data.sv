// Weight words out of beats: the gearbox of subrow_wfetch and the register in which words and parameters come together.
//
// Contract: kind_i = {narrow_u, implicit_index} of the layer; one cycle later whole_o and rest_o say how many whole beats
//   a word in memory has and how many units of 64 bits beyond them, until kind_i changes. A beat is taken with take_i:
//   beat_i counts from 0 in each word (params_i = 0) or parameter word (params_i = 1), left_i is how many units of the
//   beat before it are the word's first. A word of whole_o beats and rest_o units takes whole_o + (left_i < rest_o)
//   beats; word_o holds it in the cycle after the last one, in the layout of the ring (weights of UBits, then indices),
//   or the parameters. Indices mean nothing when implicit_index, nor does any bit beyond what was read.
// Parameters: as subrow_wfetch.
// Cost: a word of flip-flops and the part of a beat that words can share; where a beat has several units or NarrowU, one
//   LUT for each bit of a beat, twice that with NarrowU, and one for each bit of a word's units beyond its whole beats.
module subrow_wfetch_data #(
    parameter int unsigned Channels = 8,
    parameter int unsigned SubRow = 8,
    parameter int unsigned UBits = 8,
    parameter int unsigned NarrowU = 1,
    parameter int unsigned WeightBytes = 8,
    localparam int unsigned BeatUnits = WeightBytes / 8,
    localparam int unsigned LeftBits = (BeatUnits > 1) ? $clog2(BeatUnits) : 1,
    localparam int unsigned WordBits = 4 * Channels * (UBits + $clog2(SubRow)),
    localparam int unsigned RegBits = (WordBits > 64 * SubRow) ? WordBits : 64 * SubRow
) (
    input  logic                     clk_i,
    input  logic [              1:0] kind_i,
    output logic [              7:0] whole_o,
    output logic [     LeftBits-1:0] rest_o,
    input  logic                     take_i,
    input  logic                     params_i,
    input  logic [              7:0] beat_i,
    input  logic [     LeftBits-1:0] left_i,
    input  logic [8*WeightBytes-1:0] data_i,
    output logic [      RegBits-1:0] word_o
);

  localparam int unsigned UnitBits = 64;
  localparam int unsigned BeatBits = 8 * WeightBytes;
  localparam int unsigned ValueBits = 4 * Channels * UBits;
  localparam int unsigned NarrowBits = 16 * Channels;  // of a word's weights in 4 bits

  if (NarrowU > 1 || (NarrowU == 1 && (UBits <= 4 || WeightBytes > 2 * Channels))) begin : g_bad_narrow
    $error("subrow_wfetch_data: NarrowU = %0d must be 0, or 1 with UBits above 4 and WeightBytes at most 2 * Channels",
           NarrowU);
  end

  // Units of a word in memory; kind as kind_i.
  function automatic int unsigned word_units(input int unsigned kind);
    int unsigned n;
    n = ((kind >= 2) ? NarrowBits : ValueBits) + ((kind % 2 == 1) ? 0 : WordBits - ValueBits);
    n = (n + UnitBits - 1) / UnitBits;
    return (n > BeatUnits) ? n : BeatUnits;
  endfunction

  function automatic logic [8+LeftBits-1:0] size_of(input int unsigned kind);
    return {8'(word_units(kind) / BeatUnits), LeftBits'(word_units(kind) % BeatUnits)};
  endfunction

  // Whether bit b of beat i can be among the units beyond the whole beats of a word of this kind.
  function automatic logic beyond(input int unsigned kind, input int unsigned i, input int unsigned b);
    return i == word_units(kind) / BeatUnits && b / UnitBits + 1 <= word_units(kind) % BeatUnits;
  endfunction

  // What a beat can leave for the next word is a multiple of Step units; BeatUnits: nothing.
  localparam int unsigned Sizes =
      BeatUnits | word_units(0) | word_units(1) | ((NarrowU != 0) ? word_units(2) | word_units(3) : 0);
  localparam int unsigned Step = Sizes & (~Sizes + 1);

  logic narrow;
  logic [7:0] whole_q;
  logic [LeftBits-1:0] rest_q;
  assign narrow = NarrowU != 0 && kind_i[1];
  always_ff @(posedge clk_i) begin
    unique case ({narrow, kind_i[0]})
      2'd0: {whole_q, rest_q} <= size_of(0);
      2'd1: {whole_q, rest_q} <= size_of(1);
      2'd2: {whole_q, rest_q} <= size_of(2);
      default: {whole_q, rest_q} <= size_of(3);
    endcase
  end
  assign whole_o = whole_q;
  assign rest_o  = rest_q;

  // Beat b of a word is `beat` while beat_i = b. Where the last beat brings the units beyond it as well, those are `ahead`.
  logic [BeatBits-1:0] before_q, beat, ahead;
  logic raw, spread, early;
  always_ff @(posedge clk_i) if (take_i) before_q <= data_i;

  always_comb begin
    beat  = data_i;
    ahead = '0;
    for (int unsigned n = Step; n < BeatUnits; n += Step) begin
      if (left_i == LeftBits'(n)) begin
        beat  = BeatBits'({data_i, before_q} >> (UnitBits * (BeatUnits - n)));
        ahead = data_i >> (UnitBits * (BeatUnits - n));
      end
    end
  end
  assign raw = params_i || !narrow;
  assign spread = !raw && beat_i < 8'(NarrowBits / BeatBits);  // weights of 4 bits, to UBits each
  assign early = !params_i && rest_q != '0 && left_i >= rest_q && beat_i == whole_q - 8'd1;

  logic [RegBits-1:0] word_q;
  for (genvar b = 0; b < RegBits; b++) begin : g_bit
    // Where this bit stands in memory, with weights of UBits and of 4 bits.
    localparam int unsigned Nibble = 4 * (b / UBits) + ((b % UBits < 3) ? b % UBits : 3);
    localparam int unsigned Narrow = (b < ValueBits) ? Nibble : NarrowBits + b - ValueBits;
    localparam int unsigned RawBeat = b / BeatBits;
    localparam int unsigned RawAt = b % BeatBits;
    localparam int unsigned NarrowBeat = Narrow / BeatBits;
    localparam int unsigned NarrowAt = Narrow % BeatBits;
    localparam logic Both = NarrowU != 0 && b < WordBits;
    // Indices mostly stand at the same place of a beat in both: they then take what weights take when nothing is spread.
    localparam logic Same = b >= ValueBits && NarrowAt == RawAt;
    localparam int unsigned Shared = 4 * (RawAt / UBits) + ((RawAt % UBits < 3) ? RawAt % UBits : 3);
    localparam logic RawEarly = beyond(0, RawBeat, RawAt) || beyond(1, RawBeat, RawAt);
    localparam logic NarrowEarly = Both && (beyond(2, NarrowBeat, NarrowAt) || beyond(3, NarrowBeat, NarrowAt));
    logic here, value;
    if (!Both) begin : g_raw
      assign here  = raw && beat_i == 8'(RawBeat);
      assign value = beat[RawAt];
    end else begin : g_both
      assign here = beat_i == (raw ? 8'(RawBeat) : 8'(NarrowBeat));
      if (Same) begin : g_same
        assign value = spread ? beat[Shared%BeatBits] : beat[RawAt];
      end else begin : g_moved
        assign value = ((b < ValueBits) ? spread : !raw) ? beat[NarrowAt] : beat[RawAt];
      end
    end
    if (RawEarly || NarrowEarly) begin : g_early
      localparam int unsigned RawLast = (RawBeat > 0) ? RawBeat - 1 : 0;
      localparam int unsigned NarrowLast = (NarrowBeat > 0) ? NarrowBeat - 1 : 0;
      logic soon;
      assign soon = early && (raw ? RawEarly && beat_i == 8'(RawLast) : NarrowEarly && beat_i == 8'(NarrowLast));
      always_ff @(posedge clk_i) begin
        if (take_i && (here || soon)) word_q[b] <= soon ? (raw ? ahead[RawAt] : ahead[NarrowAt]) : value;
      end
    end else begin : g_late
      always_ff @(posedge clk_i) if (take_i && here) word_q[b] <= value;
    end
  end
  assign word_o = word_q;

  logic unused_bits;
  assign unused_bits = ^{before_q, ahead, early, spread};

endmodule
