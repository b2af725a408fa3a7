"""What a diagnosis measures of a task before its training is decided: numbers, and how failures are told apart.

Source: arXiv 2606.31846 (Z-1) names SFT success, early progress with the action expert alone and failure modes seen in
rollouts. How they are measured it leaves open: the definitions here are ours.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from z1_agent.statistics import Interval
from z1_envs.evaluate import mcnemar, wilson
from z1_envs.kitchen.spaces import ObsMode
from z1_envs.layout import SCENE

# What counts as having had hold of something. Half of what a fixture was moved counts as kept.
MOVED = 0.1  # of a fixture's joint: share of its range, or [rad]
LIFTED = 0.03  # of an object [m]
AT_GOAL = 0.1  # horizontally between object and goal: it was set down, not lost [m]


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Successes among episodes."""

    successes: int
    episodes: int

    @property
    def value(self) -> float:
        """The share; nan without an episode."""
        return self.successes / self.episodes if self.episodes else float("nan")

    @property
    def interval(self) -> Interval:
        """Wilson's 95 % interval."""
        return wilson(self.successes, self.episodes)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.0%} ({low:.0%} to {high:.0%})"


@dataclass(frozen=True, kw_only=True)
class EarlyProgress:
    """What a few iterations of GRPO in flat groups do, with the action expert alone.

    gained, lost: of the SFT policy's episodes, those that it alone failed and that it alone won. env_steps,
    cpu_seconds: of the iterations. dead, mixed, all_success: their groups.
    """

    iterations: int
    gained: int
    lost: int
    episodes: int
    env_steps: int
    cpu_seconds: float
    dead: int
    mixed: int
    all_success: int

    @property
    def gain(self) -> float:
        """Rise of success."""
        return (self.gained - self.lost) / self.episodes

    @property
    def per_1000_steps(self) -> float:
        """Rise of success per 1,000 env steps."""
        return self.gain / self.env_steps * 1000

    @property
    def per_cpu_minute(self) -> float:
        """Rise of success per minute of CPU time."""
        return self.gain / self.cpu_seconds * 60

    @property
    def all_success_share(self) -> float:
        """Groups in which every rollout succeeds, of all groups."""
        return self.all_success / (self.dead + self.mixed + self.all_success)

    @property
    def is_worse(self) -> bool:
        """Whether success has fallen beyond chance: McNemar's exact test, p < 0.05."""
        return self.lost > self.gained and mcnemar(self.gained, self.lost) < 0.05


@dataclass(frozen=True, kw_only=True)
class Failures:
    """Failed episodes by how far they came [episodes].

    never_reached: the phase never was "manipulation", and nothing moved. reached_and_failed: it was, and nothing moved.
    grasped_and_lost: an object was lifted, a joint moved or a machine switched, and then lost or given back.
    unfinished: the same, but not lost when time ran out.
    """

    never_reached: int
    reached_and_failed: int
    grasped_and_lost: int
    unfinished: int

    @property
    def total(self) -> int:
        """All failed episodes."""
        return self.never_reached + self.reached_and_failed + self.grasped_and_lost + self.unfinished


