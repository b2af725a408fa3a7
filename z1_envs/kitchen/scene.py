"""Scenes: all that a seed decides, compiled.

    scene = make_scene("OpenDrawer", seed=7)
    scene.model, scene.start, scene.scene_id, scene.instruction

A plan says what is compiled; its hash, with `SCENE_VERSION`, is the `scene_id`: equal ids mean interchangeable
states, in any process.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from z1_envs.arguments import check_whole
from z1_envs.kitchen import robot
from z1_envs.kitchen.containers import add_container, add_fixed_container
from z1_envs.kitchen.control import CONTROL_DT, finger_opening
from z1_envs.kitchen.layouts import LAYOUTS, TEST_LAYOUTS, varied_layout
from z1_envs.kitchen.neighbours import add_neighbours
from z1_envs.kitchen.objects import DECOR, add_object
from z1_envs.kitchen.plans import (
    buttons,
    doors,
    drawers,
    mugs,
    pick_cabinet,
    pick_microwave,
    pick_sink,
    pick_stove,
    sink,
    stove,
)
from z1_envs.kitchen.plans.plan import Kitchen, Plan, Planner, Split, Start, uniform
from z1_envs.kitchen.room import add_counter, add_lower_cabinets, add_room
from z1_envs.kitchen.shapes import VISUAL, box, marker
from z1_envs.kitchen.styles import STYLES, TEST_STYLES, varied
from z1_envs.snapshot import SnapshotError
from z1_envs.tasks import get_task

TIMESTEP = 0.005  # [s] divides the control step of 50 ms exactly; 10 ms drops objects
NUM_SUBSTEPS = round(CONTROL_DT / TIMESTEP)
# In a state row's userdata: the arm posture that the null space pulls to, the steps taken, whether a machine is on.
USER_HOME, USER_ELAPSED, USER_LATCH = slice(0, 7), 7, 8
NUM_USERDATA = 9
# Scenes of a task share one block of state rows, so their models have equal sizes: the world is filled up to these.
_NUM_SOLIDS, _NUM_VISUALS, _NUM_SITES = 50, 40, 16

PLANNERS: dict[str, Planner] = {
    **drawers.PLANNERS,
    **doors.PLANNERS,
    **pick_sink.PLANNERS,
    **pick_stove.PLANNERS,
    **mugs.PLANNERS,
    **pick_cabinet.PLANNERS,
    **pick_microwave.PLANNERS,
    **buttons.PLANNERS,
    **sink.PLANNERS,
    **stove.PLANNERS,
}


@dataclass(frozen=True, kw_only=True)
class SceneOptions:
    """Which kitchens seeds are turned into.

    split: "train" has most layouts, styles and object kinds, "test" those that are held out, "all" both.
    layouts, styles: only these, by name, instead of the split's.
    """

    split: Split = "train"
    layouts: tuple[str, ...] | None = None
    styles: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.split not in ("train", "test", "all"):
            raise ValueError(f"split must be 'train', 'test' or 'all', got {self.split!r}")
        for what, chosen, known in (("layout", self.layouts, LAYOUTS), ("style", self.styles, STYLES)):
            if chosen is None:
                continue
            if not isinstance(chosen, tuple):
                raise ValueError(f"{what}s must be a tuple of names, or None for the split's own; got {chosen!r}")
            if len(chosen) == 0:
                raise ValueError(f"{what}s is empty; name at least one of {', '.join(known)}")
            if not all(isinstance(name, str) and name in known for name in chosen):
                raise ValueError(f"unknown {what} in {list(chosen)}; there are {', '.join(known)}")

    @property
    def name(self) -> str:
        """The split, with what was chosen by name."""
        chosen = (("layouts", self.layouts), ("styles", self.styles))
        return ", ".join([self.split, *(f"{what} {' '.join(names)}" for what, names in chosen if names is not None)])

    @property
    def layout_names(self) -> tuple[str, ...]:
        """The layouts to draw from."""
        return self.layouts or _of_split(self.split, tuple(LAYOUTS), TEST_LAYOUTS)

    @property
    def style_names(self) -> tuple[str, ...]:
        """The styles to draw from."""
        return self.styles or _of_split(self.split, tuple(STYLES), TEST_STYLES)


TRAIN = SceneOptions()


@dataclass(frozen=True, kw_only=True)
class SceneRecord:
    """What `remade_scene` makes a scene of again, in any process; small and picklable.

    seed, redraw: as `make_scene` takes them.
    """

    scene_id: str
    task: str
    options: SceneOptions
    seed: int
    redraw: int


@dataclass(frozen=True, eq=False)
class Scene:
    """A compiled kitchen and where its episode starts."""

    plan: Plan
    start: Start
    instruction: str
    model: mujoco.MjModel
    record: SceneRecord
    _members: dict[str | tuple[str, ...], NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def scene_id(self) -> str:
        """The plan's hash: states of equal ids are interchangeable."""
        return self.record.scene_id

    def geoms(self, prefix: str | tuple[str, ...]) -> NDArray[np.bool_]:
        """Which geoms [ngeom] have names that begin with `prefix`, or with one of several."""
        if prefix not in self._members:
            wanted = tuple(word.encode() for word in ((prefix,) if isinstance(prefix, str) else prefix))
            names = self.model.names
            self._members[prefix] = np.array([names.startswith(wanted, i) for i in self.model.name_geomadr.tolist()])
        return self._members[prefix]

    def qpos(self) -> NDArray[np.float64]:
        """The start's joint positions [nq]: the robot first, then fixtures and objects."""
        qpos = self.model.qpos0.copy()
        robot_qpos = [*self.start.base, self.start.torso, *self.start.arm, *finger_opening(1.0)]
        qpos[: len(robot_qpos)] = robot_qpos
        for name, position in self.start.joints:
            qpos[self.model.joint(name).qposadr[0]] = position
        for name, (x, y, z, yaw) in self.start.poses:
            first = self.model.joint(name).qposadr[0]
            qpos[first : first + 7] = [x, y, z, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        return qpos


@lru_cache(maxsize=48)  # 0.3 MB each
def make_scene(task: str, seed: int, redraw: int = 0, options: SceneOptions = TRAIN) -> Scene:
    """The scene and start that `seed` decides. `redraw` counts starts thrown away for being successful.

    Raises ValueError for an unknown task and a negative seed.
    """
    check_whole("seed", seed, least=0)
    name = get_task(task).name
    rng = np.random.default_rng([seed, redraw, *name.encode()])
    kitchen = _draw_kitchen(options, rng)
    plan, start, words = PLANNERS[name](name, kitchen, rng)
    instruction = get_task(name).instruction.format(**words)
    record = SceneRecord(scene_id=plan.scene_id, task=name, options=options, seed=seed, redraw=redraw)
    return Scene(plan, start, instruction, compile_plan(plan), record)


def remade_scene(record: Any, task: str, options: SceneOptions) -> Scene:
    """The scene of `record`, for an env of `task` and `options`.

    Raises SnapshotError where it is no record, is another env's, or makes another scene here.
    """
    if not isinstance(record, SceneRecord):
        raise SnapshotError(f'options={{"scene": …}} takes what get_scene() returned, got {type(record).__name__}')
    for what, theirs, ours in (("task", record.task, task), ("scene options", record.options, options)):
        if theirs != ours:
            raise SnapshotError(
                f"the scene is of the {what} {theirs}, this env has {ours}: build this env with the same task, split, "
                "layouts and styles"
            )
    scene = make_scene(task, record.seed, record.redraw, options)
    if scene.scene_id != record.scene_id:
        raise SnapshotError(
            f"seed {record.seed} makes scene {scene.scene_id!r} here, the record says {record.scene_id!r}: use the "
            "version of z1_envs that it was made with"
        )
    return scene


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
    spec.visual.quality.shadowsize = 0
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 640, 480
    spec.visual.headlight.ambient, spec.visual.headlight.diffuse = [0.35] * 3, [0.35] * 3
    # As stiff as the timestep allows: with MuJoCo's default hands press centimetres into handles.
    spec.default.geom.solref = [2 * TIMESTEP, 1]
    robot.add_robot(spec)
    world = spec.worldbody
    world.add_light(pos=[-1.2, 0.8, 2.6], dir=[0.5, -0.3, -1], castshadow=False, diffuse=[0.65] * 3)
    world.add_light(pos=[-0.8, -1.5, 2.4], dir=[0.4, 0.6, -1], castshadow=False, diffuse=[0.3] * 3)
    _add_kitchen(world, plan)
    _fill_up(world)
    return spec.compile()


def _add_kitchen(world: mujoco.MjsBody, plan: Plan) -> None:
    kitchen, style, top = plan.kitchen, plan.kitchen.style, plan.kitchen.counter_top
    holes = [fixture.hole for fixture in plan.fixtures if fixture.hole is not None]
    assert len(holes) <= 1, f"{plan.task} cuts the counter {len(holes)} times"
    hole = holes[0] if holes else None
    add_room(world, kitchen.layout, style)
    add_counter(world, style, top, hole)
    add_lower_cabinets(world, kitchen.layout, style, top, hole)
    add_neighbours(world, kitchen.layout, style, top, plan.clear, plan.wall_clear)
    for fixture in plan.fixtures:
        fixture.add(world, style, top)
    if plan.source is not None:
        add_fixed_container(world, "source", *plan.source)
    if plan.container is not None:
        add_container(world, "container", plan.container)
    if plan.kind is not None:
        add_object(world, plan.kind)
    for name, position in plan.markers:
        marker(world, name, position)
    for i, item in enumerate(plan.clutter):
        item.add(world, f"clutter{i}", top)


def _fill_up(world: mujoco.MjsBody) -> None:
    """Specks that nobody sees or touches, under the floor, up to the same numbers for all scenes."""
    # MuJoCo's collision tree holds the geoms that have any collision bit, so these are counted for themselves.
    solid = sum(geom.contype != 0 or geom.conaffinity != 0 for geom in world.geoms)
    for what, number, wanted, kind in (
        ("solid", solid, _NUM_SOLIDS, DECOR),
        ("visual", len(world.geoms) - solid, _NUM_VISUALS, VISUAL),
    ):
        assert number <= wanted, f"{number} {what} static geoms, room for {wanted}"
        for i in range(number, wanted):
            box(world, f"speck_{what}{i}", (0, 0, -0.5), (1e-3, 1e-3, 1e-3), (0, 0, 0, 0), kind)
    assert len(world.sites) <= _NUM_SITES, f"{len(world.sites)} sites in the world, room for {_NUM_SITES}"
    for i in range(len(world.sites), _NUM_SITES):
        marker(world, f"speck{i}", (0, 0, -0.5))


def _draw_kitchen(options: SceneOptions, rng: np.random.Generator) -> Kitchen:
    layouts, styles = options.layout_names, options.style_names
    layout = varied_layout(LAYOUTS[layouts[rng.integers(len(layouts))]], rng)
    return Kitchen(
        layout=layout,
        style=varied(STYLES[styles[rng.integers(len(styles))]], rng),
        counter_top=uniform(rng, 0.90, 0.95) + layout.counter_offset,
        split=options.split,
    )


def _of_split(split: Split, names: tuple[str, ...], held_out: tuple[str, ...]) -> tuple[str, ...]:
    if split == "all":
        return names
    return tuple(name for name in names if (name in held_out) == (split == "test"))
