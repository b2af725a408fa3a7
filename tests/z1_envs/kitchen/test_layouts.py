"""Layouts and styles: what they build, where it stands, and that it is the same every time."""

import mujoco
import numpy as np
import pytest

from z1_envs.kitchen.clutter import CLUTTER, draw_clutter
from z1_envs.kitchen.fixtures.fixture import COUNTER_DEPTH, Hole
from z1_envs.kitchen.layouts import LAYOUTS, TALL, TEST_LAYOUTS, varied_layout
from z1_envs.kitchen.neighbours import add_neighbours
from z1_envs.kitchen.room import add_counter, add_lower_cabinets, add_room
from z1_envs.kitchen.scene import SceneOptions
from z1_envs.kitchen.shapes import VISUAL
from z1_envs.kitchen.styles import STYLES, TEST_STYLES, varied

MAX_GEOMS = 45
TOP = 0.92
PLACES = (-0.6, 0.0, 0.6)
CLEAR, WALL_CLEAR = (-1.0, 0.8), (-0.4, 0.5)
DRAWER = Hole(x=(0.0, 0.0), y=(-0.1, 0.3), low=0.7)
SINK = Hole(x=(0.1, 0.45), y=(-0.1, 0.3), low=0.72)
STOVE = Hole(x=(-0.02, COUNTER_DEPTH), y=(-0.3, 0.3), low=0.0)
HOLES = {"none": None, "drawer": DRAWER, "sink": SINK, "stove": STOVE}


def kitchen(layout: str, style: str, hole: Hole | None = SINK, clear=CLEAR, wall_clear=WALL_CLEAR) -> mujoco.MjSpec:
    spec = mujoco.MjSpec()
    world, rng = spec.worldbody, np.random.default_rng(3)
    plan, colours = varied_layout(LAYOUTS[layout], rng), varied(STYLES[style], rng)
    add_room(world, plan, colours)
    add_counter(world, colours, TOP, hole)
    add_lower_cabinets(world, plan, colours, TOP, hole)
    add_neighbours(world, plan, colours, TOP, clear, wall_clear)
    for i, item in enumerate(draw_clutter(rng, PLACES)):
        item.add(world, f"clutter{i}", TOP)
    return spec


def boxes(spec: mujoco.MjSpec) -> dict[str, tuple[np.ndarray, np.ndarray, bool]]:
    """Least and greatest corner of every upright box by name, and whether it is solid."""
    return {
        geom.name: (geom.pos - geom.size, geom.pos + geom.size, (geom.contype, geom.conaffinity) != VISUAL)
        for geom in spec.worldbody.geoms
        if geom.type == mujoco.mjtGeom.mjGEOM_BOX and geom.quat[0] == 1
    }


def overlaps(low: np.ndarray, high: np.ndarray, *ranges: tuple[float, float]) -> bool:
    """Whether a box shares more than a touch with the box of `ranges` along its first axes."""
    return all(high[i] > a + 1e-6 and low[i] < b - 1e-6 for i, (a, b) in enumerate(ranges))


def neighbours(layout: str, clear: tuple[float, float], wall_clear: tuple[float, float]) -> dict:
    spec = mujoco.MjSpec()
    add_neighbours(spec.worldbody, LAYOUTS[layout], STYLES["navy"], TOP, clear, wall_clear)
    return boxes(spec)


def test_there_are_enough_and_the_held_out_ones_are_not_trained_on():
    splits = SceneOptions(split="train"), SceneOptions(split="test")
    layouts, styles = zip(*((options.layout_names, options.style_names) for options in splits), strict=True)
    assert (layouts[1], styles[1]) == (TEST_LAYOUTS, TEST_STYLES)
    for known, (train, test) in ((LAYOUTS, layouts), (STYLES, styles)):
        assert len(train) >= 10
        assert len(test) == 2
        assert {*train} | {*test} == {*known}
        assert not {*train} & {*test}
        assert len(set(known.values())) == len(known)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_in_every_style_compiles_within_the_budget(layout: str, style: str):
    spec = kitchen(layout, style)
    assert spec.compile().ngeom == len(spec.worldbody.geoms) <= MAX_GEOMS
    assert all(geom.name for geom in spec.worldbody.geoms)


