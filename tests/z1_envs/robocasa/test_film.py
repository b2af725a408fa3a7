"""Pictures for people: what they show, that they change nothing, and films of many lanes; on the stand-in pack."""

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tests.z1_envs.test_video import frames
from z1_envs.layout import ACTION
from z1_envs.opengl import RenderError
from z1_envs.robocasa.env import RoboCasaEnv
from z1_envs.robocasa.film import HEIGHT, WIDTH
from z1_envs.robocasa.options import RoboCasaOptions
from z1_envs.robocasa.preflight import check_images
from z1_envs.robocasa.vector import RoboCasaVectorEnv
from z1_envs.video import record_tree

HORIZON = 6  # [steps]
CHUNKS = np.random.default_rng(0).uniform(-1, 1, (2, 3, ACTION.width)).astype(np.float32)


def test_other_render_modes_are_refused_before_robocasa_is_looked_for() -> None:
    with pytest.raises(ValueError, match="render_mode must be None or 'rgb_array', got 'human'"):
        RoboCasaEnv("OpenDrawer", render_mode="human")


@pytest.fixture(scope="module")
def opengl() -> None:
    try:
        check_images()
    except RenderError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def options(pack: Path) -> RoboCasaOptions:
    return RoboCasaOptions(assets=pack, horizon=HORIZON, layout_styles=((1, 1),))


@pytest.fixture(scope="module")
def env(options: RoboCasaOptions, opengl: None) -> Iterator[RoboCasaEnv]:
    env = RoboCasaEnv("PnPCounterToSink", options, render_mode="rgb_array")
    yield env
    env.close()


@pytest.mark.robocasa
class TestOneEnv:
    def test_before_the_first_reset_there_is_nothing_to_show(self, options: RoboCasaOptions) -> None:
        env = RoboCasaEnv("OpenDrawer", options)
        assert env.render() is None
        with pytest.raises(gym.error.ResetNeeded, match="call reset"):
            env.film()

    def test_without_opengl_the_refusal_says_what_to_install(
        self, options: RoboCasaOptions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr(mujoco, "GLContext", raising=False)
        with pytest.raises(RenderError, match="apt-get install libegl1"):
            RoboCasaEnv("OpenDrawer", options, render_mode="rgb_array")

    def test_a_picture_is_upright_and_shows_the_state(self, env: RoboCasaEnv) -> None:
        env.reset(seed=0)
        picture = env.render()
        assert picture is not None
        assert (picture.shape, picture.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
        assert env._film_camera is not None
        simulation = env._episode.simulation  # pyright: ignore[reportOptionalMemberAccess]
        with mujoco.Renderer(simulation.model, HEIGHT, WIDTH) as renderer:
            option = mujoco.MjvOption()
            option.geomgroup[0] = 0
            renderer.update_scene(simulation.data, camera=env._film_camera._view, scene_option=option)
            expected = renderer.render().astype(float)
        assert np.abs(picture - expected).mean() < 1
        assert np.abs(picture[::-1] - expected).mean() > 10, "upside down would be as good"
        for action in CHUNKS[0]:
            env.step(action)
        later = env.render()
        assert (later != picture).any()

    def test_gripper_fixture_and_object_are_in_view(self, env: RoboCasaEnv) -> None:
        env.reset(seed=0)
        env.film()
        assert env._film_camera is not None
        simulation, view = env._episode.simulation, env._film_camera._view  # pyright: ignore
        official, data = simulation.official, simulation.data
        turn, rise = np.deg2rad([view.azimuth, view.elevation])
        ahead = np.array([np.cos(rise) * np.cos(turn), np.cos(rise) * np.sin(turn), np.sin(rise)])
        right = np.array([np.sin(turn), -np.cos(turn), 0.0])
        eye, up = view.lookat - view.distance * ahead, np.cross(right, ahead)
        half = np.tan(np.deg2rad(simulation.model.vis.global_.fovy) / 2)
        points = {
            "gripper": data.body("robot0_right_hand").xpos,
            "sink": np.array(official.sink.pos),
            "object": data.xpos[official.obj_body_id["obj"]],
        }
        for name, point in points.items():
            depth = (point - eye) @ ahead
            assert depth > 0, name
            assert abs((point - eye) @ up) < half * depth, name
            assert abs((point - eye) @ right) < half * depth * WIDTH / HEIGHT, name

    def test_pictures_change_no_bit_of_what_follows(self, env: RoboCasaEnv) -> None:
        runs = []
        for is_filmed in (False, True):
            env.reset(seed=1)
            found = []
            for chunk in CHUNKS:
                if is_filmed:
                    env.render()
                found.append(pickle.dumps((env.step_chunk(chunk), env.get_state())))
            runs.append(found)
        assert runs[0] == runs[1]

    @pytest.mark.slow
    def test_pictures_change_no_image_that_is_observed(self, options: RoboCasaOptions, opengl: None) -> None:
        env = RoboCasaEnv("PnPCounterToSink", replace(options, obs="pixels", image_px=64))
        seen = []
        for is_filmed in (False, True):
            observation, _ = env.reset(seed=1)
            seen.append([observation])
            for chunk in CHUNKS:
                if is_filmed:
                    env.film()
                seen[-1].append(env.step_chunk(chunk)[0])
        env.close()
        np.testing.assert_equal(seen[0], seen[1])

    def test_snapshots_and_scenes_are_those_of_envs_without_pictures(
        self, env: RoboCasaEnv, options: RoboCasaOptions
    ) -> None:
        assert env.snapshot_name == RoboCasaEnv("PnPCounterToSink", options).snapshot_name

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore:.*infinity")
    def test_gymnasium_s_check_passes_with_pictures(self, pack: Path, opengl: None) -> None:
        made = {"backend": "robocasa", "assets": pack, "layout_styles": [(1, 1)]}
        env = gym.make("z1_envs:Z1-RoboCasa-OpenDrawer", render_mode="rgb_array", **made)
        assert env.metadata["render_modes"] == ["rgb_array"]
        check_env(env.unwrapped)
        env.close()


class Scripted:
    """Random chunks [B, 3, 12], others at each decision."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(1)

    def act(self, observation: dict[str, np.ndarray], /) -> np.ndarray:
        return self._rng.uniform(-1, 1, (len(observation["state"]), 3, ACTION.width)).astype(np.float32)


@pytest.mark.robocasa
@pytest.mark.slow
def test_lanes_are_filmed_as_a_single_env_is_and_go_on_alike(
    env: RoboCasaEnv, options: RoboCasaOptions, tmp_path: Path
) -> None:
    envs = RoboCasaVectorEnv("PnPCounterToSink", num_envs=2, group_size=2, num_workers=1, options=options)
    try:
        runs = []
        for is_filmed in (False, True):
            envs.reset(seed=0)
            first = envs.step(CHUNKS)[0]["state"]
            pictures = [envs.film(lane) for lane in (1, 0)] if is_filmed else []
            runs.append((first, envs.step(CHUNKS)[0]["state"]))
        np.testing.assert_equal(runs[0], runs[1])
        env.reset(seed=0)
        env.step_chunk(CHUNKS[1])
        np.testing.assert_array_equal(pictures[0], env.film())
        assert (pictures[0] != pictures[1]).any()
        record_tree(envs, Scripted(), tmp_path / "tree.mp4", seed=0, decision=1)
        assert frames(tmp_path / "tree.mp4")[0].shape == (HEIGHT // 2, WIDTH, 3)
    finally:
        envs.close()
