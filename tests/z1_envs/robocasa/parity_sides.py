"""The two backends, each with one start of a task in which it sets poses and asks its own predicate.

Nothing is stepped: poses are written into the simulator's state, and what is derived from it is computed anew.
"""

from functools import partial
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from tests.z1_envs.kitchen.play import robot_touches
from tests.z1_envs.robocasa.parity_cases import (
    INSIDE_SLACK,
    Case,
    Direction,
    Hand,
    InBox,
    InContainer,
    OnCounter,
    UnderDispenser,
)
from z1_envs.kitchen import goals, robot
from z1_envs.kitchen.contacts import Contacts
from z1_envs.kitchen.lanes import KitchenLanes
from z1_envs.kitchen.scene import USER_LATCH, make_scene
from z1_envs.robocasa.env import RoboCasaEnv
from z1_envs.robocasa.options import RoboCasaOptions
from z1_envs.robocasa.versions import V02, installed

_ALL = np.zeros(1, dtype=np.int32)
_MAX_SEEDS = 30  # in which a start with the word that is asked for turns up
_INTO, _OVER = -1e-3, 0.01  # [m] of things that touch and of things that do not
_OVER_COUNTER = 0.005  # [m]
_HOVER = 0.04  # [m] before a button
_BUTTONS = ("start_button", "stop_button")
Vector = NDArray[np.float64]


def _offset(angle: float, aside: float, up: float) -> Vector:
    return np.array([aside * np.cos(angle), aside * np.sin(angle), up])


def _over_counter(place: OnCounter, half: Vector) -> Vector:
    return np.array([0.0, 0.0, half[2] + (_INTO if place.touching else _OVER_COUNTER)])


def _box_offset(place: InBox, half: Vector, object_half: Vector, *, corners: bool) -> Vector:
    """From the middle of a box of half extents `half` to the object's.

    corners: all of the object's have to be inside, with slack, else its middle.
    """
    offset = np.zeros(3)
    if place.beyond is not None:
        edge, axis = half[place.axis], place.axis
        limit = edge + INSIDE_SLACK / (2 * edge) - object_half[axis] if corners else edge
        offset[axis] = place.side * (limit + place.beyond)
    return offset


