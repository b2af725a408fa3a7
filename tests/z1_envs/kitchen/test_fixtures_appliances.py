"""Sink, stove and coffee machine: which way they turn, that they stay where put, and the room around them."""

from collections.abc import Callable

import mujoco
import numpy as np
import pytest

from z1_envs.kitchen.fixtures.coffee_machine import FOOT_HEIGHT, CoffeeMachine
from z1_envs.kitchen.fixtures.fixture import COUNTER_DEPTH, Fixture
from z1_envs.kitchen.fixtures.sink import ON_ANGLE, SPOUT_ANGLE, Sink
from z1_envs.kitchen.fixtures.stove import BURNER_RADIUS, LOCATIONS, Stove
from z1_envs.kitchen.physics import check_sizes
from z1_envs.kitchen.shapes import JOINT, OBJECT, STATIC, box, capsule, cylinder
from z1_envs.kitchen.styles import STYLES

GREY = (0.5, 0.5, 0.5, 1.0)
STYLE = STYLES["navy"]
TOP = 0.92
EXACT = 1e-9  # [m] positions of sites computed twice
SINKS = [
    Sink(y=0.3, x=0.27, half_x=0.15, half_y=0.17, depth=0.14, handle_side=1),
    Sink(y=-0.3, x=0.31, half_x=0.18, half_y=0.22, depth=0.18, handle_side=-1, spout_height=0.20),
]
STOVES = [Stove(y=-0.2, width=0.70), Stove(y=0.1, width=0.76)]
MACHINES = [
    CoffeeMachine(y=0.2, x_front=0.20, width=0.22, height=0.34),
    CoffeeMachine(y=-0.3, x_front=0.28, width=0.28, height=0.40),
]
KNOBS = [f"knob_{location}" for location in LOCATIONS]
MOVED = [(SINKS, name) for name in ("spout", "handle")] + [(STOVES, name) for name in KNOBS]


def compiled(fixture: Fixture, add_probe: Callable[[mujoco.MjsBody], object] | None = None) -> mujoco.MjData:
    """The fixture at a wall, and a free body with the geoms of `add_probe`. Its model is the data's `model`."""
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    spec.option.timestep, spec.option.integrator = 0.005, mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    fixture.add(spec.worldbody, STYLE, TOP)
    box(spec.worldbody, "wall", (COUNTER_DEPTH + 0.05, 0, 1.3), (0.05, 2, 1.3), STYLE.wall, STATIC)
    if add_probe is not None:
        probe = spec.worldbody.add_body(name="probe")
        probe.add_joint(name="probe", type=JOINT.mjJNT_FREE)
        add_probe(probe)
    data = mujoco.MjData(spec.compile())
    mujoco.mj_forward(data.model, data)
    return data


def site_at(data: mujoco.MjData, joint: str, angle: float, site: str) -> np.ndarray:
    data.joint(joint).qpos[0] = angle
    mujoco.mj_kinematics(data.model, data)
    return np.concatenate([data.site(site).xpos, data.site(site).xmat])


def touched(data: mujoco.MjData, position: np.ndarray, quat: tuple[float, ...] = (1, 0, 0, 0)) -> set[str]:
    """Names of the geoms that the probe meets at this pose of the world."""
    data.joint("probe").qpos[:] = [*position, *quat]
    mujoco.mj_forward(data.model, data)
    pairs = data.contact.geom[data.contact.dist < 0]
    return {data.model.geom(geom).name for pair in pairs for geom in pair} - {"", "probe"}


@pytest.mark.parametrize("fixtures", [SINKS, STOVES, MACHINES])
def test_all_instances_have_models_of_equal_sizes(fixtures: list[Fixture]) -> None:
    check_sizes([compiled(fixture).model for fixture in fixtures])


@pytest.mark.parametrize("sink", SINKS)
def test_spout_turns_left_and_lever_outwards(sink: Sink) -> None:
    data = compiled(sink)
    for joint, side in (("spout", 1), ("handle", sink.handle_side)):
        closed, turned = (site_at(data, joint, angle, f"{joint}_tip") for angle in (0.0, 0.1))
        step = turned[:3] - closed[:3]
        assert step[1] * side > 0.005
        # y of the site points along the motion, z down.
        assert closed[3:].reshape(3, 3)[:, 1] == pytest.approx([0, side, 0], abs=EXACT)
        assert closed[3:].reshape(3, 3)[:, 2] == pytest.approx([0, 0, -1], abs=EXACT)


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize(
    ("joint", "angle", "mark"),
    [
        ("handle", 0.0, "handle_off"), ("handle", ON_ANGLE, "handle_on"),
        ("spout", SPOUT_ANGLE, "spout_left"), ("spout", -SPOUT_ANGLE, "spout_right"),
    ],
)  # fmt: skip
def test_marks_in_the_world_are_where_the_tips_come(sink: Sink, joint: str, angle: float, mark: str) -> None:
    data = compiled(sink)
    tip = site_at(data, joint, angle, f"{joint}_tip")
    assert tip == pytest.approx(site_at(data, joint, angle, mark), abs=EXACT)


