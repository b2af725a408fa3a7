"""Objects and containers: they are as large as they say, their models are of equal sizes, and things stay put."""

import mujoco
import numpy as np
import pytest

from z1_envs.kitchen.containers import CONTAINERS, Container, add_container, add_fixed_container
from z1_envs.kitchen.objects import KINDS, MUGS, TEST_KINDS, ObjectKind, add_object, mugs, select
from z1_envs.kitchen.physics import check_sizes
from z1_envs.kitchen.shapes import STATIC, box

ALL_KINDS = {**KINDS, **{f"{key} mug": mug for key, mug in MUGS.items()}}
ATTRIBUTES = ("washable", "sink_food", "cookable", "microwave_food")
COUNTER = 0.9  # [m] height of its top


def world() -> mujoco.MjSpec:
    """A counter, with the solver's settings of the kitchen."""
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    option = spec.option
    option.timestep, option.integrator = 0.005, mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.cone, option.impratio = mujoco.mjtCone.mjCONE_ELLIPTIC, 10
    option.iterations, option.ls_iterations = 20, 20
    box(spec.worldbody, "counter", (0, 0, COUNTER - 0.02), (0.4, 0.4, 0.02), (0.5, 0.5, 0.5, 1), STATIC)
    return spec


def compiled(kind: ObjectKind | None, container: Container | None, fixed: Container | None = None) -> mujoco.MjModel:
    """The object last: in the container, else on the counter. Half a millimetre is left under everything."""
    spec = world()
    if fixed is not None:
        add_fixed_container(spec.worldbody, "source", fixed, (0.2, 0.2, COUNTER), yaw=1.0)
    if container is not None:
        add_container(spec.worldbody, "container", container)
        spec.body("container").pos = (0, 0, COUNTER + 5e-4)
    if kind is not None:
        add_object(spec.worldbody, kind)
        floor = container.floor + 5e-4 if container else 0.0
        spec.body("object").pos = (0.005, 0.002, COUNTER + floor + kind.half[2] + 5e-4)
    return spec.compile()


