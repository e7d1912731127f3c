# The IPs of the block designs: which properties they have, and which pins and interfaces follow from them.
#
# A pin is {direction kind}, kind one of clock, reset_low, reset_high, interrupt, data; with "optional" an input may stay
# open. An interface is {mode protocol bits clock}, clock the pin it belongs to.

namespace eval ips {
    variable defaults
    array set defaults {
        xilinx.com:ip:processing_system7:5.5 {
            PCW_USE_M_AXI_GP0 1 PCW_USE_M_AXI_GP1 0 PCW_USE_FABRIC_INTERRUPT 0 PCW_IRQ_F2P_INTR 0 PCW_EN_CLK0_PORT 1
            PCW_EN_RST0_PORT 1 PCW_FPGA0_PERIPHERAL_FREQMHZ 50 PCW_FCLK0_PERIPHERAL_CLKSRC {IO PLL}
            PCW_USE_S_AXI_HP0 0 PCW_USE_S_AXI_HP1 0 PCW_USE_S_AXI_HP2 0 PCW_USE_S_AXI_HP3 0
            PCW_S_AXI_HP0_DATA_WIDTH 64 PCW_S_AXI_HP1_DATA_WIDTH 64 PCW_S_AXI_HP2_DATA_WIDTH 64
            PCW_S_AXI_HP3_DATA_WIDTH 64 PCW_CRYSTAL_PERIPHERAL_FREQMHZ 33.333333 PCW_APU_PERIPHERAL_FREQMHZ 666.666666
            PCW_PRESET_BANK0_VOLTAGE {LVCMOS 3.3V} PCW_PRESET_BANK1_VOLTAGE {LVCMOS 3.3V}
            PCW_UIPARAM_DDR_PARTNO {MT41J256M8 HX-15E} PCW_UIPARAM_DDR_MEMORY_TYPE {DDR 3}
            PCW_UIPARAM_DDR_FREQ_MHZ 533.333333 PCW_UIPARAM_DDR_BUS_WIDTH {32 Bit} PCW_UIPARAM_DDR_DRAM_WIDTH {8 Bits}
            PCW_UIPARAM_DDR_DEVICE_CAPACITY {2048 MBits} PCW_UIPARAM_DDR_SPEED_BIN DDR3_1066F
            PCW_UIPARAM_DDR_BANK_ADDR_COUNT 3 PCW_UIPARAM_DDR_ROW_ADDR_COUNT 15 PCW_UIPARAM_DDR_COL_ADDR_COUNT 10
            PCW_UIPARAM_DDR_CL 7 PCW_UIPARAM_DDR_CWL 6 PCW_UIPARAM_DDR_T_RCD 7 PCW_UIPARAM_DDR_T_RP 7
            PCW_UIPARAM_DDR_T_RC 48.91 PCW_UIPARAM_DDR_T_RAS_MIN 35.0 PCW_UIPARAM_DDR_T_FAW 30.0
            PCW_UIPARAM_DDR_TRAIN_WRITE_LEVEL 0 PCW_UIPARAM_DDR_TRAIN_READ_GATE 0 PCW_UIPARAM_DDR_TRAIN_DATA_EYE 0
            PCW_UIPARAM_DDR_USE_INTERNAL_VREF 0 PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_0 0.0
            PCW_UIPARAM_DDR_DQS_TO_CLK_DELAY_1 0.0 PCW_UIPARAM_DDR_BOARD_DELAY0 0.25 PCW_UIPARAM_DDR_BOARD_DELAY1 0.25
            PCW_QSPI_PERIPHERAL_ENABLE 0 PCW_QSPI_GRP_FBCLK_ENABLE 0 PCW_ENET0_PERIPHERAL_ENABLE 0
            PCW_ENET0_ENET0_IO {} PCW_ENET0_GRP_MDIO_ENABLE 0 PCW_ENET0_GRP_MDIO_IO {} PCW_SD0_PERIPHERAL_ENABLE 0
            PCW_SD0_SD0_IO {} PCW_SD0_GRP_CD_ENABLE 0 PCW_SD0_GRP_CD_IO {} PCW_SDIO_PERIPHERAL_FREQMHZ 100
            PCW_UART0_PERIPHERAL_ENABLE 0 PCW_UART0_UART0_IO {} PCW_USB0_PERIPHERAL_ENABLE 0 PCW_USB0_USB0_IO {}
        }
        xilinx.com:ip:zynq_ultra_ps_e:3.5 {
            PSU__USE__M_AXI_GP0 0 PSU__USE__M_AXI_GP1 0 PSU__USE__M_AXI_GP2 1 PSU__USE__IRQ0 1 PSU__FPGA_PL0_ENABLE 1
            PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ 100
            PSU__USE__S_AXI_GP0 0 PSU__USE__S_AXI_GP1 0 PSU__USE__S_AXI_GP2 0 PSU__USE__S_AXI_GP3 0
            PSU__USE__S_AXI_GP4 0 PSU__USE__S_AXI_GP5 0 PSU__SAXIGP0__DATA_WIDTH 128 PSU__SAXIGP1__DATA_WIDTH 128
            PSU__SAXIGP2__DATA_WIDTH 128 PSU__SAXIGP3__DATA_WIDTH 128 PSU__SAXIGP4__DATA_WIDTH 128
            PSU__SAXIGP5__DATA_WIDTH 128
        }
        xilinx.com:ip:smartconnect:1.0 { NUM_SI 1 NUM_MI 1 NUM_CLKS 1 }
        xilinx.com:ip:proc_sys_reset:5.0 { C_EXT_RST_WIDTH 4 C_AUX_RESET_HIGH 1 }
    }
    # Legal values that a wrong script is likely to miss.
    variable legal
    array set legal {
        PCW_FCLK0_PERIPHERAL_CLKSRC {{IO PLL} {DDR PLL} {ARM PLL}}
        PCW_S_AXI_HP0_DATA_WIDTH {32 64} PCW_S_AXI_HP1_DATA_WIDTH {32 64}
        PCW_S_AXI_HP2_DATA_WIDTH {32 64} PCW_S_AXI_HP3_DATA_WIDTH {32 64}
        PSU__SAXIGP0__DATA_WIDTH {32 64 128} PSU__SAXIGP1__DATA_WIDTH {32 64 128} PSU__SAXIGP2__DATA_WIDTH {32 64 128}
        PSU__SAXIGP3__DATA_WIDTH {32 64 128} PSU__SAXIGP4__DATA_WIDTH {32 64 128} PSU__SAXIGP5__DATA_WIDTH {32 64 128}
        PCW_UIPARAM_DDR_BUS_WIDTH {{16 Bit} {32 Bit}} PCW_UIPARAM_DDR_MEMORY_TYPE {{DDR 3} {DDR 2} {LPDDR 2}}
    }
    variable plls {{IO PLL} 1000.0 {DDR PLL} 1050.0 {ARM PLL} 1300.0}
}

