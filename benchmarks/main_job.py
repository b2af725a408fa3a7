"""The main job over several seeds, with the cost-matched control: SFT → GRPO against SFT → more SFT.

    python benchmarks/main_job.py --task OpenDrawer --seeds 0 1 2 --out runs/main_job

Runs are resumed where they stopped. Prints a Markdown table; the directory gets summary.json.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from z1_agent.run import machine

CONTROL = """
import json, sys, torch
from pathlib import Path
from z1_agent.cost_control import more_sft
from z1_agent.presets import load_config
from z1_agent.run import Run
torch.set_num_threads(1)
run = Run(Path(sys.argv[1]))
print(json.dumps(more_sft(run, load_config(run.about()["config"]))))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="OpenDrawer")
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/main_job"))
    parser.add_argument("--no-control", action="store_true", help="only the trainings")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in options.seeds:
        path = options.out / f"{options.task}-{seed}"
        cost = train(options.task, options.preset, seed, path)
        result = json.loads((path / "result.json").read_text(encoding="utf-8"))
        rows.append({"seed": seed, "result": result, **cost})
        if not options.no_control:
            rows[-1]["control"] = control(path)
        write(options.out / "summary.json", {"machine": provenance(), "rows": rows})
    print(table(rows))
    print(provenance())


def train(task: str, preset: str, seed: int, path: Path) -> dict[str, float]:
    """Runs or resumes one training in a process of its own; CPU and wall time and peak memory of all its processes.

    process.json has a line per process, those that were stopped included.
    """
    cost_file = path / "process.json"
    costs = json.loads(cost_file.read_text(encoding="utf-8")) if cost_file.exists() else []
    costs = [costs] if isinstance(costs, dict) else costs  # as earlier versions wrote the last process
    if not (path / "result.json").exists():
        command = ["z1", "train", task, "--preset", preset, "--seed", str(seed), "--out", str(path)]
        begun = time.monotonic()
        process = subprocess.Popen(command + (["--resume"] if path.exists() else []))
        status, usage = wait(process.pid)
        process.returncode = os.waitstatus_to_exitcode(status)  # or Popen would ask for it again
        cost = {
            "cpu_minutes": (usage.ru_utime + usage.ru_stime) / 60,
            "wall_minutes": (time.monotonic() - begun) / 60,
            "peak_gib": usage.ru_maxrss / 2**20,  # ru_maxrss is in KiB on Linux
        }
        costs.append(cost)
        if path.is_dir():
            write(cost_file, costs)
        if process.returncode != 0:
            sys.exit(f"{' '.join(command)} failed; its output is above")
    return {
        "cpu_minutes": sum(cost["cpu_minutes"] for cost in costs),
        "wall_minutes": sum(cost["wall_minutes"] for cost in costs),
        "peak_gib": max((cost["peak_gib"] for cost in costs), default=0.0),
    }


def wait(pid: int) -> tuple[int, Any]:
    """Exit status and usage of the process. Ctrl-C reaches it too: it saves, and then has an end to wait for."""
    while True:
        try:
            return os.wait4(pid, 0)[1:]
        except KeyboardInterrupt:
            continue


def control(path: Path) -> dict[str, Any]:
    """The cost-matched control of the run in `path`."""
    file = path / "control.json"
    if not file.exists():
        command = [sys.executable, "-c", CONTROL, str(path)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        write(file, json.loads(done.stdout.splitlines()[-1]))
    return json.loads(file.read_text(encoding="utf-8"))


def write(file: Path, content: Any) -> None:
    aside = file.with_suffix(".tmp")
    aside.write_text(json.dumps(content, indent=1), encoding="utf-8")
    aside.rename(file)


def provenance() -> str:
    """Where the numbers come from."""
    return f"{machine()}, Python {platform.python_version()}"


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: one line per seed."""
    lines = [
        "| seed | SFT | SFT → GRPO | gained / lost | p (McNemar) | more SFT, best / last | CPU min | peak GiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        result, paired = row["result"], row["result"]["paired"]
        more = row.get("control")
        against = f"{share(more['best'])} / {share(more['last'])}" if more else "not run"
        lines.append(
            f"| {row['seed']} | {share(result['sft'])} | {share(result['rl'])} | {paired['gained']} / {paired['lost']} "
            f"| {paired['p_value']:.1e} | {against} | {row['cpu_minutes']:.1f} | {row['peak_gib']:.2f} |"
        )
    return "\n".join(lines)


def share(rate: dict[str, Any]) -> str:
    low, high = rate["interval"]
    return f"{rate['rate']:.1%} ({low:.0%}-{high:.0%})"


if __name__ == "__main__":
    main()
