"""`z1 ablate`: what each part of the method is worth, one factor at a time."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from z1_agent.ablation import CONTROL, FACTORS, KIND, ablation_jobs, name_of, variants_of
from z1_agent.ablation_report import ablation_lead, write_ablation
from z1_agent.commands.at_the_door import check_at_least_1
from z1_agent.commands.suite import chosen_tasks, shortened
from z1_agent.commands.work import Work, console
from z1_agent.comparison import reach_rows, read_runs
from z1_agent.console import INTERRUPTED, StopRequest
from z1_agent.manifest import most_seeds, open_manifest
from z1_agent.presets import PRESETS, TrainConfig
from z1_agent.recipe import recipe_defaults, with_recipe
from z1_agent.suite import run_trainings
from z1_agent.taken_over import check_sft_folder

_SEEDS = 3


@dataclass(frozen=True, kw_only=True)
class Ablate:
    """Change one factor of the training at a time, and compare at equal env steps and at equal CPU time.

    tasks: names. seeds: how many of each variant, by default 3, with --resume as many as there are. factors: of
    branching, schedule, reward, baseline, trainable, denoising and control, which is more SFT for GRPO's time; by
    default all. preset: named configuration, the default that variants differ from. recipe: the default has the modules
    of the task's recipe instead; "auto" for the committed one, a file, or a folder with a TASK.json for each.
    iterations: of GRPO; eval_episodes: of each final evaluation; both by default as the preset has them. out:
    directory, by default runs/ablation-PRESET. resume: go on with the ablation in it; further tasks, seeds and factors
    can be added. jobs: trainings at the same time, with one thread each where there are several. threads: of one
    training's physics, by default all cores. sft: folder with runs, such as those of a suite; SFT that one of them has
    done with the same settings and seed is taken over with its times, instead of done again.
    """

    tasks: Positional[tuple[str, ...]]
    seeds: int | None = None
    factors: tuple[str, ...] = FACTORS
    preset: Literal["cpu", "smoke"] = "cpu"
    iterations: int | None = None
    eval_episodes: int | None = None
    out: Path | None = None
    resume: bool = False
    jobs: int = 1
    threads: int | None = None
    recipe: str | None = None
    sft: Path | None = None

    def prepare(self, argv: Sequence[str]) -> Work:
        """Opens the ablation's directory; the work is its trainings."""
        flags = {"--seeds": self.seeds, "--jobs": self.jobs, "--threads": self.threads}
        for flag, number in (flags | {"--iterations": self.iterations}).items():
            check_at_least_1(flag, number)
        check_sft_folder(self.sft)
        if not self.tasks:
            raise ValueError("give the tasks to compare on, such as `z1 ablate OpenDrawer TurnOnStove`")
        configs = {}
        for task in chosen_tasks(self.tasks):
            variants = variants_of(self._default(task), self.factors)
            configs |= {name_of(task, variant): config for variant, config in variants.items()}
        out = self.out or Path("runs") / f"ablation-{self.preset}"
        seeds = self.seeds or (most_seeds(out, KIND) if self.resume else _SEEDS)
        begun = ["z1", *(word for word in argv if word != "--resume")]
        manifest = open_manifest(out, KIND, self.preset, configs, num_seeds=seeds, command=begun, resume=self.resume)
        threads = self.threads or (1 if self.jobs > 1 else None)
        with_control = CONTROL in self.factors
        jobs = ablation_jobs(
            manifest, configs, with_control=with_control, command=begun, threads=threads, sft_folder=self.sft
        )
        stop = StopRequest()

        def work() -> int:
            failed = run_trainings(
                jobs,
                write=lambda: write_ablation(manifest),
                where=out,
                at_once=self.jobs,
                console=console,
                stop=stop,
            )
            if stop.made:
                console.print(f"Stopped; everything is in {out}. Go on with: {shlex.join([*begun, '--resume'])}")
                return INTERRUPTED
            for sentence in ablation_lead(manifest, read_runs(manifest), reach_rows(manifest)):
                console.print(sentence)
            console.print(f"Tables: {out / 'results.html'}")
            return 1 if failed else 0

        return work

    def _default(self, task: str) -> TrainConfig:
        config = PRESETS[self.preset](task, "state")
        if self.recipe is not None:
            config = with_recipe(recipe_defaults(config, self.recipe))
        return shortened(config, self.iterations, self.eval_episodes)
