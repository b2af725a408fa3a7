"""`z1 demos`: the expert's successes as a LeRobot dataset."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from z1_agent import doctor
from z1_agent.commands.at_the_door import check_at_least_1, check_not_negative, horizon_of, make_directory
from z1_agent.commands.work import Work, console
from z1_agent.dataset import WantedDemos, collect_dataset
from z1_envs.kitchen.env import ObsMode, observation_space
from z1_envs.tasks import get_task


@dataclass(frozen=True, kw_only=True)
class Demos:
    """Collect demonstrations by the scripted expert as a LeRobot v3.0 dataset, which `train --demos` learns from.

    episodes: successes to keep. out: directory, which must not exist. noise: standard deviation that is added to
    executed actions, not to recorded ones. obs: pixels are three videos instead of the privileged scene; image_px is
    read for them alone. horizon: of an episode [steps], by default that of training on a CPU.
    """

    task: Positional[str]
    episodes: int
    out: Path
    seed: int = 0
    noise: float = 0.15
    obs: ObsMode = "state"
    image_px: int = 128
    horizon: int | None = None
    threads: int | None = None

    def prepare(self, argv: Sequence[str]) -> Work:
        """Checks all, and tries OpenGL where images are wanted; the work is the collecting."""
        for flag, number in (("--episodes", self.episodes), ("--horizon", self.horizon), ("--threads", self.threads)):
            check_at_least_1(flag, number)
        check_not_negative("--seed", self.seed)
        if not (self.noise >= 0 and math.isfinite(self.noise)):
            raise ValueError(f"--noise must be a number from 0 on, got {self.noise}")
        task = get_task(self.task).name
        if self.out.exists():
            raise ValueError(f"{self.out} exists already; give another --out")
        if self.obs == "pixels":
            observation_space(self.obs, self.image_px)
            if self.image_px % 2:
                raise ValueError(f"--image-px must be even for videos, got {self.image_px}")
            doctor.draw_test_frame()
        make_directory(self.out.parent)
        wanted = WantedDemos(
            task=task,
            num_episodes=self.episodes,
            seed=self.seed,
            noise=self.noise,
            obs=self.obs,
            image_px=self.image_px,
            horizon=horizon_of(task, self.horizon),
        )

        def work() -> int:
            collect_dataset(wanted, self.out, console, num_threads=self.threads, command=shlex.join(["z1", *argv]))
            return 0

        return work
