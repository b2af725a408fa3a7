"""When a task is done: RoboCasa v0.2's success predicates and thresholds, what latches, and the phase of an episode.

Sources: `environments/kitchen/single_stage` of v0.2, lines as named; `utils/object_utils.py`; `models/fixtures`.
Success is instantaneous: no predicate asks for a time. Contacts are asked for last, and only where all else holds.
"""

from collections.abc import Callable

import numpy as np

from z1_envs.kitchen.contacts import GRIPPER
from z1_envs.kitchen.fixtures.microwave import BUTTONS_APART
from z1_envs.kitchen.geometry import BoolArray, FloatArray, Geometry, norm, to_frame

# touches(asked [n], one, other) [n]: do geoms named so touch, in lanes of the mask `asked`? (contacts.py)
Touches = Callable[[BoolArray, "str | tuple[str, ...]", str], BoolArray]
Predicate = Callable[[Geometry, Touches], BoolArray]

DRAWER_OPEN = 0.95  # share of the travel (kitchen_drawer.py:162)
DRAWER_CLOSED = 0.05
DOOR_OPEN = 0.90  # share of a right angle (kitchen_doors.py:67)
DOOR_CLOSED = 0.05
KNOB_ON = 0.35  # [rad] from the upright, either way (kitchen_stove.py:105)
WATER_ON = 0.40  # [rad] of the faucet's handle, up to pi (sink.py:90)
SPOUT_TURNED = np.pi / 6  # [rad] to the side, up to pi (sink.py:100)
GRIPPER_FAR = 0.25  # [m] between gripper and object (utils/object_utils.py:349)
BUTTON_FAR = 0.15  # [m] between gripper and button (microwave.py:124, accessories.py:118)
# Of the container's radius, between the centres (utils/object_utils.py). RoboCasa's 0.7 is of half the diagonal of the
# container's bounding box (models/objects/objects.py:149).
RECEPTACLE_SHARE = 0.7 * 2**0.5
PAN_RADIUS = 0.07  # [m] between the centres, on the stove and from it (kitchen_pnp.py:805, 897)
INSIDE_SLACK = 0.05  # [m²] over the length of an edge: RoboCasa's edge vectors have no unit length (object_utils.py:12)
MUG_ASIDE, MUG_HEIGHT = 0.04, 0.10  # [m] from the dispenser's place (accessories.py:96)
MICROWAVE_DOOR_AJAR = 0.005  # share of a right angle; more turns it off (microwave.py:114)
MANIPULATION_REACH = 0.08  # [m] ours: closer to where it works than this, the gripper is manipulating
PUSH_REACH = 0.12  # [m] ours: the same where a door is pushed shut
# A box round hand and fingers in the gripper's frame [m], 2 cm larger than they are: half a button, to its corner.
_HAND_LOW, _HAND_HIGH = np.array([-0.045, -0.12, -0.13]), np.array([0.045, 0.12, 0.031])


def _drawer_is_open(g: Geometry, _touches: Touches) -> BoolArray:
    return g.joints[:, 0] >= DRAWER_OPEN


def _drawer_is_closed(g: Geometry, _touches: Touches) -> BoolArray:
    return g.joints[:, 0] <= DRAWER_CLOSED


def _door_is_open(g: Geometry, _touches: Touches) -> BoolArray:
    return g.joints[:, 0] >= DOOR_OPEN


def _door_is_closed(g: Geometry, _touches: Touches) -> BoolArray:
    return g.joints[:, 0] <= DOOR_CLOSED


def _both_doors_are_open(g: Geometry, _touches: Touches) -> BoolArray:
    return np.all(g.joints >= DOOR_OPEN, axis=1)


def _both_doors_are_closed(g: Geometry, _touches: Touches) -> BoolArray:
    return np.all(g.joints <= DOOR_CLOSED, axis=1)


def _knob_is_on(g: Geometry, _touches: Touches) -> BoolArray:
    angle = g.joints[:, 0] % (2 * np.pi)
    return (angle >= KNOB_ON) & (angle <= 2 * np.pi - KNOB_ON)


def _knob_is_off(g: Geometry, touches: Touches) -> BoolArray:
    return ~_knob_is_on(g, touches)


def _water_runs(g: Geometry, _touches: Touches) -> BoolArray:
    angle = g.joints[:, 0] % (2 * np.pi)
    return (angle > WATER_ON) & (angle < np.pi)


def _water_is_off(g: Geometry, touches: Touches) -> BoolArray:
    return ~_water_runs(g, touches)


def _spout_is_turned(g: Geometry, _touches: Touches) -> BoolArray:
    """The spout's joint is measured towards the side that was asked for."""
    angle = g.joints[:, 0] % (2 * np.pi)
    return (angle >= SPOUT_TURNED) & (angle <= np.pi)


def _machine_is_on(g: Geometry, _touches: Touches) -> BoolArray:
    return g.latch & (g.reach > BUTTON_FAR)


def _machine_is_off(g: Geometry, _touches: Touches) -> BoolArray:
    return ~g.latch & (g.reach > BUTTON_FAR)


def _far(g: Geometry) -> BoolArray:
    return g.reach > GRIPPER_FAR


def _aside(g: Geometry) -> FloatArray:
    """Horizontal distance [n] of the object from the goal."""
    apart = g.target_position - g.goal_position
    return np.sqrt(apart[:, 0] ** 2 + apart[:, 1] ** 2)


def _object_is_in_cabinet(g: Geometry, _touches: Touches) -> BoolArray:
    """All corners of its bounding box in the interior, with RoboCasa's slack (kitchen_pnp.py:129)."""
    limit = g.goal_half + INSIDE_SLACK / (2 * g.goal_half)
    inside = _far(g)
    for corner in np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8).T:
        half = g.object_half * corner
        place = g.target_position + sum(g.target_rotation[:, :, k] * half[:, k, None] for k in range(3))
        inside &= (np.abs(to_frame(g.goal_rotation, place - g.goal_position)) <= limit).all(axis=1)
    return inside


