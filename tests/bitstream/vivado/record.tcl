# tclsh record.tcl SCRIPT RECORD [name value ...]: runs a script of hw/boards in the model of Vivado, then writes the record,
# one fact a line, words separated by tabs. Exit status 1 with the message when the script fails, as Vivado does.
set model_folder [file dirname [file normalize [info script]]]
foreach part {model ips design} { source [file join $model_folder $part.tcl] }
set settings [lassign $argv script record]
foreach {name value} $settings {
    if {![info exists ::model::$name]} { error "no setting $name" }
    set ::model::$name $value
}
set failed [catch {source $script} message]
set out [open $record w]
foreach fact $::model::record { puts $out [join $fact \t] }
close $out
if {$failed} {
    puts stderr $message
    exit 1
}