class KitchenSide:
    """One lane of the embedded kitchen, of the first seed whose instruction contains `word`."""

    def __init__(self, task: str, word: str = ""):
        seed = next(seed for seed in range(_MAX_SEEDS) if word in make_scene(task, seed).instruction)
        self._task, self._lanes = task, KitchenLanes(task, 1, num_threads=1)
        self._lanes.start([seed], 1)
        self._scene = self._lanes.scenes[0]
        self._contacts = Contacts(self._lanes.physics, self._lanes.scenes)
        self._start = self._lanes.physics.rows.copy()

    def judge(self, case: Case) -> bool:
        """Whether the task is done in the pose of `case`."""
        lanes = self._lanes
        lanes.put_rows(_ALL, self._start)
        for part, angle in zip(self._scene.plan.parts, case.joints, strict=False):
            assert part.joint is not None
            self._qpos(part.joint)[0] = angle * part.unit
        if case.place is not None:
            # The lane is looked at for the place only after the container has moved.
            if isinstance(case.place, InContainer):
                self._qpos("container")[2] += _INTO if case.place.standing else _OVER
            lanes.put_rows(_ALL, lanes.physics.rows)
            self._qpos("object")[:7] = [*self._position(case.place), 1, 0, 0, 0]
            lanes.put_rows(_ALL, lanes.physics.rows)
            self._move_gripper(lanes.geometry(_ALL).target_position[0], case.distance, case.direction)
        if case.hand is not None:
            self._use(case.hand, case.distance, case.direction)
        return bool(lanes.status(_ALL).success[0])

    def _qpos(self, joint: str) -> Vector:
        """Where the joint's positions begin, to be written to."""
        return self._lanes.physics.qpos[0, self._scene.model.joint(joint).qposadr[0] :]

    def _position(self, place: InBox | InContainer | OnCounter | UnderDispenser) -> Vector:
        g, plan = self._lanes.geometry(_ALL), self._scene.plan
        goal, half = g.goal_position[0], g.object_half[0]
        if isinstance(place, InBox):
            return goal + _box_offset(place, g.goal_half[0], half, corners=self._task == "PnPCounterToCab")
        if isinstance(place, UnderDispenser):
            return goal + _offset(place.angle, place.aside, place.up)
        if isinstance(place, OnCounter):
            return self._scene.model.site("spot").pos + _over_counter(place, half)
        container = plan.container
        assert container is not None
        # Its bounding box is as wide as its opening; RoboCasa's radius reaches to the corner of that.
        aside = place.aside + place.radii * np.sqrt(2) * container.radius
        gap = _INTO if place.touching else container.height - container.floor + _OVER
        return goal + _offset(place.angle, aside, half[2] + gap)

    def _button(self, name: str) -> Vector:
        return self._scene.model.geom(name).pos

    def _use(self, hand: Hand, distance: float, direction: Direction) -> None:
        self._lanes.physics.userdata[0, USER_LATCH] = hand.machine_on
        asked = self._scene.plan.parts[0].target
        self._lanes.physics.qpos[0, robot.FINGERS] = 0.0
        if hand.touches or hand.hovers:
            buttons = [self._button(name) for name in hand.touches or (asked,)]
            apart = float(np.linalg.norm(buttons[0] - buttons[-1]))
            self._lanes.physics.qpos[0, robot.FINGERS] = apart / 2, -apart / 2
            self._move_gripper(np.mean(buttons, axis=0), _HOVER if hand.hovers else 0.0, "ahead")
            self._answer(set(hand.touches))
        self._move_gripper(self._button(asked), distance, direction)
        self._answer(set())

    def _answer(self, touched: set[str]) -> None:
        """What the machine makes of this pose at the end of a control step."""
        found = robot_touches(self._scene.model, self._lanes.physics.rows[0]) & set(_BUTTONS)
        assert found == touched, f"the hand touches {found}, not {touched}"
        touches = partial(self._contacts.between, _ALL)
        latch = goals.LATCHES[self._task](self._lanes.geometry(_ALL), touches)
        self._lanes.physics.userdata[0, USER_LATCH] = latch[0]
        self._lanes.put_rows(_ALL, self._lanes.physics.rows)

    def _move_gripper(self, point: Vector, distance: float, direction: Direction) -> None:
        """By base and torso; the arm stays as it is."""
        lanes = self._lanes
        # The robot stands before the fixture and looks along +x.
        away = {"above": (0, 0, 1), "ahead": (-1, 0, 0), "beside": (0, 1, 0)}[direction]
        lanes.put_rows(_ALL, lanes.physics.rows)
        move = point + distance * np.array(away) - lanes.geometry(_ALL).eef_position[0]
        lanes.physics.qpos[0, :2] += move[:2]
        lanes.physics.qpos[0, robot.TORSO] += move[2]
        lanes.put_rows(_ALL, lanes.physics.rows)


