# From the RTL of an engine to a bitstream, in steps. Run it in the folder that `subrow build` made:
#
#   vivado -mode batch -source vivado/build.tcl
#
# settings.tcl, beside this file, says what is built. A step that is done leaves a stamp with the digest of the settings and
# is not done again while they stay; a step that was cut short starts from its beginning. Any error ends Vivado with status 1.

set here [file dirname [file normalize [info script]]]
set work [file join $here work]
set results [file dirname $here]
foreach part {settings board package design implement} { source [file join $here $part.tcl] }

set oldest 2022.1
set newest 2025.2
set version [version -short]
if {[package vcompare $version $oldest] < 0} {
    error "Vivado $version is too old: $oldest to $newest are supported"
}
if {[package vcompare [join [lrange [split $version .] 0 1] .] $newest] > 0} {
    puts "WARNING: Vivado $version is newer than $newest, the newest that these scripts were written for"
}

# Does a step unless it is stamped for these very settings; what comes behind a step that is done again is done again.
proc step {name command} {
    global work cfg
    set stamp [file join $work $name.done]
    if {[file exists $stamp]} {
        set file [open $stamp]
        set digest [string trim [read $file]]
        close $file
        if {$digest eq $cfg(digest)} {
            puts "subrow: $name is done"
            return
        }
    }
    file delete -force $stamp
    puts "subrow: $name"
    uplevel #0 $command
    set file [open $stamp.part w]
    puts $file $cfg(digest)
    close $file
    file rename -force $stamp.part $stamp
}

file mkdir $work
step package {package_engine [file join $work package] [file join $work ip]}
step project {make_project [file join $work project]}
step synthesis {synthesise [file join $work project]}
step implementation {implement [file join $work project]}
step results {collect [file join $work project] $results}
