"""`z1 train`: a policy, from demonstrations to GRPO, in a directory that can be resumed."""

import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from z1_agent import doctor
from z1_agent.backends import backend_name, check_backend
from z1_agent.commands.at_the_door import check_at_least_1, check_device
from z1_agent.commands.work import Work, console
from z1_agent.console import INTERRUPTED, Stopped, StopRequest
from z1_agent.dataset import with_dataset
from z1_agent.pipeline import Training, train
from z1_agent.presets import TrainConfig, check_episode
from z1_agent.recipe import with_recipe
from z1_agent.report import paired_in_words
from z1_agent.run import open_run
from z1_agent.start import with_policy
from z1_agent.taken_over import check_sft_folder


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a policy: demonstrations, SFT, evaluation, GRPO, evaluation on the same episodes; with --policy without
    the first two.

    preset: named configuration, which every flag below can change. out: directory, by default
    runs/TASK-PRESET-SEED. resume: go on with the run in it. threads: of the physics, by default all cores. sft: folder
    with runs, such as those of `z1 diagnose`, or one of them; SFT that it has done with the same settings and seed is
    taken over with its times, instead of done again.
    """

    task: Positional[str]
    preset: Literal["cpu", "smoke"] = "cpu"
    out: Path | None = None
    seed: int = 0
    resume: bool = False
    threads: int | None = None
    sft: Path | None = None
    config: Annotated[TrainConfig, arg(name="")]

    def prepare(self, argv: Sequence[str]) -> Work:
        """Opens the run's directory; the work is the training."""
        check_at_least_1("--threads", self.threads)
        check_device(self.config.device)
        check_sft_folder(self.sft)
        if self.sft is not None and self.config.policy is not None:
            raise ValueError("--sft takes over SFT, --policy begins without one: leave out one of them")
        asked = dataclasses.replace(self.config, task=self.task, seed=self.seed)
        check_backend(asked)
        self._check_sft_flags(argv)
        config = with_recipe(with_policy(with_dataset(asked)))
        check_episode(config)
        if config.obs == "pixels" and config.backend == "kitchen":
            doctor.draw_test_frame()
        out = self.out or Path("runs") / f"{config.task}-{self.preset}-{self.seed}"
        begun = [word for word in argv if word != "--resume"]
        run = open_run(out, config, preset=self.preset, command=["z1", *begun], resume=self.resume)
        training = Training(run, config, console, StopRequest(), self.threads, self.sft)

        def work() -> int:
            backend = backend_name(config)
            if config.demos_backend not in (None, backend):
                console.print(f"The demonstrations show {config.demos_backend!r}, the training runs on {backend!r}")
            try:
                result = train(training)
            except Stopped:
                console.print(f"Stopped; everything is in {out}. Go on with: {shlex.join(['z1', *begun, '--resume'])}")
                return INTERRUPTED
            console.print(paired_in_words(result["paired"]))
            console.print(f"Report: {run.report}")
            return 0

        return work

    def _check_sft_flags(self, argv: Sequence[str]) -> None:
        """Raises ValueError where one of them would change nothing."""
        given = {word.partition("=")[0].replace("_", "-") for word in argv if word.startswith("--sft.")}
        if self.config.policy is not None and given:
            raise ValueError(f"--policy begins with a trained policy, without SFT: leave out it or {min(given)}")
        of_the_expert = given & {"--sft.num-demos", "--sft.demo-noise"}
        if self.config.demos is not None and of_the_expert:
            raise ValueError(
                f"--demos takes all episodes of the dataset, {min(of_the_expert)} is about the expert's: leave out one "
                "of them; `z1 demos` writes as many as you like"
            )