# A vlnv without a version is the newest one.
proc ips::resolve {vlnv} {
    variable defaults
    if {[info exists defaults($vlnv)]} { return $vlnv }
    set found [lsort -dictionary [array names defaults $vlnv:*]]
    if {[llength [split $vlnv :]] != 3 || ![llength $found]} { error "create_bd_cell: no IP $vlnv" }
    return [lindex $found end]
}

# Pins of a cell, from its IP and its properties (a dictionary without CONFIG.).
proc ips::pins {vlnv p} {
    set kind [lindex [split $vlnv :] 2]
    switch $kind {
        processing_system7 {
            set pins {}
            if {[dict get $p PCW_EN_CLK0_PORT]} { dict set pins FCLK_CLK0 {out clock} }
            if {[dict get $p PCW_EN_RST0_PORT]} { dict set pins FCLK_RESET0_N {out reset_low} }
            foreach gp {0 1} { if {[dict get $p PCW_USE_M_AXI_GP$gp]} { dict set pins M_AXI_GP${gp}_ACLK {in clock} } }
            foreach hp {0 1 2 3} {
                if {[dict get $p PCW_USE_S_AXI_HP$hp]} { dict set pins S_AXI_HP${hp}_ACLK {in clock} }
            }
            if {[dict get $p PCW_USE_FABRIC_INTERRUPT] && [dict get $p PCW_IRQ_F2P_INTR]} {
                dict set pins IRQ_F2P {in interrupt}
            }
            return $pins
        }
        zynq_ultra_ps_e {
            set pins {}
            if {[dict get $p PSU__FPGA_PL0_ENABLE]} { set pins {pl_clk0 {out clock} pl_resetn0 {out reset_low}} }
            foreach {gp pin} {0 maxihpm0_fpd_aclk 1 maxihpm1_fpd_aclk 2 maxihpm0_lpd_aclk} {
                if {[dict get $p PSU__USE__M_AXI_GP$gp]} { dict set pins $pin {in clock} }
            }
            foreach {gp port} [slaves8] {
                if {[dict get $p PSU__USE__S_AXI_GP$gp]} { dict set pins saxi[string tolower $port]_fpd_aclk {in clock} }
            }
            if {[dict get $p PSU__USE__IRQ0]} { dict set pins pl_ps_irq0 {in interrupt} }
            return $pins
        }
        smartconnect {
            set pins {aclk {in clock} aresetn {in reset_low}}
            for {set i 1} {$i < [dict get $p NUM_CLKS]} {incr i} { dict set pins aclk$i {in clock} }
            return $pins
        }
        proc_sys_reset {
            return {
                slowest_sync_clk {in clock} ext_reset_in {in reset_low} aux_reset_in {in reset_low optional}
                mb_debug_sys_rst {in reset_high optional} dcm_locked {in data optional} mb_reset {out reset_high}
                bus_struct_reset {out reset_high} peripheral_reset {out reset_high}
                interconnect_aresetn {out reset_low} peripheral_aresetn {out reset_low}
            }
        }
    }
    return [dict get [set ::model::packaged($vlnv)] pins]
}

