"""Tasks whose objects are picked from above: what plans promise, and every success threshold from both sides."""

import numpy as np
import pytest

from tests.z1_envs.kitchen.play import all_of, robot_touches, started
from z1_envs.kitchen import robot
from z1_envs.kitchen.experts.grasp import underside
from z1_envs.kitchen.goals import GRIPPER_FAR, PAN_RADIUS, RECEPTACLE_SHARE
from z1_envs.kitchen.lanes import KitchenLanes
from z1_envs.kitchen.physics import check_sizes
from z1_envs.kitchen.scene import make_scene

TASKS = ("PnPCounterToSink", "PnPSinkToCounter", "PnPCounterToStove", "PnPStoveToCounter")
SEEDS = range(24)
STEP = 1e-3  # [m] beyond and before a threshold
FAR = np.array([-0.1, 0.0, 0.4])  # from the object to a gripper that is out of the way


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


def lift_container(lanes: KitchenLanes, up: float) -> None:
    """The container of lane 0 is `up` higher than at the start, with what is in it."""
    first = lanes.scenes[0].model.joint("container").qposadr[0]
    lanes.physics.qpos[0, first + 2] += up
    lanes.put_rows(all_of(lanes), lanes.physics.rows)


def in_container(lanes: KitchenLanes, gap: float = -1e-3, aside: float = 0.0, angle: float = 0.0) -> np.ndarray:
    """Where the object of lane 0 is `gap` over the container's floor and `aside` of its middle."""
    kind = lanes.scenes[0].plan.kind
    assert kind is not None
    goal = lanes.geometry(all_of(lanes)).goal_position[0]
    return goal + np.array([aside * np.cos(angle), aside * np.sin(angle), kind.half[2] + gap])


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
    assert np.abs(after.goal_position - before.goal_position).max() < 2e-3
    assert (-after.target_rotation[:, 2, 2] > np.cos(0.1)).all(), "it leans"
    assert len({scene.plan.kind for scene in lanes.scenes}) > 5


def test_objects_start_where_instructions_say() -> None:
    """Within 2 cm of the middle of their plate or pan, in the rear half of the basin, or on the counter."""
    for task in TASKS:
        lanes = started(task, SEEDS)
        g = lanes.geometry(all_of(lanes))
        under = underside(g)
        for lane, scene in enumerate(lanes.scenes):
            plan = scene.plan
            assert plan.kind is not None
            assert plan.kind.name in scene.instruction
            if plan.source is not None:
                dish, place = plan.source
                assert dish.name in scene.instruction
                assert under[lane] == pytest.approx(np.add(place, (0, 0, dish.floor)), abs=0.02)
                assert under[lane, 2] == pytest.approx(place[2] + dish.floor, abs=1e-3)
            elif task == "PnPSinkToCounter":
                basin = scene.model.site("basin")
                assert (np.abs(g.target_position[lane] - basin.pos) < basin.size).all()
                assert g.target_position[lane, 0] >= basin.pos[0]
            else:
                assert under[lane, 2] == pytest.approx(g.counter_top[lane], abs=1e-3)


@pytest.mark.parametrize("task", TASKS[1:])
def test_containers_stand_where_instructions_say(task: str) -> None:
    """On the counter beside the fixture, or on a burner."""
    for seed in SEEDS:
        scene = make_scene(task, seed)
        container = scene.plan.container
        assert container is not None
        assert container.name in scene.instruction
        x, y, z, _ = dict(scene.start.poses)["container"]
        assert z == pytest.approx(scene.plan.kitchen.counter_top, abs=1e-3)
        low, high = scene.plan.fixtures[0].span
        if task == "PnPCounterToStove":
            assert container.name == "pan"
            burners = [scene.model.site(i) for i in range(scene.model.nsite)]
            near = [np.hypot(x - b.pos[0], y - b.pos[1]) for b in burners if b.name.startswith("burner")]
            assert min(near) < 0.03
        elif task == "PnPStoveToCounter":
            assert not low - container.radius < y < high + container.radius
            preposition = "in" if container.name == "bowl" else "on"
            assert f"place it {preposition} the {container.name}" in scene.instruction
        else:
            basin = scene.model.site("basin")
            assert abs(y - basin.pos[1]) > basin.size[1] + container.radius


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("side", [-1, 1])
def test_the_centre_has_to_be_in_the_basin(axis: int, side: int) -> None:
    lanes = started("PnPCounterToSink", [0])
    g = lanes.geometry(all_of(lanes))
    put(lanes, g.goal_position[0])
    assert succeeds(lanes)
    for beyond, success in ((-STEP, True), (STEP, False)):
        offset = np.zeros(3)
        offset[axis] = side * (g.goal_half[0, axis] + beyond)
        put(lanes, g.goal_position[0] + offset)
        assert succeeds(lanes) == success


@pytest.mark.parametrize("task", TASKS[1:])
@pytest.mark.parametrize(("gap", "success"), [(-1e-3, True), (5e-3, False)])
def test_the_object_has_to_touch_the_container(task: str, gap: float, success: bool) -> None:
    lanes = started(task, [0])
    lift_container(lanes, -1e-3)
    put(lanes, in_container(lanes, gap))
    assert succeeds(lanes) == success


@pytest.mark.parametrize("task", TASKS[1:])
@pytest.mark.parametrize(("beyond", "success"), [(-STEP, True), (STEP, False)])
@pytest.mark.parametrize("angle", [0.0, 2.0, 4.0])
def test_the_object_has_to_be_near_the_containers_middle(
    task: str, beyond: float, success: bool, angle: float
) -> None:  # fmt: skip
    lanes = started(task, [0])
    lift_container(lanes, -1e-3)
    radius = lanes.geometry(all_of(lanes)).container_radius[0]
    limit = RECEPTACLE_SHARE * radius if task == "PnPSinkToCounter" else PAN_RADIUS
    put(lanes, in_container(lanes, aside=limit + beyond, angle=angle))
    assert succeeds(lanes) == success


@pytest.mark.parametrize(("up", "success"), [(-1e-3, True), (5e-3, False)])
def test_the_container_has_to_stand_on_the_counter(up: float, success: bool) -> None:
    lanes = started("PnPSinkToCounter", [0])
    lift_container(lanes, up)
    put(lanes, in_container(lanes))
    assert succeeds(lanes) == success


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("beyond", "success"), [(-STEP, False), (STEP, True)])
def test_the_gripper_has_to_be_far(task: str, beyond: float, success: bool) -> None:
    lanes = started(task, [0])
    if task == "PnPCounterToSink":
        place = lanes.geometry(all_of(lanes)).goal_position[0]
    else:
        lift_container(lanes, -1e-3)
        place = in_container(lanes)
    put(lanes, place, np.array([0.0, 0.0, GRIPPER_FAR + beyond]))
    assert succeeds(lanes) == success
