"""The `subrow` command. Exit codes: 0 done, 1 the check failed, 2 usage or input error, 3 a needed tool is missing."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from subrow.spec import program as programs
from subrow.spec.errors import InputError, MissingTool, SubrowError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
err = Console(stderr=True)

ProgramPath = Annotated[Path, typer.Argument(help="a Program file (.subrow)")]
Json = Annotated[bool, typer.Option("--json", help="one JSON document on standard output")]


def load_model(spec: str) -> Any:
    """A module from `package.module:callable`, or an ExportedProgram from a .pt2 file. Raises InputError."""
    if Path(spec).suffix == ".pt2":
        import torch

        if not Path(spec).is_file():
            raise InputError(f"model {spec}: no such file")
        return torch.export.load(spec)
    module_name, _, attribute = spec.partition(":")
    if not attribute:
        raise InputError(f"model {spec!r}: give package.module:callable, or a .pt2 file saved by torch.export")
    sys.path.insert(0, str(Path.cwd()))
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"model {spec!r}: {error}") from error
    finally:
        sys.path.pop(0)
    return factory()


def load_array(path: Path) -> np.ndarray:
    """A .npy array. Raises InputError when it is missing or not one."""
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"input {path}: not a readable .npy file: {error}") from error


def parse_density(text: str) -> tuple[int, int]:
    """`2/8` -> (2, 8). Raises InputError."""
    try:
        s, length = (int(part) for part in text.split("/"))
    except ValueError as error:
        raise InputError(f"density {text!r}: give s/L, for example 2/8") from error
    return s, length


@app.command()
def disasm(path: ProgramPath, as_json: Json = False) -> None:
    """Print a Program: its memory map and every instruction."""
    from subrow.emit.disasm import disassemble

    program = programs.load(path)
    if as_json:
        rows = [dict(ins.values) for ins in program.decoded()]
        print(json.dumps({"name": program.name, "hw": program.hw_name, "instructions": rows}))
    else:
        print(disassemble(program))


def main() -> None:
    """Entry point: turns SubrowErrors into one line and the documented exit code."""
    try:
        app()
    except MissingTool as error:
        err.print(f"[red]error:[/] {error}", soft_wrap=True, highlight=False)
        sys.exit(3)
    except SubrowError as error:
        err.print(f"[red]error:[/] {error}", soft_wrap=True, highlight=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
