"""Files appear whole or not at all: killed writers and builds, full disks, several processes at once."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from subrow.devices import hlslib
from subrow.devices.emulator import Emulator
from subrow.spec import hwconfig, program
from subrow.spec.program import write_atomic
from subrow.toolenv import REPO_ROOT, cached_build
from tests.devices.assemble import Shape, make_layer, program_of
from tests.spec.program_files import sample

ROOT = Path(__file__).resolve().parents[1]


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that runs some code with this repository's packages."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "sw"), str(ROOT)])}
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)], cwd=ROOT, env=env,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip


def wait_for(condition: object, process: subprocess.Popen[str], seconds: float = 120) -> None:
    """Until the condition holds; the process must not end before."""
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("step", ("fsync", "chmod", "replace"))
@pytest.mark.parametrize("old", (False, True))
def test_full_disk_names_the_file_and_keeps_the_old_one(
    step: str, old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    path = tmp_path / "out.subrow"
    if old:
        path.write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space left on device: .*out.subrow") as caught:
        sample().save(path)
    assert caught.value.filename == str(path) and caught.value.errno == errno.ENOSPC
    assert [p.name for p in tmp_path.iterdir()] == (["out.subrow"] if old else [])
    assert not old or path.read_bytes() == b"old"


def test_a_write_that_the_kernel_cuts_short_leaves_nothing(tmp_path: Path) -> None:
    """A limit on file sizes stops the write in its middle, as a full disk does."""
    path = tmp_path / "out.bin"
    path.write_bytes(b"old")
    process = python("""
        import resource, signal, sys
        from pathlib import Path
        from subrow.spec.program import write_atomic
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            write_atomic(Path(sys.argv[1]), bytes(1 << 20))
        except OSError as error:
            print(error.filename, error.strerror)
    """, path)  # fmt: skip
    out, err = process.communicate(timeout=120)
    assert out == f"{path} {os.strerror(errno.EFBIG)}\n", err
    assert [p.name for p in tmp_path.iterdir()] == ["out.bin"] and path.read_bytes() == b"old"


def test_a_folder_that_cannot_be_made_is_named_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory: .*file/more/out"):
        write_atomic(tmp_path / "file" / "more" / "out", b"x")


def test_killed_in_the_middle_of_writing_leaves_the_old_program(tmp_path: Path) -> None:
    path = tmp_path / "p.subrow"
    sample().save(path)
    before = path.read_bytes()
    process = python("""
        import os, sys, time
        from tests.spec.program_files import sample
        whole = os.fdopen
        def half(*a):
            file = whole(*a)
            class Half:
                def __enter__(self): return self
                def __exit__(self, *a): file.close()
                def write(self, data):
                    file.write(data[: len(data) // 2]); file.flush(); time.sleep(600)
            return Half()
        os.fdopen = half
        sample().save(sys.argv[1])
    """, path)  # fmt: skip
    wait_for(lambda: any(p.stat().st_size >= len(before) // 2 for p in tmp_path.iterdir() if p != path), process)
    process.kill()
    process.communicate()
    assert path.read_bytes() == before
    sample().save(path)
    assert program.load(path).digest() == sample().digest()


SLOW = """
    import subprocess, sys, time
    from pathlib import Path
    from subrow.toolenv import cached_build

    def build(part):
        part.write_text("ha")
        code = "import sys, time; time.sleep(1.5); open(sys.argv[1], 'w').write('ha'); open(sys.argv[2], 'w')"
        subprocess.Popen([sys.executable, "-c", code, str(part), sys.argv[2]])
        Path(sys.argv[1] + ".started").touch()
        time.sleep(600)

    cached_build(Path(sys.argv[1]), "0123", build)
"""


def test_a_killed_build_is_made_again_and_its_children_do_no_harm(tmp_path: Path) -> None:
    """What the killed build started goes on writing to its own temporary file while the next build is at work."""
    out, late = tmp_path / "lib.so", tmp_path / "late"
    final = tmp_path / "lib-0123.so"
    process = python(SLOW, out, late)
    wait_for((tmp_path / "lib.so.started").exists, process)
    process.kill()
    process.wait()
    assert not final.exists()

    def build(part: Path) -> None:
        part.write_text("half")
        end = time.monotonic() + 60
        while not late.exists():  # the child of the killed build has written
            assert time.monotonic() < end
            time.sleep(0.01)
        with open(part, "a") as file:
            file.write(" and half")

    assert cached_build(out, "0123", build) == final and final.read_text() == "half and half"
    cached_build(out, "0123", lambda part: pytest.fail("built again"))


def test_what_killed_builds_leave_is_removed_by_the_next(tmp_path: Path) -> None:
    out = tmp_path / "lib.so"
    process = python(SLOW, out, tmp_path / "late")
    wait_for((tmp_path / "lib.so.started").exists, process)
    process.kill()
    process.wait()
    end = time.monotonic() + 60
    while not (tmp_path / "late").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    cached_build(out, "0123", lambda part: part.write_text("x") and None)
    assert sorted(p.name for p in tmp_path.iterdir() if "0123" in p.name) == ["lib-0123.so", "lib-0123.so.lock"]


FLAGS = ("-std=c++17", "-O0", "-fwrapv", "-fPIC", "-shared")  # the test is about files, not about speed
ASK = f"""
    import sys
    from pathlib import Path
    from subrow.devices import hlslib
    from subrow.spec import hwconfig
    hlslib.FLAGS, hlslib.BUILD = {FLAGS}, Path(sys.argv[1])
    print(hlslib.HlsLibrary(hwconfig.load("tiny")).config_hash())
"""


def test_a_killed_library_build_is_made_again_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed with g++ at work on the HLS library; then two processes ask for it at the same time."""
    process = python(ASK, tmp_path)
    wait_for(lambda: any(p.stat().st_size for p in tmp_path.glob("*/build.log")), process)
    process.kill()
    process.communicate()
    assert not list(tmp_path.glob("*/*.so"))
    hw = hwconfig.load("tiny")
    outputs = [p.communicate(timeout=300) for p in [python(ASK, tmp_path) for _ in range(2)]]
    assert [out for out, _ in outputs] == [f"{hw.hash32}\n"] * 2, outputs
    assert len(list(tmp_path.glob("*/*.so"))) == 1
    (log,) = tmp_path.glob("*/build.log")
    assert log.read_text().count("$ ") == 1, "it was built twice"
    monkeypatch.setattr(hlslib, "FLAGS", FLAGS)
    monkeypatch.setattr(hlslib, "BUILD", tmp_path)
    library = hlslib.HlsLibrary(hw)
    assert library.path.parent.parent == tmp_path
    layer = make_layer(hw, Shape(), 1)
    monkeypatch.setattr("subrow.devices.emulator.library", lambda *_: library)
    with Emulator(hw) as emulator:
        emulator.load(program_of(hw, [layer]))
        np.testing.assert_array_equal(emulator.run(layer.x).outputs["y"][0], layer.expected(hw))


def test_generated_sources_are_replaced_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(REPO_ROOT / "scripts")
    import gen

    assert gen.stale(REPO_ROOT / "hw" / "gen") == {}
    assert Path("subrow_isa.h") in gen.stale(tmp_path)
