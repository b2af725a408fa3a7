"""When a task is done: RoboCasa v0.2's success predicates and thresholds, and the phase of an episode.

Sources: `environments/kitchen/single_stage` of v0.2; the lines are named per predicate. Success is
instantaneous: no predicate asks for a time.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from z1_envs.kitchen.geometry import Geometry

BoolArray = NDArray[np.bool_]

DRAWER_OPEN = 0.95  # share of the travel (kitchen_drawer.py:162)
DOOR_CLOSED = 0.05  # share of a right angle (kitchen_doors.py)
GRIPPER_FAR = 0.25  # [m] between gripper and object (utils/object_utils.py:349)
MANIPULATION_REACH = 0.08  # [m] ours: closer to the target than this, the gripper is manipulating


def drawer_is_open(g: Geometry) -> BoolArray:
    """OpenDrawer: the drawer slid out to `DRAWER_OPEN`."""
    return g.fixture_joint >= DRAWER_OPEN


def door_is_closed(g: Geometry) -> BoolArray:
    """CloseSingleDoor: the door within `DOOR_CLOSED` of its frame."""
    return g.fixture_joint <= DOOR_CLOSED


def object_is_in_goal(g: Geometry) -> BoolArray:
    """PnPCounterToSink: the object's centre inside the goal's box, the gripper away (kitchen_pnp.py:356)."""
    inside = np.abs(g.target_position - g.goal_position) <= g.goal_half
    return inside[:, 0] & inside[:, 1] & inside[:, 2] & (g.reach > GRIPPER_FAR)


SUCCESS: dict[str, Callable[[Geometry], BoolArray]] = {
    "OpenDrawer": drawer_is_open,
    "CloseSingleDoor": door_is_closed,
    "PnPCounterToSink": object_is_in_goal,
}


def is_manipulating(g: Geometry) -> BoolArray:
    """Whether the phase is `manipulation` (gripper at the target) rather than `approach`."""
    return g.reach < MANIPULATION_REACH
