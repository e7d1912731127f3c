"""Who may import whom: spec < ir < frontend, compress, passes, emit; devices see only spec; nobody imports cli."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "sw" / "subrow"
LAYERS = {"board", "spec", "ir", "frontend", "compress", "passes", "emit", "devices", "report", "toolenv", "console"}
EVERYTHING = LAYERS | {
    "api", "area", "bench", "bitstream", "demo", "estimate", "estimate_figure", "evaluate", "explore", "finetune",
    "losses", "netlist", "planning", "search_page", "source", "trained",
}  # fmt: skip
ALLOWED = {
    "spec": {"spec"},
    "ir": {"ir", "spec"},
    "frontend": {"frontend", "ir", "spec"},
    "compress": {"compress", "ir", "spec"},
    "passes": {"passes", "ir", "spec"},
    "emit": {"emit", "ir", "spec"},
    "devices": {"devices", "spec", "toolenv"},
    "report": {"report", "devices", "spec"},
    # Modules of the top level: shared tools first, then what hands work from one package to the next.
    # Boards lack the compiler and what prints for it; of report they have verify.
    "board": {"board", "devices", "report", "spec", "toolenv"},
    "notebooks": set(),  # a folder of notebooks, for PYNQ to find
    "toolenv": {"spec"},
    "console": {"spec"},
    "netlist": set(),  # what Yosys writes
    "area": {"console", "devices", "netlist", "spec", "toolenv"},  # synthesis of what devices/simlib lists
    "bitstream": {"area", "bitstream", "devices", "spec", "toolenv"},  # what the boards' tools read, and their runs
    "losses": {"compress", "emit", "ir", "spec"},  # one Graph, as floats and as the Program that it becomes
    "source": {"console", "frontend", "ir", "spec"},  # what a command starts from, model or file
    "planning": {"compress", "emit", "ir", "passes", "spec"},  # tiles and instructions of a network, without weights
    "estimate": {"compress", "frontend", "ir", "passes", "planning", "spec"},  # how long it takes
    "estimate_figure": {"estimate", "report", "spec"},
    "search_page": {"explore", "report", "spec"},
    "api": LAYERS - {"report", "console"} | {"planning"},  # the whole chain, as a library
    "explore": {"compress", "estimate", "explore", "ir", "passes", "planning", "spec"},  # density of each layer
    "trained": {"frontend", "ir", "spec"},  # folders of weights and cards
    "finetune": {"api", "compress", "frontend", "ir", "passes", "planning", "spec", "trained"},  # a recipe
    "evaluate": {"api", "board", "compress", "devices", "spec", "trained"},  # accuracy of what was trained
    "__init__": {"api", "devices"},  # the two names that users see
    # Entry points: they put everything together, and nothing but an entry point is built on them.
    "demo": EVERYTHING - {"bench"},
    "bench": EVERYTHING - {"demo"},
    "cli": EVERYTHING | {"cli"},
}
TORCH = {"frontend", "compress", "distill"}
PYNQ = {"devices/pynq"}
FILES = sorted(ROOT.rglob("*.py"))


def part_of(name: str) -> str:
    """The rule that a module or package falls under: cli.py and cli_*.py are one entry point."""
    return "cli" if name == "cli" or name.startswith("cli_") else name


def imports(text: str) -> list[str]:
    """Absolute names that a source imports at run time; blocks under TYPE_CHECKING do not count."""
    found: list[str] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            found.extend(a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.extend(f"{'.' * node.level}{node.module or ''}.{a.name}" for a in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(text))
    return found


def problems(place: str, text: str) -> list[str]:
    """What a source at this place below sw/subrow must not import."""
    where = place.removesuffix(".py")
    package = part_of(where.split("/")[0])
    if package not in ALLOWED:
        return [f"{place}: no rule says what {package} may import: add one to ALLOWED"]
    found = []
    for name in imports(text):
        first, *rest = name.split(".")
        if first == "":
            found.append(f"{place}: relative import of {name}")
        if first == "torch" and package not in TORCH:
            found.append(f"{place}: imports {name}; torch belongs to {', '.join(sorted(TORCH))} and models")
        if first == "pynq" and not any(where == p or where.startswith(f"{p}/") for p in PYNQ):
            found.append(f"{place}: imports {name}; pynq belongs to {', '.join(sorted(PYNQ))}")
        if first == "subrow" and rest and part_of(rest[0]) not in ALLOWED[package]:
            found.append(f"{place}: {package} must not import {name}")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_layering(path: Path) -> None:
    assert problems(path.relative_to(ROOT).as_posix(), path.read_text()) == []


def test_every_kind_of_file_is_looked_at() -> None:
    seen = {part_of(p.relative_to(ROOT).as_posix().removesuffix(".py").split("/")[0]) for p in FILES}
    assert seen == set(ALLOWED)


@pytest.mark.parametrize(("place", "text", "count"), (
    ("demo.py", "import torch", 1), ("source.py", "def f():\n    from torch.export import ExportedProgram", 1),
    ("devices/emulator.py", "import torch.nn", 1), ("api.py", "from torch import nn", 1), ("cli.py", "import torch", 1),
    ("compress/x.py", "import torch", 0), ("frontend/x.py", "from torch import nn", 0),
    ("api.py", "if TYPE_CHECKING:\n    import torch\nelse:\n    import torch", 1),
    ("api.py", "if TYPE_CHECKING:\n    import torch", 0),
    ("spec/x.py", "from subrow.ir.graph import Graph", 1), ("ir/x.py", "import subrow.passes", 1),
    ("emit/x.py", "from subrow.compress import srbs", 1), ("devices/x.py", "from subrow import api", 1),
    ("api.py", "from subrow.cli import main", 1), ("report/x.py", "from subrow import cli", 1),
    ("losses.py", "from subrow.cli_network import app", 1),
    ("cli_network.py", "from subrow.cli_options import Json", 0),
    ("demo.py", "from subrow import cli", 1), ("demo.py", "from subrow.bench import run", 1),
    ("console.py", "from subrow.devices import open_device", 1), ("toolenv.py", "import subrow.console", 1),
    ("devices/verilator.py", "import pynq", 1), ("devices/pynq.py", "import pynq", 0),
    ("emit/x.py", "from . import pack", 1), ("emit/x.py", "from ..spec import isa", 1), ("new.py", "", 1),
))  # fmt: skip
def test_a_forbidden_import_is_found(place: str, text: str, count: int) -> None:
    assert len(problems(place, text)) == count


def test_sequences_of_rules_name_what_exists() -> None:
    """A rule for a package that is gone, or a permission of that kind, would protect nothing."""
    assert {target for targets in ALLOWED.values() for target in targets} <= set(ALLOWED)
