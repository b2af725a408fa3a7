"""The sink's lever and spout, the stove's knobs, the buttons: how episodes start and when they are won."""

import numpy as np
import pytest

from tests.z1_envs.kitchen.play import all_of, follow_expert, robot_touches, started
from z1_envs.kitchen import robot
from z1_envs.kitchen.fixtures.sink import Sink
from z1_envs.kitchen.fixtures.stove import LOCATIONS
from z1_envs.kitchen.goals import BUTTON_FAR, KNOB_ON, SPOUT_TURNED, WATER_ON
from z1_envs.kitchen.lanes import KitchenLanes
from z1_envs.kitchen.plans.plan import Plan
from z1_envs.kitchen.scene import USER_LATCH, make_scene

SINK = ("TurnOnSinkFaucet", "TurnOffSinkFaucet", "TurnSinkSpout")
STOVE = ("TurnOnStove", "TurnOffStove")
MICROWAVE = ("TurnOnMicrowave", "TurnOffMicrowave")
BUTTONS = ("CoffeePressButton", *MICROWAVE)
NUM_SEEDS = 24
ZERO = np.array([0.0] * 11 + [-1.0])
JUST = 1e-3  # [rad, m] below or above a threshold


def index_of(lanes: KitchenLanes, joint: str) -> int:
    return lanes.scenes[0].model.joint(joint).qposadr[0]


def joint_of(plan: Plan) -> str:
    assert plan.parts[0].joint is not None
    return plan.parts[0].joint


def sink_of(plan: Plan) -> Sink:
    (sink,) = plan.fixtures
    assert isinstance(sink, Sink)
    return sink


def succeeds_at(lanes: KitchenLanes, joint: str, angle: float) -> bool:
    """Whether the only lane is won with the joint at `angle` [rad]."""
    lanes.physics.qpos[0, index_of(lanes, joint)] = angle
    lanes.put_rows(all_of(lanes), lanes.physics.rows)
    return bool(lanes.status(all_of(lanes)).success[0])


def move_gripper(lanes: KitchenLanes, distance: float) -> None:
    """Lane 0's gripper comes to `distance` [m] before the target: base and torso move, the arm stays."""
    g = lanes.geometry(all_of(lanes))
    move = g.target_position[0] - distance * g.target_rotation[0, :, 2] - g.eef_position[0]
    # The base's slides move along the world's x and y, whatever its yaw.
    qpos = lanes.physics.qpos[0]
    qpos[:2] += move[:2]
    qpos[robot.TORSO] += move[2]
    lanes.physics.ctrl[0] = qpos[: lanes.physics.ctrl.shape[1]]
    lanes.put_rows(all_of(lanes), lanes.physics.rows)


@pytest.mark.parametrize("task", [*SINK, *STOVE, *BUTTONS])
def test_starts_rest_and_are_not_won_and_all_have_models_of_equal_sizes(task: str) -> None:
    lanes = started(task, range(NUM_SEEDS))
    assert lanes.num_redraws == 0
    for scene, row in zip(lanes.scenes, lanes.physics.rows, strict=True):
        assert robot_touches(scene.model, row) == set()
    before = lanes.physics.qpos[:, robot.FINGERS.stop :].copy()
    for _ in range(20):
        assert not lanes.step(all_of(lanes), np.tile(ZERO, (NUM_SEEDS, 1))).success.any()
    assert lanes.physics.qpos[:, robot.FINGERS.stop :] == pytest.approx(before, abs=2e-3)
    sizes = {(m.nq, m.ngeom, m.nsite, m.nbody) for m in (scene.model for scene in lanes.scenes)}
    assert len(sizes) == 1


def test_water_runs_or_not_at_the_start() -> None:
    for seed in range(NUM_SEEDS):
        on, off = (dict(make_scene(task, seed).start.joints) for task in SINK[:2])
        assert "handle" not in on
        assert WATER_ON < off["handle"] <= 0.50


@pytest.mark.parametrize("task", SINK[:2])
def test_the_spout_is_not_in_the_levers_way(task: str) -> None:
    for seed in range(NUM_SEEDS):
        scene = make_scene(task, seed)
        assert sink_of(scene.plan).handle_side * dict(scene.start.joints)["spout"] <= 0


