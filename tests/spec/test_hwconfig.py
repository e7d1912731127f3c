"""HwConfig files: whatever is wrong is one ConfigError that names the file and the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from subrow.spec import hwconfig
from subrow.spec.errors import ConfigError

TINY = (hwconfig.CONFIG_DIR / "tiny.toml").read_text()
INTEGERS = [
    *(f"array.{k}" for k in ("channels", "tiles", "sub_row")), *(f"precision.{k}" for k in ("act_bits", "y_bits")),
    "buffers.act_words", "memory.weight_bytes", "memory.latency_cycles",
]  # fmt: skip


def load(folder: Path, data: bytes) -> hwconfig.HwConfig:
    path = folder / "mine.toml"
    path.write_bytes(data)
    return hwconfig.load(path)


def with_value(key: str, value: str) -> bytes:
    """tiny.toml with another value of section.key."""
    lines, section, hits = [], "", 0
    for line in TINY.splitlines():
        if line.startswith("["):
            section = line.strip("[] ")
        if f"{section}.{line.partition(' =')[0]}" == key:
            line, hits = f"{line.partition(' =')[0]} = {value}", hits + 1
        lines.append(line)
    assert hits == 1, key
    return "\n".join(lines).encode()


def test_the_committed_files_load(tmp_path: Path) -> None:
    for path in hwconfig.CONFIG_DIR.glob("*.toml"):
        assert hwconfig.load(path) == hwconfig.load(path.stem)
    assert load(tmp_path, with_value("clock.mhz", "100")).mhz == 100.0


@pytest.mark.parametrize(("data", "text"), (
    (b"", "the file is empty"),
    (b" \n\t\n", "the file is empty"),
    (b"# nothing\n", r"section \[array\] is missing; needed: array, precision"),
    (b"\xff\xfe[\x00a\x00", "not UTF-8 text: byte 0 is 0xff"),
    (TINY.encode() + b"# caf\xe9\n", "not UTF-8 text: byte [0-9]+ is 0xe9"),
    (TINY.encode("utf-16"), "not UTF-8 text"),
    (b"\x7fELF\x02\x01\x01\x00", "not valid TOML"),
    (TINY.encode() + b"#" * 70_000, "more than 65536 bytes"),
    (b"x = " + b"[" * 50_000, "not valid TOML"),
    (b"x = " + b"9" * 5000, "not valid TOML"),
    (b"array = 3\n", r"section \[array\] is not a section"),
    (TINY.replace("channels = 8", "channels = 7").encode(), "array.channels = 7: must be a power of two"),
    (TINY.replace("mhz", "hz").encode(), "unknown key clock.hz"),
    (TINY.encode() + b"[more]\n", "unknown section 'more'"),
))  # fmt: skip
def test_wrong_file(tmp_path: Path, data: bytes, text: str) -> None:
    with pytest.raises(ConfigError, match=rf"mine\.toml: .*{text}"):
        load(tmp_path, data)


@pytest.mark.parametrize("key", INTEGERS)
def test_an_integer_is_nothing_else(tmp_path: Path, key: str) -> None:
    for value in ("2.0", "true", "nan", "inf", '"8"', "[8]", "{ a = 8 }", "1979-05-27"):
        with pytest.raises(ConfigError, match=rf"mine\.toml: HwConfig mine: {key} = .*: must be an integer"):
            load(tmp_path, with_value(key, value))
    for value in ("-8", "0", "99999999999999999999999999"):
        with pytest.raises(ConfigError, match=rf"mine\.toml: HwConfig {key} = {value}: must be"):
            load(tmp_path, with_value(key, value))


@pytest.mark.parametrize("key", ("memory.bandwidth_gbs", "clock.mhz"))
def test_a_number_is_finite_and_positive(tmp_path: Path, key: str) -> None:
    for value in ("nan", "-nan", "inf", "-inf", "true", '"1.0"', "[1.0]", "1" + 400 * "0"):
        with pytest.raises(ConfigError, match=rf"mine\.toml: HwConfig mine: {key} = .*: must be a finite number"):
            load(tmp_path, with_value(key, value))
    for value in ("0.0", "-1.0", "1e9", "0"):
        with pytest.raises(ConfigError, match=rf"mine\.toml: HwConfig {key} = .*: must be"):
            load(tmp_path, with_value(key, value))


@pytest.mark.parametrize("key", ("board.board", "board.part"))
def test_a_name_is_text(tmp_path: Path, key: str) -> None:
    for value in ("3", "true", "nan", "[]"):
        with pytest.raises(ConfigError, match=rf"mine\.toml: HwConfig mine: {key} = .*: must be a string"):
            load(tmp_path, with_value(key, value))


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ConfigError, match=r"folder\.toml is a folder; known names: .*tiny"):
        hwconfig.load(tmp_path / "folder.toml")
    with pytest.raises(ConfigError, match=r"none\.toml does not exist; known names: .*tiny"):
        hwconfig.load("none")
    with pytest.raises(ConfigError, match="more than 65536 bytes"):
        link = tmp_path / "endless.toml"
        link.symlink_to("/dev/zero")
        hwconfig.load(link)


@pytest.mark.parametrize("path", sorted(hwconfig.CONFIG_DIR.glob("*.toml")), ids=lambda p: p.stem)
def test_text_of_a_hwconfig_is_read_as_the_same(path: Path) -> None:
    hw = hwconfig.load(path)
    assert hwconfig.parse(hwconfig.to_toml(hw), hw.name) == hw
