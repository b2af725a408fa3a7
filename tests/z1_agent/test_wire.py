"""Messages: the bytes of openpi-client, and what is refused."""

import contextlib
import pickle
import re

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from z1_agent.wire import pack, unpack

# openpi_client.msgpack_numpy.packb, of openpi-client 0.1.2 with msgpack 1.2.4 and numpy 1.26.4, wrote these bytes.
VALUE = {
    "state": np.arange(2, dtype=np.float32),
    "n": np.float32(0.5),
    "prompt": "go",
    "s": np.str_("ab"),
    "u": np.array("hi"),
    "i": np.zeros((1, 1, 3), np.uint8),
}
BYTES = bytes.fromhex(
    "86a5737461746584c40b5f5f6e6461727261795f5fc3c40464617461c408000000000000803fc4056474797065a33c6634c4057368617065"
    "9102a16e83c40d5f5f6e7067656e657269635f5fc3c40464617461cb3fe0000000000000c4056474797065a33c6634a670726f6d7074a267"
    "6fa173a26162a17584c40b5f5f6e6461727261795f5fc3c40464617461c4086800000069000000c4056474797065a33c5532c40573686170"
    "6590a16984c40b5f5f6e6461727261795f5fc3c40464617461c403000000c4056474797065a37c7531c405736861706593010103"
)


def array_map(data: object = b"\0" * 8, dtype: object = "<f4", shape: object = (2,)) -> dict:
    return {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}


def test_the_bytes_are_those_of_openpi_client() -> None:
    assert pack(VALUE) == BYTES
    read = unpack(BYTES)
    assert list(read) == list(VALUE)
    assert (read["prompt"], read["s"], read["u"].item()) == ("go", "ab", "hi")
    assert isinstance(read["n"], np.float32)
    for name in ("state", "n", "i"):
        np.testing.assert_array_equal(read[name], VALUE[name], strict=True)


@pytest.mark.parametrize("dtype", ["?", "u1", "<i2", ">i4", "<u8", "<f2", "<f4", ">f8", "<U3"])
def test_arrays_come_back_as_they_were(dtype: str) -> None:
    array = (np.arange(12).reshape(3, 4) % 5).astype(dtype)
    for each in (array, array[:, ::2], array.T, array[:0], array[0, 0]):
        np.testing.assert_array_equal(unpack(pack(each)), each, strict=True)


@pytest.mark.parametrize(
    "value",
    [np.array([{}]), np.zeros(2, "f4,f4"), np.zeros(2, complex), np.array(b"raw"), {1, 2}, np.datetime64("2020")],
)
def test_only_numbers_and_text_are_sent(value: object) -> None:
    with pytest.raises(TypeError, match="cannot send"):
        pack({"state": value})


class Bomb:
    def __reduce__(self) -> tuple:
        return exec, ("raise SystemExit('unpickled')",)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (array_map(pickle.dumps(Bomb()), "|O", (1,)), "arrays of dtype '|O' are refused"),
        (array_map(pickle.dumps(Bomb()), "O"), "arrays of dtype 'O' are refused"),
        (array_map(dtype="f4,f4", shape=(1,)), "arrays of dtype 'f4,f4' are refused"),
        (array_map(dtype="<c8", shape=(1,)), "arrays of dtype '<c8' are refused"),
        (array_map(dtype="f1"), "numpy knows no dtype 'f1'"),
        (array_map(dtype=["<f4"]), "are refused"),
        (array_map(shape=(3,)), "of float32 [3] came with 8 bytes"),
        (array_map(b"", shape=(0, 10**18)), None),
        (array_map(shape=(2**62, 2**62)), "came with 8 bytes"),
        (array_map(shape=(-1,)), "needs a shape of at most 8 lengths, got [-1]"),
        (array_map(shape=(True, 2)), "needs a shape"),
        (array_map(shape="22"), "needs a shape"),
        (array_map(shape=(1,) * 9), "at most 8 lengths"),
        (array_map(data="text"), "needs exactly __ndarray__, data (bytes)"),
        ({b"__ndarray__": True}, "needs exactly __ndarray__"),
        ({b"__npgeneric__": True, b"data": 300, b"dtype": "|u1"}, "'300' is no uint8"),
        ({b"__npgeneric__": True, b"data": 1e300, b"dtype": "<f4"}, "'1e+300' is no float32"),
        ({b"__npgeneric__": True, b"data": "x", b"dtype": "<f4"}, "'x' is no float32"),
        ({b"__npgeneric__": True, b"data": [1], b"dtype": "<f4"}, "a number or text"),
        ([0] * 1025, "not msgpack as openpi-client writes it"),
        ({1: 2}, "not msgpack as openpi-client writes it"),
        (msgpack.ExtType(5, b"x"), "not msgpack as openpi-client writes it"),
    ],
)
def test_what_is_no_array_is_refused(value: object, message: str | None) -> None:
    written = msgpack.packb({"state": value})
    assert isinstance(written, bytes)
    if message is None:  # empty, and numpy can have it
        assert unpack(written)["state"].size == 0
        return
    with pytest.raises(ValueError, match=re.escape(message)):
        unpack(written)


@pytest.mark.parametrize("message", [b"", b"\xc1", BYTES[:-1], BYTES + b"\0", b"\xdd\xff\xff\xff\xff", b"\x91" * 5000])
def test_what_is_not_msgpack_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"not msgpack as openpi-client writes it: ."):
        unpack(message)


@given(st.binary(max_size=200) | st.tuples(st.integers(0, len(BYTES) - 1), st.integers(0, 255)))
def test_damaged_messages_are_read_or_refused(damage: bytes | tuple[int, int]) -> None:
    if isinstance(damage, tuple):
        place, byte = damage
        damage = BYTES[:place] + bytes([byte]) + BYTES[place + 1 :]
    with contextlib.suppress(ValueError):
        unpack(damage)
