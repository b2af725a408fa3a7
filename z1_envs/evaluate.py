"""How often an agent succeeds, with the uncertainty, and whether a second agent is better on the same episodes.

    protocol = EvalProtocol(name="house", version=1, task="OpenDrawer", backend="kitchen", split="test", obs="state",
                            num_episodes=256, seed=10_000, horizon=None, chunk_len=10)
    before = evaluate(agent, envs, protocol)
    after = evaluate(trained, envs, protocol)
    compare(before, after).p_value

Reports from different protocols, backends or episodes are never compared: that is refused, not warned about.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy  # which loads scipy.stats when it is first used: that takes a second
from numpy.typing import NDArray

from z1_envs.agents import Agent, ask, check_agent, check_infos, reset_agent
from z1_envs.arguments import whole
from z1_envs.branch import BranchVectorEnv, check_branching


@dataclass(frozen=True, kw_only=True)
class EvalProtocol:
    """Everything that decides what a success rate means.

    split: which scenes the env draws, by its own name for them. num_episodes: of a run; seed: episode k of run r
    starts from seed + r * num_episodes + k. horizon: maximum [steps], None for the env's own.
    chunk_len: how many actions of a chunk are carried out before the agent is asked again [steps].
    wait_steps: steps with a zero action before the agent sees anything, which do not count towards the horizon [steps].
    image_px: width and height of the images that the env draws [px]. robocasa_version, scenes: which RoboCasa, and the
    pairs of layout and style that an episode's kitchen is drawn from, with equal chances. None: not prescribed.
    differences: in what it is not the published protocol that it is named after.
    """

    name: str
    version: int
    task: str
    backend: str
    split: str
    obs: str
    num_episodes: int
    seed: int
    horizon: int | None
    chunk_len: int
    num_runs: int = 1
    wait_steps: int = 0
    image_px: int | None = None
    robocasa_version: str | None = None
    scenes: tuple[tuple[int, int], ...] | None = None
    differences: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        from_1 = ("num_episodes", "horizon", "chunk_len", "num_runs", "image_px")
        for name, least in {**dict.fromkeys(from_1, 1), "seed": 0, "wait_steps": 0}.items():
            value = getattr(self, name)
            if value is not None or name not in ("horizon", "image_px"):
                object.__setattr__(self, name, whole(name, value, least=least))
        if self.scenes is not None and not (isinstance(self.scenes, Sequence) and self.scenes):
            raise ValueError(f"scenes must be pairs of layout and style, one at least, or None, got {self.scenes!r}")

    @property
    def hash(self) -> str:
        """The first 12 hex digits of the SHA-256 of the fields as sorted, compact JSON."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True, eq=False)
class Report:
    """What an evaluation found: n trials.

    seeds: int [n]. successes: bool [n]. elapsed: int [n], steps of the agent until success or the end.
    skipped: seeds of episodes that were a success before the agent's first action, which are no trials.
    Raises ValueError where the arrays do not have one length.
    """

    protocol: EvalProtocol
    seeds: NDArray[np.int64]
    successes: NDArray[np.bool_]
    elapsed: NDArray[np.int64]
    skipped: tuple[int, ...]

    def __post_init__(self) -> None:
        seeds, successes, elapsed = map(len, (self.seeds, self.successes, self.elapsed))
        if not seeds == successes == elapsed:
            raise ValueError(
                f"a report has one of each per trial, got {seeds} seeds, {successes} successes and {elapsed} elapsed: "
                "take another copy, or evaluate again"
            )

    @property
    def task(self) -> str:
        """The protocol's task."""
        return self.protocol.task

    @property
    def backend(self) -> str:
        """The protocol's backend, which `evaluate` has checked against the env's own."""
        return self.protocol.backend

    @property
    def protocol_hash(self) -> str:
        """The protocol's hash."""
        return self.protocol.hash

    @property
    def rate(self) -> float:
        """Share of successes; nan without a trial."""
        return float(np.mean(self.successes)) if len(self.successes) else float("nan")

    @property
    def run_rates(self) -> tuple[float, ...]:
        """The rate of each run; nan without a trial."""
        runs = (self.seeds - self.protocol.seed) // self.protocol.num_episodes
        won = [self.successes[runs == run] for run in range(self.protocol.num_runs)]
        return tuple(float(np.mean(trials)) if len(trials) else float("nan") for trials in won)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the rate; (0, 1) without a trial."""
        return wilson(int(self.successes.sum()), len(self.successes))

    def to_json(self) -> str:
        """As JSON, with rate and interval for readers."""
        return json.dumps(
            {
                "protocol": asdict(self.protocol),
                "protocol_hash": self.protocol_hash,
                "rate": self.rate if len(self.successes) else None,
                "interval": self.interval,
                "seeds": self.seeds.tolist(),
                "successes": self.successes.tolist(),
                "elapsed": self.elapsed.tolist(),
                "skipped": list(self.skipped),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Report":
        """The inverse of `to_json`.

        Raises ValueError for what is no report, for one of another version, and where the protocol does not match its
        hash.
        """
        given = json.loads(text)
        try:
            said = given["protocol_hash"]
            report = cls(
                protocol=_protocol_of(given["protocol"]),
                seeds=np.array(given["seeds"], dtype=np.int64),
                successes=np.array(given["successes"], dtype=bool),
                elapsed=np.array(given["elapsed"], dtype=np.int64),
                skipped=tuple(given["skipped"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"no report of this version of z1_envs ({type(error).__name__}: {error}): evaluate again, or read it "
                "with the version that wrote it"
            ) from error
        if report.protocol_hash != said:
            raise ValueError(
                f"the report says protocol {said}, its fields make {report.protocol_hash}: it was edited, or written "
                "by another version; evaluate again"
            )
        return report


@dataclass(frozen=True, kw_only=True)
class Paired:
    """McNemar's exact test on the same episodes: gained, lost [episodes] and the two-sided p-value."""

    p_value: float
    gained: int
    lost: int


