"""Every example runs as its docstring says, and quickly."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
# What makes a long one short.
ARGUMENTS = {path.stem: () for path in EXAMPLES} | {"sb3_ppo": ("--steps", "8192")}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path: Path, tmp_path: Path) -> None:
    assert f"python examples/{path.name}" in path.read_text(encoding="utf-8"), "its docstring says how to run it"
    found = subprocess.run(
        [sys.executable, "-W", "error", str(path), *ARGUMENTS[path.stem]], capture_output=True, text=True, timeout=60,
        cwd=tmp_path, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip(), "it shows what it did"


def test_there_are_examples() -> None:
    assert EXAMPLES
