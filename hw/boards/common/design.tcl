# The block design: processing system, engine, reset, one SmartConnect for each AXI path.
#
# board.tcl makes the cell `ps` and says in the array `ps` what its pins are called.

proc make_project {project} {
    global cfg here work
    file delete -force $project
    create_project $cfg(design) $project -part $cfg(part)
    set found [get_board_parts -quiet $cfg(board_part)]
    if {[llength $found]} { set_property board_part $cfg(board_part) [current_project] }
    set_property ip_repo_paths [file join $work ip] [current_project]
    update_ip_catalog -rebuild
    add_files -fileset constrs_1 -norecurse [file join $here $cfg(constraints)]
    create_bd_design $cfg(design)
    create_ps [llength $found]
    create_engine
    connect_registers
    foreach path $cfg(memory) { connect_memory {*}$path }
    check_clock
    validate_bd_design
    save_bd_design
    set file [get_files $cfg(design).bd]
    generate_target all $file
    add_files -norecurse [make_wrapper -files $file -top]
    set_property top $cfg(design)_wrapper [current_fileset]
    update_compile_order -fileset sources_1
    close_project
}

# The cells that every path shares: engine, reset, clock, interrupt.
proc create_engine {} {
    global cfg ps
    create_bd_cell -type ip -vlnv subrow:ip:$cfg(ip_name):$cfg(ip_version) engine
    create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset:5.0 reset
    clock_pin reset/slowest_sync_clk
    clock_pin engine/clk
    connect_bd_net [get_bd_pins ps/$ps(reset)] [get_bd_pins reset/ext_reset_in]
    connect_bd_net [get_bd_pins reset/peripheral_aresetn] [get_bd_pins engine/rst_n]
    connect_bd_net [get_bd_pins engine/irq] [get_bd_pins ps/$ps(irq)]
}

# Puts a pin on the one clock.
proc clock_pin {pin} {
    global ps
    connect_bd_net [get_bd_pins ps/$ps(clock)] [get_bd_pins $pin]
}

# A SmartConnect of that name between two interfaces; it converts widths and AXI4 to AXI3 or AXI4-Lite as they need.
proc connect_through {name from to} {
    set cell [create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect:1.0 $name]
    set_property -dict {CONFIG.NUM_SI 1 CONFIG.NUM_MI 1 CONFIG.NUM_CLKS 1} $cell
    clock_pin $name/aclk
    connect_bd_net [get_bd_pins reset/interconnect_aresetn] [get_bd_pins $name/aresetn]
    connect_bd_intf_net [get_bd_intf_pins $from] [get_bd_intf_pins $name/S00_AXI]
    connect_bd_intf_net [get_bd_intf_pins $name/M00_AXI] [get_bd_intf_pins $to]
}

proc connect_registers {} {
    global cfg ps
    clock_pin ps/$ps(gp_clock)
    connect_through registers ps/$ps(gp) engine/s_axil
    assign_bd_address -offset $cfg(register_base) -range $cfg(register_range) \
        -target_address_space [get_bd_addr_spaces ps/Data] [get_bd_addr_segs engine/s_axil/reg0] -force
}

# One master of the engine to one memory port.
proc connect_memory {master port clock segment} {
    global cfg
    clock_pin ps/$clock
    connect_through to_$port engine/$master ps/$port
    assign_bd_address -offset 0 -range $cfg(memory_range) \
        -target_address_space [get_bd_addr_spaces engine/$master] [get_bd_addr_segs ps/$segment] -force
}

# The PLLs of the processing system give few frequencies: the one they give must be the one that was asked for.
proc check_clock {} {
    global cfg ps
    set mhz [get_property CONFIG.$ps(actual_mhz) [get_bd_cells ps]]
    if {abs($mhz - $cfg(mhz)) > $cfg(clock_error) * $cfg(mhz)} {
        error "clock: the processing system gives $mhz MHz, the HwConfig $cfg(hw) asks for $cfg(mhz) MHz"
    }
}
