# ZCU104 (XCZU7EV): the processing system as `ps`, from the board file, which holds the settings of its DDR4 module.

array set ps {
    clock pl_clk0
    reset pl_resetn0
    irq pl_ps_irq0
    gp M_AXI_HPM0_FPD
    gp_clock maxihpm0_fpd_aclk
    actual_mhz PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ
}

proc create_ps {has_board_file} {
    global cfg
    if {!$has_board_file} {
        error "board file $cfg(board_part) not found: get it in Vivado's Tcl console with\
            `xhub::refresh_catalog \[xhub::get_xstores xilinx_board_store\]` and\
            `xhub::install \[xhub::get_xitems *zcu104*\]`"
    }
    # The version of this IP follows Vivado's: without one, the newest is taken.
    set cell [create_bd_cell -type ip -vlnv xilinx.com:ip:zynq_ultra_ps_e ps]
    apply_bd_automation -rule xilinx.com:bd_rule:zynq_ultra_ps_e -config {apply_board_preset 1} $cell
    set settings [list \
        CONFIG.PSU__USE__M_AXI_GP0 1 CONFIG.PSU__USE__M_AXI_GP1 0 CONFIG.PSU__USE__M_AXI_GP2 0 \
        CONFIG.PSU__USE__IRQ0 1 \
        CONFIG.PSU__FPGA_PL0_ENABLE 1 CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ $cfg(mhz)]
    foreach path $cfg(memory) {
        # A segment is called after the slave interface behind the port: SAXIGP0/HPC0_DDR_LOW is S_AXI_GP0.
        set slave [lindex [split [lindex $path 3] /] 0]
        lappend settings CONFIG.PSU__USE__S_AXI_[string range $slave 4 end] 1 CONFIG.PSU__${slave}__DATA_WIDTH $cfg(port_bits)
    }
    set_property -dict $settings $cell
}
