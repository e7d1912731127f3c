"""The command in this process, and the files that most of its tests start from."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from subrow import cli
from tests.cli.nets import small


@dataclass(frozen=True)
class Done:
    """What a command left: exit code and both streams."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command in this process."""

    def call(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["subrow", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        streams = capsys.readouterr()
        return Done(int(stop.value.code or 0), streams.out, streams.err)

    return call


@dataclass(frozen=True)
class Files:
    """Arrays and a Program that most tests start from."""

    folder: Path
    images: Path
    labels: Path
    program: Path


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    import subrow

    folder = tmp_path_factory.mktemp("cli")
    result = Files(folder, folder / "images.npy", folder / "labels.npy", folder / "small.subrow")
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 1, (6, 8, 8, 8)).astype(np.float32)
    np.save(result.images, images)
    np.save(result.labels, rng.integers(0, 5, 6))
    np.save(folder / "8.npy", np.zeros(8, np.int64))
    subrow.compile(small(), images, "tiny", "2/8", "f2", images).save(result.program)
    return result
