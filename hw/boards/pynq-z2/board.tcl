# PYNQ-Z2 (XC7Z020): the processing system as `ps`, from the board file where Vivado has it, else from ps7.tcl.

array set ps {
    clock FCLK_CLK0
    reset FCLK_RESET0_N
    irq IRQ_F2P
    gp M_AXI_GP0
    gp_clock M_AXI_GP0_ACLK
    actual_mhz PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ
}

proc create_ps {has_board_file} {
    global cfg here
    set cell [create_bd_cell -type ip -vlnv xilinx.com:ip:processing_system7:5.5 ps]
    if {!$has_board_file} {
        puts "subrow: no board file $cfg(board_part): the processing system is set from ps7.tcl"
        source [file join $here ps7.tcl]
        set_property -dict $ps7_settings $cell
    }
    set automation [list make_external "FIXED_IO, DDR" apply_board_preset $has_board_file Master Disable Slave Disable]
    apply_bd_automation -rule xilinx.com:bd_rule:processing_system7 -config $automation $cell
    set settings [list \
        CONFIG.PCW_USE_M_AXI_GP0 1 CONFIG.PCW_USE_M_AXI_GP1 0 \
        CONFIG.PCW_USE_FABRIC_INTERRUPT 1 CONFIG.PCW_IRQ_F2P_INTR 1 \
        CONFIG.PCW_EN_CLK0_PORT 1 CONFIG.PCW_EN_RST0_PORT 1 \
        CONFIG.PCW_FCLK0_PERIPHERAL_CLKSRC $cfg(clock_source) CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ $cfg(mhz)]
    foreach path $cfg(memory) {
        set port [lindex $path 1]
        lappend settings CONFIG.PCW_USE_$port 1 CONFIG.PCW_${port}_DATA_WIDTH $cfg(port_bits)
    }
    set_property -dict $settings $cell
}