class OfficialSide:
    """RoboCasa's env on the stand-in pack `assets`, at the first seed whose instruction contains `word`."""

    def __init__(self, task: str, assets: Path, word: str = ""):
        # v0.2's layout 1 has no cabinet of one door.
        layouts = (2, 3, 4, 5) if installed().version is V02 and word == "cabinet" else (1,)
        kitchens = tuple((layout, 1) for layout in layouts)
        self._task, self._env = task, RoboCasaEnv(task, RoboCasaOptions(assets=assets, layout_styles=kitchens))
        next(seed for seed in range(_MAX_SEEDS) if word in self._env.reset(seed=seed)[1]["instruction"])
        self._official: Any = self._env._env
        self.version = self._env._ready.version
        self._model, self._data = self._official.sim.model._model, self._official.sim.data._data
        self._start = self._data.qpos.copy()

    def close(self) -> None:
        """Frees the simulation."""
        self._env.close()

    def can_take(self, case: Case) -> bool:
        """The hand is made for the fronts of our stand-ins; v0.2's own machines have buttons on top or side by side."""
        return self.version is not V02 or case.hand is None or not (case.hand.touches or case.hand.hovers)

    def judge(self, case: Case) -> bool:
        """Whether the task is done in the pose of `case`."""
        self._data.qpos[:] = self._start
        for (joint, unit), angle in zip(self._joints(), case.joints, strict=False):
            self._qpos(joint)[0] = angle * unit
        if case.place is not None:
            if isinstance(case.place, InContainer):
                self._qpos("container_joint0")[2] += _INTO if case.place.standing else _OVER
            self._forward()
            self._qpos("obj_joint0")[:7] = [*self._position(case.place), *self._yaw_quaternion()]
            self._forward()
            self._move_gripper(self._body("obj"), case.distance, case.direction)
        if case.hand is not None:
            self._use(case.hand, case.distance, case.direction)
        self._forward()
        return bool(self._official._check_success())

    @property
    def _fixture(self) -> Any:
        names = ("fxtr", "door_fxtr", "drawer", "cab", "sink", "microwave", "stove", "coffee_machine")
        return next(getattr(self._official, name) for name in names if hasattr(self._official, name))

    def _forward(self) -> None:
        mujoco.mj_forward(self._model, self._data)

    def _qpos(self, joint: str) -> Vector:
        return self._data.qpos[self._model.joint(joint).qposadr[0] :]

    def _joints(self) -> list[tuple[str, float]]:
        """The task's joints, and what makes 1 of a case of each [m or rad]."""
        official, fixture = self._official, self._fixture
        if self._task in ("TurnOnSinkFaucet", "TurnOffSinkFaucet"):
            return [(f"{fixture.naming_prefix}handle_joint", 1.0)]
        if self._task == "TurnSinkSpout":
            return [(f"{fixture.naming_prefix}spout_joint", 1.0 if official.behavior == "right" else -1.0)]
        if self._task in ("TurnOnStove", "TurnOffStove"):
            return [(f"{fixture.naming_prefix}knob_{official.knob}_joint", 1.0)]
        # Of the drawer's depth 0.55 counts (models/fixtures/cabinets.py:1049).
        travel = 0.55 * fixture.size[1] if self._task in ("OpenDrawer", "CloseDrawer") else np.pi / 2
        names = [
            name
            for name in self._official.sim.model.joint_names
            if name.startswith(f"{fixture.name}_") and name.endswith(("doorhinge", "slidejoint", "microjoint"))
        ]
        return [(name, travel if self._model.joint(name).range[0] >= 0 else -travel) for name in names]

    def _body(self, name: str) -> Vector:
        return self._data.xpos[self._official.obj_body_id[name]]

    def _axes(self) -> NDArray[np.float64]:
        """Of the fixture, as columns [3, 3]; its front faces -y."""
        cos, sin = np.cos(self._fixture.rot), np.sin(self._fixture.rot)
        return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])

    def _yaw_quaternion(self) -> tuple[float, float, float, float]:
        """The object stands as its fixture does."""
        return np.cos(self._fixture.rot / 2), 0.0, 0.0, np.sin(self._fixture.rot / 2)

    def _position(self, place: InBox | InContainer | OnCounter | UnderDispenser) -> Vector:
        """Of the object's body. Stand-ins have it in the middle of their bounding box."""
        corners = np.array(self._official.objects["obj"].get_bbox_points())
        half = (corners.max(axis=0) - corners.min(axis=0)) / 2
        assert np.allclose(corners.max(axis=0), half), "the body is not in the middle"
        if isinstance(place, InBox):
            return self._in_box(place, half)
        if isinstance(place, UnderDispenser):
            site = self._data.site(f"{self._fixture.naming_prefix}receptacle_place_site")
            return site.xpos + _offset(place.angle, place.aside, place.up)
        if isinstance(place, OnCounter):
            return self._counter_top() + _over_counter(place, half)
        container = self._official.objects["container"]
        inside = self._model.geom(f"{container.naming_prefix}reg_int")
        floor = inside.pos[2] - inside.size[2]
        gap = _INTO if place.touching else container.top_offset[2] - floor + _OVER
        aside = place.aside + place.radii * container.horizontal_radius
        return self._body("container") + _offset(place.angle, aside, floor + half[2] + gap)

    def _in_box(self, place: InBox, half: Vector) -> Vector:
        """Of several boxes over each other (a cabinet's levels) in the one that ends last along the place's axis."""
        positions = []
        boxes = self._fixture.get_int_sites(relative=False)
        for corner, *ends in boxes.values() if isinstance(boxes, dict) else [boxes]:  # v0.2 knows one alone
            edges = np.array(ends) - corner
            box_half = np.linalg.norm(edges, axis=1) / 2
            assert np.allclose(edges.T / (2 * box_half), self._axes()), "the box is not turned as the fixture is"
            offset = _box_offset(place, box_half, half, corners=self._task == "PnPCounterToCab")
            positions.append(corner + edges.sum(axis=0) / 2 + self._axes() @ offset)
        return max(positions, key=lambda position: place.side * float(self._axes()[:, place.axis] @ position))

    def _counter_top(self) -> Vector:
        """The middle of the top of one of the counter's slabs."""
        slab = next(name for name in self._official.counter.contact_geoms if "top" in name)
        upwards = np.abs(self._data.geom(slab).xmat[6:])  # of the slab's own axes, which textures may have turned
        return self._data.geom(slab).xpos + np.array([0.0, 0.0, upwards @ self._model.geom(slab).size])

    def _button(self, name: str) -> Vector:
        return self._data.geom(f"{self._fixture.naming_prefix}{name}").xpos.copy()

    def _use(self, hand: Hand, distance: float, direction: Direction) -> None:
        self._fixture._turned_on = hand.machine_on
        asked = "stop_button" if self._task == "TurnOffMicrowave" else "start_button"
        # The hand turns from down to straight ahead, and its fingers open vertically.
        self._qpos("robot0_joint6")[0] += np.pi / 2 - 0.29
        self._qpos("robot0_joint7")[0] += np.pi / 2
        fingers = self._qpos("gripper0_right_finger_joint1")
        fingers[:2] = 0.0
        if hand.touches or hand.hovers:
            buttons = [self._button(name) for name in hand.touches or (asked,)]
            apart = float(np.linalg.norm(buttons[0] - buttons[-1]))
            fingers[:2] = apart / 2, -apart / 2
            self._move_gripper(np.mean(buttons, axis=0), _HOVER if hand.hovers else 0.0, "ahead")
            self._answer(set(hand.touches))
        self._move_gripper(self._button(asked), distance, direction)
        self._answer(set())

    def _answer(self, touched: set[str]) -> None:
        prefix, gripper = self._fixture.naming_prefix, self._official.robots[0].gripper["right"]
        there = [name for name in _BUTTONS if f"{prefix}{name}" in self._official.sim.model.geom_names]
        found = {name for name in there if self._official.check_contact(gripper, f"{prefix}{name}")}
        assert found == touched, f"the hand touches {found}, not {touched}"
        self._fixture.update_state(self._official)

    def _move_gripper(self, point: Vector, distance: float, direction: Direction) -> None:
        """By base and torso, whose slides the gripper follows linearly; the arm stays as it is."""
        away = {"above": (0, 0, 1), "ahead": (0, -1, 0), "beside": (1, 0, 0)}[direction]
        wanted = point + self._axes() @ np.array(away) * distance
        self._forward()
        site, jacobian = self._official.robots[0].eef_site_id["right"], np.zeros((3, self._model.nv))
        mujoco.mj_jacSite(self._model, self._data, jacobian, None, site)
        slides = ("mobile_forward", "mobile_side", "torso_height")
        dofs = [self._model.joint(f"mobilebase0_joint_{slide}").dofadr[0] for slide in slides]
        moves = np.linalg.solve(jacobian[:, dofs], wanted - self._data.site_xpos[site])
        for slide, move in zip(slides, moves, strict=True):
            self._qpos(f"mobilebase0_joint_{slide}")[0] += move
        self._forward()
        assert np.allclose(self._data.site_xpos[site], wanted, atol=1e-6)
