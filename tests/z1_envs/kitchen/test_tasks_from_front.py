"""Tasks whose objects are picked from in front: what plans promise, and every success threshold from both sides."""

import numpy as np
import pytest

from tests.z1_envs.kitchen.play import all_of, robot_touches, started
from z1_envs.kitchen import robot
from z1_envs.kitchen.goals import INSIDE_SLACK, MUG_ASIDE, MUG_HEIGHT, RECEPTACLE_SHARE
from z1_envs.kitchen.lanes import KitchenLanes
from z1_envs.kitchen.physics import check_sizes
from z1_envs.kitchen.scene import make_scene

OVEN = ("PnPCounterToMicrowave", "PnPMicrowaveToCounter")
TASKS = ("CoffeeSetupMug", "CoffeeServeMug", "PnPCounterToCab", "PnPCabToCounter", *OVEN)
SEEDS = range(24)
STEP = 1e-3  # [m] beyond and before a threshold
FAR = np.array([-0.5, 0.0, 0.0])  # from the object to a gripper that is out of the way


def put(lanes: KitchenLanes, position: np.ndarray, gripper: np.ndarray = FAR) -> None:
    """The object of lane 0 upright at `position` [3], the gripper at `gripper` [3] from it."""
    physics, model = lanes.physics, lanes.scenes[0].model
    first = model.joint("object").qposadr[0]
    physics.qpos[0, first : first + 7] = [*position, 1, 0, 0, 0]
    lanes.put_rows(all_of(lanes), physics.rows)
    move = position + gripper - lanes.geometry(all_of(lanes)).eef_position[0]
    # The base's slides move along the world's x and y, the torso along z, whatever the yaw.
    physics.qpos[0, :2] += move[:2]
    physics.qpos[0, robot.TORSO] += move[2]
    lanes.put_rows(all_of(lanes), physics.rows)


def succeeds(lanes: KitchenLanes) -> bool:
    return bool(lanes.status(all_of(lanes)).success[0])


@pytest.mark.parametrize("task", TASKS)
def test_starts_are_at_rest_untouched_and_unsolved(task: str) -> None:
    lanes = started(task, SEEDS)
    assert lanes.num_redraws == 0
    check_sizes([scene.model for scene in lanes.scenes])
    for lane, scene in enumerate(lanes.scenes):
        assert robot_touches(scene.model, lanes.physics.rows[lane]) == set(), lane
    before = lanes.geometry(all_of(lanes))
    for _ in range(20):
        assert not lanes.step(all_of(lanes), np.zeros((len(SEEDS), 12))).success.any()
    after = lanes.geometry(all_of(lanes))
    assert np.abs(after.target_position - before.target_position).max() < 2e-3
    assert (-after.target_rotation[:, 2, 2] > np.cos(0.1)).all(), "it leans"


@pytest.mark.parametrize("task", ["PnPCounterToCab", "PnPCabToCounter"])
def test_cabinet_doors_stand_open(task: str) -> None:
    for seed in SEEDS:
        joints = dict(make_scene(task, seed).start.joints)
        assert set(joints) == {"left_door", "right_door"}
        assert all(0.90 * np.pi / 2 <= angle <= np.pi / 2 for angle in joints.values())


def test_objects_start_where_instructions_say() -> None:
    for task, inside in (("PnPCounterToCab", False), ("PnPCabToCounter", True)):
        lanes = started(task, SEEDS)
        for lane, scene in enumerate(lanes.scenes):
            position = lanes.geometry(all_of(lanes)).target_position[lane]
            site = scene.model.site("interior")
            assert (np.abs(position - site.pos) < site.size).all() == inside
            assert scene.plan.kind is not None
            assert scene.plan.kind.name in scene.instruction
    lanes = started("CoffeeServeMug", SEEDS)
    for lane, scene in enumerate(lanes.scenes):
        apart = lanes.geometry(all_of(lanes)).target_position[lane] - scene.model.site("receptacle").pos
        assert np.hypot(apart[0], apart[1]) < 1e-3


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("side", [-1, 1])
def test_all_corners_have_to_be_in_the_cabinet_with_some_slack(axis: int, side: int) -> None:
    lanes = started("PnPCounterToCab", [0])
    g = lanes.geometry(all_of(lanes))
    limit = g.goal_half[0] + INSIDE_SLACK / (2 * g.goal_half[0]) - g.object_half[0]
    put(lanes, g.goal_position[0])
    assert succeeds(lanes)
    for beyond, success in ((-STEP, True), (STEP, False)):
        offset = np.zeros(3)
        offset[axis] = side * (limit[axis] + beyond)
        put(lanes, g.goal_position[0] + offset)
        assert succeeds(lanes) == success


