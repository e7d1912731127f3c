# ZCU104. The engine has no pins; its clock comes from the processing system, whose IP constrains it.
set_property BITSTREAM.GENERAL.COMPRESS TRUE [current_design]
