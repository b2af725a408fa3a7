"""Drawers and doors: how episodes start, and the goals on both sides of every threshold."""

import numpy as np
import pytest

from tests.z1_envs.kitchen.play import all_of, started
from z1_envs.kitchen.fixtures.cabinet import WallCabinet
from z1_envs.kitchen.fixtures.drawer import Drawer
from z1_envs.kitchen.fixtures.microwave import Microwave
from z1_envs.kitchen.lanes import KitchenLanes
from z1_envs.kitchen.physics import check_sizes
from z1_envs.kitchen.scene import SceneOptions, make_scene

NUM_SEEDS = 24
DRAWERS = ("OpenDrawer", "CloseDrawer")
SINGLE = ("OpenSingleDoor", "CloseSingleDoor")
DOUBLE = ("OpenDoubleDoor", "CloseDoubleDoor")
TASKS = DRAWERS + SINGLE + DOUBLE
ABOVE, BELOW = 1e-3, -1e-3


def put_joints(lanes: KitchenLanes, lane: int, *shares: float) -> None:
    """The joints of the lane's parts at shares of their travel or right angle."""
    scene = lanes.scenes[lane]
    for part, share in zip(scene.plan.parts, shares, strict=True):
        assert part.joint is not None
        lanes.physics.qpos[lane, scene.model.joint(part.joint).qposadr[0]] = share * part.unit
    lanes.put_rows(all_of(lanes), lanes.physics.rows)


def succeeds(task: str, *shares: float) -> bool:
    lanes = started(task, [0])
    put_joints(lanes, 0, *shares)
    return bool(lanes.status(all_of(lanes)).success[0])


@pytest.mark.parametrize(
    ("task", "share", "success"),
    [
        ("OpenDrawer", 0.95 + ABOVE, True),
        ("OpenDrawer", 0.95 + BELOW, False),
        ("CloseDrawer", 0.05 + ABOVE, False),
        ("CloseDrawer", 0.05 + BELOW, True),
        ("OpenSingleDoor", 0.90 + ABOVE, True),
        ("OpenSingleDoor", 0.90 + BELOW, False),
        ("CloseSingleDoor", 0.05 + ABOVE, False),
        ("CloseSingleDoor", 0.05 + BELOW, True),
    ],
)
def test_goals_of_one_joint(task: str, share: float, success: bool) -> None:
    assert succeeds(task, share) == success


@pytest.mark.parametrize("task", DOUBLE)
def test_goals_of_double_doors_ask_for_both(task: str) -> None:
    threshold = 0.90 if task == "OpenDoubleDoor" else 0.05
    good, bad = (ABOVE, BELOW) if task == "OpenDoubleDoor" else (BELOW, ABOVE)
    assert succeeds(task, threshold + good, threshold + good)
    assert not succeeds(task, threshold + bad, threshold + good)
    assert not succeeds(task, threshold + good, threshold + bad)


@pytest.mark.parametrize(
    ("task", "first", "due"),
    [
        ("OpenDoubleDoor", 0.92, 0),
        ("OpenDoubleDoor", 0.94, 1),
        ("CloseDoubleDoor", 0.04, 0),
        ("CloseDoubleDoor", 0.02, 1),
    ],
)
def test_the_second_door_is_due_when_the_first_is_done_with_room_to_spare(task: str, first: float, due: int) -> None:
    lanes = started(task, [0])
    put_joints(lanes, 0, first, 0.5)
    g = lanes.geometry(all_of(lanes))
    assert g.part.tolist() == [due]
    assert g.joints[0] == pytest.approx([first, 0.5])


@pytest.mark.parametrize("task", TASKS)
def test_joints_begin_where_robocasa_puts_them(task: str) -> None:
    lanes = started(task, range(NUM_SEEDS))
    shares = lanes.geometry(all_of(lanes)).joints[:, : len(lanes.scenes[0].plan.parts)]
    if task.startswith("Open"):
        assert not shares.any()
    else:
        assert 0.90 <= shares.min() < 0.92
        assert 0.98 < shares.max() <= 1.0


@pytest.mark.parametrize("task", TASKS)
def test_targets_reach_their_goals_when_the_joint_is_done(task: str) -> None:
    lanes = started(task, range(4))
    parts = lanes.scenes[0].plan.parts
    for lane in range(4):
        put_joints(lanes, lane, *[1.0 if task.startswith("Open") else 0.0] * len(parts))
    g = lanes.geometry(all_of(lanes))
    assert g.target_position == pytest.approx(g.goal_position, abs=1e-9)


@pytest.mark.parametrize("task", DRAWERS)
def test_the_side_of_a_drawer_is_the_robots(task: str) -> None:
    said = set()
    for seed in range(NUM_SEEDS):
        scene = make_scene(task, seed)
        (drawer,) = scene.plan.fixtures
        assert isinstance(drawer, Drawer)
        side = "left" if drawer.y > scene.start.base[1] else "right"
        assert scene.instruction.endswith(f"the {side} drawer")
        said.add(side)
    assert said == {"left", "right"}


@pytest.mark.parametrize("task", SINGLE)
def test_half_of_the_single_doors_are_the_microwaves(task: str) -> None:
    scenes = [make_scene(task, seed) for seed in range(2 * NUM_SEEDS)]
    microwaves = [isinstance(scene.plan.fixtures[0], Microwave) for scene in scenes]
    assert 0.25 < np.mean(microwaves) < 0.75
    for scene, microwave in zip(scenes, microwaves, strict=True):
        assert scene.instruction.endswith("the microwave door" if microwave else "the cabinet door")
    fixtures = [scene.plan.fixtures[0] for scene in scenes]
    assert {fixture.hinge for fixture in fixtures if isinstance(fixture, WallCabinet)} == {1, -1}
    both = [scenes[microwaves.index(True)], scenes[microwaves.index(False)]]
    check_sizes([scene.model for scene in [*both, make_scene(task, 0, 0, SceneOptions(split="test"))]])


def test_closing_begins_inside_and_outside_of_the_open_door() -> None:
    """No fixed sequence of actions closes most doors: from inside the gripper has to go around the edge first."""
    lanes = started("CloseSingleDoor", range(2 * NUM_SEEDS))
    g = lanes.geometry(all_of(lanes))
    from_target = g.eef_position - g.target_position
    inside = (from_target * g.target_rotation[:, :, 2]).sum(axis=1)
    assert 0.25 < np.mean(inside > 0) < 0.75
    beyond_edge = (from_target * g.target_rotation[:, :, 1]).sum(axis=1)
    assert beyond_edge.min() > 0.15, "the gripper begins before the door's edge, on the robot's side"


@pytest.mark.parametrize("task", DOUBLE)
def test_the_first_of_two_doors_is_that_on_the_grippers_side(task: str) -> None:
    lanes = started(task, range(NUM_SEEDS))
    g = lanes.geometry(all_of(lanes))
    firsts = []
    for lane, scene in enumerate(lanes.scenes):
        side = "left" if g.eef_position[lane, 1] > g.base_position[lane, 1] else "right"
        assert scene.plan.parts[0].joint == f"{side}_door"
        firsts.append(side)
    assert set(firsts) == {"left", "right"}