def _object_is_in_sink(g: Geometry, _touches: Touches) -> BoolArray:
    """Its centre in the basin (kitchen_pnp.py:356)."""
    return (np.abs(g.target_position - g.goal_position) <= g.goal_half).all(axis=1) & _far(g)


def _object_is_on_counter(g: Geometry, touches: Touches) -> BoolArray:
    """(kitchen_pnp.py:245, kitchen_coffee.py)"""
    low_enough = g.target_position[:, 2] - g.counter_top < norm(g.object_half)
    return touches(_far(g) & low_enough, "object", "counter")


def _object_is_in_container(g: Geometry, touches: Touches) -> BoolArray:
    """(kitchen_pnp.py:715)"""
    return touches(_far(g) & (_aside(g) < RECEPTACLE_SHARE * g.container_radius), "object", "container")


def _object_is_in_container_on_counter(g: Geometry, touches: Touches) -> BoolArray:
    """(kitchen_pnp.py:467)"""
    return touches(_object_is_in_container(g, touches), "container", "counter")


def _object_is_in_container_in_microwave(g: Geometry, touches: Touches) -> BoolArray:
    """(kitchen_pnp.py:589)"""
    near = _aside(g) < g.container_radius + norm(g.object_half)
    return touches(touches(_far(g) & near, "object", "container"), "container", "microwave")


def _object_is_in_pan(g: Geometry, touches: Touches) -> BoolArray:
    """(kitchen_pnp.py:805, 897)"""
    return touches(_far(g) & (_aside(g) < PAN_RADIUS), "object", "container")


def _mug_is_under_dispenser(g: Geometry, _touches: Touches) -> BoolArray:
    height = np.abs(g.target_position[:, 2] - g.goal_position[:, 2])
    return (_aside(g) < MUG_ASIDE) & (height < MUG_HEIGHT) & _far(g)


SUCCESS: dict[str, Predicate] = {
    "PnPCounterToCab": _object_is_in_cabinet,
    "PnPCabToCounter": _object_is_on_counter,
    "PnPCounterToSink": _object_is_in_sink,
    "PnPSinkToCounter": _object_is_in_container_on_counter,
    "PnPCounterToMicrowave": _object_is_in_container_in_microwave,
    "PnPMicrowaveToCounter": _object_is_in_container,
    "PnPCounterToStove": _object_is_in_pan,
    "PnPStoveToCounter": _object_is_in_pan,
    "OpenSingleDoor": _door_is_open,
    "CloseSingleDoor": _door_is_closed,
    "OpenDoubleDoor": _both_doors_are_open,
    "CloseDoubleDoor": _both_doors_are_closed,
    "OpenDrawer": _drawer_is_open,
    "CloseDrawer": _drawer_is_closed,
    "TurnOnStove": _knob_is_on,
    "TurnOffStove": _knob_is_off,
    "TurnOnSinkFaucet": _water_runs,
    "TurnOffSinkFaucet": _water_is_off,
    "TurnSinkSpout": _spout_is_turned,
    "CoffeePressButton": _machine_is_on,
    "TurnOnMicrowave": _machine_is_on,
    "TurnOffMicrowave": _machine_is_off,
    "CoffeeServeMug": _object_is_on_counter,
    "CoffeeSetupMug": _mug_is_under_dispenser,
}


def _coffee_latch(g: Geometry, touches: Touches) -> BoolArray:
    """The button's touch starts the machine, which nothing stops (accessories.py:87)."""
    return g.latch | touches(~g.latch & _hand_is_near(g, g.target_position), GRIPPER, "start_button")


def _microwave_latch(g: Geometry, touches: Touches) -> BoolArray:
    """The start button acts on a microwave that is off, the stop button on one that is on; an open door stops it too
    (microwave.py:109-122).
    """
    near = _hand_is_near(g, g.target_position)
    for side in (-1, 1):  # whichever button is the target, the other one is right over or under it
        near |= _hand_is_near(g, g.target_position + np.array([0, 0, side * BUTTONS_APART]))
    started = touches(near & ~g.latch, GRIPPER, "start_button")
    stopped = touches(near & g.latch, GRIPPER, "stop_button") | (g.joints[:, 0] > MICROWAVE_DOOR_AJAR)
    return (g.latch | started) & ~stopped


def _hand_is_near(g: Geometry, point: FloatArray) -> BoolArray:
    """Whether a button at `point` [n, 3] may be touched: contacts need not be computed where it cannot."""
    local = to_frame(g.eef_rotation, point - g.eef_position)
    return np.all((local > _HAND_LOW) & (local < _HAND_HIGH), axis=1)


# What a control step does to the latch [n], where a machine has one.
LATCHES: dict[str, Predicate] = {
    "CoffeePressButton": _coffee_latch,
    "TurnOnMicrowave": _microwave_latch,
    "TurnOffMicrowave": _microwave_latch,
}


def is_manipulating(task: str, g: Geometry) -> BoolArray:
    """Whether the phase is `manipulation` (the gripper where it works) rather than `approach` [n].

    It works at the target: the handle, the push point, the button; of an object at the place where it is grasped. A
    door is pushed shut anywhere near its push point.
    """
    grasp = g.target_position.copy()
    grasp[:, 2] += g.grasp_height
    reach = PUSH_REACH if task in ("CloseSingleDoor", "CloseDoubleDoor") else MANIPULATION_REACH
    return norm(grasp - g.eef_position) < reach
