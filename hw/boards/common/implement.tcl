# Synthesis, implementation, timing check, results.

# Runs a run to its end from its beginning. `step`: where to stop, {} for the end.
proc complete {run {step {}}} {
    reset_run $run
    if {$step eq {}} { launch_runs $run } else { launch_runs $run -to_step $step }
    wait_on_run $run
    if {[get_property PROGRESS [get_runs $run]] ne "100%"} {
        error "$run: [get_property STATUS [get_runs $run]]; its log: [get_property DIRECTORY [get_runs $run]]/runme.log"
    }
}

proc synthesise {project} {
    global cfg
    open_project [file join $project $cfg(design).xpr]
    complete synth_1
    close_project
}

proc implement {project} {
    global cfg
    open_project [file join $project $cfg(design).xpr]
    set_property strategy Performance_ExplorePostRoutePhysOpt [get_runs impl_1]
    complete impl_1 write_bitstream
    close_project
}

# Fails unless setup and hold are met everywhere. Returns the two slacks in nanoseconds.
proc check_timing {} {
    global cfg
    set slacks {}
    foreach {kind option} {setup -setup hold -hold} {
        set paths [get_timing_paths $option -max_paths 1 -nworst 1]
        if {![llength $paths]} { error "timing: no $kind path: the design has no clock" }
        set slack [get_property SLACK [lindex $paths 0]]
        lappend slacks $slack
        if {$slack < 0} {
            set from [get_property STARTPOINT_PIN [lindex $paths 0]]
            set to [get_property ENDPOINT_PIN [lindex $paths 0]]
            error "timing: $kind slack $slack ns at $cfg(mhz) MHz, from $from to $to: lower clock.mhz of HwConfig $cfg(hw)"
        }
    }
    return $slacks
}

# Reports first, because they explain a timing failure; bitstream and hardware description only when timing is met.
proc collect {project results} {
    global cfg here
    set reports [file join $results reports]
    file mkdir $reports
    open_project [file join $project $cfg(design).xpr]
    open_run impl_1
    report_timing_summary -file [file join $reports timing.rpt]
    report_utilization -hierarchical -file [file join $reports utilization.rpt]
    report_power -file [file join $reports power.rpt]
    report_drc -file [file join $reports drc.rpt]
    lassign [check_timing] setup hold
    set file [open [file join $reports slack.txt] w]
    puts $file "setup $setup ns, hold $hold ns at $cfg(mhz) MHz, Vivado [version -short]"
    close $file
    set run [get_property DIRECTORY [get_runs impl_1]]
    place [file join $run $cfg(design)_wrapper.bit] [file join $results subrow.bit]
    set handoff [file join $project $cfg(design).gen sources_1 bd $cfg(design) hw_handoff $cfg(design).hwh]
    place $handoff [file join $results subrow.hwh]
    close_project
}

# Copies a file so that the target is whole or not there.
proc place {from to} {
    file copy -force $from $to.part
    file rename -force $to.part $to
}