@pytest.mark.parametrize("task", ["CoffeeServeMug", "PnPCabToCounter"])
@pytest.mark.parametrize(("gap", "success"), [(5e-3, False), (-1e-3, True)])
def test_the_object_has_to_touch_the_counter(task: str, gap: float, success: bool) -> None:
    lanes = started(task, [0])
    put(lanes, on_counter(lanes, gap))
    assert succeeds(lanes) == success


def on_counter(lanes: KitchenLanes, gap: float) -> np.ndarray:
    """Where the object is `gap` over the spot on the counter."""
    kind = lanes.scenes[0].plan.kind
    assert kind is not None
    return lanes.scenes[0].model.site("spot").pos + np.array([0, 0, kind.half[2] + gap])


@pytest.mark.parametrize(
    ("aside", "up", "success"),
    [
        (0.0, 0.03, True), (MUG_ASIDE - STEP, 0.03, True), (MUG_ASIDE + STEP, 0.03, False),
        (0.0, MUG_HEIGHT - STEP, True), (0.0, MUG_HEIGHT + STEP, False),
        (0.0, -MUG_HEIGHT + STEP, True), (0.0, -MUG_HEIGHT - STEP, False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("angle", [0.0, 2.0, 4.0])
def test_a_mug_is_set_up_under_the_dispenser(aside: float, up: float, success: bool, angle: float) -> None:
    lanes = started("CoffeeSetupMug", [0])
    goal = lanes.geometry(all_of(lanes)).goal_position[0]
    put(lanes, goal + np.array([aside * np.cos(angle), aside * np.sin(angle), up]))
    assert succeeds(lanes) == success


def on_container(lanes: KitchenLanes, gap: float, aside: float) -> np.ndarray:
    """Where the object is `gap` over the floor of the container, `aside` of its middle."""
    kind = lanes.scenes[0].plan.kind
    assert kind is not None
    goal = lanes.geometry(all_of(lanes)).goal_position[0]
    return goal + np.array([0, aside, kind.half[2] + gap])


def lift_container(lanes: KitchenLanes, up: float) -> None:
    """The container of lane 0 is `up` higher than at the start."""
    first = lanes.scenes[0].model.joint("container").qposadr[0]
    lanes.physics.qpos[0, first + 2] += up
    lanes.put_rows(all_of(lanes), lanes.physics.rows)


@pytest.mark.parametrize(
    ("up", "gap", "success"), [(-1e-3, -1e-3, True), (-1e-3, 5e-3, False), (5e-3, -1e-3, False)]
)  # fmt: skip
def test_food_is_on_the_plate_and_the_plate_in_the_microwave(up: float, gap: float, success: bool) -> None:
    lanes = started("PnPCounterToMicrowave", [0])
    lift_container(lanes, up)
    put(lanes, on_container(lanes, gap, 0.0))
    assert succeeds(lanes) == success


@pytest.mark.parametrize(("gap", "success"), [(-1e-3, True), (5e-3, False)])
def test_food_has_to_touch_the_dish(gap: float, success: bool) -> None:
    lanes = started("PnPMicrowaveToCounter", [0])
    put(lanes, on_container(lanes, gap, 0.0))
    assert succeeds(lanes) == success


@pytest.mark.parametrize(("beyond", "success"), [(-STEP, True), (STEP, False)])
def test_food_lies_near_the_middle_of_the_dish(beyond: float, success: bool) -> None:
    lanes = started("PnPMicrowaveToCounter", [0])
    limit = RECEPTACLE_SHARE * lanes.geometry(all_of(lanes)).container_radius[0]
    put(lanes, on_container(lanes, -2e-3, limit + beyond))
    assert succeeds(lanes) == success


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("reach", "success"), [(0.25 - STEP, False), (0.25 + STEP, True)])
def test_the_gripper_has_to_be_away(task: str, reach: float, success: bool) -> None:
    lanes = started(task, [0])
    goal = lanes.geometry(all_of(lanes)).goal_position[0]
    place = on_counter(lanes, -1e-3) if task in ("CoffeeServeMug", "PnPCabToCounter") else goal
    if task in OVEN:
        lift_container(lanes, -STEP)
        place = on_container(lanes, -STEP, 0.0)
    put(lanes, place, np.array([-reach, 0.0, 0.0]))
    assert succeeds(lanes) == success
