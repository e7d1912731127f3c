"""Who may import whom: spec < ir < frontend, compress, passes, emit; devices see only spec."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "sw" / "subrow"
ALLOWED = {
    "spec": {"spec"},
    "ir": {"ir", "spec"},
    "frontend": {"frontend", "ir", "spec"},
    "compress": {"compress", "ir", "spec"},
    "passes": {"passes", "ir", "spec"},
    "emit": {"emit", "ir", "spec"},
    "devices": {"devices", "spec", "toolenv"},
    "report": {"report", "devices", "spec"},
}
TORCH = {"frontend", "compress", "distill"}
FILES = [p for p in sorted(ROOT.rglob("*.py")) if p.parent != ROOT]


def imports(path: Path) -> list[str]:
    """Absolute names that a file imports at run time; blocks under TYPE_CHECKING do not count."""
    found: list[str] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.extend(a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.extend(f"{node.module}.{a.name}" for a in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_layering(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "torch":
            assert package in TORCH, f"{path}: imports torch"
        if parts[0] == "subrow" and len(parts) > 1 and package in ALLOWED:
            assert parts[1] in ALLOWED[package], f"{path}: {package} must not import {name}"
            assert parts[1] != "cli", f"{path}: nobody imports cli"