def evaluate(
    agent: Agent,
    envs: BranchVectorEnv,
    protocol: EvalProtocol,
    *,
    progress: Callable[[int, int, int], None] | None = None,
) -> Report:
    """Runs the protocol's episodes, as many at once as there are lanes; an agent's `reset` is called before each run.

    The agent sees a dict with the rows of the lanes that move (an env whose observation is an array: under the
    key "observation"), their numbers [B] under "lane", those of their episodes [B] under "episode", counted over all
    runs, and their texts [B] under "instruction" where the env has them.
    progress: called with (episodes done, episodes in all, successes so far) after each decision.

    Raises TypeError for an env that does not branch and for an agent that cannot act.
    Raises ValueError for groups of more than one lane, an env without `success` and `elapsed` in its infos,
    another backend, task, split or obs than the protocol's or a shorter horizon, where the env has such attributes;
    for an image_px, robocasa_version or scenes that the protocol prescribes and the env does not have, or not say; and
    for chunks shorter than protocol.chunk_len.
    """
    check_branching(envs, "evaluate")
    check_agent(agent)
    if envs.group_size != 1:
        raise ValueError(f"every lane is an episode of its own: build envs with group_size=1, not {envs.group_size}")
    _check_fit(envs, protocol)
    num_episodes, all_episodes = protocol.num_episodes, protocol.num_runs * protocol.num_episodes
    seeds = np.arange(protocol.seed, protocol.seed + all_episodes)
    waves: list[_Wave] = []
    done_before = won_before = 0
    for run_start in range(0, all_episodes, num_episodes):
        run_seeds = seeds[run_start : run_start + num_episodes]
        reset_agent(agent, int(run_seeds[0]))
        for start in range(0, num_episodes, envs.num_envs):
            wave = _Wave(envs, protocol, run_seeds[start : start + envs.num_envs], done_before)
            while wave.moving.any():
                wave.decide(agent)
                if progress is not None:
                    done = done_before + len(wave.seeds) - int(wave.moving.sum())
                    progress(done, all_episodes, won_before + int(wave.successes.sum()))
            waves.append(wave)
            done_before += len(wave.seeds)
            won_before += int(wave.successes.sum())
    trial = ~np.concatenate([wave.skipped for wave in waves])
    return Report(
        protocol=protocol,
        seeds=seeds[trial],
        successes=np.concatenate([wave.successes for wave in waves])[trial],
        elapsed=np.concatenate([wave.elapsed for wave in waves])[trial],
        skipped=tuple(seeds[~trial].tolist()),
    )


