"""Safetensors files, read and written block by block.

A checkpoint of billions of numbers is moved through one small buffer, so that the memory it takes is that of the
tensors it ends in. The format: 8 bytes little-endian length of a JSON header, the header (name → dtype, shape, offsets
into the data), the data, row-major. Source: the format's description at https://github.com/huggingface/safetensors.
"""

import json
import math
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import torch
from torch import Tensor

BLOCK_BYTES = 1 << 23
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class TensorFileError(RuntimeError):
    """A file that is not a whole safetensors file."""


@dataclass(frozen=True)
class Stored:
    """A tensor on disk: its file, type, shape, and where its numbers begin [bytes]."""

    file: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """The numbers in order, as (index of the first, flat tensor); each is overwritten by the next.

        Raises TensorFileError where the file has become shorter since its header was read.
        """
        left = math.prod(self.shape)
        buffer = torch.empty(min(left, BLOCK_BYTES // self.dtype.itemsize), dtype=self.dtype)
        index = 0
        with self.file.open("rb", buffering=0) as content:
            content.seek(self.start)
            while left:
                block = buffer[:left]
                _fill(content, block.view(torch.uint8).numpy().data, self.file)
                yield index, block
                index, left = index + len(block), left - len(block)


def read_header(file: Path) -> dict[str, Stored]:
    """What `file` holds, by name.

    Raises TensorFileError where it is missing, truncated, corrupt, or holds numbers of another type than DTYPES.
    """
    try:
        with safetensors.safe_open(file, framework="pt"):  # checks header, offsets and length; reads no data
            pass
        with file.open("rb") as content:
            (length,) = struct.unpack("<Q", content.read(8))
            header = json.loads(content.read(length))
    except (OSError, safetensors.SafetensorError) as error:
        raise TensorFileError(f"{file} is not a whole safetensors file: {error}; download or copy it again") from error
    header.pop("__metadata__", None)
    foreign = sorted(name for name, entry in header.items() if entry["dtype"] not in DTYPES)
    if foreign:
        raise TensorFileError(f"{file} holds types that are not read here: {', '.join(foreign)}; convert the file")
    return {
        name: Stored(file, DTYPES[entry["dtype"]], tuple(entry["shape"]), 8 + length + entry["data_offsets"][0])
        for name, entry in header.items()
    }


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write `tensors` to `file`, flushed to disk. Takes the memory of one block beside them, wherever they are."""
    # Wide types first, so that every tensor begins at a multiple of its own width.
    names = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name in names:
        end = offset + tensors[name].numel() * tensors[name].dtype.itemsize
        entry = {"dtype": _NAMES[tensors[name].dtype], "shape": list(tensors[name].shape)}
        header[name] = entry | {"data_offsets": [offset, end]}
        offset = end
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with file.open("wb") as target:
        target.write(struct.pack("<Q", len(encoded)) + encoded)
        for name in names:
            flat = tensors[name].detach().reshape(-1)
            for block in flat.split(BLOCK_BYTES // flat.dtype.itemsize):
                target.write(block.cpu().contiguous().view(torch.uint8).numpy().data)
        target.flush()
        os.fsync(target.fileno())


def _fill(content, view: memoryview, file: Path) -> None:
    while view:
        count = content.readinto(view)
        if not count:
            raise TensorFileError(f"{file} became shorter while it was read; copy it again")
        view = view[count:]
