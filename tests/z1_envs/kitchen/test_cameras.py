"""Images are upright, differ between cameras, show the state they are asked for, or fail in words that help."""

import os
import subprocess
import sys
from pathlib import Path

import mujoco
import numpy as np
import pytest

from tests.z1_envs.kitchen.play import TASKS, all_of, started
from z1_envs.canvas import Detail
from z1_envs.kitchen.cameras import Cameras
from z1_envs.kitchen.lanes import KitchenLanes
from z1_envs.kitchen.scene import make_scene
from z1_envs.layout import CAMERAS

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("size", [(31, 64), (64, 641)])
def test_sizes_out_of_range_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"from 32 to 640 pixels, got \d+ x \d+"):
        Cameras(make_scene("OpenDrawer", 0).model, *size)


def test_three_cameras_see_three_images(opengl: None) -> None:
    lanes = started("PnPCounterToSink", [0])
    cameras = Cameras(lanes.scenes[0].model, 64, 48)
    images = cameras.observe(lanes.scenes[0].model, lanes.physics.rows[0])
    again = cameras.observe(lanes.scenes[0].model, lanes.physics.rows[0])
    cameras.close()
    assert images.keys() == CAMERAS.keys()
    for key, image in images.items():
        assert (image.shape, image.dtype) == ((48, 64, 3), np.uint8)
        assert image.std() > 10, "an even surface shows nothing"
        assert np.array_equal(image, again[key])
    left, right, wrist = (image.astype(float) for image in images.values())
    assert min(np.abs(left - right).mean(), np.abs(left - wrist).mean(), np.abs(right - wrist).mean()) > 10


def test_images_are_those_of_mujocos_own_renderer_and_upright(opengl: None) -> None:
    lanes = started("OpenDrawer", [0])
    model, row = lanes.scenes[0].model, lanes.physics.rows[0]
    cameras = Cameras(model, 96, 72, detail=None)
    images = cameras.observe(model, row)
    cameras.close()
    data = mujoco.MjData(model)
    mujoco.mj_setState(model, data, row, mujoco.mjtState.mjSTATE_INTEGRATION)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, 72, 96) as renderer:
        for key, name in CAMERAS.items():
            renderer.update_scene(data, camera=name)
            expected = renderer.render().astype(float)
            assert np.abs(images[key] - expected).mean() < 1
            assert np.abs(images[key][::-1] - expected).mean() > 10, "upside down would be as good"


def test_observed_images_show_what_finely_drawn_ones_do(opengl: None) -> None:
    lanes = started("PnPCounterToSink", [3])
    model, row = lanes.scenes[0].model, lanes.physics.rows[0]
    as_mujoco = Detail(offsamples=0, numslices=28, numstacks=16, numquads=4)
    coarse, fine = Cameras(model, 128, 128), Cameras(model, 128, 128, detail=as_mujoco)
    images, expected = coarse.observe(model, row), fine.observe(model, row)
    coarse.close()
    fine.close()
    assert model.vis.quality.numslices == 28, "the model itself is as it was"
    for key in CAMERAS:
        difference = np.abs(images[key].astype(float) - expected[key])
        assert 0 < difference.mean() < 8, "the light on flat sides alone"
        assert (difference > 40).mean() < 0.02, "outlines move by less than a pixel"


def in_frame(lanes: KitchenLanes, name: str, points: np.ndarray) -> np.ndarray:
    """Which of `points` [L, 3], one per lane, lie in the square image of the camera `name` [L]."""
    seen = np.zeros(lanes.num_lanes, dtype=bool)
    for lane, (scene, point) in enumerate(zip(lanes.scenes, points, strict=True)):
        data = mujoco.MjData(scene.model)
        mujoco.mj_setState(scene.model, data, lanes.physics.rows[lane], mujoco.mjtState.mjSTATE_INTEGRATION)
        mujoco.mj_kinematics(scene.model, data)
        mujoco.mj_comPos(scene.model, data)
        mujoco.mj_camlight(scene.model, data)
        camera = data.camera(name)
        x, y, z = camera.xmat.reshape(3, 3).T @ (point - camera.xpos)  # it looks along -z
        limit = -z * np.tan(np.deg2rad(scene.model.camera(name).fovy[0]) / 2)
        seen[lane] = z < 0 and max(abs(x), abs(y)) < limit
    return seen


@pytest.mark.parametrize("task", TASKS)
def test_the_gripper_and_the_target_are_in_view_of_a_camera(task: str) -> None:
    lanes = started(task, range(24))
    g = lanes.geometry(all_of(lanes))
    views = [CAMERAS["image_left"], CAMERAS["image_right"]]
    for points in (g.eef_position, g.target_position):
        assert np.any([in_frame(lanes, name, points) for name in views], axis=0).all()


def test_one_context_draws_the_scenes_of_all_lanes(opengl: None) -> None:
    lanes = started("OpenDrawer", [0, 1])
    models, rows = [scene.model for scene in lanes.scenes], lanes.physics.rows
    shared = Cameras(models[0], 64, 64)
    shared.observe(models[0], rows[0])
    second = shared.observe(models[1], rows[1])
    shared.close()
    own = Cameras(models[1], 64, 64)
    expected = own.observe(models[1], rows[1])
    own.close()
    for key in CAMERAS:
        assert np.array_equal(second[key], expected[key])


def test_the_largest_image_is_drawn_to_its_edges(opengl: None) -> None:
    lanes = started("OpenDrawer", [0])
    model, row = lanes.scenes[0].model, lanes.physics.rows[0]
    large, small = Cameras(model, 640, 640), Cameras(model, 64, 64)
    big, little = large.observe(model, row)["image_left"], small.observe(model, row)["image_left"]
    large.close()
    small.close()
    shrunk = big.reshape(64, 10, 64, 10, 3).mean(axis=(1, 3))
    # Edges fall between pixels; whole rows that were not drawn would be off by a hundred.
    assert np.abs(shrunk - little).mean(axis=(1, 2)).max() < 20


def test_closing_one_pair_of_cameras_leaves_others_alone(opengl: None) -> None:
    # OpenGL numbers its objects per context: freed in the wrong one, they are somebody else's.
    lanes = started("OpenDrawer", [0])
    model, row = lanes.scenes[0].model, lanes.physics.rows[0]
    closed, kept = Cameras(model, 64, 64), Cameras(model, 64, 64)
    before = kept.observe(model, row)
    closed.close()
    after = kept.observe(model, row)
    kept.close()
    for key in CAMERAS:
        assert np.array_equal(before[key], after[key])


def test_without_opengl_the_error_says_what_to_install() -> None:
    code = (
        "import z1_envs\nfrom z1_envs.kitchen.env import KitchenEnv\n"
        "KitchenEnv('OpenDrawer').reset(seed=0)\nprint('state works')\n"
        "KitchenEnv('OpenDrawer', obs='pixels').reset(seed=0)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MUJOCO_GL": "off"},
    )  # fmt: skip
    assert found.stdout.strip() == "state works", found.stderr
    assert "RenderError: OpenGL cannot start" in found.stderr
    assert "MUJOCO_GL=egl" in found.stderr
    assert "obs='state'" in found.stderr
