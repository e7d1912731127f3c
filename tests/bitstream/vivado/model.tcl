# The Vivado commands that the scripts of hw/boards use, as a model that records: what they were asked for, the block design
# as a graph, and everything that Vivado would refuse. An unknown command is an error of Tcl itself; unknown options,
# properties, cells, pins, segments and files are errors here. Arguments: script, record to write, then settings
# (name value): version, boards (list of board files that are installed), slack (ns), fail (a run that fails).

namespace eval model {
    variable version 2023.2 boards {} slack 0.5 fail {} record {}
    variable project {} files {} core {} wires {} intfs {} addrs {} registers {}
    foreach table {props cells nets packaged runs} {
        variable $table
        array set $table {}
    }
}

proc model::note {args} { lappend ::model::record $args }

# Options of a command: spec is a list of -name 0|1 (whether a value follows). Returns {dictionary positional}.
proc model::options {command spec words} {
    set found {}
    set rest {}
    for {set i 0} {$i < [llength $words]} {incr i} {
        set word [lindex $words $i]
        if {[regexp {^-[a-z]} $word]} {
            if {![dict exists $spec $word]} { error "$command: unknown option '$word'" }
            dict set found $word [expr {[dict get $spec $word] ? [lindex $words [incr i]] : 1}]
        } else { lappend rest $word }
    }
    return [list $found $rest]
}

proc model::need {command file} {
    if {![file isfile $file]} { error "$command: no file $file" }
    note file [file normalize $file]
}

proc model::in_project {command} { if {$::model::project eq {}} { error "$command: no open project" } }

# ---- projects -------------------------------------------------------------------------------------------------------
proc version {args} {
    if {$args ne "-short"} { error "version: unknown option '$args'" }
    return $::model::version
}
proc create_project {args} {
    lassign [model::options create_project {-part 1 -force 0} $args] o rest
    lassign $rest name folder
    if {$::model::project ne {}} { error "create_project: $::model::project is open" }
    if {[file exists $folder]} { error "create_project: $folder exists" }
    if {[dict get $o -part] ni {xc7z020clg400-1 xczu7ev-ffvc1156-2-e}} { error "create_project: part [dict get $o -part]" }
    file mkdir $folder
    close [open [file join $folder $name.xpr] w]
    set ::model::project [file join $folder $name.xpr]
    model::note part [dict get $o -part]
}
proc open_project {file} {
    model::need open_project $file
    if {$::model::project ne {}} { error "open_project: $::model::project is open" }
    set ::model::project $file
}
proc close_project {} { model::in_project close_project; set ::model::project {} }
proc current_project {} { model::in_project current_project; return project: }
proc current_fileset {} { return fileset:sources_1 }
proc update_compile_order {args} { model::options update_compile_order {-fileset 1} $args }
proc update_ip_catalog {args} {
    model::options update_ip_catalog {-rebuild 0} $args
    if {![info exists ::model::props(project:,ip_repo_paths)]} { error "update_ip_catalog: no ip_repo_paths" }
    if {![file isdirectory $::model::props(project:,ip_repo_paths)]} { error "update_ip_catalog: no such folder" }
}
proc add_files {args} {
    model::in_project add_files
    lassign [model::options add_files {-fileset 1 -norecurse 0} $args] o rest
    foreach file $rest { model::need add_files $file; lappend ::model::files $file }
}
proc get_board_parts {args} {
    lassign [model::options get_board_parts {-quiet 0} $args] o rest
    return [expr {$rest in $::model::boards ? $rest : {}}]
}
proc get_files {name} {
    foreach file [lreverse $::model::files] { if {[file tail $file] eq $name} { return $file } }
    error "get_files: no file $name in the project"
}

# ---- properties -----------------------------------------------------------------------------------------------------
proc set_property {args} {
    lassign [model::options set_property {-dict 1} $args] o rest
    if {[dict exists $o -dict]} {
        foreach {name value} [dict get $o -dict] { model::set_one $name $value [lindex $rest 0] }
    } else { model::set_one {*}$rest }
}
proc model::set_one {name value object} {
    set kind [lindex [split $object :] 0]
    set known {
        project {board_part ip_repo_paths} fileset {top} run {strategy}
        core {name version display_name description supported_families}
        register {address_offset size access description}
    }
    if {$kind eq "cell"} { return [model::configure [string range $object 5 end] $name $value] }
    if {![dict exists $known $kind] || $name ni [dict get $known $kind]} { error "set_property: $object has no property $name" }
    if {$name eq "board_part" && $value ni $::model::boards} { error "set_property: no board part $value" }
    if {$name eq "access" && $value ni {read-only read-write write-only}} { error "set_property: access $value" }
    if {$name eq "strategy" && $value ni {Performance_ExplorePostRoutePhysOpt Performance_Explore}} { error "set_property: $value" }
    set ::model::props($object,$name) $value
    model::note property $object $name $value
}
proc model::configure {cell name value} {
    variable cells
    if {![string match CONFIG.* $name]} { error "set_property: cell $cell has no property $name" }
    set key [string range $name 7 end]
    lassign $cells($cell) vlnv p
    if {![dict exists $p $key]} { error "set_property: $vlnv has no parameter $key" }
    if {[info exists ::ips::legal($key)] && $value ni $::ips::legal($key)} { error "set_property: $key = $value is not legal" }
    dict set p $key $value
    set cells($cell) [list $vlnv $p]
    note config $cell $key $value
}
proc get_property {name object} {
    if {[regexp {^cell:(.*)} $object - cell] && [regexp {^CONFIG\.(PCW_ACT_FPGA0|PSU__CRL_APB__PL0_REF_CTRL__ACT)} $name]} {
        return [format %.6f [ips::actual_mhz {*}$::model::cells($cell)]]
    }
    if {[regexp {^run:(.*)} $object - run]} {
        switch $name {
            PROGRESS { return [expr {$run eq $::model::fail ? "37%" : "100%"}] }
            STATUS { return [expr {$run eq $::model::fail ? "route_design ERROR" : "complete"}] }
            DIRECTORY { return [file join [file dirname $::model::project] subrow.runs $run] }
        }
    }
    if {[string match path:* $object] && $name in {SLACK STARTPOINT_PIN ENDPOINT_PIN}} {
        return [expr {$name eq "SLACK" ? [lindex [split $object :] 2] : "engine/$name"}]
    }
    error "get_property: $object has no property $name"
}

