"""`z1 eval`: how often a checkpoint succeeds, under a protocol that is printed with the result."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from tyro.conf import Positional

from z1_agent import checkpoint
from z1_agent.backends import MAX_OFFICIAL_EVAL_LANES, check_backend, eval_envs, eval_protocol
from z1_agent.checkpoint import Checkpoint
from z1_agent.commands.at_the_door import check_at_least_1, check_device, check_not_negative, sight_of
from z1_agent.commands.work import Work, console
from z1_agent.console import Bar
from z1_agent.device import place
from z1_agent.presets import Backend, TrainConfig, cpu, on_backend
from z1_agent.run import write_text
from z1_envs.branch import BranchVectorEnv
from z1_envs.evaluate import EvalProtocol, Report, evaluate
from z1_envs.kitchen.plans.plan import Split
from z1_envs.kitchen.simulation import BACKEND as KITCHEN
from z1_envs.protocols import check_can_run, get_protocol, robocasa_options
from z1_envs.robocasa.assets import BACKEND as ROBOCASA
from z1_envs.robocasa.assets import STAND_IN_BACKEND
from z1_envs.robocasa.vector import RoboCasaVectorEnv
from z1_envs.tasks import get_task

_PRESCRIBED = ("backend", "split", "episodes", "seed", "horizon")


@dataclass(frozen=True, kw_only=True)
class Eval:
    """Evaluate a checkpoint on episodes SEED, SEED + 1, …

    task, backend: by default those it was trained on. protocol: a published one on the official RoboCasa: cosmos,
    cosmos-on-1.0.1, robocasa365-pretrain or robocasa365-target; it prescribes backend, split, episodes, seed and
    horizon. split: kitchens and objects as in training ("train"), held-out ones ("test"), or both ("all"). horizon: of
    an episode [steps], by default that of `z1 train` in the kitchen and RoboCasa's own there, whatever the policy was
    trained with. json: file to write the full report to. threads: of the physics, by default all cores. device: where
    the policy thinks, such as "cuda".
    """

    checkpoint: Positional[Path]
    task: str | None = None
    backend: Backend | None = None
    protocol: str | None = None
    split: Split = "train"
    episodes: int = 256
    seed: int = 0
    horizon: int | None = None
    json: Path | None = None
    threads: int | None = None
    device: str = "cpu"

    def prepare(self, _argv: Sequence[str]) -> Work:
        """Loads the checkpoint and builds its envs; the work is the evaluation."""
        check_at_least_1("--episodes", self.episodes)
        check_at_least_1("--horizon", self.horizon)
        check_at_least_1("--threads", self.threads)
        check_not_negative("--seed", self.seed)
        device = check_device(self.device)
        if self.json is not None and not self.json.parent.is_dir():
            raise ValueError(f"there is no directory {self.json.parent} for --json; create it, or give another file")
        if self.json is not None and self.json.is_dir():
            raise ValueError(f"{self.json} is a directory, --json takes a file; name a file in it")
        loaded, protocol, envs = self._on_a_backend() if self.protocol is None else self._official(self.protocol)
        place(loaded.policy, device)
        total = protocol.num_runs * protocol.num_episodes

        def work() -> int:
            if loaded.backend != protocol.backend:
                console.print(f"The checkpoint was trained on {loaded.backend!r}, this is {protocol.backend!r}")
            with Bar(console, f"Evaluate {protocol.task}", total=total, done=0) as bar:
                report = evaluate(
                    loaded.policy,
                    envs,
                    protocol,
                    progress=lambda done, _total, won: bar.update(done, f"success {won / max(done, 1):.0%}"),
                )
            envs.close()
            _tell(report)
            if self.json is not None:
                write_text(self.json, report.to_json())
            return 0

        return work

    def _on_a_backend(self) -> tuple[Checkpoint, EvalProtocol, BranchVectorEnv]:
        loaded = checkpoint.load(self.checkpoint)
        config = self._config(loaded)
        check_backend(config)
        protocol = eval_protocol(config, "z1-eval", self.episodes, self.seed, self.split)
        if self.backend is None and loaded.backend != protocol.backend:
            raise ValueError(
                f"{self.checkpoint} was trained on {loaded.backend!r}, here is {protocol.backend!r}; name a --backend "
                f"to evaluate it there all the same"
            )
        return loaded, protocol, eval_envs(config, self.threads, self.episodes, self.split)

    def _config(self, loaded: Checkpoint) -> TrainConfig:
        """Envs that suit the policy, as a training would have them."""
        backend = self.backend or _backend_of(self.checkpoint, loaded.backend)
        obs, image_px = sight_of(loaded.policy)
        if backend == "robocasa" and obs == "state":
            raise ValueError(
                f"{self.checkpoint} sees the kitchen's privileged scene, the official RoboCasa gives images alone; "
                "leave out --backend robocasa"
            )
        config = on_backend(cpu(loaded.task if self.task is None else self.task), backend)
        return dataclasses.replace(
            config,
            policy=str(self.checkpoint),
            obs=obs,
            image_px=image_px,
            horizon=config.horizon if self.horizon is None else self.horizon,
            chunk_len=loaded.policy.config.model.chunk_len,
            executed_len=loaded.policy.config.executed_len,
        )

    def _official(self, name: str) -> tuple[Checkpoint, EvalProtocol, BranchVectorEnv]:
        defaults = {field.name: field.default for field in fields(self)}
        given = [f"--{flag}" for flag in _PRESCRIBED if getattr(self, flag) != defaults[flag]]
        if given:
            raise ValueError(
                f"the protocol {name!r} prescribes what {' and '.join(given)} would change; leave that out"
            )
        loaded = checkpoint.load(self.checkpoint)
        task = get_task(loaded.task if self.task is None else self.task).name
        protocol = get_protocol(name, task, chunk_len=loaded.policy.config.executed_len)
        if sight_of(loaded.policy)[0] != protocol.obs:
            raise ValueError(f"{self.checkpoint} sees the kitchen's privileged scene, {name!r} gives images alone")
        try:
            check_can_run(protocol)
        except FileNotFoundError as error:  # assets that lack
            raise ValueError(str(error)) from error
        lanes = min(MAX_OFFICIAL_EVAL_LANES, protocol.num_episodes)
        options = robocasa_options(protocol)
        return loaded, protocol, RoboCasaVectorEnv(task, num_envs=lanes, options=options, num_workers=self.threads)


def _backend_of(path: Path, name: str) -> Backend:
    """The backend that a checkpoint's infos called `name`."""
    if name == KITCHEN:
        return "kitchen"
    if name in (ROBOCASA, STAND_IN_BACKEND):
        return "robocasa"
    raise ValueError(f"{path} was trained on {name!r}, which cannot be built here; add --backend kitchen or robocasa")


def _tell(report: Report) -> None:
    protocol = report.protocol
    low, high = report.interval
    won = f"{int(report.successes.sum())} of {len(report.successes)} episodes"
    console.print(f"{protocol.task}: {won}, {report.rate:.1%} (95 % interval {low:.1%} to {high:.1%})")
    if protocol.num_runs > 1:
        console.print(f"runs: {', '.join(f'{rate:.1%}' for rate in report.run_rates)}")
    for difference in protocol.differences:
        console.print(f"{protocol.name} differs from what is published: {difference}")
    console.print(f"protocol {protocol.hash}: {protocol}")
