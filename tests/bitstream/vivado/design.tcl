# The model's block design: cells, nets, addresses, and what validate_bd_design refuses.

proc create_bd_design {name} {
    model::in_project create_bd_design
    set file [file join [file dirname $::model::project] $name.bd]
    close [open $file w]
    lappend ::model::files $file
}
proc create_bd_cell {args} {
    lassign [model::options create_bd_cell {-type 1 -vlnv 1} $args] o name
    if {[dict get $o -type] ne "ip"} { error "create_bd_cell: type [dict get $o -type]" }
    if {[info exists ::model::cells($name)]} { error "create_bd_cell: $name exists" }
    set vlnv [dict get $o -vlnv]
    if {[info exists ::model::packaged($vlnv)]} { set p {} } else {
        set vlnv [ips::resolve $vlnv]
        set p $::ips::defaults($vlnv)
    }
    set ::model::cells($name) [list $vlnv $p]
    model::note cell $name $vlnv
    return cell:$name
}
proc get_bd_cells {name} {
    if {![info exists ::model::cells($name)]} { error "get_bd_cells: no cell $name" }
    return cell:$name
}
proc apply_bd_automation {args} {
    lassign [model::options apply_bd_automation {-rule 1 -config 1} $args] o cell
    set rules {
        xilinx.com:bd_rule:processing_system7 {make_external apply_board_preset Master Slave}
        xilinx.com:bd_rule:zynq_ultra_ps_e {apply_board_preset}
    }
    set rule [dict get $o -rule]
    if {![dict exists $rules $rule]} { error "apply_bd_automation: no rule $rule" }
    dict for {key value} [dict get $o -config] {
        if {$key ni [dict get $rules $rule]} { error "apply_bd_automation: $rule has no option $key" }
    }
    set preset [dict get $o -config apply_board_preset]
    if {$preset && ![info exists ::model::props(project:,board_part)]} { error "apply_bd_automation: no board part is set" }
    model::note automation [string range $cell 5 end] {*}[dict get $o -config]
}

# Entry of a pin, interface or segment `cell/name`.
proc model::lookup {what path} {
    regexp {^([^/]+)/(.+)$} $path - cell name
    if {![info exists cell] || ![info exists ::model::cells($cell)]} { error "get_bd_$what: no cell for $path" }
    set table [ips::$what {*}$::model::cells($cell)]
    if {![dict exists $table $name]} { error "get_bd_$what: no $path; there are: [dict keys $table]" }
    return [dict get $table $name]
}
proc get_bd_pins {path} { model::lookup pins $path; return pin:$path }
proc get_bd_intf_pins {path} { model::lookup interfaces $path; return intf:$path }
proc get_bd_addr_segs {path} { model::lookup segments $path; return seg:$path }
proc get_bd_addr_spaces {path} {
    if {$path eq "ps/Data"} { return space:$path }
    lassign [model::lookup interfaces $path] mode
    if {$mode ne "master"} { error "get_bd_addr_spaces: $path is no master" }
    return space:$path
}