@pytest.mark.parametrize(("fixtures", "joint"), MOVED)
def test_what_turns_stays_where_it_is_put(fixtures: list[Fixture], joint: str) -> None:
    for fixture in fixtures:
        data = compiled(fixture)
        data.joint(joint).qpos[0], data.joint(joint).qvel[0] = 0.7, 0.2  # let go while it still turned a little
        mujoco.mj_step(data.model, data, 400)
        assert np.rad2deg(abs(data.joint(joint).qpos[0] - 0.7)) < 0.5


@pytest.mark.parametrize("joint", ["handle", "spout"])
@pytest.mark.parametrize(("force", "least", "most"), [(0.5, -0.01, 0.01), (6.0, 0.4, np.pi / 2 + 0.1)])
def test_six_newtons_turn_it_and_half_a_newton_does_not(joint: str, force: float, least: float, most: float) -> None:
    data = compiled(SINKS[0])
    for _ in range(200):  # 1 s
        tip = data.site(f"{joint}_tip")
        push, zero = force * tip.xmat.reshape(3, 3)[:, 1], np.zeros(3)
        data.qfrc_applied[:] = 0
        mujoco.mj_applyFT(data.model, data, push, zero, tip.xpos, data.body(joint).id, data.qfrc_applied)
        mujoco.mj_step(data.model, data)
    assert least < data.joint(joint).qpos[0] < most


@pytest.mark.parametrize("sink", SINKS)
def test_the_basin_is_as_large_as_its_site_says(sink: Sink) -> None:
    half = np.array([sink.half_x, sink.half_y, sink.depth / 2 - 0.002])
    for margin, walls in (
        (-1e-3, set()),
        (1e-3, {f"sink_{name}" for name in ("floor", "left", "right", "back", "front")}),
    ):
        data = compiled(
            sink, lambda body, margin=margin: box(body, "probe", (0, 0, 0), half + margin, GREY, OBJECT, 1.0)
        )
        assert data.model.site("basin").size == pytest.approx(half)
        assert touched(data, data.site("basin").xpos) == walls
    hole, wall = sink.hole, 0.016
    assert sink.x - sink.half_x - wall < hole.x[0] < sink.x - sink.half_x  # the slab ends on the rim
    assert hole.low < TOP - sink.depth - wall  # the cabinets end under the basin


def add_gripper(body: mujoco.MjsBody) -> None:
    """A closed gripper, its frame that of the robot's grip site: fingers, hand, and the arm's last links.

    The hand is drawn 2 cm wider and 2 cm thicker than it is.
    """
    box(body, "fingers", (0, 0, -0.02), (0.010, 0.013, 0.030), GREY, OBJECT, 0.1)
    box(body, "hand", (0, 0, -0.073), (0.035, 0.11, 0.033), GREY, OBJECT, 0.5)
    capsule(body, "arm", ((0, 0, -0.14), (0, 0, -0.30)), 0.055, GREY, OBJECT, 1.0)


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize(("joint", "angles"), [("handle", (0.0, 0.4, 0.9)), ("spout", (-1.0, -0.5, 0.0, 0.5, 1.0))])
def test_a_gripper_has_room_on_both_sides_of_lever_and_spout(sink: Sink, joint: str, angles: tuple[float, ...]) -> None:
    data = compiled(sink, add_gripper)
    for angle in angles:
        tip = site_at(data, joint, angle, f"{joint}_tip")
        frame = tip[3:].reshape(3, 3)
        quat = np.zeros(4)
        mujoco.mju_mat2Quat(quat, tip[3:])
        for side in (1, -1):
            # 2.7 cm beside the axis, tips 2 cm below it.
            beside = tip[:3] + side * 0.027 * frame[:, 1] + 0.010 * frame[:, 2]
            assert touched(data, beside, tuple(quat)) == set(), (angle, side)
            into = tip[:3] + side * 0.018 * frame[:, 1] + 0.010 * frame[:, 2]
            assert touched(data, into, tuple(quat)) - {"spout_mouth"} == {"fingers", joint}, (angle, side)