@pytest.mark.parametrize("hole", HOLES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_hole_stays_empty_and_within_the_budget(layout: str, hole: str):
    cut = HOLES[hole]
    spec = kitchen(layout, "navy", cut, clear=(-0.35, 0.35), wall_clear=(0.0, 0.0))
    assert len(spec.worldbody.geoms) <= MAX_GEOMS
    spec.compile()
    if cut is None:
        return
    # A basin's false front may stand before it.
    x = (0.02, COUNTER_DEPTH)
    for name, (low, high, solid) in boxes(spec).items():
        if solid:
            assert not overlaps(low, high, x, cut.y, (cut.low, TOP - 0.04)), name
            assert not (cut.x[1] > cut.x[0] and overlaps(low, high, cut.x, cut.y, (TOP - 0.04, TOP))), name


@pytest.mark.parametrize("wall_clear", [(0.0, 0.0), (-0.4, 0.5), (-1.2, 1.2)])
@pytest.mark.parametrize("clear", [(-0.5, 0.5), (-1.3, 0.7), (-0.7, 1.3)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_neighbours_keep_out_of_the_clear_ranges(layout: str, clear, wall_clear):
    for name, (low, high, _) in neighbours(layout, clear, wall_clear).items():
        if name.startswith("island"):
            assert high[0] < -1.6
            continue
        if low[2] < TOP + 0.01:
            assert not overlaps(low[1:], high[1:], clear), name
        if high[2] > TOP + 0.1:
            assert not overlaps(low[1:], high[1:], wall_clear), name
            # The arm works under wall units. Windows are flat.
            over_counter = not name.startswith((*TALL, "tall_", "oven_", "microwave_", "window"))
            assert not over_counter or (low[2] >= 1.5 - 1e-6 and low[0] >= 0.295), name


def test_a_side_with_a_wing_has_no_other_unit():
    for layout in LAYOUTS.values():
        if layout.wing is not None:
            assert (layout.left if layout.wing.side > 0 else layout.right) == "plain"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_equal_names_compile_to_equal_bytes(layout: str):
    first, second = (saved(kitchen(layout, "navy").compile()) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def saved(model: mujoco.MjModel) -> np.ndarray:
    buffer = np.empty(mujoco.mj_sizeModel(model), dtype=np.uint8)
    mujoco.mj_saveModel(model, None, buffer)
    return buffer


@pytest.mark.parametrize("style", STYLES)
def test_varied_styles_are_deterministic_and_colours(style: str):
    one, two, other = (varied(STYLES[style], np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert repr(one) == repr(two) != repr(other)
    values = np.array(list(vars(one).values()))
    assert np.all((values >= 0) & (values <= 1))
    assert np.abs(values - np.array(list(vars(STYLES[style]).values()))).max() < 0.12
    assert "np." not in repr(one)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_varied_layouts_are_deterministic(layout: str):
    one, two, other = (varied_layout(LAYOUTS[layout], np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert repr(one) == repr(two) != repr(other)
    assert "np." not in repr(one)


def test_clutter_stands_on_the_counter_with_one_solid_geom():
    kinds = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        spec, things = mujoco.MjSpec(), draw_clutter(rng, PLACES)
        assert repr(things) == repr(draw_clutter(np.random.default_rng(seed), PLACES))
        assert "np." not in repr(things)
        for i, thing in enumerate(things):
            thing.add(spec.worldbody, f"clutter{i}", TOP)
            assert thing.y == PLACES[i]
            kinds.add(thing.kind)
        model = spec.compile()
        data = mujoco.MjData(model)
        mujoco.mj_kinematics(model, data)
        half = (np.abs(data.geom_xmat.reshape(-1, 3, 3)) * model.geom_aabb[:, None, 3:]).sum(axis=2)
        low, high = data.geom_xpos - half, data.geom_xpos + half
        assert np.all(high[:, 2] - TOP <= 0.30)
        assert np.all((low[:, 0] > 0.3) & (high[:, 0] < COUNTER_DEPTH))
        solid = model.geom_contype > 0
        assert solid.sum() == len(PLACES)
        np.testing.assert_allclose(low[solid, 2], TOP, atol=1e-6)
    assert kinds == {*CLUTTER}
