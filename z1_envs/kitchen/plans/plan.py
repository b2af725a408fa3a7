"""The records that a seed is turned into: a Plan is what gets compiled, a Start where the episode begins.

A planner draws both from the seed's random stream. Lengths in [m], angles in [rad], world frame of
fixtures/fixture.py.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from z1_envs.kitchen.clutter import Clutter
from z1_envs.kitchen.containers import Container
from z1_envs.kitchen.fixtures.fixture import Fixture
from z1_envs.kitchen.layouts import Layout
from z1_envs.kitchen.objects import ObjectKind
from z1_envs.kitchen.shapes import Point
from z1_envs.kitchen.styles import Style

# To be raised with every change of what a plan compiles to: the robot, the fixtures' shapes, the solver's settings.
SCENE_VERSION = 3

Split = Literal["train", "test", "all"]
Thing = TypeVar("Thing")
Span = tuple[float, float]  # least and greatest
Joints = tuple[tuple[str, float], ...]  # name and position [rad], of drawers [m]
Pose = tuple[float, float, float, float]  # x, y, z and yaw

STANDS_OPEN: Span = (0.90, 1.0)  # share of its range at which RoboCasa lets a door or drawer stand open
CLEARANCE = 5e-4  # under what is put down, which then sinks onto its place


@dataclass(frozen=True, kw_only=True)
class Kitchen:
    """What surrounds the task's fixture, drawn before it. split: which object kinds may be drawn."""

    layout: Layout
    style: Style
    counter_top: float
    split: Split


@dataclass(frozen=True, kw_only=True)
class Part:
    """One thing the gripper has to bring somewhere. A task with several does them in order.

    target: the site that the gripper goes to. goal: the site where the target is to end; the size of a box site
    counts. joint: what moves with it, None for a free object; it is measured in `unit`. done: the least and greatest
    joint position, in units, at which the next part is due.
    """

    target: str
    goal: str
    joint: str | None = None
    unit: float = 1.0
    done: Span = (np.inf, np.inf)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is compiled. Two plans are the same scene exactly if they are equal.

    clear: y-range that only fixtures and the plain counter take. wall_clear: y-range with no wall units.
    kind: the object that is picked. container: a free one, where it ends. source: a fixed one, where it comes from,
    and the place of its underside. markers: points of the world that become sites.
    """

    task: str
    kitchen: Kitchen
    fixtures: tuple[Fixture, ...]
    parts: tuple[Part, ...]
    clear: Span
    wall_clear: Span
    kind: ObjectKind | None = None
    container: Container | None = None
    source: tuple[Container, Point] | None = None
    markers: tuple[tuple[str, Point], ...] = ()
    clutter: tuple[Clutter, ...] = ()

    @property
    def scene_id(self) -> str:
        """The task's name and a hash of every number above and of SCENE_VERSION, which stands for the code."""
        return f"{self.task}-{hashlib.sha256(f'{SCENE_VERSION} {self!r}'.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, kw_only=True)
class Start:
    """The first state of an episode. What is not named starts at 0.

    base: x, y, yaw. joints: of fixtures. poses: of the origins of free bodies. latch: whether the machine is on.
    """

    base: tuple[float, float, float]
    torso: float
    arm: tuple[float, ...]
    joints: Joints = ()
    poses: tuple[tuple[str, Pose], ...] = ()
    latch: bool = False


# Plan, start, and the words that the instruction's braces take.
Planned = tuple[Plan, Start, dict[str, str]]
Planner = Callable[[str, Kitchen, np.random.Generator], Planned]


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A plain Python number, since plans are hashed by what they print."""
    return float(rng.uniform(low, high))


def either(rng: np.random.Generator) -> int:
    """+1 or -1."""
    return 1 if rng.random() < 0.5 else -1


def one_of(rng: np.random.Generator, things: Sequence[Thing]) -> Thing:
    """Any of `things`, each as likely."""
    return things[int(rng.integers(len(things)))]
