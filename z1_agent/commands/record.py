"""`z1 record`: films of a policy, of the expert, or of all tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from z1_agent import checkpoint, doctor
from z1_agent.checkpoint import Checkpoint
from z1_agent.commands.at_the_door import (
    check_at_least_1,
    check_device,
    check_not_negative,
    horizon_of,
    load_policy,
    make_directory,
    sight_of,
)
from z1_agent.commands.work import Work, console
from z1_agent.console import Bar
from z1_agent.device import place
from z1_agent.presets import Backend
from z1_agent.recording import FILM_HORIZON, Films, film_all_tasks, film_expert, film_policy
from z1_envs.robocasa import preflight
from z1_envs.robocasa.options import RoboCasaOptions
from z1_envs.tasks import TASKS, get_task


@dataclass(frozen=True, kw_only=True)
class Record:
    """Film four episodes (rollout.mp4) and a branching tree (tree.mp4), or the expert on all tasks (gallery.mp4).

    task: by default the checkpoint's. all: the scripted expert on each of the 24 tasks, instead. checkpoint: whom to
    film, by default the scripted expert. backend: the embedded kitchen, or the official RoboCasa, where there is no
    expert. out: directory. seed: of the first episode, the others have those after it. horizon: of an episode [steps],
    by default that of `z1 train` in the kitchen and RoboCasa's own there. trunk_len: where the tree splits [steps].
    device: where the policy thinks, such as "cuda".
    """

    task: Positional[str | None] = None
    backend: Backend = "kitchen"
    all: bool = False
    checkpoint: Path | None = None
    out: Path = Path("recordings")
    seed: int = 0
    horizon: int | None = None
    trunk_len: int = 20
    device: str = "cpu"

    def prepare(self, _argv: Sequence[str]) -> Work:
        """Makes the directory and tries OpenGL; the work is the filming."""
        check_not_negative("--seed", self.seed)
        check_at_least_1("--horizon", self.horizon)
        check_not_negative("--trunk-len", self.trunk_len)
        device = check_device(self.device)
        if self.out.exists() and not self.out.is_dir():
            raise ValueError(f"{self.out} is a file, expected a directory; give another --out")
        if self.backend == "robocasa" and self.checkpoint is None:
            raise ValueError("the scripted expert plays in the embedded kitchen alone: give --checkpoint for RoboCasa")
        if self.all:
            return self._prepare_all()
        loaded = self._loaded()
        if loaded is not None:
            place(loaded.policy, device)
        if self.task is None and loaded is None:
            raise ValueError("name a task for the scripted expert to play, or give --all or --checkpoint")
        task = get_task(loaded.task if self.task is None and loaded is not None else str(self.task)).name
        horizon = self._official_horizon(task) if self.backend == "robocasa" else horizon_of(task, self.horizon)
        self._check_out("rollout.mp4", "tree.mp4")
        films = Films(
            task=task,
            horizon=horizon,
            trunk_len=self.trunk_len,
            seed=self.seed,
            rollout=self.out / "rollout.mp4",
            tree=self.out / "tree.mp4",
        )

        def work() -> int:
            if loaded is None:
                film_expert(films)
            else:
                obs, image_px = sight_of(loaded.policy)
                film_policy(loaded.policy, films, obs=obs, image_px=image_px, backend=self.backend)
            console.print(f"{films.rollout}\n{films.tree}")
            return 0

        return work

    def _loaded(self) -> Checkpoint | None:
        """The policy to film; on the official RoboCasa also one of the kitchen, which sees images there as well."""
        if self.checkpoint is None:
            return None
        if self.backend == "kitchen":
            return load_policy(self.checkpoint)
        loaded = checkpoint.load(self.checkpoint)
        if sight_of(loaded.policy)[0] == "state":
            raise ValueError(
                f"{self.checkpoint} sees the kitchen's privileged scene, the official RoboCasa gives images alone; "
                "leave out --backend robocasa"
            )
        return loaded

    def _official_horizon(self, task: str) -> int:
        """The given one or the installed version's [steps], where all is there that an episode needs."""
        try:
            return preflight.check(task, RoboCasaOptions(obs="pixels", horizon=self.horizon)).horizon
        except FileNotFoundError as error:  # assets that lack
            raise ValueError(str(error)) from error

    def _prepare_all(self) -> Work:
        if self.task is not None or self.checkpoint is not None:
            raise ValueError("--all films the scripted expert on all tasks: give it without a task and --checkpoint")
        if (self.trunk_len, self.device) != (Record.trunk_len, Record.device):
            raise ValueError("--all films no trees and asks no policy: leave out --trunk-len and --device")
        self._check_out("gallery.mp4", "gallery.jpg", "thumbnails")

        def work() -> int:
            with Bar(console, "Film", total=len(TASKS), done=0) as bar:
                film_all_tasks(self.out, seed=self.seed, horizon=self.horizon or FILM_HORIZON, progress=bar.update)
            console.print(str(self.out / "gallery.mp4"))
            return 0

        return work

    def _check_out(self, *names: str) -> None:
        """Makes the directory, where OpenGL works and nothing in it would be written over."""
        there = [str(self.out / name) for name in names if (self.out / name).exists()]
        if there:
            raise ValueError(f"there are films already: {', '.join(there)}; move them away, or give another --out")
        doctor.draw_test_frame()
        make_directory(self.out)
