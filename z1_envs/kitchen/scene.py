"""Scenes: all that a seed decides. A plan is the drawn numbers, a scene the compiled model with its start.

    scene = make_scene("OpenDrawer", seed=7)
    scene.model, scene.start, scene.scene_id, scene.instruction

A plan says what is compiled; its hash, with `SCENE_VERSION`, is the `scene_id`: equal ids mean interchangeable
states, in any process.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import mujoco
import numpy as np
from numpy.typing import NDArray

from z1_envs.kitchen import fixtures, robot
from z1_envs.kitchen.control import CONTROL_DT, finger_opening
from z1_envs.kitchen.fixtures import Drawer, SingleDoorCabinet, Sink, Style
from z1_envs.kitchen.objects import KINDS, ObjectKind, add_object
from z1_envs.kitchen.room import Clutter, add_counter, add_lower_cabinets, add_room
from z1_envs.kitchen.shapes import RGBA
from z1_envs.tasks import get_task

# To be raised with every change of what a plan compiles to: the robot, the fixtures' shapes, the solver's settings.
SCENE_VERSION = 1
TIMESTEP = 0.005  # [s] divides the control step of 50 ms exactly; 10 ms drops objects
NUM_SUBSTEPS = round(CONTROL_DT / TIMESTEP)
# In a state row's userdata: the arm posture that the null space pulls to, and the steps taken.
USER_HOME, USER_ELAPSED = slice(0, 7), 7
NUM_USERDATA = 8

# Arm postures [rad] for a task on the robot's left; `_mirrored` for the right.
_FORWARD_LEFT_LOW = (1.10, 0.85, 0.03, -2.30, -1.98, 1.60, -0.85)
_FORWARD_LEFT_HIGH = (0.40, -0.60, 0.75, -2.15, -1.15, 2.15, 0.72)
_DOWN = (0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785)
_ARM_NOISE = 0.03  # [rad] standard deviation per joint


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is compiled. Two plans are the same scene exactly if they are equal."""

    task: str
    style: Style
    counter_top: float  # [m]
    fixture: Drawer | SingleDoorCabinet | Sink
    kind: ObjectKind | None
    clutter: tuple[Clutter, ...]

    @property
    def scene_id(self) -> str:
        """The task's name and a hash of every number above and of SCENE_VERSION, which stands for the code."""
        return f"{self.task}-{hashlib.sha256(f'{SCENE_VERSION} {self!r}'.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, kw_only=True)
class Start:
    """The first state of an episode: joints [rad, m] and the object's pose in the world."""

    base: tuple[float, float, float]  # x, y [m], yaw [rad]
    torso: float
    arm: tuple[float, ...]
    fixture_joint: float = 0.0
    object_pose: tuple[float, float, float, float] | None = None  # x, y, z [m], yaw [rad]


