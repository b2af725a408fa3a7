"""Files that are whole or not there: writing that outlasts a power cut, and the digest that tells one from another."""

import hashlib
import os
from pathlib import Path


def write_synced(file: Path, content: bytes) -> None:
    """Writes `content` to `file`, and returns once the disk has it."""
    with file.open("wb") as target:
        target.write(content)
        target.flush()
        os.fsync(target.fileno())


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
