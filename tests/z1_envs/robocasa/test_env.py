"""RoboCasa's own tasks, for real, on the stand-in pack."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from z1_envs.layout import ACTION, CAMERAS, STATE
from z1_envs.robocasa.env import RoboCasaEnv
from z1_envs.robocasa.options import RoboCasaOptions
from z1_envs.tasks import TASKS

STILL = np.zeros(ACTION.width, np.float32)


def door_of(env: RoboCasaEnv) -> Any:
    """The fixture whose door a task is about; v0.2 and v1.0.1 name it differently."""
    return env._env.door_fxtr if hasattr(env._env, "door_fxtr") else env._env.fxtr


def test_unknown_tasks_are_refused_before_robocasa_is_looked_for() -> None:
    with pytest.raises(ValueError, match="did you mean OpenDrawer"):
        RoboCasaEnv("OpenDrawers")


@pytest.mark.robocasa
class TestWithRoboCasa:
    @pytest.fixture(autouse=True)
    def _installed(self, pack: Path, layouts: tuple[int, ...]) -> None:
        self.pack, self.layouts = pack, layouts

    def started(self, task: str = "OpenDrawer", *, horizon: int | None = None, seed: int = 0) -> RoboCasaEnv:
        env = RoboCasaEnv(task, RoboCasaOptions(assets=self.pack, horizon=horizon, layouts=self.layouts))
        env.reset(seed=seed)
        return env

    @pytest.mark.slow
    @pytest.mark.parametrize("task", TASKS)
    def test_all_24_reset_and_step(self, task: str) -> None:
        env = RoboCasaEnv(task, RoboCasaOptions(assets=self.pack))
        observation, info = env.reset(seed=1)
        assert env.observation_space.contains(observation)
        pattern = TASKS[task].instruction.split("{")[0]
        assert info["instruction"].startswith(pattern), info["instruction"]
        assert (info["success"], info["elapsed"], info["backend"]) == (False, 0, "robocasa-stand-in")
        for step in range(5):
            observation, reward, terminated, truncated, info = env.step(STILL)
            assert (reward, terminated, truncated, info["elapsed"]) == (0.0, False, False, step + 1)
        env.close()

    @pytest.mark.filterwarnings("ignore:.*infinity")
    def test_gymnasium_s_check_passes(self) -> None:
        env = RoboCasaEnv("OpenDrawer", RoboCasaOptions(assets=self.pack, layouts=(1,)))
        check_env(env, skip_render_check=True)
        env.close()

    def test_a_seed_decides_everything(self) -> None:
        env = self.started()
        runs = []
        for seed in (5, 6, 5):
            np.random.default_rng().random()
            observation, info = env.reset(seed=seed)
            states = [observation["state"], *(env.step(STILL)[0]["state"] for _ in range(3))]
            runs.append((info["scene_id"], np.array(states).tobytes()))
        assert runs[0] == runs[2] != runs[1]
        env.close()

    @pytest.mark.slow
    def test_a_seed_decides_on_which_side_of_a_sink_objects_lie(self) -> None:
        env = self.started("PnPCounterToSink")
        starts = set()
        for _ in range(5):
            env.reset(seed=1)
            starts.add(env.get_state().simulation.physics.tobytes())
        assert len(starts) == 1, "a counter's tops are numbered by their addresses in memory"
        env.close()

    @pytest.mark.slow
    def test_another_process_draws_the_same_start(self) -> None:
        code = (
            "import sys, pathlib\nfrom z1_envs.robocasa.env import RoboCasaEnv, RoboCasaOptions\n"
            "layouts = tuple(map(int, sys.argv[2:]))\n"
            "options = RoboCasaOptions(assets=pathlib.Path(sys.argv[1]), layouts=layouts)\n"
            "env = RoboCasaEnv('OpenDrawer', options)\n"
            "observation, info = env.reset(seed=7)\nprint(info['scene_id'], observation['state'].tobytes().hex())\n"
        )
        command = [sys.executable, "-c", code, str(self.pack), *map(str, self.layouts)]
        run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
        env = self.started(seed=7)
        observation, info = env.reset(seed=7)
        assert run.stdout.split() == [info["scene_id"], observation["state"].tobytes().hex()]
        env.close()

    def test_numpy_s_global_stream_is_left_as_it_was(self) -> None:
        before = np.random.get_state()[1].copy()  # noqa: NPY002  # pyright: ignore
        self.started().close()
        assert (np.random.get_state()[1] == before).all()  # noqa: NPY002  # pyright: ignore

    def test_success_ends_the_episode_at_the_step_it_happens(self) -> None:
        env = self.started()
        official = env._env
        # All of what RoboCasa counts as open: 0.55 of the depth (models/fixtures/cabinets.py:1046).
        drawer = official.drawer
        official.sim.data.set_joint_qpos(f"{drawer.name}_slidejoint", -0.55 * drawer.size[1])
        _, reward, terminated, truncated, info = env.step(STILL)
        assert (reward, terminated, truncated, info["success"]) == (1.0, True, False, True)
        with pytest.raises(gym.error.ResetNeeded, match="call reset"):
            env.step(STILL)
        env.close()

    def test_the_horizon_truncates(self) -> None:
        env = self.started(horizon=2)
        assert env.step(STILL)[2:4] == (False, False)
        assert env.step(STILL)[2:4] == (False, True)
        env.close()

    def test_actions_move_what_their_names_say(self) -> None:
        env = self.started()
        before = env.step(STILL)[0]["state"]
        action = STILL.copy()
        action[ACTION["gripper"]] = 1.0  # closes
        action[ACTION["eef_position"]] = (0.0, 0.0, 0.5)  # up, in the frame of the base
        for _ in range(10):
            after = env.step(action)[0]["state"]
        width = [np.ptp(state[STATE["gripper_qpos"]]) for state in (before, after)]
        assert width[1] < 0.3 * width[0]
        rise = (after - before)[STATE["eef_position"]]
        # Ten steps ask for 0.025 m each; in base mode 0 each starts from where the arm is, behind what it was asked.
        assert 0.03 < rise[2] < 0.25
        assert abs(rise[:2]).max() < 0.5 * rise[2]
        env.close()

    @pytest.mark.parametrize("bad", [np.zeros(11), np.full(12, np.nan), np.full(12, 1.5)])
    def test_wrong_actions_change_nothing(self, bad: np.ndarray) -> None:
        env = self.started()
        before = env._env.sim.data.qpos.copy()
        with pytest.raises(ValueError, match="action"):
            env.step(bad)
        assert (env._env.sim.data.qpos == before).all()
        env.close()

    def test_single_doors_are_cabinets_or_microwaves_and_double_doors_have_two(self) -> None:
        env = self.started("OpenSingleDoor")
        kinds = set()
        for seed in range(6):
            env.reset(seed=seed)
            kinds.add(type(door_of(env)).__name__)
        assert kinds == {"SingleCabinet", "Microwave"}
        env.close()
        double = self.started("CloseDoubleDoor")
        assert type(door_of(double)).__name__ == "HingeCabinet"
        double.close()

    @pytest.mark.slow
    def test_images_are_those_of_mujocos_own_renderer_and_upright(self) -> None:
        env = RoboCasaEnv(
            "OpenDrawer",
            RoboCasaOptions(obs="pixels", image_px=64, assets=self.pack, layout_styles=((1, 1),)),
        )
        observation, _ = env.reset(seed=0)
        assert env.observation_space.contains(observation)
        simulation = env._episode.simulation  # pyright: ignore[reportOptionalMemberAccess]
        option = mujoco.MjvOption()
        option.geomgroup[0] = 0  # what touches is not drawn
        with mujoco.Renderer(simulation.model, 64, 64) as renderer:
            for key, camera in CAMERAS.items():
                renderer.update_scene(simulation.data, camera=camera, scene_option=option)
                expected = renderer.render().astype(float)
                assert np.abs(observation[key] - expected).mean() < 1, key
                assert np.abs(observation[key][::-1] - expected).mean() > 10, f"{key}: upside down would be as good"
        env.close()
