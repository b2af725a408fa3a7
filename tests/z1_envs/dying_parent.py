"""A process that starts workers and is killed."""

import signal
import subprocess
import sys
from pathlib import Path


def run_until_killed(code: str) -> subprocess.CompletedProcess[str]:
    """Runs `code`, which has to end its own process by SIGKILL; reads its output until its workers have ended too."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return done
