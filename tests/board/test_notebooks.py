"""The notebooks for boards, cell by cell, on the simulated engine."""

from __future__ import annotations

from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from subrow import notebooks
from tests.devices.assemble import Shape, make_layer, program_of
from tests.spec.program_files import HW

FOLDER = Path(notebooks.__file__).parent
LAYER = make_layer(HW, Shape(tile=1, channels=8, outputs=8, pad=1), 4)
SPARSE = make_layer(HW, Shape(tile=1, channels=8, outputs=8, pad=1, sub_s=2), 4)


def executed(name: str, folder: Path, **parameters: object) -> str:
    """What the notebook's cells print, with these values in place of those of its first code cell."""
    book = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    assert all(not c.get("outputs") for c in book.cells)
    first = next(c for c in book.cells if c.cell_type == "code")
    assert all(f"{key} =" in first.source for key in parameters)
    first.source += "\n" + "\n".join(f"{key} = {value!r}" for key, value in parameters.items())
    NotebookClient(book, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [o for c in book.cells if c.cell_type == "code" for o in c.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    return "\n".join(o.get("text") or str(o.get("data", {})) for o in outputs)


@pytest.mark.verilator
@pytest.mark.filterwarnings("ignore")
def test_notebooks_run_on_the_simulated_engine(tmp_path: Path) -> None:
    program_of(HW, [LAYER]).save(tmp_path / "dense.subrow")
    program_of(HW, [SPARSE]).save(tmp_path / "program.subrow")
    np.save(tmp_path / "images.npy", np.stack([LAYER.x] * 3))
    text = executed("first_run", tmp_path)
    assert "ok    golden : 0 of 512 output values differ" in text and "(4, 8, 8, 8) cycles of each image" in text
    assert "every figure is simulated" in text and "array busy" in text
    text = executed("dense_and_srbs", tmp_path, SPARSE="program.subrow", IMAGES=1)
    assert "x faster than dense (simulated)" in text and "x less energy (estimated)" in text and "<table>" in text
    text = executed("your_own_model", tmp_path)
    assert "3 images, " in text and "ms each in the engine (simulated)" in text and "classes: [" in text


def test_every_notebook_is_tested() -> None:
    assert {p.stem for p in FOLDER.glob("*.ipynb")} == {"first_run", "dense_and_srbs", "your_own_model"}