@dataclass(frozen=True, eq=False)
class Scene:
    """A compiled kitchen and where its episode starts."""

    plan: Plan
    start: Start
    instruction: str
    model: mujoco.MjModel
    scene_id: str

    def qpos(self) -> NDArray[np.float64]:
        """The start's joint positions [nq]: robot, then fixture joint, then the object's free joint."""
        left, right = finger_opening(1.0)
        values = [*self.start.base, self.start.torso, *self.start.arm, left, right]
        if self.start.object_pose is None:
            values.append(self.start.fixture_joint)
        else:
            x, y, z, yaw = self.start.object_pose
            values += [x, y, z, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        return np.array(values)


@lru_cache(maxsize=256)  # 0.2 MB each
def make_scene(task: str, seed: int, redraw: int = 0) -> Scene:
    """The scene and start that `seed` decides. `redraw` counts starts thrown away for being successful.

    Raises ValueError for a task whose scene the embedded kitchen does not have.
    """
    if task not in _PLANNERS:
        raise ValueError(
            f"the embedded kitchen has no scene for {get_task(task).name!r} yet; it has {', '.join(_PLANNERS)}"
        )
    rng = np.random.default_rng([seed, redraw, *task.encode()])
    plan, start, words = _PLANNERS[task](task, rng)
    instruction = get_task(task).instruction.format(**words)
    return Scene(plan, start, instruction, compile_plan(plan), plan.scene_id)


def available_tasks() -> tuple[str, ...]:
    """Names of the tasks that have a scene here."""
    return tuple(_PLANNERS)


def compile_plan(plan: Plan) -> mujoco.MjModel:
    """The model of `plan`. The same plan compiles to the same bytes. About 6 ms."""
    spec = mujoco.MjSpec()
    spec.modelname = plan.scene_id
    spec.compiler.degree = False
    spec.nuserdata = NUM_USERDATA
    option = spec.option
    option.timestep = TIMESTEP
    # Euler explodes with position servos; a held cube slips 3.5 mm in 3 s with pyramidal cones, 0.1 with these.
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone, option.impratio = mujoco.mjtCone.mjCONE_ELLIPTIC, 10
    option.iterations, option.ls_iterations = 20, 20
    # A reset in the middle of an episode would go unseen; KitchenLanes.step ends lanes that diverge.
    option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    spec.visual.quality.shadowsize, spec.visual.quality.offsamples = 0, 4
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 640, 480
    spec.visual.headlight.ambient, spec.visual.headlight.diffuse = [0.35] * 3, [0.35] * 3
    robot.add_robot(spec)
    world = spec.worldbody
    world.add_light(pos=[-1.2, 0.8, 2.6], dir=[0.5, -0.3, -1], castshadow=False, diffuse=[0.65] * 3)
    world.add_light(pos=[-0.8, -1.5, 2.4], dir=[0.4, 0.6, -1], castshadow=False, diffuse=[0.3] * 3)
    _add_kitchen(world, plan)
    return spec.compile()


def _add_kitchen(world: mujoco.MjsBody, plan: Plan) -> None:
    fixture, style, top = plan.fixture, plan.style, plan.counter_top
    add_room(world, style)
    add_counter(world, style, top, fixture)
    add_lower_cabinets(world, style, top, fixture)
    if isinstance(fixture, Sink):
        fixture.add(world, style, top)
    else:
        fixture.add(world, style)
    if plan.kind is not None:
        add_object(world, plan.kind)
    for i, item in enumerate(plan.clutter):
        item.add(world, f"clutter{i}", top)


def _mirrored(arm: tuple[float, ...]) -> tuple[float, ...]:
    """The posture reflected in the robot's x-z plane; of the gripper's two equal ways the one nearer to 0."""
    q1, q2, q3, q4, q5, q6, q7 = arm
    return (-q1, q2, -q3, q4, -q5, q6, min(np.pi / 2 - q7, -np.pi / 2 - q7, key=abs))


def _noisy(arm: tuple[float, ...], rng: np.random.Generator) -> tuple[float, ...]:
    return tuple(float(q) for q in np.asarray(arm) + rng.normal(0, _ARM_NOISE, 7))


def _uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _style(rng: np.random.Generator) -> Style:
    wood = np.array(_PALETTE_WOOD[rng.integers(len(_PALETTE_WOOD))]) * rng.uniform(0.85, 1.1)
    front = np.array(_PALETTE_FRONT[rng.integers(len(_PALETTE_FRONT))]) * rng.uniform(0.9, 1.05)
    grey = rng.uniform(0.2, 0.8)
    return Style(
        cabinet=_rgba(wood),
        front=_rgba(front),
        counter=_rgba(np.array([grey, grey, grey * rng.uniform(0.85, 1.0)])),
        metal=_rgba(np.full(3, rng.uniform(0.1, 0.6))),
        wall=_rgba(rng.uniform(0.7, 0.95, 3)),
        floor=_rgba(rng.uniform(0.35, 0.7) * np.array([1.0, 0.93, 0.85])),
    )


_PALETTE_WOOD = ((0.60, 0.45, 0.30), (0.45, 0.32, 0.22), (0.75, 0.65, 0.50), (0.35, 0.36, 0.38))
_PALETTE_FRONT = (
    (0.92, 0.92, 0.90), (0.35, 0.45, 0.55), (0.70, 0.55, 0.38), (0.40, 0.50, 0.42), (0.25, 0.25, 0.28),
)  # fmt: skip


def _rgba(rgb: NDArray[np.float64]) -> RGBA:
    r, g, b = (float(v) for v in np.clip(rgb, 0, 1))
    return (r, g, b, 1.0)


def _clutter(rng: np.random.Generator, places: tuple[float, ...]) -> tuple[Clutter, ...]:
    """One box at each y of `places`, towards the wall."""
    items = []
    for place in places:
        half = (_uniform(rng, 0.03, 0.07), _uniform(rng, 0.03, 0.07), _uniform(rng, 0.05, 0.13))
        x, y = _uniform(rng, 0.42, 0.54), place + _uniform(rng, -0.08, 0.08)
        items.append(Clutter(x=x, y=y, half=half, rgba=_rgba(rng.uniform(0.1, 0.9, 3))))
    return tuple(items)


Planned = tuple[Plan, Start, dict[str, str]]


def _plan_drawer(task: str, rng: np.random.Generator) -> Planned:
    """RoboCasa's drawer tasks: the robot stands beside the drawer; the side is as the robot sees it."""
    side = 1 if rng.random() < 0.5 else -1
    top = _uniform(rng, 0.90, 0.95)
    height = _uniform(rng, 0.15, 0.20)
    drawer = Drawer(
        y=_uniform(rng, -0.3, 0.3),
        z=top - 0.05 - height / 2,
        width=_uniform(rng, 0.34, 0.46),
        height=height,
        depth=_uniform(rng, 0.44, 0.52),
        handle_length=_uniform(rng, 0.12, 0.20),
        handle_z=_uniform(rng, -0.01, 0.04),
    )
    plan = Plan(
        task=task,
        style=_style(rng),
        counter_top=top,
        fixture=drawer,
        kind=None,
        clutter=_clutter(rng, (-0.6, 0.0, 0.6)),
    )
    start = Start(
        base=(
            -fixtures.HANDLE_REACH - _uniform(rng, 0.50, 0.62),
            drawer.y - side * _uniform(rng, 0.27, 0.37),
            _uniform(rng, -0.08, 0.08),
        ),
        torso=_uniform(rng, 0.06, 0.14),
        arm=_noisy(_FORWARD_LEFT_LOW if side > 0 else _mirrored(_FORWARD_LEFT_LOW), rng),
    )
    return plan, start, {"side": "left" if side > 0 else "right"}


def _plan_close_door(task: str, rng: np.random.Generator) -> Planned:
    """RoboCasa's CloseSingleDoor: a wall cabinet whose door stands 0.90-1.0 of a right angle open."""
    hinge = 1 if rng.random() < 0.5 else -1
    cabinet = SingleDoorCabinet(
        y=_uniform(rng, -0.3, 0.3),
        bottom=_uniform(rng, 1.36, 1.46),
        width=_uniform(rng, 0.36, 0.46),
        height=_uniform(rng, 0.50, 0.62),
        hinge=hinge,
        handle_length=_uniform(rng, 0.10, 0.16),
        push_radius=_uniform(rng, 0.55, 0.65),
    )
    plan = Plan(
        task=task, style=_style(rng), counter_top=_uniform(rng, 0.90, 0.95), fixture=cabinet, kind=None,
        clutter=_clutter(rng, (-0.6, 0.0, 0.6)),
    )  # fmt: skip
    start = Start(
        base=(
            cabinet.front - _uniform(rng, 0.68, 0.84),
            # The gripper starts 0.44 m beside the base, on the outside of the open door.
            cabinet.y + hinge * (cabinet.width / 2 + _uniform(rng, 0.09, 0.19) - 0.44),
            _uniform(rng, -0.15, 0.15),
        ),
        torso=_uniform(rng, 0.10, 0.24),
        arm=_noisy(_FORWARD_LEFT_HIGH if hinge > 0 else _mirrored(_FORWARD_LEFT_HIGH), rng),
        fixture_joint=_uniform(rng, 0.90, 1.0) * np.pi / 2,
    )
    return plan, start, {"fixture": "cabinet"}


def _plan_counter_to_sink(task: str, rng: np.random.Generator) -> Planned:
    """RoboCasa's PnPCounterToSink: a washable object on the counter left or right of the sink."""
    side = 1 if rng.random() < 0.5 else -1
    top = _uniform(rng, 0.90, 0.95)
    sink = Sink(
        y=_uniform(rng, -0.3, 0.3),
        x=_uniform(rng, 0.27, 0.31),
        half_x=_uniform(rng, 0.15, 0.18),
        half_y=_uniform(rng, 0.17, 0.22),
        depth=_uniform(rng, 0.14, 0.18),
    )
    kind = KINDS[tuple(KINDS)[rng.integers(len(KINDS))]]
    plan = Plan(
        task=task, style=_style(rng), counter_top=top, fixture=sink, kind=kind,
        clutter=_clutter(rng, (sink.y - side * 0.45, sink.y + side * 0.75)),
    )  # fmt: skip
    y = sink.y + side * (sink.half_y + _uniform(rng, 0.09, 0.25))
    start = Start(
        base=(
            -_uniform(rng, 0.36, 0.44),
            sink.y + side * _uniform(rng, 0.08, 0.18),
            _uniform(rng, -0.08, 0.08),
        ),
        torso=_uniform(rng, 0.06, 0.14),
        arm=_noisy(_DOWN, rng),
        object_pose=(_uniform(rng, 0.10, 0.26), y, top + kind.half[2] + 5e-4, _uniform(rng, -0.5, 0.5)),
    )
    return plan, start, {"obj": kind.name}


_PLANNERS: dict[str, Callable[[str, np.random.Generator], Planned]] = {
    "OpenDrawer": _plan_drawer,
    "CloseSingleDoor": _plan_close_door,
    "PnPCounterToSink": _plan_counter_to_sink,
}
