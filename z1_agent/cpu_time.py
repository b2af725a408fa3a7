"""What computing has cost: envs on worker processes would be free if only this process were asked."""

import os
import time

import psutil


def cpu_seconds() -> float:
    """CPU time of this process so far, of the processes it has started, and of theirs, also of those that ended [s]."""
    ended = os.times()
    running = sum(_spent(child) for child in psutil.Process().children(recursive=True))
    return time.process_time() + ended.children_user + ended.children_system + running


def _spent(process: psutil.Process) -> float:
    try:
        spent = process.cpu_times()
    except psutil.NoSuchProcess:  # it ended just now
        return 0.0
    return spent.user + spent.system + spent.children_user + spent.children_system
