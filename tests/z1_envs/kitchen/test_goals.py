"""What all goals share: contacts, phases, latches. The thresholds of each task are in test_tasks_*.py."""

import dataclasses

import numpy as np
import pytest

from tests.z1_envs.kitchen.play import TASKS, all_of, follow_expert, started
from z1_envs.kitchen import goals, robot
from z1_envs.kitchen.contacts import GRIPPER, Contacts
from z1_envs.kitchen.demos import NOISE_SHAPE
from z1_envs.kitchen.experts.expert import EXPERTS, expert_actions
from z1_envs.kitchen.lanes import KitchenLanes
from z1_envs.kitchen.scene import PLANNERS


def test_every_task_has_a_scene_a_goal_and_an_expert() -> None:
    assert set(PLANNERS) == set(goals.SUCCESS) == set(EXPERTS) == set(TASKS)


def reaching(reach: float) -> KitchenLanes:
    """A lane whose gripper is at `reach` [m] before the drawer's handle."""
    lanes = started("OpenDrawer", [0])
    g = lanes.geometry(all_of(lanes))
    # The base's slides move along the world's x and y, the torso along z, whatever the yaw.
    move = g.target_position[0] - [reach, 0, 0] - g.eef_position[0]
    qpos = lanes.physics.qpos[0]
    qpos[:2] += move[:2]
    qpos[robot.TORSO] += move[2]
    lanes.put_rows(all_of(lanes), lanes.physics.rows)
    assert lanes.geometry(all_of(lanes)).reach[0] == pytest.approx(reach)
    return lanes


@pytest.mark.parametrize(("reach", "manipulating"), [(0.079, True), (0.081, False)])
def test_the_phase_changes_with_the_distance_to_the_target(reach: float, manipulating: bool) -> None:
    lanes = reaching(reach)
    assert lanes.status(all_of(lanes)).manipulating[0] == manipulating


@pytest.mark.parametrize("task", TASKS)
def test_episodes_begin_with_the_approach_and_come_to_manipulation(task: str) -> None:
    lanes = started(task, range(4))
    assert not lanes.status(all_of(lanes)).manipulating.any()
    seen = np.zeros(4, dtype=bool)
    for _ in range(150):
        follow_expert(lanes, 1)
        seen |= lanes.status(all_of(lanes)).manipulating
        if seen.all():
            break
    assert seen.all()


def test_what_was_read_last_is_forgotten_when_a_state_is_put() -> None:
    lanes = started("OpenDrawer", [0])
    joint = lanes.scenes[0].model.joint("drawer").qposadr[0]
    assert lanes.geometry(all_of(lanes)).joints[0, 0] == 0
    assert not lanes.status(all_of(lanes)).success[0]
    row = lanes.physics.rows[0].copy()
    lanes.physics.qpos[0, joint] = lanes.scenes[0].plan.parts[0].unit
    lanes.put_rows(all_of(lanes), lanes.physics.rows)
    assert lanes.geometry(all_of(lanes)).joints[0, 0] == pytest.approx(1)
    assert lanes.status(all_of(lanes)).success[0]
    lanes.put_rows(all_of(lanes), row)
    assert not lanes.status(all_of(lanes)).success[0]


def test_contacts_are_those_of_the_state_asked_about_and_only_where_asked() -> None:
    lanes = started("PnPCounterToSink", range(3))
    follow_expert(lanes, 2)
    contacts = Contacts(lanes.physics, lanes.scenes)
    everywhere = np.ones(3, dtype=bool)
    assert contacts.between(all_of(lanes), everywhere, "object", "counter").all(), "objects stand on the counter"
    assert contacts.between(all_of(lanes), everywhere, "counter", "object").all(), "in either order"
    assert not contacts.between(all_of(lanes), everywhere, GRIPPER, "object").any()
    assert contacts.between(all_of(lanes), np.array([True, False, True]), "object", "counter").tolist() == [
        True, False, True,
    ]  # fmt: skip
    object_z = lanes.scenes[1].model.joint("object").qposadr[0] + 2
    lanes.physics.qpos[1, object_z] += 0.005
    assert contacts.between(all_of(lanes), everywhere, "object", "counter").tolist() == [True, False, True]
    assert contacts.between(np.array([1, 2]), np.ones(2, dtype=bool), "object", "counter").tolist() == [False, True]


@pytest.mark.parametrize(
    ("task", "button"),
    [("CoffeePressButton", "start_button"), ("TurnOnMicrowave", "start_button"), ("TurnOffMicrowave", "stop_button")],
)
def test_no_touch_of_a_button_is_overlooked(task: str, button: str) -> None:
    lanes = started(task, range(12))
    contacts, rng = Contacts(lanes.physics, lanes.scenes), np.random.default_rng(0)
    everywhere, num_touches = np.ones(12, dtype=bool), 0
    for _ in range(60):
        g = lanes.geometry(all_of(lanes))
        disturbed = expert_actions(task, g) + rng.normal(0, 0.15, (12, 12)) * NOISE_SHAPE
        lanes.step(all_of(lanes), np.clip(disturbed, -1, 1))
        g = lanes.geometry(all_of(lanes))
        asked: dict[str, np.ndarray] = {}

        def spy(mask: np.ndarray, _one: str | tuple[str, ...], other: str, asked=asked) -> np.ndarray:
            asked[other] = mask
            return np.zeros(12, dtype=bool)

        goals.LATCHES[task](dataclasses.replace(g, latch=np.full(12, button == "stop_button")), spy)
        touching = contacts.between(all_of(lanes), everywhere, GRIPPER, button)
        num_touches += int(touching.sum())
        assert not (touching & ~asked[button]).any()
    assert num_touches > 10, "without touches this proves nothing"