def test_the_spout_turns_to_the_side_that_is_said() -> None:
    words = set()
    for seed in range(NUM_SEEDS):
        scene = make_scene("TurnSinkSpout", seed)
        word = scene.instruction.split()[-1]
        words.add(word)
        lanes = started("TurnSinkSpout", [seed])
        g = lanes.geometry(all_of(lanes))
        assert (g.goal_position[0, 1] > sink_of(scene.plan).y) == (word == "left")
        assert g.joints[0, 0] < SPOUT_TURNED
    assert words == {"left", "right"}


@pytest.mark.parametrize("task", STOVE)
def test_knobs_start_off_or_on_and_words_name_the_knob(task: str) -> None:
    asked, cooked = set(), []
    for seed in range(NUM_SEEDS):
        scene = make_scene(task, seed)
        knob = joint_of(scene.plan)
        angle = abs(dict(scene.start.joints)[knob])
        assert angle == 0 if task == "TurnOnStove" else 0.50 <= angle <= np.pi / 2
        location = knob.removeprefix("knob_")
        assert location.replace("_", " ") + " burner" in scene.instruction
        asked.add(location)
        assert scene.plan.source is not None
        x, y, _ = scene.plan.source[1]
        burners = {name: scene.model.site(f"burner_{name}").pos for name in LOCATIONS}
        near = [name for name, place in burners.items() if np.hypot(place[0] - x, place[1] - y) < 1e-6]
        assert len(near) == 1, "pot or pan is on a burner"
        cooked.append(near == [location])
    assert asked == set(LOCATIONS)
    assert 0.4 < np.mean(cooked) < 0.95


def test_the_mug_stands_under_the_dispenser_and_is_no_target() -> None:
    lanes = started("CoffeePressButton", range(NUM_SEEDS))
    for _ in range(20):
        lanes.step(all_of(lanes), np.tile(ZERO, (NUM_SEEDS, 1)))
    model = lanes.scenes[0].model
    mug, place = (lanes.physics.derived["site_xpos"][:, model.site(name).id] for name in ("object", "receptacle"))
    assert np.hypot(*(mug - place)[:, :2].T).max() < 2e-3
    half = np.array([scene.plan.kind.half[2] for scene in lanes.scenes if scene.plan.kind is not None])
    assert mug[:, 2] - place[:, 2] == pytest.approx(half, abs=2e-3)
    assert not lanes.geometry(all_of(lanes)).grasp_height.any()


@pytest.mark.parametrize(
    ("angle", "on"),
    [
        (0.0, False), (KNOB_ON - JUST, False), (KNOB_ON + JUST, True), (1.7, True),
        (-KNOB_ON + JUST, False), (-KNOB_ON - JUST, True), (-1.7, True),
    ],
)  # fmt: skip
def test_knobs_are_on_when_turned_either_way(angle: float, on: bool) -> None:
    for task, wanted in zip(STOVE, (on, not on), strict=True):
        lanes = started(task, [0])
        assert succeeds_at(lanes, joint_of(lanes.scenes[0].plan), angle) == wanted


def test_only_the_knob_that_is_asked_for_counts() -> None:
    lanes = started("TurnOnStove", [0])
    for knob in {f"knob_{location}" for location in LOCATIONS} - {joint_of(lanes.scenes[0].plan)}:
        assert not succeeds_at(lanes, knob, 1.0)


@pytest.mark.parametrize(
    ("angle", "runs"),
    [(0.0, False), (WATER_ON - JUST, False), (WATER_ON + JUST, True), (np.pi - JUST, True), (np.pi + JUST, False)],
)
def test_water_runs_between_two_angles(angle: float, runs: bool) -> None:
    for task, wanted in zip(SINK[:2], (runs, not runs), strict=True):
        assert succeeds_at(started(task, [0]), "handle", angle) == wanted


