"""CPU time counts what other processes compute for this one."""

import subprocess
import sys
import time

from z1_agent.cpu_time import cpu_seconds

WORKS = "import time\nwhile time.process_time() < 0.5: pass\nprint('done', flush=True)\ninput()\n"


def test_the_work_of_a_child_counts_while_it_runs_and_once_it_has_ended() -> None:
    before, own_before = cpu_seconds(), time.process_time()
    child = subprocess.Popen([sys.executable, "-c", WORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "done\n"
    running, own = cpu_seconds() - before, time.process_time() - own_before
    assert running >= own + 0.45  # the system counts in hundredths

    child.communicate("\n")
    ended, own = cpu_seconds() - before, time.process_time() - own_before
    assert ended >= own + 0.45
    assert own < 0.4
