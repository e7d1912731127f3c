"""The `subrow` command: the verbs, and how it ends.

Exit codes: 0 done, 1 the check failed, 2 usage or input error, 3 a needed tool is missing, 70 internal error, 130
interrupted (Ctrl-C).
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from models import ModelError
from subrow import cli_board, cli_build, cli_estimate, cli_network, cli_program, cli_train
from subrow.console import complain
from subrow.spec.errors import MissingTool, SubrowError

HELP = """Trained CNNs on FPGAs: from a network to a Program, and what the Program does.

Exit codes: 0 done, 1 the check failed, 2 usage or input error, 3 a needed tool is missing, 70 internal error, 130
interrupted (Ctrl-C)."""
TRACEBACK = "--traceback"
INTERNAL_ERROR = 70  # EX_SOFTWARE of sysexits.h

# Plain help: markup would swallow the brackets of [name=]x.npy and of the paths in error messages.
app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
                  help=HELP)  # fmt: skip


@app.callback()
def options(
    show: Annotated[bool, typer.Option(TRACEBACK, help="print the Python traceback of an error, too")] = False,
) -> None:  # `main` looks for the option, because it also covers what fails before this runs
    pass


app.command(short_help="Keep s of L weights in every sub-row.")(cli_network.prune)
app.command(short_help="Make integers of a network, pruned or not.")(cli_network.quantize)
app.command(name="compile", short_help="Make a Program of a network or a Graph.")(cli_network.compile_)
app.command(short_help="Estimate cycles and bytes, layer by layer.")(cli_estimate.estimate)
app.command(short_help="Train by a recipe: float, pruned, in integers.")(cli_train.finetune)
app.command(short_help="Choose each layer's density for a time or an accuracy.")(cli_train.search)
app.command(short_help="Accuracy of a trained network or a Program.")(cli_train.evaluate)
app.command(short_help="Print a Program.")(cli_program.disasm)
app.command(short_help="Compare a device with the reference, every byte.")(cli_program.verify)
app.command(short_help="Run a Program in the RTL, cycle by cycle.")(cli_program.simulate)
app.command(short_help="Measure and simulate Programs: table, JSON, HTML.")(cli_program.report)
app.command(short_help="Build the bitstream that runs a Program on a board.")(cli_build.build)
app.command(short_help="Latency, throughput, energy of a Program on a device.")(cli_board.bench)
app.command(short_help="Check this machine and the board.")(cli_board.doctor)


def main() -> None:
    """Entry point: turns every exception into one line on standard error and the documented exit code."""
    with _unix_pipes():
        try:
            app()
        except MissingTool as error:
            _fail("error", str(error), 3)
        except (SubrowError, ModelError) as error:  # a picture is decoded, and found damaged, in the middle of the work
            _fail("error", str(error), 2)
        except OSError as error:
            named = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
            _fail("error", named or str(error), 2)
        except Exception as error:
            text = f"{type(error).__name__}: {error}; run `subrow {TRACEBACK} …` again for the traceback"
            _fail("internal error", text, INTERNAL_ERROR)


def _fail(kind: str, text: str, code: int) -> None:
    if TRACEBACK in sys.argv:
        traceback.print_exc()
    complain(kind, text)
    sys.exit(code)


@contextmanager
def _unix_pipes() -> Iterator[None]:
    """End without a word when the reader of standard output has gone, as other Unix tools do."""
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        yield
    finally:
        sys.stdout.flush()
        signal.signal(signal.SIGPIPE, before)


if __name__ == "__main__":
    main()
