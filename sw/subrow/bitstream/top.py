"""The Verilog top of a HwConfig: the engine with literal parameters, and the AXI interfaces that IP Integrator infers.

IP Integrator takes no SystemVerilog as the top of an IP, so this file is Verilog 2001.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from subrow.spec.hwconfig import HwConfig

TOP = "subrow_top"
ADDRESS_BITS = 40  # of the engine's masters
REGISTER_BITS = 12  # of its slave
OUTSTANDING = 8  # bursts under way on each channel of a master
READ = ("arvalid", "arready", "araddr", "arlen", "arsize", "arburst", "rvalid", "rready", "rdata", "rresp", "rlast")
WRITE = ("awvalid", "awready", "awaddr", "awlen", "awsize", "awburst", "wvalid", "wready", "wdata", "wstrb", "wlast",
         "bvalid", "bready", "bresp")  # fmt: skip
LITE = ("awvalid", "awready", "awaddr", "wvalid", "wready", "wdata", "wstrb", "bvalid", "bready", "bresp",
        "arvalid", "arready", "araddr", "rvalid", "rready", "rdata", "rresp")  # fmt: skip
FIXED = {"arcache": "4'b0011", "arprot": "3'b000", "awcache": "4'b0011", "awprot": "3'b000"}
"""Signals that the engine lacks and a port of the processing system has: modifiable, bufferable, data, secure."""
_FROM_SLAVE = ("arready", "awready", "wready", "rvalid", "rdata", "rresp", "rlast", "bvalid", "bresp")


@dataclass(frozen=True)
class Interface:
    """An AXI interface of the top."""

    name: str
    master: bool
    data_bytes: int
    signals: tuple[str, ...]

    def is_input(self, signal: str) -> bool:
        """Whether the top receives this signal."""
        return (signal in _FROM_SLAVE) == self.master

    def width(self, signal: str) -> int:
        """Bits of a signal."""
        kind = signal[2:] if signal[0] == "a" else signal[1:]
        address = ADDRESS_BITS if self.master else REGISTER_BITS
        return {"addr": address, "len": 8, "size": 3, "burst": 2, "cache": 4, "prot": 3, "data": 8 * self.data_bytes,
                "strb": self.data_bytes, "resp": 2}.get(kind, 1)  # fmt: skip


def weight_names(ports: int) -> tuple[str, ...]:
    """Names of the weight masters when they use this many memory ports."""
    return tuple(f"m_axi_wgt{i}" for i in range(ports))


def interfaces(hw: HwConfig, weight_ports: int) -> tuple[Interface, ...]:
    """The AXI interfaces of the top: registers, activations, weights."""
    reads, writes = (*READ, "arcache", "arprot"), (*WRITE, "awcache", "awprot")
    return (
        Interface("s_axil", False, 4, LITE), Interface("m_axi_act", True, hw.act_port_bytes, (*reads, *writes)),
        *(Interface(name, True, hw.weight_bytes, reads) for name in weight_names(weight_ports)),
    )  # fmt: skip


def verilog(hw: HwConfig, weight_ports: int) -> str:
    """Source of the top of a HwConfig whose weight port is spread over 1, 2 or 4 memory ports."""
    faces = interfaces(hw, weight_ports)
    ports = [*_scalars([face.name for face in faces])]
    for face in faces:
        ports += _ports(face, hw.burst_beats)
    body = [*_fixed(faces), *_wires(hw, weight_ports), *_engine(hw, weight_ports), *_spread(hw, weight_ports)]
    head = f"// HwConfig {hw.name} ({hw.digest[:8]}): the engine as IP Integrator takes it. Generated; do not edit."
    return "\n".join([head, f"module {TOP} (", ",\n".join(ports), ");", *body, "endmodule", ""])


def _attribute(**values: str) -> list[str]:
    return [f'    (* X_INTERFACE_{name.upper()} = "{text}" *)' for name, text in values.items()]


def _scalars(names: Iterable[str]) -> list[str]:
    clock = _attribute(info="xilinx.com:signal:clock:1.0 clk CLK",
                       parameter=f"ASSOCIATED_BUSIF {':'.join(names)}, ASSOCIATED_RESET rst_n")  # fmt: skip
    reset = _attribute(info="xilinx.com:signal:reset:1.0 rst_n RST", parameter="POLARITY ACTIVE_LOW")
    irq = _attribute(info="xilinx.com:signal:interrupt:1.0 irq INTERRUPT", parameter="SENSITIVITY LEVEL_HIGH")
    pairs = ((clock, "input  wire clk"), (reset, "input  wire rst_n"), (irq, "output wire irq"))
    return ["\n".join([*attributes, f"    {port}"]) for attributes, port in pairs]


def _ports(face: Interface, burst: int) -> list[str]:
    result = []
    for signal in face.signals:
        attributes = _attribute(info=f"xilinx.com:interface:aximm:1.0 {face.name} {signal.upper()}")
        if signal == face.signals[0]:
            attributes += _attribute(parameter=_parameters(face, burst))
        kind = "input  wire" if face.is_input(signal) else "output wire"
        width = face.width(signal)
        text = f"{kind} [{width - 1}:0]" if width > 1 else kind
        result.append("\n".join([*attributes, f"    {text} {face.name}_{signal}"]))
    return result


def _parameters(face: Interface, burst: int) -> str:
    values: dict[str, object] = {"XIL_INTERFACENAME": face.name, "DATA_WIDTH": 8 * face.data_bytes}
    if face.master:
        writes = "awvalid" in face.signals
        values |= {
            "PROTOCOL": "AXI4", "ADDR_WIDTH": ADDRESS_BITS, "READ_WRITE_MODE": "READ_WRITE" if writes else "READ_ONLY",
            "MAX_BURST_LENGTH": burst, "NUM_READ_OUTSTANDING": OUTSTANDING,
            "NUM_WRITE_OUTSTANDING": OUTSTANDING if writes else 0, "SUPPORTS_NARROW_BURST": 0, "ID_WIDTH": 0,
        }  # fmt: skip
    else:
        values |= {"PROTOCOL": "AXI4LITE", "ADDR_WIDTH": REGISTER_BITS}
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _fixed(faces: Iterable[Interface]) -> list[str]:
    return [f"  assign {face.name}_{signal} = {FIXED[signal]};" for face in faces for signal in face.signals
            if signal in FIXED]  # fmt: skip


def _wires(hw: HwConfig, ports: int) -> list[str]:
    if ports == 1:
        return []
    wide = 8 * hw.weight_bytes
    # The address of a burst goes to every port; only the one whose turn it is sees it valid.
    shared = [f"  assign {name}_{s} = wgt_{s};" for name in weight_names(ports)
              for s in ("araddr", "arlen", "arsize", "arburst")]  # fmt: skip
    return [
        "  wire wgt_arvalid, wgt_arready, wgt_rvalid, wgt_rready, wgt_rlast;",
        f"  wire [{ADDRESS_BITS - 1}:0] wgt_araddr;", "  wire [7:0] wgt_arlen;", "  wire [2:0] wgt_arsize;",
        "  wire [1:0] wgt_arburst, wgt_rresp;", f"  wire [{wide - 1}:0] wgt_rdata;", *shared,
    ]  # fmt: skip


def _engine(hw: HwConfig, ports: int) -> list[str]:
    parameters = [f"      .{name}(32'd{value})" for name, value in hw.rtl_parameters().items()]
    weights = "wgt" if ports > 1 else weight_names(1)[0]
    nets = {"clk_i": "clk", "rst_ni": "rst_n", "irq_o": "irq"}
    nets |= {f"s_axil_{s}": f"s_axil_{s}" for s in LITE}
    nets |= {f"m_axi_act_{s}": f"m_axi_act_{s}" for s in (*READ, *WRITE)}
    nets |= {f"m_axi_wgt_{s}": f"{weights}_{s}" for s in READ}
    return ["  subrow_engine #(", ",\n".join(parameters), "  ) u_engine (", _connections(nets), "  );"]


def _spread(hw: HwConfig, ports: int) -> list[str]:
    if ports == 1:
        return []
    nets = {"clk_i": "clk", "rst_ni": "rst_n"}
    nets |= {f"s_{s}_{d}": f"wgt_{s}" for s, d in (("arvalid", "i"), ("arready", "o"), ("rvalid", "o"), ("rready", "i"),
                                                   ("rdata", "o"), ("rresp", "o"), ("rlast", "o"))}  # fmt: skip
    for signal, direction in (("arvalid", "o"), ("arready", "i"), ("rvalid", "i"), ("rready", "o"), ("rdata", "i"),
                              ("rresp", "i"), ("rlast", "i")):  # fmt: skip
        every = [f"{name}_{signal}" for name in reversed(weight_names(ports))]
        nets[f"m_{signal}_{direction}"] = f"{{{', '.join(every)}}}"
    return [
        "  subrow_spread #(",
        f"      .Ports({ports}), .DataBytes({hw.weight_bytes}), .BurstBeats({hw.burst_beats})",
        "  ) u_spread (", _connections(nets), "  );",
    ]  # fmt: skip


def _connections(nets: dict[str, str]) -> str:
    return ",\n".join(f"      .{port}({net})" for port, net in nets.items())
