"""safetensors files that the project reads by itself: the library's, and those that must be refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from subrow.spec import tensors

shapes = st.lists(st.integers(0, 5), min_size=0, max_size=3)


@settings(max_examples=40)
@given(st.dictionaries(st.text(min_size=1).filter(lambda t: t != "__metadata__"), shapes, max_size=4), st.randoms())
def test_files_of_the_library_and_ours_are_the_same_files(sizes: dict[str, list[int]], random: Any) -> None:
    arrays = {k: np.frombuffer(random.randbytes(int(np.prod(s))), np.uint8).reshape(s) for k, s in sizes.items()}
    for data, reader in ((save(arrays), tensors.read), (tensors.write(arrays, {"a": "b"}), load)):
        got = reader(data)
        assert set(got) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(got[name], array)


def file_of(header: Any, body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def item(low: int, high: int, shape: Any = None, dtype: Any = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [high - low] if shape is None else shape, "data_offsets": [low, high]}


@pytest.mark.parametrize(("data", "text"), (
    (b"", "too short"), (b"\xff" * 8, "truncated"), (file_of([]), "not a JSON object"),
    (file_of({"a": 3}), "not an array of U8"), (file_of({"a": item(0, 4, dtype="F32")}, b"abcd"), "not an array"),
    (file_of({"a": item(0, 4) | {"x": 1}}, b"abcd"), "not an array"),
    (file_of({"a": item(0, 4, [5])}, b"abcd"), "do not hold"), (file_of({"a": item(0, 4, [-4])}, b"abcd"), "from 0"),
    (file_of({"a": item(0, 4, "4")}, b"abcd"), "lists of numbers"), (file_of({"a": item(0, 5)}, b"abcd"), "ends at"),
    (file_of({"a": item(1, 4)}, b"abcd"), "starts at byte 1"), (file_of({"a": item(0, 3)}, b"abcd"), "1 bytes follow"),
    (file_of({"a": item(0, 3), "b": item(2, 4)}, b"abcd"), "starts at byte 2"),
    (file_of({"a": item(0, 4, [True, 4])}, b"abcd"), "lists of numbers"), (file_of({"a": item(3, 1, [])}), "hold"),
))  # fmt: skip
def test_a_damaged_file_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        tensors.read(data)