proc ips::slaves8 {} { return {0 HPC0 1 HPC1 2 HP0 3 HP1 4 HP2 5 HP3} }

# Interfaces of a cell, likewise.
proc ips::interfaces {vlnv p} {
    set kind [lindex [split $vlnv :] 2]
    switch $kind {
        processing_system7 {
            set result {}
            foreach gp {0 1} {
                if {[dict get $p PCW_USE_M_AXI_GP$gp]} { dict set result M_AXI_GP$gp "master AXI3 32 M_AXI_GP${gp}_ACLK" }
            }
            foreach hp {0 1 2 3} {
                if {[dict get $p PCW_USE_S_AXI_HP$hp]} {
                    dict set result S_AXI_HP$hp "slave AXI3 [dict get $p PCW_S_AXI_HP${hp}_DATA_WIDTH] S_AXI_HP${hp}_ACLK"
                }
            }
            return $result
        }
        zynq_ultra_ps_e {
            set result {}
            foreach {gp name} {0 HPM0_FPD 1 HPM1_FPD 2 HPM0_LPD} {
                if {[dict get $p PSU__USE__M_AXI_GP$gp]} {
                    dict set result M_AXI_$name "master AXI4 128 maxi[string tolower $name]_aclk"
                }
            }
            foreach {gp port} [slaves8] {
                if {[dict get $p PSU__USE__S_AXI_GP$gp]} {
                    set width [dict get $p PSU__SAXIGP${gp}__DATA_WIDTH]
                    dict set result S_AXI_${port}_FPD "slave AXI4 $width saxi[string tolower $port]_fpd_aclk"
                }
            }
            return $result
        }
        smartconnect {
            set result {}
            for {set i 0} {$i < [dict get $p NUM_SI]} {incr i} { dict set result [format S%02d_AXI $i] {slave any any aclk} }
            for {set i 0} {$i < [dict get $p NUM_MI]} {incr i} { dict set result [format M%02d_AXI $i] {master any any aclk} }
            return $result
        }
        proc_sys_reset { return {} }
    }
    return [dict get [set ::model::packaged($vlnv)] interfaces]
}

# Address segments that a cell offers: name -> the interface they lie behind.
proc ips::segments {vlnv p} {
    set kind [lindex [split $vlnv :] 2]
    set result {}
    switch $kind {
        processing_system7 {
            foreach hp {0 1 2 3} {
                if {[dict get $p PCW_USE_S_AXI_HP$hp]} { dict set result S_AXI_HP$hp/HP${hp}_DDR_LOWOCM S_AXI_HP$hp }
            }
        }
        zynq_ultra_ps_e {
            foreach {gp port} [slaves8] {
                if {[dict get $p PSU__USE__S_AXI_GP$gp]} { dict set result SAXIGP$gp/${port}_DDR_LOW S_AXI_${port}_FPD }
            }
        }
        smartconnect - proc_sys_reset {}
        default { set result [dict get [set ::model::packaged($vlnv)] segments] }
    }
    return $result
}

# What the clock generator of a processing system makes of a request: a divided PLL, never more than was asked for.
proc ips::actual_mhz {vlnv p} {
    variable plls
    if {[string match *zynq_ultra* $vlnv]} {
        return [expr {1500.0 / ceil(1500.0 / [dict get $p PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ] - 1e-9)}]
    }
    set pll [dict get $plls [dict get $p PCW_FCLK0_PERIPHERAL_CLKSRC]]
    return [expr {$pll / ceil($pll / [dict get $p PCW_FPGA0_PERIPHERAL_FREQMHZ] - 1e-9)}]
}
