"""`z1 suite`: many tasks with several seeds, and one table of what was found."""

import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from z1_agent import doctor
from z1_agent.commands.at_the_door import check_at_least_1
from z1_agent.commands.work import Work, console
from z1_agent.console import INTERRUPTED, StopRequest
from z1_agent.manifest import open_manifest, read_manifest
from z1_agent.presets import PRESETS, TrainConfig
from z1_agent.recipe import recipe_defaults, with_recipe
from z1_agent.suite import KIND, run_suite, suite_jobs
from z1_agent.suite_report import lead_of
from z1_agent.summary import summarise
from z1_agent.taken_over import check_sft_folder
from z1_envs.kitchen.spaces import ObsMode
from z1_envs.tasks import TASKS, get_task

_SEEDS = 3


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Train many tasks with several seeds, all tasks with seed 0 first; the table is written after every training.

    tasks: names, or "all"; by default all 24, with --resume those of the suite. seeds: how many of each task, by
    default 3, with --resume as many as it has; further tasks and seeds can be added with --resume. preset: named
    configuration. out: directory, by default runs/suite-PRESET. resume: go on with the suite in it. jobs: trainings at
    the same time, with one thread each where there are several. threads: of one training's physics, by default all
    cores. obs: what the policies see; image_px is read for "pixels" alone. iterations: of GRPO; eval_episodes: of each
    final evaluation; both by default as the preset has them. recipe: "auto" for the committed recipe of each task, or
    a folder with a TASK.json for each. sft: folder with runs, such as those of `z1 diagnose`; SFT that one of them has
    done with the same settings and seed is taken over with its times, instead of done again. control: after the
    trainings, give the CPU time of each to SFT alone, and tell how far GRPO's success is above what that reaches.
    """

    tasks: tuple[str, ...] | None = None
    seeds: int | None = None
    preset: Literal["cpu", "smoke"] = "cpu"
    out: Path | None = None
    resume: bool = False
    jobs: int = 1
    threads: int | None = None
    obs: ObsMode = "state"
    image_px: int = TrainConfig.image_px
    iterations: int | None = None
    eval_episodes: int | None = None
    recipe: str | None = None
    sft: Path | None = None
    control: bool = False

    def prepare(self, argv: Sequence[str]) -> Work:
        """Opens the suite's directory; the work is its trainings, and their controls."""
        flags = {"--seeds": self.seeds, "--jobs": self.jobs, "--threads": self.threads}
        for flag, number in (flags | {"--iterations": self.iterations}).items():
            check_at_least_1(flag, number)
        check_sft_folder(self.sft)
        out = self.out or Path("runs") / f"suite-{self.preset}"
        if self.tasks is None and self.resume:
            names = list(read_manifest(out, KIND).planned)
        else:
            names = chosen_tasks(self.tasks or ("all",))
        configs = {name: self._config(name) for name in names}
        if self.obs == "pixels":
            doctor.draw_test_frame()
        begun = ["z1", *(word for word in argv if word != "--resume")]
        num_seeds = self.seeds or (None if self.resume else _SEEDS)
        manifest = open_manifest(
            out, KIND, self.preset, configs, num_seeds=num_seeds, command=begun, resume=self.resume
        )
        threads = self.threads or (1 if self.jobs > 1 else None)
        jobs = suite_jobs(
            manifest, configs, command=begun, threads=threads, sft_folder=self.sft, with_control=self.control
        )
        stop = StopRequest()

        def work() -> int:
            failed = run_suite(manifest, jobs, at_once=self.jobs, console=console, stop=stop)
            if stop.made:
                console.print(f"Stopped; everything is in {out}. Go on with: {shlex.join([*begun, '--resume'])}")
                return INTERRUPTED
            summary = summarise(manifest)
            for sentence in [] if summary is None else lead_of(summary):
                console.print(sentence)
            console.print(f"Table: {out / 'results.html'}")
            return 1 if failed else 0

        return work

    def _config(self, task: str) -> TrainConfig:
        config = PRESETS[self.preset](task, self.obs)
        if self.obs == "pixels":
            config = dataclasses.replace(config, image_px=self.image_px)
        if self.recipe is not None:
            config = with_recipe(recipe_defaults(config, self.recipe))
        return shortened(config, self.iterations, self.eval_episodes)


def chosen_tasks(given: Sequence[str]) -> list[str]:
    """The tasks that were named, each once; all 24 for "all".

    Raises ValueError for an unknown one.
    """
    return list(TASKS) if "all" in given else list(dict.fromkeys(get_task(name).name for name in given))


def shortened(config: TrainConfig, iterations: int | None, eval_episodes: int | None) -> TrainConfig:
    """`config` with that many iterations of GRPO and episodes of the final evaluations, where given."""
    if iterations is not None:
        config = dataclasses.replace(config, grpo=dataclasses.replace(config.grpo, num_iterations=iterations))
    return config if eval_episodes is None else dataclasses.replace(config, eval_episodes=eval_episodes)