@pytest.mark.parametrize(
    ("share", "turned"),  # of the angle towards the side that is asked for
    [(0.0, False), (1 - JUST, False), (1 + JUST, True), (6 - JUST, True), (6 + JUST, False), (-1 - JUST, False)],
)
def test_the_spout_counts_on_the_side_that_is_asked_for(share: float, turned: bool) -> None:
    sides = set()
    for seed in range(8):
        lanes = started("TurnSinkSpout", [seed])
        side = 1 if lanes.scenes[0].instruction.endswith("left") else -1
        sides.add(side)
        assert succeeds_at(lanes, "spout", side * share * SPOUT_TURNED) == turned
    assert sides == {1, -1}


@pytest.mark.parametrize("on", [False, True])
@pytest.mark.parametrize(("distance", "far"), [(BUTTON_FAR - JUST, False), (BUTTON_FAR + JUST, True)])
@pytest.mark.parametrize("task", BUTTONS)
def test_machines_count_once_the_gripper_is_away(task: str, distance: float, far: bool, on: bool) -> None:
    lanes = started(task, [0])
    move_gripper(lanes, distance)
    lanes.physics.userdata[0, USER_LATCH] = on
    assert lanes.status(all_of(lanes)).success[0] == (far and on == (task != "TurnOffMicrowave"))


def press(lanes: KitchenLanes) -> None:
    """The expert presses lane 0's button, up to the step in which the machine answers."""
    before = latch(lanes)
    for _ in range(40):
        follow_expert(lanes, 1)
        if latch(lanes) != before:
            return
    pytest.fail("the button does nothing")


def latch(lanes: KitchenLanes) -> bool:
    return bool(lanes.geometry(all_of(lanes)).latch[0])


def stay(lanes: KitchenLanes) -> None:
    lanes.step(all_of(lanes), np.tile(ZERO, (lanes.num_lanes, 1)))


@pytest.mark.parametrize("task", BUTTONS)
def test_the_button_works_when_the_gripper_touches_it(task: str) -> None:
    lanes = started(task, [0, 1])
    on = task != "TurnOffMicrowave"
    move_gripper(lanes, 0.03)
    stay(lanes)
    assert latch(lanes) != on, "nothing happens 2 cm away"
    press(lanes)
    assert latch(lanes) == on
    button = "stop_button" if task == "TurnOffMicrowave" else "start_button"
    assert button in robot_touches(lanes.scenes[0].model, lanes.physics.rows[0])
    assert not lanes.status(all_of(lanes)).success[0], "the gripper is still there"
    move_gripper(lanes, BUTTON_FAR + 0.05)
    stay(lanes)
    assert latch(lanes) == on
    assert lanes.status(all_of(lanes)).success[0]


@pytest.mark.parametrize("task", BUTTONS)
def test_a_snapshot_holds_whether_the_machine_is_on(task: str) -> None:
    lanes = started(task, [0, 0])
    copy = np.array([1])
    lanes.physics.userdata[0, USER_LATCH] = not latch(lanes)
    lanes.put_rows(all_of(lanes), lanes.physics.rows)
    assert lanes.geometry(all_of(lanes)).latch.tolist() in ([True, False], [False, True])
    lanes.put_rows(copy, lanes.physics.rows[:1])
    stay(lanes)
    assert lanes.geometry(all_of(lanes)).latch.tolist() == [latch(lanes)] * 2


@pytest.mark.parametrize(("ajar", "on"), [(0.0049, True), (0.0051, False)])
def test_an_open_door_turns_the_microwave_off(ajar: float, on: bool) -> None:
    lanes = started("TurnOffMicrowave", [0])
    lanes.physics.qpos[0, index_of(lanes, "door")] = ajar * np.pi / 2
    lanes.put_rows(all_of(lanes), lanes.physics.rows)
    stay(lanes)
    assert latch(lanes) == on


def test_the_other_button_does_the_other_thing() -> None:
    lanes = started("TurnOnMicrowave", [0])
    press(lanes)
    model = lanes.scenes[0].model
    stop, start = (model.site(f"{name}_button").pos for name in ("stop", "start"))
    lanes.physics.qpos[0, robot.TORSO] += stop[2] - start[2]
    lanes.put_rows(all_of(lanes), lanes.physics.rows)
    assert "stop_button" in robot_touches(model, lanes.physics.rows[0])
    stay(lanes)
    assert not latch(lanes)