# ---- IP packaging ---------------------------------------------------------------------------------------------------
namespace eval ipx {}
proc ipx::package_project {args} {
    lassign [model::options ipx::package_project {-root_dir 1 -vendor 1 -library 1 -taxonomy 1 -import_files 0} $args] o rest
    if {![dict exists $o -import_files]} { error "ipx::package_project: sources stay outside the IP" }
    set top $::model::props(fileset:sources_1,top)
    foreach file $::model::files {
        if {[file rootname [file tail $file]] eq $top} {
            if {[file extension $file] ne ".v"} { error "ipx::package_project: the top of an IP must be Verilog: $file" }
            set ::model::core [dict merge [model::infer $file] [list vendor [dict get $o -vendor] library [dict get $o -library]]]
        }
    }
    if {$::model::core eq {}} { error "ipx::package_project: no source of top $top" }
    file mkdir [dict get $o -root_dir]
}
# What IP Integrator infers from the attributes of the Verilog top.
proc model::infer {path} {
    set file [open $path]; set text [read $file]; close $file
    set pins {}; set faces {}; set clocks {}
    set pattern {\(\* X_INTERFACE_INFO = "([^"]*)" \*\)\s*(?:\(\* X_INTERFACE_PARAMETER = "([^"]*)" \*\)\s*)?(input|output)\s+wire\s*(?:\[(\d+):0\]\s*)?(\w+)}
    foreach {- info parameter direction high name} [regexp -all -inline $pattern $text] {
        lassign $info type face logical
        set values {}
        foreach item [split $parameter ,] { dict set values {*}[string trim $item] }
        set way [expr {$direction eq "input" ? "in" : "out"}]
        switch -glob $type {
            *clock:1.0 {
                dict set pins $name "$way clock"
                foreach f [split [dict get $values ASSOCIATED_BUSIF] :] { dict set clocks $f $name }
            }
            *reset:1.0 { dict set pins $name "$way reset_[expr {[dict get $values POLARITY] eq "ACTIVE_LOW" ? "low" : "high"}]" }
            *interrupt:1.0 { dict set pins $name "$way interrupt" }
            *aximm:1.0 {
                if {$parameter ne {}} {
                    if {[dict get $values XIL_INTERFACENAME] ne $face} { error "attributes of $name: XIL_INTERFACENAME" }
                    set mode [expr {($direction eq "output") ? "master" : "slave"}]
                    dict set faces $face "$mode [dict get $values PROTOCOL] [dict get $values DATA_WIDTH] {}"
                }
                if {![dict exists $faces $face]} { error "attributes of $name: interface $face has no parameters yet" }
                if {$logical in {RDATA WDATA} && [lindex [dict get $faces $face] 2] != $high + 1} {
                    error "attributes of $name: [expr {$high + 1}] bits, DATA_WIDTH [lindex [dict get $faces $face] 2]"
                }
            }
            default { error "attributes of $name: unknown interface $type" }
        }
    }
    set segments {}
    dict for {face entry} $faces {
        if {![dict exists $clocks $face]} { error "attributes: interface $face has no clock" }
        dict set faces $face [lreplace $entry 3 3 [dict get $clocks $face]]
        if {[lindex $entry 0] eq "slave"} { dict set segments $face/reg0 $face }
    }
    return [dict create pins $pins interfaces $faces segments $segments]
}
proc ipx::current_core {} { return core: }
proc ipx::get_memory_maps {name args} {
    model::options ipx::get_memory_maps {-of_objects 1} $args
    if {![dict exists $::model::core segments $name/reg0]} { error "ipx::get_memory_maps: no memory map $name" }
    return map:$name
}
proc ipx::get_address_blocks {name args} {
    model::options ipx::get_address_blocks {-of_objects 1} $args
    if {$name ne "reg0"} { error "ipx::get_address_blocks: no block $name" }
    return block:$name
}
proc ipx::add_register {name block} {
    if {$name in $::model::registers} { error "ipx::add_register: $name exists" }
    lappend ::model::registers $name
    return register:$name
}
foreach command {create_xgui_files update_checksums check_integrity} { proc ipx::$command {core} {} }
proc ipx::save_core {core} {
    set name subrow:ip:$::model::props(core:,name):$::model::props(core:,version)
    set ::model::packaged($name) $::model::core
    dict for {face entry} [dict get $::model::core interfaces] { model::note face $face {*}$entry }
}