@dataclass(frozen=True, kw_only=True)
class Approach:
    """Where manipulation begins: reached, the episodes in which it does; earliest quarter, median and latest quarter of
    the decisions before it, over the episodes in which a look has seen it begin; None where none has."""

    reached: Rate
    early: float | None
    median: float | None
    late: float | None


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Perception: success of SFT on the same demonstrations and episodes from privileged state and from pixels."""

    state: Rate
    pixels: Rate

    @property
    def gap(self) -> float:
        """State minus pixels."""
        return self.state.value - self.pixels.value

    @property
    def is_beyond_chance(self) -> bool:
        """Whether the state's interval lies above the pixels'."""
        return self.state.interval[0] > self.pixels.interval[1]


@dataclass(frozen=True, kw_only=True)
class Signals:
    """All that a diagnosis measures. sees: the kind of observations of the policy. sft, approach, failures: of the SFT
    policy, on held-out episodes."""

    sees: ObsMode
    sft: Rate
    approach: Approach
    failures: Failures
    early: EarlyProgress
    probe: Probe | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields, with what follows from them for readers."""
        derived = {
            "sft_rate": self.sft.value,
            "sft_interval": list(self.sft.interval),
            "reached_rate": self.approach.reached.value,
            "early_gain": self.early.gain,
            "early_gain_per_1000_steps": self.early.per_1000_steps,
            "early_gain_per_cpu_minute": self.early.per_cpu_minute,
        }
        return asdict(self) | {"derived": derived}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Signals":
        """The inverse of `to_json`."""
        approach, probe = values["approach"], values["probe"]
        return cls(
            sees=values["sees"],
            sft=Rate(**values["sft"]),
            approach=Approach(**approach | {"reached": Rate(**approach["reached"])}),
            failures=Failures(**values["failures"]),
            early=EarlyProgress(**values["early"]),
            probe=None if probe is None else Probe(**{name: Rate(**rate) for name, rate in probe.items()}),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Watched:
    """n episodes, looked at where the policy looks: at the start and after each of T decisions.

    manipulating: bool [T+1, n]. scene [T+1, n, 42], as layout.SCENE. success: bool [n]. An episode that is over keeps
    its last row.
    """

    manipulating: NDArray[np.bool_]
    scene: NDArray[np.float32]
    success: NDArray[np.bool_]

    @property
    def rate(self) -> Rate:
        """How often it succeeded."""
        return Rate(successes=int(self.success.sum()), episodes=len(self.success))


def approach_of(watched: Watched) -> Approach:
    """Where manipulation begins. Successes, and episodes in which something has moved, count as having reached whatever
    the looks have seen."""
    seen: NDArray[np.bool_] = np.any(watched.manipulating, axis=0)
    before = watched.manipulating.argmax(axis=0)[seen]
    num_episodes = watched.rate.episodes
    quarters = [float(q) for q in np.quantile(before, [0.25, 0.5, 0.75])] if seen.any() else [None] * 3
    reached = Rate(successes=num_episodes - failures_of(watched).never_reached, episodes=num_episodes)
    return Approach(reached=reached, early=quarters[0], median=quarters[1], late=quarters[2])


def failures_of(watched: Watched) -> Failures:
    """How far the failed episodes came.

    What happens between two looks and is undone by the next is not seen. An object that is out of the hand at the end
    counts as lost unless it lies at the goal; a fixture, where the hand has left it or half of its way is undone.
    """
    at_end = watched.manipulating[-1]
    reached = watched.manipulating.any(axis=0)
    moved, is_kept = _joints(watched.scene)
    lifted, is_up = _object(watched.scene)
    latch = watched.scene[..., SCENE["latch"]][..., 0] > 0.5
    switched = (latch != latch[0]).any(axis=0)
    had = moved | lifted | switched
    holds = (moved & is_kept & at_end) | (lifted & ((is_up & at_end) | _is_at_goal(watched.scene)))
    holds |= switched & (latch[-1] != latch[0])
    failed = ~watched.success
    return Failures(
        never_reached=int((failed & ~reached & ~had).sum()),
        reached_and_failed=int((failed & reached & ~had).sum()),
        grasped_and_lost=int((failed & had & ~holds).sum()),
        unfinished=int((failed & had & holds).sum()),
    )


def _joints(scene: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which fixtures have moved [n], and which of them have kept at least half of it [n]."""
    joints = scene[..., SCENE["fixture_joints"]]
    way = np.abs(joints - joints[0]).max(axis=-1)
    return way.max(axis=0) >= MOVED, way[-1] >= way.max(axis=0) / 2


def _object(scene: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which objects were lifted [n], and which of them are up at the end [n]; without an object, none."""
    parts = SCENE.split(scene)
    height = parts["eef_position"][..., 2] + parts["target_from_eef"][..., 2]  # the robot's base stands upright
    lift = height - height[0]
    has_object = parts["grasp"][0, :, 0] > 0
    return has_object & (lift.max(axis=0) >= LIFTED), lift[-1] >= LIFTED


def _is_at_goal(scene: NDArray[np.float32]) -> NDArray[np.bool_]:
    apart = scene[-1][:, SCENE["goal_from_target"]][:, :2]
    return np.asarray(np.hypot(apart[:, 0], apart[:, 1]) < AT_GOAL)
