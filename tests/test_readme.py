"""The README's Python blocks run as printed, its links lead somewhere, and CI runs its test command."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_blocks_run(block: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_links_lead_to_files() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_ci_runs_the_printed_test_command() -> None:
    script = "sed -n '/<!-- test command -->/,/```$/p' README.md | sed -n '/^```bash$/,/^```$/p' | sed '/^```/d'"
    assert script.split(" | ")[0] in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    found = subprocess.run(script, shell=True, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found.startswith("python3 -m venv"), found
    assert found.strip().endswith("python -m pytest -n 2"), found
