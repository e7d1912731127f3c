# The engine as an IP: its RTL, its registers. IP Integrator infers the AXI interfaces from the attributes of the Verilog top.

proc package_engine {project ip} {
    global cfg here
    file delete -force $project $ip
    create_project engine $project -part $cfg(part)
    foreach source $cfg(sources) { add_files -norecurse [file join $here $source] }
    set_property top $cfg(top) [current_fileset]
    update_compile_order -fileset sources_1
    ipx::package_project -root_dir $ip -vendor subrow -library ip -taxonomy /UserIP -import_files
    set core [ipx::current_core]
    set_property name $cfg(ip_name) $core
    set_property version $cfg(ip_version) $core
    set_property display_name "Subrow engine" $core
    set_property description "Sub-row-balanced sparse Winograd engine, HwConfig $cfg(hw)" $core
    set_property supported_families {zynq Production zynquplus Production} $core
    describe_registers $core
    ipx::create_xgui_files $core
    ipx::update_checksums $core
    ipx::check_integrity $core
    ipx::save_core $core
    close_project
}

# Names and offsets of the registers, which Vivado writes into the .hwh.
proc describe_registers {core} {
    global cfg
    set block [ipx::get_address_blocks reg0 -of_objects [ipx::get_memory_maps s_axil -of_objects $core]]
    foreach entry $cfg(registers) {
        lassign $entry name offset access description
        set register [ipx::add_register $name $block]
        set_property address_offset $offset $register
        set_property size 32 $register
        set_property access $access $register
        set_property description $description $register
    }
}
