"""What policy servers and their clients send each other: msgpack with numpy arrays in it, as openpi-client has it.

An array is a map of four byte keys: __ndarray__ (true), data (C order), dtype (numpy's string, such as "<f4"), shape.
A numpy scalar has __npgeneric__, data and dtype. Only numbers, booleans and text pass, in both directions; nothing is
ever unpickled. Source: the bytes that openpi-client 0.1.2 writes, of which tests hold examples.
"""

import math
import re
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

# Our name of each part of an observation → what openpi's clients call it. The images are named as in RLinf's RoboCasa
# policies: base view, wrist, extra view. Privileged scene state has no name there.
OPENPI_KEYS = {
    "state": "observation/state",
    "image_left": "observation/image",
    "image_right": "observation/extra_view_image",
    "image_wrist": "observation/wrist_image",
    "instruction": "prompt",
}
Z1_KEYS = {name: name for name in ("state", "scene", "image_left", "image_right", "image_wrist", "instruction")}

_DTYPE = re.compile(r"[<>|=]?([biuf][1248]|U[1-9]\d{0,3})")
_ARRAY_KEYS = {b"__ndarray__", b"data", b"dtype", b"shape"}
_SCALAR_KEYS = {b"__npgeneric__", b"data", b"dtype"}
# What a map or a list says of its own length costs memory before its items are there. Arrays are no lists.
_MAX_ITEMS, _MAX_TEXT, _MAX_AXES = 1024, 65_536, 8


def pack(value: Any) -> bytes:
    """The message of `value`: maps, lists, texts, numbers, None, arrays and numpy scalars.

    Raises TypeError for anything else, arrays of objects included.
    """
    return msgpack.Packer(default=_as_map).pack(value)


def unpack(message: bytes) -> Any:
    """The value of a message; arrays are views of it, read-only.

    Raises ValueError, one sentence, where it is not msgpack, or an array in it is not one of numbers, booleans or text.
    """
    try:
        return msgpack.unpackb(
            message,
            object_hook=_from_map,
            max_array_len=_MAX_ITEMS,
            max_map_len=_MAX_ITEMS,
            max_str_len=_MAX_TEXT,
            max_ext_len=0,
        )
    except _RefusedError as refused:
        raise ValueError(str(refused)) from None
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"the message is not msgpack as openpi-client writes it: {reason[:200]}") from None


class _RefusedError(ValueError):
    """Well-formed msgpack with something in it that does not pass."""


def _as_map(value: Any) -> dict[bytes, Any]:
    if isinstance(value, np.ndarray | np.generic) and _DTYPE.fullmatch(value.dtype.str):
        if isinstance(value, np.ndarray):
            return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    kind = f"{type(value).__name__} of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
    raise TypeError(f"cannot send {kind}; send numbers, texts, lists, maps, or arrays of numbers")


def _from_map(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" in value:
        return _array(value)
    if b"__npgeneric__" in value:
        return _scalar(value)
    return value


def _array(value: dict[Any, Any]) -> NDArray:
    if set(value) != _ARRAY_KEYS or not isinstance(value[b"data"], bytes):
        raise _RefusedError("an array needs exactly __ndarray__, data (bytes), dtype and shape")
    dtype, shape = _dtype(value[b"dtype"]), value[b"shape"]
    if not isinstance(shape, list) or len(shape) > _MAX_AXES or any(type(n) is not int or n < 0 for n in shape):
        raise _RefusedError(f"an array needs a shape of at most {_MAX_AXES} lengths, got {str(shape)[:80]}")
    if math.prod(shape) * dtype.itemsize != len(value[b"data"]):
        raise _RefusedError(f"an array of {dtype} {str(shape)[:80]} came with {len(value[b'data'])} bytes of data")
    return np.frombuffer(value[b"data"], dtype).reshape(shape)


def _scalar(value: dict[Any, Any]) -> np.generic:
    if set(value) != _SCALAR_KEYS or not isinstance(value[b"data"], bool | int | float | str):
        raise _RefusedError("a numpy scalar needs exactly __npgeneric__, data (a number or text) and dtype")
    dtype, data = _dtype(value[b"dtype"]), value[b"data"]
    try:
        if dtype.kind in "iu" and not np.iinfo(dtype).min <= int(data) <= np.iinfo(dtype).max:
            raise OverflowError  # before numpy 2 it would wrap around
        with np.errstate(over="raise"):
            return dtype.type(data)
    except (ValueError, OverflowError, FloatingPointError) as error:
        raise _RefusedError(f"{str(value[b'data'])[:80]!r} is no {dtype}") from error


def _dtype(name: Any) -> np.dtype:
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
        raise _RefusedError(f"arrays of dtype {str(name)[:80]!r} are refused; send numbers, booleans or text")
    try:
        return np.dtype(name)
    except TypeError as error:
        raise _RefusedError(f"numpy knows no dtype {name!r}") from error
