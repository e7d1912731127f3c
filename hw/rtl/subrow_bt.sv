// B^T x of one column or row of a window, for every tile size with the same twelve adders.
//
// Contract: combinational. F4 (f4_i = 1): the six rows of B^T. F2: x_i = {x3, x2, x1, x2, x1, x0}; y_o[0], [1], [2], [5]
// are its four rows. Direct: x_i = {x1, 0, 0, 0, 0, x0}; y_o[0] = x0, y_o[5] = x1. The other results mean nothing.
// Parameters: InBits 2 and up; OutBits such that ten times the greatest input fits.
// Cost: twelve adders of at most OutBits.
module subrow_bt #(
  parameter int unsigned InBits  = 8,
  parameter int unsigned OutBits = 12
) (
  input  logic                    f4_i,
  input  logic [5:0][ InBits-1:0] x_i,
  output logic [5:0][OutBits-1:0] y_o
);
  if (InBits < 2 || OutBits < InBits) begin : g_illegal
    $error("subrow_bt: InBits must be at least 2, OutBits at least InBits");
  end

  typedef logic signed [InBits:0] near_t;
  typedef logic signed [InBits+2:0] far_t;
  typedef logic signed [OutBits-1:0] y_t;
  logic signed [InBits-1:0] x[6];
  near_t d02, d42, d31, d53;
  far_t even, odd;
  for (genvar i = 0; i < 6; i++) begin : g_x
    assign x[i] = x_i[i];
  end

  // F2 has x[4] = x[2] and x[3] = x[1]: d42 and d31 are 0 there.
  assign d02  = near_t'(x[0]) - near_t'(x[2]);
  assign d42  = near_t'(x[4]) - near_t'(x[2]);
  assign d31  = near_t'(x[3]) - near_t'(x[1]);
  assign d53  = near_t'(x[5]) - near_t'(x[3]);
  assign even = far_t'(x[4]) - (f4_i ? far_t'(x[2]) <<< 2 : far_t'(0));
  assign odd  = far_t'(x[3]) - (f4_i ? far_t'(x[1]) <<< 2 : far_t'(0));

  assign y_o[0] = y_t'(d42) + (f4_i ? y_t'(d02) <<< 2 : y_t'(d02));
  assign y_o[1] = y_t'(even) + y_t'(odd);
  assign y_o[2] = y_t'(even) - y_t'(odd);
  assign y_o[3] = y_t'(d42) + (y_t'(d31) <<< 1);
  assign y_o[4] = y_t'(d42) - (y_t'(d31) <<< 1);
  assign y_o[5] = y_t'(d53) - (y_t'(d31) <<< 2);
endmodule
