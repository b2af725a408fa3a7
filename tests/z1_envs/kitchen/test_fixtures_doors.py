"""Drawer, cabinets and microwave: how they move, where their sites are, that nothing is in the way."""

import mujoco
import numpy as np
import pytest
from numpy.typing import NDArray

from z1_envs.kitchen.fixtures.cabinet import DoubleDoorCabinet, WallCabinet
from z1_envs.kitchen.fixtures.drawer import Drawer
from z1_envs.kitchen.fixtures.fixture import Fixture
from z1_envs.kitchen.fixtures.microwave import BUTTON, Microwave
from z1_envs.kitchen.styles import STYLES

STYLE = STYLES["navy"]
TOP = 0.92
DRAWER = Drawer(y=0.1, z=0.78, width=0.4, height=0.18, depth=0.48, handle_length=0.16, handle_z=0.02)
DOORED: dict[str, Fixture] = {
    f"{kind}{hinge:+d}": fixture
    for hinge in (1, -1)
    for kind, fixture in {
        "cabinet": WallCabinet(
            y=0.1, bottom=1.4, width=0.42, height=0.56, hinge=hinge, handle_length=0.13, push_radius=0.6
        ),
        "microwave": Microwave(y=0.1, bottom=TOP + 0.1, x_front=0.14, hinge=hinge),
    }.items()
}
DOORED["double"] = DoubleDoorCabinet(y=0.1, bottom=1.4, width=0.8, height=0.56, handle_length=0.13, push_radius=0.6)
FIXTURES = {"drawer": DRAWER, **DOORED}


def compiled(fixture: Fixture) -> tuple[mujoco.MjModel, mujoco.MjData]:
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    spec.option.timestep, spec.option.integrator = 0.005, mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    fixture.add(spec.worldbody, STYLE, TOP)
    model = spec.compile()
    return model, mujoco.MjData(model)


def joints_of(model: mujoco.MjModel) -> list[str]:
    return [model.joint(i).name for i in range(model.njnt)]


def place(model: mujoco.MjModel, data: mujoco.MjData, value: float) -> None:
    """All joints at `value` [rad or m]."""
    data.qpos[:] = value
    mujoco.mj_kinematics(model, data)


def assert_same_pose(data: mujoco.MjData, moving: str, still: str) -> None:
    np.testing.assert_allclose(data.site(moving).xpos, data.site(still).xpos, atol=1e-9)
    np.testing.assert_allclose(data.site(moving).xmat, data.site(still).xmat, atol=1e-9)


def axes(data: mujoco.MjData, site: str) -> NDArray[np.float64]:
    """The site's x, y and z axes in the world as rows."""
    return data.site(site).xmat.reshape(3, 3).T


def test_the_drawer_slides_to_the_robot_and_its_sites_are_where_the_world_says() -> None:
    model, data = compiled(DRAWER)
    assert joints_of(model) == ["drawer"]
    assert model.jnt_range[0].tolist() == [0, DRAWER.travel]
    place(model, data, 0.0)
    closed = data.site("drawer_handle").xpos.copy()
    assert_same_pose(data, "drawer_front", "drawer_front_closed")
    front, bar = model.geom("drawer_front"), model.geom("drawer_handle")
    push = model.site("drawer_front").pos
    assert push[0] == front.pos[0] - front.size[0], "the push point lies on the front"
    assert abs(push[1]) > bar.size[1] + bar.size[0] + 0.025, "a hand 5 cm thin passes by the handle"
    assert abs(push[1]) < front.size[1] - 0.025
    np.testing.assert_allclose(axes(data, "drawer_handle")[1:], [[0, 0, -1], [1, 0, 0]], atol=1e-9)
    place(model, data, DRAWER.travel)
    assert_same_pose(data, "drawer_handle", "drawer_handle_open")
    np.testing.assert_allclose(data.site("drawer_handle").xpos - closed, [-DRAWER.travel, 0, 0], atol=1e-9)


@pytest.mark.parametrize("name", DOORED)
def test_doors_open_to_the_robot_and_their_sites_are_where_the_world_says(name: str) -> None:
    model, data = compiled(DOORED[name])
    doors = joints_of(model)
    assert doors == (["left_door", "right_door"] if name == "double" else ["door"])
    for door in doors:
        assert model.joint(door).range.tolist() == [0, np.pi / 2 + 0.2]
        place(model, data, 0.0)
        assert_same_pose(data, f"{door}_push", f"{door}_push_closed")
        to_edge = np.sign(data.geom(f"{door}_panel").xpos - data.body(door).xpos) * [0, 1, 0]
        for site, ahead in (("handle", 1), ("push", 1), ("inside", -1)):
            np.testing.assert_allclose(axes(data, f"{door}_{site}")[1:], [to_edge, [ahead, 0, 0]], atol=1e-9)
        before = data.site(f"{door}_inside").xpos.copy()
        place(model, data, 0.01)
        moved = data.site(f"{door}_inside").xpos - before
        assert moved[0] < -0.002, "positive opens to the robot"
        assert moved @ axes(data, f"{door}_inside")[2] > 0.002, "a push along z opens"
        place(model, data, np.pi / 2)
        assert_same_pose(data, f"{door}_handle", f"{door}_handle_open")