proc connect_bd_net {args} {
    if {[llength $args] < 2} { error "connect_bd_net: give two pins" }
    lassign [model::options connect_bd_net {} $args] o pins
    set names [lmap pin $pins {
        if {![regexp {^pin:(.+)} $pin - path]} { error "connect_bd_net: $pin is no pin" }
        set path
    }]
    set entries [lmap path $names { model::lookup pins $path }]
    set drivers [lmap path $names entry $entries { if {[lindex $entry 0] ne "out"} continue; set path }]
    if {[llength $drivers] != 1} { error "connect_bd_net: [llength $drivers] drivers among $names" }
    set kind [lindex [model::lookup pins $drivers] 1]
    foreach path $names entry $entries {
        if {[lindex $entry 1] ne $kind} { error "connect_bd_net: $path is [lindex $entry 1], $drivers is $kind" }
        if {$path eq $drivers} continue
        if {[info exists ::model::nets($path)]} { error "connect_bd_net: $path is driven by $::model::nets($path)" }
        set ::model::nets($path) $drivers
        model::note net $drivers $path $kind
    }
}
proc connect_bd_intf_net {from to} {
    foreach end {from to} mode {master slave} {
        set path [string range [set $end] 5 end]
        if {![string match intf:* [set $end]]} { error "connect_bd_intf_net: [set $end] is no interface" }
        if {[lindex [model::lookup interfaces $path] 0] ne $mode} { error "connect_bd_intf_net: $path is no $mode" }
        if {[lsearch -exact [concat {*}$::model::intfs] $path] >= 0} { error "connect_bd_intf_net: $path is connected" }
        lappend pair $path
    }
    lappend ::model::intfs $pair
    model::note intf {*}$pair
}
proc assign_bd_address {args} {
    lassign [model::options assign_bd_address {-offset 1 -range 1 -target_address_space 1 -force 0} $args] o segment
    foreach name {-offset -range} {
        if {![string is integer -strict [dict get $o $name]]} { error "assign_bd_address: $name [dict get $o $name]" }
    }
    set range [expr {[dict get $o -range]}]
    if {$range & ($range - 1) || [dict get $o -offset] % $range} { error "assign_bd_address: not a power of two, aligned" }
    set space [string range [dict get $o -target_address_space] 6 end]
    set entry [list $space [string range $segment 4 end] [format %#x [dict get $o -offset]] [format %#x $range]]
    lappend ::model::addrs $entry
    model::note address {*}$entry
}

# Where the signals of an interface get their clock.
proc model::clock_of {path} {
    lassign [model::lookup interfaces $path] mode protocol bits clock
    set pin [lindex [split $path /] 0]/$clock
    if {![info exists ::model::nets($pin)]} { error "validate_bd_design: $pin, the clock of $path, is not connected" }
    return $::model::nets($pin)
}
# The slave that a master reaches, through SmartConnects.
proc model::target {path} {
    foreach pair $::model::intfs {
        if {[lindex $pair 0] ne $path} continue
        set to [lindex $pair 1]
        set cell [lindex [split $to /] 0]
        if {![string match *:smartconnect:* [lindex $::model::cells($cell) 0]]} { return $to }
        return [model::target $cell/M00_AXI]
    }
    error "validate_bd_design: $path leads nowhere"
}
proc validate_bd_design {args} {
    foreach {cell entry} [array get ::model::cells] {
        dict for {name pin} [ips::pins {*}$entry] {
            if {[lindex $pin 0] eq "in" && "optional" ni $pin && ![info exists ::model::nets($cell/$name)]} {
                error "validate_bd_design: pin $cell/$name ([lindex $pin 1]) is not connected"
            }
        }
        dict for {name face} [ips::interfaces {*}$entry] {
            if {[lsearch -exact [concat {*}$::model::intfs] $cell/$name] < 0} {
                error "validate_bd_design: interface $cell/$name is not connected"
            }
        }
    }
    foreach pair $::model::intfs {
        lassign $pair from to
        if {[model::clock_of $from] ne [model::clock_of $to]} { error "validate_bd_design: $from and $to have different clocks" }
        lassign [model::lookup interfaces $from] - protocol bits
        lassign [model::lookup interfaces $to] - other width
        if {"any" ni [list $protocol $other] && [list $protocol $bits] ne [list $other $width]} {
            error "validate_bd_design: $from is $protocol with $bits bits, $to $other with $width"
        }
    }
    model::validate_addresses
    model::note validated
}
# Every master reaches exactly the segment behind the port that it is wired to.
proc model::validate_addresses {} {
    set spaces {}
    foreach entry $::model::addrs {
        lassign $entry space segment
        if {[dict exists $spaces $space]} { error "validate_bd_design: $space has two segments" }
        dict set spaces $space $segment
    }
    foreach pair $::model::intfs {
        set from [lindex $pair 0]
        set cell [lindex [split $from /] 0]
        if {[string match *:smartconnect:* [lindex $::model::cells($cell) 0]]} continue
        set space [expr {$cell eq "ps" ? "ps/Data" : $from}]
        if {![dict exists $spaces $space]} { error "validate_bd_design: $space has no address segment" }
        set segment [dict get $spaces $space]
        set behind [lindex [split $segment /] 0]/[model::lookup segments $segment]
        if {$behind ne [model::target $from]} {
            error "validate_bd_design: $space is assigned $segment, but $from reaches [model::target $from]"
        }
    }
}
proc save_bd_design {} {}
proc generate_target {what file} {
    model::need generate_target $file
    set folder [file join [file dirname $::model::project] subrow.gen sources_1 bd subrow hw_handoff]
    file mkdir $folder
    close [open [file join $folder subrow.hwh] w]
}
proc make_wrapper {args} {
    lassign [model::options make_wrapper {-files 1 -top 0} $args] o
    model::need make_wrapper [dict get $o -files]
    set file [file join [file dirname $::model::project] subrow_wrapper.v]
    close [open $file w]
    return $file
}

# ---- runs and reports -----------------------------------------------------------------------------------------------
proc get_runs {name} {
    if {$name ni {synth_1 impl_1}} { error "get_runs: no run $name" }
    return run:$name
}
proc reset_run {name} { get_runs $name; unset -nocomplain ::model::runs($name) }
proc launch_runs {args} {
    lassign [model::options launch_runs {-to_step 1 -jobs 1} $args] o name
    get_runs $name
    if {$name eq "impl_1" && ![file isfile [file join [file dirname $::model::project] synthesised]]} {
        error "launch_runs: impl_1 before synth_1"
    }
    set ::model::runs($name) 1
    if {$name eq "synth_1"} { close [open [file join [file dirname $::model::project] synthesised] w] }
    if {[dict exists $o -to_step]} {
        if {[dict get $o -to_step] ne "write_bitstream"} { error "launch_runs: no step [dict get $o -to_step]" }
        set folder [file join [file dirname $::model::project] subrow.runs $name]
        file mkdir $folder
        close [open [file join $folder subrow_wrapper.bit] w]
    }
    model::note run $name
}
proc wait_on_run {name} { if {![info exists ::model::runs($name)]} { error "wait_on_run: $name was not launched" } }
proc open_run {name} { get_runs $name }
proc get_timing_paths {args} {
    model::options get_timing_paths {-setup 0 -hold 0 -max_paths 1 -nworst 1} $args
    return [list path:[string range [lindex $args 0] 1 end]:$::model::slack]
}
foreach {command options} {
    report_timing_summary {-file 1} report_utilization {-hierarchical 0 -file 1} report_power {-file 1} report_drc {-file 1}
} {
    proc $command {args} [format {
        lassign [model::options %s {%s} $args] o
        close [open [dict get $o -file] w]
    } $command $options]
}
