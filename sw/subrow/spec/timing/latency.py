"""Every pipeline latency that the cycle model uses, in cycles, beside the RTL that it comes from.

An event happens in a cycle; a counter or register that it changes shows the new value one cycle later ("visible").
After a change of hw/rtl: `python scripts/calibrate.py` shows the error of the model layer by layer.
"""

from __future__ import annotations

# hw/rtl/subrow_block_iter.sv: load_i or next_i to valid_o (phase_q 1 to 4).
NEXT_BLOCK = 4
# Command to the first valid block: a unit's load state, then the iterator (state Load or load_q in every unit).
FIRST_BLOCK = 1 + NEXT_BLOCK

# A unit that asks in cycle c (afetch, rfetch: ask; wfetch: send) has its address on AR in c + 4: its request register,
# subrow_arb2 req_valid_q, subrow_axi_read busy_q, ar_valid_q. The first word comes latency_cycles after that.
ASK_TO_ADDRESS = 4
# The same for subrow_ctrl, whose request has no register (req_valid_o = state FeAsk).
FETCH_TO_ADDRESS = 3
# subrow_axi_read, subrow_axi_write: bursts under way (MaxOutstanding).
OPEN_BURSTS = 8
# The end of a read burst (the cycle after its last word) to the first word of the burst that takes its place, besides
# the memory's latency: open_q, issue, ar_valid_q.
READ_HOLD = 1
# The same for writes: response, open_q, issue, aw_valid_q, w_valid_q.
WRITE_HOLD = 2

# hw/rtl/subrow_afetch.sv: StBlock with credit to the first ask, less the seek (StSeek takes 1 + rows skipped).
CREDIT_TO_SEEK = 1
# hw/rtl/subrow_rfetch.sv: StUnit with credit to the first ask.
UNIT_TO_ASK = 1
# Last word of a row (afetch: row_end_q, rows_q), unit (rfetch: unit_end_q, ready_q) or weight word (wfetch: w_we_q,
# w_wptr_q) on the bus to the counter that shows it.
WORD_VISIBLE = 2
# hw/rtl/subrow_ctrl.sv, subrow_wfetch.sv: command to the first item added to a request (StLoad, StAsk).
STREAM_START = 2
# hw/rtl/subrow_wfetch.sv: last word of a layer on the bus to StIdle (w_we_q, StDrain, StIdle).
STREAM_END = 3

# hw/rtl/subrow_itrans.sv: rows_i to the first column read (avail_q), and once more for all_rows_q.
ROWS_TO_WINDOW = 1
ALL_ROWS = 1
# v_free_i visible to the first column read (state Block to Run); block_done to the same (Block, iterator, Run).
FREE_TO_WINDOW = 1
BLOCK_TO_WINDOW = 1 + NEXT_BLOCK
# Last column read of a tile group's last window to q_ready_o: valid_q[5], step_q 6, row steps - 1, ends_d_q, q_ready_q.
COLUMN_TO_READY = 10
# Last column read of a block to act_free_o: valid_q[2], act_free_q.
COLUMN_TO_FREE = 3

# hw/rtl/subrow_array.sv: last step of a unit to m_ready_o, besides the Nk words of the drain: valid_q[5] 5, drain_q,
# done_q, m_ready_q.
STEP_TO_READY = 7

# hw/rtl/subrow_otrans.sv: issue to the row transform (s_q 1 to 3), row transform to copy, copy to y_valid_o (e, a, b).
ISSUE_TO_ROW = 3
ROW_TO_COPY = 1
COPY_TO_PIXEL = 3
# hw/rtl/subrow_post.sv: pixel taken to o_ready_o (12 stages, ready_q); to p_free_o (stage 3, free_q).
PIXEL_TO_READY = 13
PIXEL_TO_FREE = 4

# hw/rtl/subrow_awrite.sv: o_ready_i visible to the first word at the memory: Unit to Walk, request 1, burst 1, AW 1,
# data register 1.
READY_TO_WORD = 5
# Walk of one unit to Walk of the next: Next, Unit, Walk; at a new block: Next, Block, iterator, Unit, Walk.
NEXT_UNIT = 3
NEXT_UNIT_BLOCK = 7
# Segments asked for ahead of their data (Ahead, cur_q).
SEGMENTS_AHEAD = 5
# Last response to rec_start; rec_start to the record's first word; last response of the record to the next dispatch.
RESPONSE_TO_RECORD = 1
RECORD_TO_WORD = 4
RESPONSE_TO_DISPATCH = 3
# hw/rtl/subrow_ctrl.sv: layer_done_i comes one cycle before that dispatch.
DONE_BEFORE_DISPATCH = 1