def test_the_left_door_is_at_the_robots_left() -> None:
    model, data = compiled(DOORED["double"])
    place(model, data, 0.0)
    apart = data.site("left_door_handle").xpos - data.site("right_door_handle").xpos
    assert 0.10 < apart[1] < 0.15


@pytest.mark.parametrize("name", FIXTURES)
def test_the_whole_range_is_free_and_a_half_open_joint_stays(name: str) -> None:
    model, data = compiled(FIXTURES[name])
    low, high = model.jnt_range.T
    model.geom_contype[:] = model.geom_conaffinity[:] = 1  # free even if everything collided with everything
    for share in np.linspace(0, 1, 41):
        data.qpos[:] = low + share * (high - low)
        mujoco.mj_forward(model, data)
        assert data.ncon == 0
    assert not model.body_simple[1:].any()
    for share in (0.0, 0.5):
        data.qpos[:], data.qvel[:] = low + share * (high - low), 0
        start = data.qpos.copy()
        for _ in range(400):
            mujoco.mj_step(model, data)
        assert np.abs(data.qpos - start).max() < (0.001 if name == "drawer" else np.radians(0.5))


@pytest.mark.parametrize("name", DOORED)
def test_a_light_pull_at_the_handle_opens(name: str) -> None:
    model, data = compiled(DOORED[name])
    for door in joints_of(model):
        for _ in range(200):
            point, force = data.site(f"{door}_handle").xpos, -3.0 * axes(data, f"{door}_handle")[2]  # [N]
            data.qfrc_applied[:] = 0
            if data.time > 0:
                mujoco.mj_applyFT(model, data, force, np.zeros(3), point, model.body(door).id, data.qfrc_applied)
            mujoco.mj_step(model, data)
        assert data.joint(door).qpos[0] > np.radians(20)


@pytest.mark.parametrize("name", DOORED)
def test_no_static_geom_and_no_closed_door_reaches_into_the_interior(name: str) -> None:
    model, data = compiled(DOORED[name])
    place(model, data, 0.0)
    site = model.site("interior")
    points = site.pos + np.random.default_rng(0).uniform(-1, 1, (4000, 3)) * site.size
    points = np.concatenate([points, site.pos + np.sign(points[:64] - site.pos) * (site.size - 1e-6)])  # corners
    for geom in range(model.ngeom):
        local = (points - data.geom_xpos[geom]) @ data.geom_xmat[geom].reshape(3, 3)
        inside = (np.abs(local - model.geom_aabb[geom, :3]) < model.geom_aabb[geom, 3:]).all(axis=1)
        assert not inside.any(), model.geom(geom).name
    assert (site.size > [0.15, 0.17, 0.10]).all()


def test_the_doors_of_cabinet_and_microwave_have_equal_sizes() -> None:
    shapes = []
    for name in ("cabinet+1", "cabinet-1", "microwave+1", "microwave-1"):
        model, _ = compiled(DOORED[name])
        sites = [model.site(i).name for i in range(model.nsite) if model.site_bodyid[i] > 0]
        shapes.append((model.body_geomnum[1:].tolist(), sites, model.nq, model.nv, model.njnt, model.nM))
    assert shapes == shapes[:1] * 4


@pytest.mark.parametrize("hinge", [1, -1])
def test_buttons_lie_apart_and_nothing_is_before_them(hinge: int) -> None:
    model, data = compiled(DOORED[f"microwave{hinge:+d}"])
    start, stop = (model.site(name).pos for name in ("start_button", "stop_button"))
    assert np.abs(start - stop)[2] >= 0.06
    for angle in (0.0, np.pi / 2):
        place(model, data, angle)
        for name, face in (("start_button", start), ("stop_button", stop)):
            np.testing.assert_allclose(axes(data, name)[2], [1, 0, 0], atol=1e-9)
            # A hand 5 cm thin and 12 cm high (20 cm less what is beyond the fingers) comes from the front.
            for dy, dz in np.stack(np.meshgrid([-0.025, 0, 0.025], [-0.06, 0, 0.06]), axis=-1).reshape(-1, 2):
                hit = np.zeros(1, dtype=np.int32)
                origin = np.array([-0.9, face[1] + dy, face[2] + dz])
                distance = mujoco.mj_ray(model, data, origin, np.array([1.0, 0, 0]), None, 1, -1, hit, None)
                assert distance < 0 or distance >= face[0] + 0.9 - 1e-9
                assert (dy, dz) != (0, 0) or hit[0] == model.geom(name).id
    assert BUTTON[0] == 0.01


@pytest.mark.parametrize("raised", [0.0, 0.1])
def test_the_microwave_does_not_float(raised: float) -> None:
    model, _ = compiled(Microwave(y=0.0, bottom=TOP + raised, x_front=0.14))
    static_boxes = (model.geom_bodyid == 0) & (model.geom_type == mujoco.mjtGeom.mjGEOM_BOX)
    assert (model.geom_pos[:, 2] - model.geom_size[:, 2])[static_boxes].min() == pytest.approx(TOP)