def compare(before: Report, after: Report) -> Paired:
    """Whether `after` is better than `before` on the episodes both have run.

    Raises ValueError, with what differs, where backend, protocol or episodes do.
    """
    for what, differences in (
        ("backends", _differences({"backend": before.backend}, {"backend": after.backend})),
        ("protocols", _differences(asdict(before.protocol), asdict(after.protocol))),
        ("episodes", _unshared(before.seeds.tolist(), after.seeds.tolist())),
    ):
        if differences:
            raise ValueError(f"reports of different {what} cannot be compared: {differences}; evaluate again")
    gained = int((after.successes & ~before.successes).sum())
    lost = int((before.successes & ~after.successes).sum())
    return Paired(p_value=mcnemar(gained, lost), gained=gained, lost=lost)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a rate; (0, 1) without a trial."""
    if trials == 0:
        return 0.0, 1.0
    found = scipy.stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided p-value of McNemar's exact test on discordant episodes; 1 without any."""
    return float(scipy.stats.binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0


def _differences(one: dict[str, Any], other: dict[str, Any]) -> str:
    """The fields that differ, with both values; "" for none."""
    return ", ".join(f"{name} {one[name]!r} and {other[name]!r}" for name in one if one[name] != other[name])


def _unshared(one: list[int], other: list[int]) -> str:
    """How many seeds only one of two lists has, with the first of them; "" for none."""
    if one == other:
        return ""
    parts: list[str] = []
    for which, seeds in (("first", sorted({*one} - {*other})), ("second", sorted({*other} - {*one}))):
        some = [*map(str, seeds[:3]), *(["…"] if len(seeds) > 3 else [])]
        parts.append(f"{len(seeds)} of the {which} only" + (f" (seeds [{', '.join(some)}])" if seeds else ""))
    return ", ".join(parts)


def _check_fit(envs: BranchVectorEnv, protocol: EvalProtocol) -> None:
    """Raises ValueError, with both values, where the env knows that it is not what the protocol says."""
    for name in ("task", "split", "obs"):
        wanted, found = getattr(protocol, name), getattr(envs, name, None)
        if found is not None and found != wanted:
            raise ValueError(
                f"the protocol is for the {name} {wanted!r}, the env has {found!r}; build the env with that, or use "
                "a protocol for this one"
            )
    for name in ("image_px", "robocasa_version", "scenes"):
        wanted, found = getattr(protocol, name), getattr(envs, name, None)
        if wanted is not None and found != wanted:
            says = "does not say which it has" if found is None else f"has {found!r}"
            raise ValueError(
                f"{protocol.name!r} prescribes the {name} {wanted!r}, the env {says}; no result of it would be one"
            )
    # A longer one does no harm: an evaluation stops at the protocol's.
    found = getattr(envs, "horizon", None)
    needed = None if protocol.horizon is None else protocol.wait_steps + protocol.horizon
    if found is not None and needed is not None and found < needed:
        raise ValueError(
            f"the protocol has a horizon of {protocol.horizon} steps"
            f"{f' after {protocol.wait_steps} steps of waiting' if protocol.wait_steps else ''}, the env ends episodes "
            f"after {found}; build the env with horizon={needed}"
        )


def _protocol_of(values: dict[str, Any]) -> EvalProtocol:
    """What `asdict` and JSON made of a protocol: pairs and texts came back as lists."""
    scenes = values.get("scenes")
    given = {**values, "differences": tuple(values.get("differences", ()))}
    given["scenes"] = None if scenes is None else tuple((layout, style) for layout, style in scenes)
    return EvalProtocol(**given)


class _Wave:
    """Up to L episodes side by side; episode `first` + k runs in lane k.

    seeds, successes, elapsed, skipped: [k episodes]. moving: bool [L].
    """

    def __init__(self, envs: BranchVectorEnv, protocol: EvalProtocol, seeds: NDArray[np.int64], first: int) -> None:
        self._envs = envs
        self._first = first
        self._protocol = protocol
        self._num_steps = 0
        self.seeds = seeds
        # Lanes without an episode get one that is never played.
        filled = np.resize(seeds, envs.num_envs)
        self._observation, self._infos = envs.reset(seed=filled.tolist())
        self._check_infos()
        self.successes = np.zeros(len(seeds), dtype=bool)
        self.elapsed = np.zeros(len(seeds), dtype=np.int64)
        self.moving = np.arange(envs.num_envs) < len(seeds)
        self._wait()
        self.skipped: NDArray[np.bool_] = self._infos["success"][: len(seeds)].copy()
        self.moving[: len(seeds)] &= ~self.skipped

    def _wait(self) -> None:
        """What lies still before the agent's first look: nothing is asked of the robot."""
        num_steps, space = self._protocol.wait_steps, self._envs.single_action_space
        active = self.moving & ~self._infos["success"]
        if num_steps and active.any():
            still = np.zeros((self._envs.num_envs, num_steps, *(space.shape or ())), space.dtype)
            self._observation, _, _, _, self._infos = self._envs.step(still, active=active)
            self.moving &= ~self._envs.finished

    def decide(self, agent: Agent) -> None:
        """Asks the agent once and carries out what it says."""
        actions = ask(
            agent,
            self._observation,
            self._infos,
            moving=self.moving,
            first_episode=self._first,
            space=self._envs.single_action_space,
            chunk_len=self._protocol.chunk_len,
        )
        if self._protocol.horizon is not None:
            actions = actions[:, : self._protocol.horizon - self._num_steps]
        self._observation, _, _, _, self._infos = self._envs.step(actions, active=self.moving)
        self._num_steps += actions.shape[1]
        played = self.moving[: len(self.seeds)]
        self.successes[played] = self._infos["success"][: len(self.seeds)][played]
        self.elapsed[played] = self._infos["elapsed"][: len(self.seeds)][played] - self._protocol.wait_steps
        self.moving &= ~self._envs.finished & ~self._infos["success"]
        if self._protocol.horizon is not None and self._num_steps >= self._protocol.horizon:
            self.moving[:] = False

    def _check_infos(self) -> None:
        check_infos(self._infos, ("success", "elapsed"), "an evaluation")
        found = set(self._infos.get("backend", np.array([self._protocol.backend])).tolist())
        if found != {self._protocol.backend}:
            raise ValueError(
                f"the protocol is for the backend {self._protocol.backend!r}, the env runs {sorted(found)}; "
                "build the env with that backend, or use a protocol for this one"
            )
