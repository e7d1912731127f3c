"""The commands about boards: doctor, bench."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from subrow.cli_options import Bitfile, DeviceName, Json, ProgramHw, ProgramPath, check_folder
from subrow.console import output, print_json, say, step_bars, table, warn
from subrow.source import load_program
from subrow.spec.program import Program, write_atomic

if TYPE_CHECKING:
    from subrow.board.bench import Bench
    from subrow.devices.pynq.device import Pynq


def doctor(
    path: Annotated[Path | None, typer.Argument(help="check the board with this Program, too")] = None,
    bitfile: Bitfile = None, hw: ProgramHw = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Check this machine; with a Program also the board, or its driver on the simulated engine."""
    from subrow.board.doctor import board_checks, healthy, host_checks
    from subrow.board.start import opener

    checks = host_checks()
    if path is not None:
        program, config = load_program(path, hw)
        start = opener("pynq", config, bitfile, warn)
        found = board_checks(lambda: cast("Pynq", start()), program)
        checks += [c for c in found if c.name not in {known.name for known in checks}]  # Python: this machine's, once
    if as_json:
        print_json({"checks": [dataclasses.asdict(c) for c in checks], "ok": healthy(checks)})
    else:
        cells = [(c.name, "ok" if c.ok else "MISSING" if c.required else "-", c.found, c.fix if not c.ok else "")
                 for c in checks]  # fmt: skip
        output().print(table("Checks", ("check", "", "found", "what to do"), (), cells))
        say("all that is required is there" if healthy(checks) else "something that is required is missing or wrong")
    if not healthy(checks):
        raise typer.Exit(1)


def bench(
    path: ProgramPath, device: Annotated[DeviceName, typer.Option(help="what is measured")] = DeviceName.verilator,
    dense: Annotated[Path | None, typer.Option(help="a dense Program of the same network, as baseline")] = None,
    images: Annotated[int, typer.Option(min=1, help="images, of random numbers")] = 4, bitfile: Bitfile = None,
    out: Annotated[Path | None, typer.Option(help="folder for bench.json and bench.html")] = None,
    hw: ProgramHw = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Latency, throughput, counters and energy of a Program on a device."""
    from subrow.board.bench import bench as run
    from subrow.board.bench import document
    from subrow.board.page import LAYER_HEAD, layer_rows, layers_title, page, summary, verdict
    from subrow.board.start import opener

    if out is not None:
        check_folder(out, f"--out {out}")
    programs: dict[str, Program] = {}
    results: dict[str, Bench] = {}
    configs = {}
    for name, file in (("program", path), ("dense", dense)):
        if file is not None:
            programs[name], configs[name] = load_program(file, hw if name == "program" else None)
    starts = {name: opener(device.value, config, bitfile, warn if name == "program" else lambda text: None)
              for name, config in configs.items()}  # fmt: skip
    with step_bars() as bars:
        for name, program in programs.items():
            task = bars.add_task(name, total=images)
            with starts[name]() as opened:
                results[name] = run(opened, program, images, lambda done, task=task: bars.advance(task, done))  # type: ignore[misc]
    found = document(results)
    if out is not None:
        write_atomic(out / "bench.json", (json.dumps(found, indent=2) + "\n").encode())
        write_atomic(out / "bench.html", page(results).encode())
    if as_json:
        print_json(found)
        return
    main = results["program"]
    output().print(table(f"{main.program} on {main.hw}", ("", *results), (), summary(results)))
    output().print(table(layers_title(main), LAYER_HEAD[:1], LAYER_HEAD[1:], layer_rows(main)))
    if found["speedup"] is not None:
        say(verdict(found, main.origin))
    if out is not None:
        say(f"{out}/bench.json, {out}/bench.html")
