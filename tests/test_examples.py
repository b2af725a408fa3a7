"""Every example runs as its docstring says, and not for long."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from z1_envs.opengl import RenderError
from z1_envs.robocasa.assets import write_stand_in
from z1_envs.robocasa.preflight import check_images
from z1_envs.robocasa.versions import ASSETS_VARIABLE

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
# What makes a long one short.
ARGUMENTS = {path.stem: () for path in EXAMPLES}
ARGUMENTS |= {"sb3_ppo": ("--steps", "8192"), "robocasa_demonstrations": ("1", "drawer")}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path: Path, tmp_path: Path) -> None:
    assert f"python examples/{path.name}" in path.read_text(encoding="utf-8"), "its docstring says how to run it"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    if path.stem.startswith("robocasa"):
        pytest.importorskip("robosuite", reason="needs the extra `robocasa`", exc_type=ImportError)
        try:
            check_images()
        except RenderError as error:
            pytest.skip(str(error))
        env[ASSETS_VARIABLE] = str(write_stand_in(tmp_path / "pack"))
    found = subprocess.run(
        [sys.executable, "-W", "error", str(path), *ARGUMENTS[path.stem]], capture_output=True, text=True, timeout=180,
        cwd=tmp_path, check=False, env=env,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip(), "it shows what it did"


def test_there_are_examples() -> None:
    assert EXAMPLES