def surface(model: mujoco.MjModel, body: str) -> np.ndarray:
    """Points on the geoms of a body, in its frame [n, 3] m: where rays from far away hit."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    centre, grid = data.body(body).xpos, np.linspace(-0.06, 0.06, 61)
    others = [g for g in range(model.ngeom) if model.geom_bodyid[g] != model.body(body).id]
    model.geom_group[others] = 5
    points, groups = [], np.array([1, 1, 1, 1, 1, 0], np.uint8)
    for axis in range(3):
        for sign in (-1.0, 1.0):
            away, hit = np.zeros(3), np.zeros(1, np.int32)
            away[axis] = sign
            for a in grid:
                for b in grid if axis < 2 else grid[::4]:
                    start = centre + np.insert(np.array([a, b]), axis, 0.5 * sign)
                    distance = mujoco.mj_ray(model, data, start, -away, groups, 1, -1, hit)
                    if distance >= 0:
                        points.append(start - distance * away - centre)
    return np.array(points)


@pytest.mark.parametrize("name", ALL_KINDS)
def test_sizes_are_those_of_the_geoms(name: str) -> None:
    kind = ALL_KINDS[name]
    points = surface(compiled(kind, None), "object")
    np.testing.assert_allclose(points.max(axis=0)[1:], kind.half[1:], atol=2e-3)
    np.testing.assert_allclose(points.min(axis=0)[1:], -np.array(kind.half[1:]), atol=2e-3)
    assert points[:, 0].max() == pytest.approx(kind.half[0], abs=2e-3)
    if name in KINDS:  # the box of a mug has room for its handle on both sides
        assert points[:, 0].min() == pytest.approx(-kind.half[0], abs=2e-3)
    x, y, z = kind.half
    assert y <= (0.0325 if name in KINDS else 0.034)
    assert x <= 0.056
    assert 0.026 <= 2 * z <= 0.16
    assert 0.03 <= kind.mass <= 0.35
    if kind.cookable or kind.microwavable or (kind.food and kind.washable):
        assert 2 * z <= 0.075
        assert 2 * x <= 0.0905
    # What the pads touch: 2 cm along x, 1.2 cm along z.
    between = points[(np.abs(points[:, 0]) < 0.0101) & (np.abs(points[:, 2] - kind.grasp_height) < 0.0061)]
    assert np.ptp(between[:, 1]) == pytest.approx(kind.grasp_width, abs=2e-3)


@pytest.mark.parametrize("place", ["counter", "blue plate", "green bowl", "steel pan"])
@pytest.mark.parametrize("name", ALL_KINDS)
def test_things_rest_where_they_are_put(name: str, place: str) -> None:
    kind, container = ALL_KINDS[name], CONTAINERS.get(place)
    model = compiled(kind, container)
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, 200)
    before = data.qpos.copy()
    mujoco.mj_step(model, data, 100)
    assert np.abs(data.qvel).max() < 1e-2
    assert np.abs(data.qpos - before).max() < 1e-3
    assert min(contact.dist for contact in data.contact[: data.ncon]) > -1.5e-3
    body = data.body("object")
    bottom = COUNTER + (container.floor if container else 0.0)
    assert body.xpos[2] - kind.half[2] == pytest.approx(bottom, abs=1.5e-3)
    assert body.xmat[8] > np.cos(0.1), "it leans"
    np.testing.assert_allclose(body.xpos[:2], (0.005, 0.002), atol=5e-3)


def test_models_are_of_equal_sizes() -> None:
    first = CONTAINERS["white plate"]
    check_sizes([compiled(kind, first, first) for kind in KINDS.values()])
    check_sizes([compiled(mug, first, first) for mug in MUGS.values()])
    check_sizes([compiled(KINDS["apple"], container, first) for container in CONTAINERS.values()])
    check_sizes([compiled(KINDS["apple"], first, container) for container in CONTAINERS.values()])


@pytest.mark.parametrize("key", CONTAINERS)
def test_containers_are_as_wide_as_they_say(key: str) -> None:
    container = CONTAINERS[key]
    model = compiled(None, container)
    corners = []
    for g in (g for g in range(model.ngeom) if "_wall" in model.geom(g).name):
        rotation = np.empty(9)
        mujoco.mju_quat2Mat(rotation, model.geom_quat[g])
        signs = np.stack(np.meshgrid(*[[-1, 1]] * 3), axis=-1).reshape(-1, 3)
        corners.append(model.geom_pos[g] + (signs * model.geom_size[g]) @ rotation.reshape(3, 3).T)
    walls = np.concatenate(corners)
    assert walls[:, 0].max() == pytest.approx(container.radius, abs=2e-3)
    assert walls[:, 2].max() == pytest.approx(container.height, abs=1e-3)
    assert walls[:, 2].min() > 1e-3, "walls would touch the counter"
    assert container.floor_radius * np.sqrt(2) < container.radius, "the floor's corners stick out"
    assert model.body("container").mass[0] == pytest.approx(container.mass)
    assert {"plate": 0.10 <= container.radius <= 0.12, "bowl": 0.085 <= container.radius <= 0.1,
            "pan": 0.11 <= container.radius <= 0.125}[container.name]  # fmt: skip


def test_a_container_rests_on_four_contacts() -> None:
    for container in CONTAINERS.values():
        model = compiled(None, container)
        data = mujoco.MjData(model)
        mujoco.mj_step(model, data, 200)
        assert data.ncon == 4
        assert np.abs(data.qvel).max() < 1e-4


def test_a_fixed_container_is_where_the_free_one_would_be() -> None:
    container = CONTAINERS["steel pan"]
    free, spec = compiled(None, container), world()
    add_fixed_container(spec.worldbody, "container", container, (0.1, 0.2, COUNTER), yaw=0.7)
    fixed = spec.compile()
    assert fixed.nv == 0
    data, still = mujoco.MjData(free), mujoco.MjData(fixed)
    data.qpos[:] = [0.1, 0.2, COUNTER, np.cos(0.35), 0, 0, np.sin(0.35)]
    for model, state in ((free, data), (fixed, still)):
        mujoco.mj_kinematics(model, state)
    for g in range(fixed.ngeom):
        name = fixed.geom(g).name
        np.testing.assert_allclose(still.geom(name).xpos, data.geom(name).xpos, atol=1e-9)
        np.testing.assert_allclose(still.geom(name).xmat, data.geom(name).xmat, atol=1e-9)
    np.testing.assert_allclose(still.site("container").xpos, data.site("container").xpos, atol=1e-9)


@pytest.mark.parametrize("attribute", ATTRIBUTES)
def test_every_group_has_kinds_for_training_and_for_testing(attribute: str) -> None:
    train, test = select("train", attribute), select("test", attribute)
    assert len(train) >= 6
    assert len(test) >= 2
    assert set(select("all", attribute)) == set(train) | set(test)
    assert {kind.name for kind in test} <= set(TEST_KINDS)
    assert not {kind.name for kind in train} & set(TEST_KINDS)


def test_groups_are_what_they_say() -> None:
    assert len(select("all")) == len(KINDS) >= 24
    assert all(kind.food and kind.washable for kind in select("all", "sink_food"))
    assert all(kind.food and kind.microwavable for kind in select("all", "microwave_food"))
    assert all(kind.food for kind in select("all", "cookable"))
    assert {kind.name for kind in mugs("all")} == {"mug"}
    assert [len(mugs(split)) for split in ("train", "test", "all")] == [3, 1, 4]


def test_unknown_words_are_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="sink_food"):
        select("train", "edible")
    with pytest.raises(ValueError, match="'test'"):
        select("validation", None)
    with pytest.raises(ValueError, match="'test'"):
        mugs("validation")