@pytest.mark.parametrize("stove", STOVES)
def test_burners_lie_on_the_stove_and_apart(stove: Stove) -> None:
    data = compiled(stove)
    places = {location: data.site(f"burner_{location}").xpos for location in LOCATIONS}
    low, high = stove.span
    for location, (x, y, z) in places.items():
        assert low + BURNER_RADIUS < y < high - BURNER_RADIUS
        assert BURNER_RADIUS < x < COUNTER_DEPTH - BURNER_RADIUS
        assert z == TOP
        assert (y > stove.y) == location.endswith("left")
        assert (x > 0.325) == location.startswith("rear")
        others = [np.hypot(*(other - (x, y, z))[:2]) for name, other in places.items() if name != location]
        assert min(others) > 2 * BURNER_RADIUS + 0.04
    assert stove.hole.low == 0.0
    assert stove.hole.y == stove.span


@pytest.mark.parametrize("stove", STOVES)
def test_knobs_stand_apart_and_turn_clockwise_for_the_robot(stove: Stove) -> None:
    data = compiled(stove)
    y = [data.site(knob).xpos[1] for knob in KNOBS]
    assert -np.diff(y) == pytest.approx(0.22 * stove.width)
    assert 0.22 * stove.width > 0.12
    for knob in KNOBS:
        # z of the site into the panel, y through the bar: to the left (+y) when upright.
        upright = site_at(data, knob, 0.0, knob)[3:].reshape(3, 3)
        assert upright[:, 1] == pytest.approx([0, 1, 0], abs=EXACT)
        assert upright[:, 2] == pytest.approx([1, 0, 0], abs=EXACT)
        # Clockwise by a quarter, the left face comes up.
        quarter = site_at(data, knob, np.pi / 2, knob)[3:].reshape(3, 3)
        assert quarter[:, 1] == pytest.approx([0, 0, 1], abs=EXACT)
        low, high = data.model.joint(knob).range
        assert low < -np.pi / 2
        assert high > np.pi / 2


@pytest.mark.parametrize("machine", MACHINES)
def test_a_mug_stands_on_the_foot_and_a_tall_one_does_not_fit(machine: CoffeeMachine) -> None:
    for radius, height, met in (
        (0.04, 0.095, set()),
        (0.04, 0.17, set()),
        (0.04, machine.height, {"coffee_nozzle", "coffee_head"}),
    ):
        ends = ((0, 0, 0), (0, 0, height))
        data = compiled(machine, lambda body, e=ends, r=radius: cylinder(body, "probe", e, r, GREY, OBJECT, 0.3))
        place, gap = data.site("receptacle").xpos.copy(), np.array([0, 0, 1e-3])
        assert touched(data, place + gap) == met
        assert touched(data, place - gap) == met | {"foot"}
    assert place[2] == pytest.approx(TOP + FOOT_HEIGHT)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("yaw", [-0.4, 0.0, 0.4])
def test_a_hand_tilted_by_25_degrees_carries_a_mug_in(machine: CoffeeMachine, yaw: float) -> None:
    data = compiled(machine, add_gripper)
    pitch = np.pi / 2 + np.deg2rad(25)  # from z up to forwards and down
    quat, turn, tilt = np.zeros(4), np.zeros(4), np.zeros(4)
    mujoco.mju_axisAngle2Quat(turn, np.array([0.0, 0, 1]), yaw)
    mujoco.mju_axisAngle2Quat(tilt, np.array([0.0, 1, 0]), pitch)
    mujoco.mju_mulQuat(quat, turn, tilt)
    held = data.site("receptacle").xpos + np.array([0, 0, 0.06])
    for out in np.linspace(0, 0.3, 16):
        for lift in (0.0, 0.03):
            place = held + np.array([-out * np.cos(yaw), -out * np.sin(yaw), lift])
            assert touched(data, place, tuple(quat)) == set()


@pytest.mark.parametrize("machine", MACHINES)
def test_the_button_sticks_out_of_the_head(machine: CoffeeMachine) -> None:
    data = compiled(machine)
    site, button, head = data.site("start_button"), data.geom("start_button"), data.geom("coffee_head")
    face = head.xpos[0] - data.model.geom("coffee_head").size[0]
    assert site.xpos[0] == pytest.approx(face - 0.01)
    assert site.xpos[0] == pytest.approx(button.xpos[0] - data.model.geom("start_button").size[0])
    assert site.xmat.reshape(3, 3)[:, 2] == pytest.approx([1, 0, 0], abs=EXACT)
