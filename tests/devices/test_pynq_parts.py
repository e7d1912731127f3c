"""Parts of the board's driver that need neither PYNQ nor an engine: the lock, and the interrupt's file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from subrow.devices.pynq.lock import EngineLock
from subrow.devices.pynq.uio import UioInterrupt
from subrow.spec.errors import DeviceError


def test_lock_is_taken_once_and_given_back(tmp_path: Path) -> None:
    lock = EngineLock("a b/../c", tmp_path)
    assert lock.path.parent == tmp_path and lock.path.name == "subrow-a_b_.._c.lock"
    with pytest.raises(DeviceError, match=f"in use by process {os.getpid()} "):
        EngineLock("a b/../c", tmp_path)
    EngineLock("another", tmp_path).release()
    lock.release()
    lock.release()
    EngineLock("a b/../c", tmp_path).release()


def test_a_lock_that_is_a_link_or_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "subrow-x.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DeviceError, match="cannot open the lock file"):
        EngineLock("x", tmp_path)
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(DeviceError, match="No such file"):
        EngineLock("x", tmp_path / "missing")


def test_uio_interrupt(tmp_path: Path) -> None:
    """A FIFO stands for the kernel's file: what was written to enable the line is what `read` takes as its count."""
    path = tmp_path / "uio0"
    os.mkfifo(path)
    interrupt = UioInterrupt(path)
    kernel = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    assert interrupt.wait(1.0)
    with pytest.raises(BlockingIOError):
        os.read(kernel, 4)
    interrupt.close()
    interrupt.close()
    with pytest.raises(DeviceError, match="closed"):
        interrupt.wait(0.1)
    os.close(kernel)


def test_uio_interrupt_that_does_not_come(tmp_path: Path) -> None:
    """A file that takes the enabling word and never becomes readable: one end of a socket pair is such a file."""
    import socket

    ours, kernel = socket.socketpair()
    interrupt = UioInterrupt(tmp_path_file(tmp_path))
    os.dup2(ours.fileno(), interrupt._file)  # type: ignore[arg-type]
    assert not interrupt.wait(0.01)
    assert kernel.recv(8) == b"\1\0\0\0"
    kernel.send(b"\1\0\0\0")
    assert interrupt.wait(1.0)
    interrupt.close()
    ours.close(), kernel.close()


def tmp_path_file(folder: Path) -> Path:
    path = folder / "file"
    path.touch()
    return path


def test_uio_device_is_found_by_its_name(tmp_path: Path) -> None:
    for device, name in (("uio0", "other"), ("uio1", "fabric")):
        (tmp_path / device).mkdir()
        (tmp_path / device / "name").write_text(f"{name}\n")
    with pytest.raises(DeviceError, match="no such UIO device, the kernel has .'fabric', 'other'."):
        UioInterrupt.named("engine", tmp_path)
    with pytest.raises(DeviceError, match="/dev/uio1: "):  # found, but there is no such device here
        UioInterrupt.named("fabric", tmp_path)
    with pytest.raises(DeviceError, match="has none"):
        UioInterrupt.named("fabric", tmp_path / "none")
