"""The main job over several seeds, with the cost-matched control: SFT → GRPO against SFT → more SFT.

    python benchmarks/main_job.py --task OpenDrawer --seeds 0 1 2 --out runs/main_job

One process at a time; runs go on where they stopped. Prints a Markdown table.
"""

import argparse
import dataclasses
import json
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from z1_agent.console import StopRequest
from z1_agent.cost_control import read_control
from z1_agent.jobs import ControlJob, Job, TrainJob, cost_of, end_in_words, output_of, run_jobs
from z1_agent.presets import PRESETS
from z1_agent.run import Run
from z1_envs.processes import machine


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="OpenDrawer")
    parser.add_argument("--preset", default="cpu", choices=PRESETS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/main_job"))
    parser.add_argument("--no-control", action="store_true", help="only the trainings")
    options = parser.parse_args(arguments)
    default = PRESETS[options.preset](options.task, "state")
    trainings = [
        TrainJob(
            path=options.out / f"{default.task}-{seed}",
            config=dataclasses.replace(default, seed=seed),
            preset=options.preset,
            command=("python", *sys.argv),
        )
        for seed in options.seeds
    ]
    controls = [] if options.no_control else [ControlJob(run=job.path) for job in trainings]
    console, stop = Console(highlight=False, soft_wrap=True), StopRequest()

    def on_end(job: Job, code: int) -> None:
        how = "done" if code == 0 else f"{end_in_words(job.path, code)}; see {output_of(job.path)}"
        console.print(f"{job.path.name}: {how}")

    with stop.listen(console):
        failed = run_jobs([*trainings, *controls], at_once=1, stop=stop, on_end=on_end)
    if stop.made:
        console.print(f"Stopped; go on with: {shlex.join(['python', *sys.argv])}")
    print(table([job.path for job in trainings if job.is_done]))
    print(f"{machine()}, Python {platform.python_version()}")
    return 1 if failed or stop.made else 0


def table(runs: Sequence[Path]) -> str:
    """Markdown: one line per finished run."""
    lines = [
        "| seed | SFT | SFT → GRPO | gained / lost | p (McNemar) | more SFT, best / last | CPU min | peak GiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for path in runs:
        run, cost = Run(path), cost_of(path)
        result = json.loads(run.result.read_text(encoding="utf-8"))
        paired, more = result["paired"], read_control(run)
        cells = (
            str(run.about()["config"]["seed"]),
            share(result["sft"]),
            share(result["rl"]),
            f"{paired['gained']} / {paired['lost']}",
            f"{paired['p_value']:.1e}",
            f"{share(more['best'])} / {share(more['last'])}" if more else "not run",
            f"{cost.cpu_seconds / 60:.1f}",
            f"{cost.peak_memory_bytes / 2**30:.2f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def share(rate: dict[str, Any]) -> str:
    low, high = rate["interval"]
    return f"{rate['rate']:.1%} ({low:.0%}-{high:.0%})"


if __name__ == "__main__":
    sys.exit(main())
