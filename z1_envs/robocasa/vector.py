"""Many lanes of the official RoboCasa on few processes: a `PoolVectorEnv` of `RoboCasaEnv`."""

import functools

from z1_envs.arguments import check_render_mode
from z1_envs.branch import check_groups
from z1_envs.pool import PoolVectorEnv
from z1_envs.robocasa import preflight
from z1_envs.robocasa.env import DEFAULT, RoboCasaEnv
from z1_envs.robocasa.options import ObsMode, RoboCasaOptions


class RoboCasaVectorEnv(PoolVectorEnv):
    """L lanes on W workers; the lanes of a group share scene and start.

    A worker takes about 0.9 GB with its first scene and 0.15 GB for each further one, on the stand-in pack.
    """

    def __init__(
        self,
        task: str,
        *,
        num_envs: int = 1,
        group_size: int = 1,
        options: RoboCasaOptions = DEFAULT,
        num_workers: int | None = None,
        scenes_per_worker: int = 8,
        worker_memory_gib: float | None = 4.0,
        remembered_starts: int = 32,
        render_mode: str | None = None,
    ) -> None:
        """Numbers as in `PoolVectorEnv`. Raises what `preflight.check` raises before a process is started."""
        check_groups(num_envs, group_size)
        check_render_mode(render_mode)
        ready = preflight.check(task, options)
        self.task = ready.task
        self.backend = ready.backend
        self.horizon = ready.horizon  # [steps]
        self.robocasa_version = ready.version.name
        self.scenes = ready.kitchens  # pairs of layout and style that a start draws among
        self.image_px = options.image_px if options.obs == "pixels" else None
        self.options = options
        super().__init__(
            functools.partial(RoboCasaEnv, ready.task, options, render_mode=render_mode),
            num_envs=num_envs,
            group_size=group_size,
            num_workers=num_workers,
            scenes_per_worker=scenes_per_worker,
            worker_memory_gib=worker_memory_gib,
            remembered_starts=remembered_starts,
        )

    @property
    def split(self) -> str:
        """Which scenes are drawn, as evaluation protocols name them."""
        return self.options.name

    @property
    def obs(self) -> ObsMode:
        """What the observations are made of."""
        return self.options.obs
