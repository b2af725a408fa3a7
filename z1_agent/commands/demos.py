"""`z1 demos`: the expert's successes as a LeRobot dataset; and whether a dataset can be learned from."""

import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from z1_agent import doctor
from z1_agent.commands.at_the_door import check_at_least_1, check_not_negative, horizon_of, make_directory
from z1_agent.commands.work import Work, console
from z1_agent.dataset import WantedDemos, collect_dataset
from z1_agent.pipeline import stream_seed
from z1_envs.arguments import check_at_least_0
from z1_envs.datasets import validate
from z1_envs.kitchen.spaces import ObsMode, observation_space
from z1_envs.tasks import get_task


@dataclass(frozen=True, kw_only=True)
class Demos:
    """Collect demonstrations by the scripted expert as a LeRobot v3.0 dataset, which `train --demos` learns from.

    check: instead, report on this dataset, ours or RoboCasa's (an HDF5 file of v0.2, a LeRobot folder of v1.0): what
    is in it, and each fault with its episode and step. Exit code 1 with any.
    episodes: successes to keep. out: directory, which must not exist. noise: standard deviation that is added to
    executed actions, not to recorded ones. obs: pixels are three videos instead of the privileged scene; image_px is
    read for them alone. horizon: of an episode [steps], by default that of training on a CPU. seed: of all episodes,
    which no `z1 eval` runs again. threads: of the physics, by default all cores.
    """

    task: Positional[str | None] = None
    episodes: int | None = None
    out: Path | None = None
    check: Path | None = None
    seed: int = 0
    noise: float = 0.15
    obs: ObsMode = "state"
    image_px: int = 128
    horizon: int | None = None
    threads: int | None = None

    def prepare(self, argv: Sequence[str]) -> Work:
        """Checks all, and tries OpenGL where images are wanted; the work is the collecting, or the report."""
        if self.check is not None:
            return self._report_on(self.check)
        if self.task is None or self.episodes is None or self.out is None:
            raise ValueError(
                "z1 demos collects with TASK, --episodes and --out, and reports with --check PATH; give either"
            )
        return self._collect(self.task, self.episodes, self.out, argv)

    def _report_on(self, path: Path) -> Work:
        asked = dataclasses.asdict(self)
        given = [f.name for f in dataclasses.fields(self) if f.name != "check" and asked[f.name] != f.default]
        if given:
            flag = "TASK" if given[0] == "task" else f"--{given[0].replace('_', '-')}"
            raise ValueError(f"--check reports on a dataset that is there, and says all of it; leave out {flag}")

        def work() -> int:
            report = validate(path)
            console.print(str(report), markup=False)
            return 1 if report.problems else 0

        return work

    def _collect(self, asked: str, episodes: int, out: Path, argv: Sequence[str]) -> Work:
        for flag, number in (("--episodes", episodes), ("--horizon", self.horizon), ("--threads", self.threads)):
            check_at_least_1(flag, number)
        check_not_negative("--seed", self.seed)
        check_at_least_0("--noise", self.noise)
        task = get_task(asked).name
        if out.exists():
            raise ValueError(f"{out} exists already; give another --out")
        if self.obs == "pixels":
            observation_space(self.obs, self.image_px)
            if self.image_px % 2:
                raise ValueError(f"--image-px must be even for videos, got {self.image_px}")
            doctor.draw_test_frame()
        make_directory(out.parent)
        wanted = WantedDemos(
            task=task,
            num_episodes=episodes,
            seed=stream_seed(self.seed, "z1 demos"),
            noise=self.noise,
            obs=self.obs,
            image_px=self.image_px,
            horizon=horizon_of(task, self.horizon),
        )

        def work() -> int:
            collect_dataset(wanted, out, console, num_threads=self.threads, command=shlex.join(["z1", *argv]))
            return 0

        return work
