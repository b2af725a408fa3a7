"""Sb3VecEnv is to SB3 what its own DummyVecEnv is, and SB3's wrappers and algorithms work on it."""

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor, VecNormalize

from tests.z1_agent.reach_env import HORIZON, ReachEnv
from z1_agent.sb3 import Sb3Agent, Sb3VecEnv, flat_rows
from z1_envs.evaluate import EvalProtocol, evaluate
from z1_envs.lanes import LaneVectorEnv

NUM_LANES = 3
TASKS = ("OpenDrawer", "CloseSingleDoor")


def limited(max_steps: int = 100) -> gym.Env:
    return gym.wrappers.TimeLimit(ReachEnv(), max_steps)


def reach_lanes(max_steps: int = 100, *, flat: tuple[str, ...] | None = None) -> Sb3VecEnv:
    return Sb3VecEnv(LaneVectorEnv(lambda: limited(max_steps), num_envs=NUM_LANES), flat=flat)


def kitchen(task: str = "CloseSingleDoor", *, num_envs: int = 3, horizon: int = 5, flat: Any = None) -> Sb3VecEnv:
    envs: Any = gym.make_vec(f"z1_envs:Z1-RoboCasa-{task}", num_envs=num_envs, horizon=horizon, num_threads=1)
    return Sb3VecEnv(envs, flat=flat)


def assert_same(one: Any, other: Any) -> None:
    """Equal in value and type, through dicts and lists."""
    if isinstance(other, dict):
        assert set(one) == set(other)
        for key in other:
            assert_same(one[key], other[key])
    elif isinstance(other, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    elif isinstance(other, list):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            assert_same(mine, theirs)
    else:
        assert (type(one), one) == (type(other), other)


def play(venv: VecEnv, num_steps: int) -> list[Any]:
    """Everything the env said under the same random actions."""
    venv.seed(3)
    rng = np.random.default_rng(0)
    said: list[Any] = [venv.reset(), copy.deepcopy(venv.reset_infos)]
    for _ in range(num_steps):
        actions = rng.uniform(-0.4, 1.0, (venv.num_envs, *venv.action_space.shape)).astype(np.float32)
        said += [list(venv.step(actions)), copy.deepcopy(venv.reset_infos)]
    return said


@pytest.mark.parametrize("max_steps", [100, 3])
def test_it_says_what_sb3_s_own_adapter_says(max_steps: int) -> None:
    mine = play(reach_lanes(max_steps), 40)
    theirs = play(DummyVecEnv([lambda: limited(max_steps)] * NUM_LANES), 40)
    assert_same(mine, theirs)
    steps = [said for said in mine[2::2] if said[2].any()]
    assert len(steps) > 5, "episodes ended at different times"
    assert any(not said[2].all() for said in steps)


@pytest.mark.parametrize("task", TASKS)
def test_the_kitchen_through_it_is_the_kitchen_itself(task: str) -> None:
    venv = kitchen(task, num_envs=2, horizon=4)
    alone: Any = gym.make(f"z1_envs:Z1-RoboCasa-{task}", horizon=4).unwrapped
    said = play(venv, 4)
    rng = np.random.default_rng(0)
    first, _ = alone.reset(seed=4)
    assert_same({key: rows[1] for key, rows in said[0].items()}, first)
    for step in range(4):
        actions = rng.uniform(-0.4, 1.0, (2, 12)).astype(np.float32)
        observation, reward, terminated, truncated, info = alone.step(actions[1])
        rows, rewards, done, infos = said[2 + 2 * step]
        assert (rewards[1], done[1]) == (reward, terminated or truncated)
        assert {key: infos[1][key] for key in info} == info
        shown = infos[1]["terminal_observation"] if done[1] else {key: values[1] for key, values in rows.items()}
        assert_same(shown, observation)
    assert done.all()
    assert [info["TimeLimit.truncated"] for info in infos] == [True, True]
    assert all(info["elapsed"] == 0 for info in venv.reset_infos)
    assert (rows["scene"][1] != observation["scene"]).any(), "the next episode has begun"
    assert [info["scene_id"] for info in venv.reset_infos] == venv.get_attr("scene_ids")[0]
    assert venv.reset_infos[1]["scene_id"] != infos[1]["scene_id"]


def test_only_finished_lanes_begin_anew() -> None:
    venv = kitchen(horizon=3, num_envs=3)
    venv.seed(0)
    venv.reset()
    venv.envs.reset(seed=7, options={"reset_mask": np.array([False, True, False])})  # lane 1 is a step behind
    rest = np.zeros((3, 12), np.float32)
    venv.envs.step(rest, active=[True, False, True])
    ends = [venv.step(rest)[2].tolist() for _ in range(4)]
    assert ends == [[False] * 3, [True, False, True], [False, True, False], [False] * 3]


def test_a_success_is_no_truncation_and_seeds_decide_everything() -> None:
    venv = reach_lanes()
    venv.seed(0)
    venv.reset()
    forward = np.zeros((NUM_LANES, 12), np.float32)
    forward[:2, 0] = 1.0  # lane 2 stands still
    ended: dict[int, list[bool]] = {lane: [] for lane in range(NUM_LANES)}
    for _ in range(HORIZON):
        _, rewards, done, infos = venv.step(forward)
        for lane in np.flatnonzero(done).tolist():
            assert bool(rewards[lane]) == infos[lane]["success"]
            ended[lane].append(infos[lane]["TimeLimit.truncated"])
    assert ended[2] == [True]
    assert ended[0]
    assert not any(ended[0] + ended[1])
    assert_same(play(kitchen(), 12), play(kitchen(), 12))


def test_seeds_and_options_are_for_the_next_reset_only() -> None:
    venv = kitchen()
    venv.seed(0)
    first, second = venv.reset(), venv.reset()
    assert (first["scene"] != second["scene"]).any(axis=1).all()
    venv.set_options({"layout": 3})
    with pytest.raises(ValueError, match=r"no reset options, got \['layout'\]"):
        venv.reset()


def test_flat_observations_are_the_dict_s_vectors_side_by_side() -> None:
    flat, whole = play(kitchen(flat=("scene", "state")), 5), play(kitchen(), 5)
    venv = kitchen(flat=("scene", "state"))
    assert flat[0].shape == (3, *venv.observation_space.shape)
    assert flat[0].dtype == venv.observation_space.dtype
    for mine, theirs in zip(flat[2::2], whole[2::2], strict=True):
        np.testing.assert_array_equal(mine[0], flat_rows(theirs[0], ("scene", "state")))
    last = whole[-2][3][0]["terminal_observation"]
    np.testing.assert_array_equal(
        flat[-2][3][0]["terminal_observation"], np.concatenate([last["scene"], last["state"]])
    )


def test_what_it_returns_is_the_caller_s() -> None:
    venv = kitchen()
    before = play(venv, 5)
    kept = copy.deepcopy(before)
    venv.step(np.ones((3, 12), np.float32))
    assert_same(before, kept)


def test_refusals_say_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"group_size=1, not 2"):
        Sb3VecEnv(LaneVectorEnv(ReachEnv, num_envs=4, group_size=2))
    with pytest.raises(ValueError, match=r"'smell' is None; the env has \['scene', 'state'\].*MultiInputPolicy"):
        reach_lanes(flat=("scene", "smell"))
    with pytest.raises(ValueError, match=r"leave it out"):
        Sb3VecEnv(LaneVectorEnv(lambda: gym.wrappers.FlattenObservation(ReachEnv())), flat=("scene",))
    with pytest.raises(TypeError, match=r"Sb3VecEnv takes a BranchVectorEnv, got \w+: .*use gymnasium\.make_vec"):
        Sb3VecEnv(gym.make("z1_envs:Z1-RoboCasa-OpenDrawer"))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"got the text 'scene': write flat=\('scene',\)"):
        reach_lanes(flat="scene")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="flat is empty: name at least one key"):
        reach_lanes(flat=())
    venv = reach_lanes()
    with pytest.raises(RuntimeError, match="call step_async"):
        venv.step_wait()
    with pytest.raises(ValueError, match="'horizon' concerns all of them"):
        venv.set_attr("horizon", 3, indices=[0])
    venv.set_options([{}, {"a": 1}, {}])
    with pytest.raises(ValueError, match="one dict"):
        venv.reset()


def test_attributes_and_methods_are_the_vector_env_s() -> None:
    venv = kitchen(horizon=5)
    assert venv.get_attr("horizon") == [5] * 3
    assert venv.get_attr("task", indices=[0]) == ["CloseSingleDoor"]
    assert not venv.has_attr("no_such_thing")
    venv.set_attr("note", "x")
    assert venv.get_attr("note", indices=2) == ["x"]
    venv.reset()
    assert len(venv.env_method("save", [1])) == 3
    assert venv.env_is_wrapped(Monitor) == [False] * 3
    assert reach_lanes().env_is_wrapped(gym.wrappers.TimeLimit, indices=0) == [True]
    assert (venv.render_mode, list(venv.get_images())) == (None, [None] * 3)
    venv.close()


def test_monitor_normalize_and_evaluate_policy_work() -> None:
    monitored = VecMonitor(reach_lanes(), info_keywords=("success",))
    venv = VecNormalize(monitored, gamma=0.9)
    model = PPO("MultiInputPolicy", venv, n_steps=32, batch_size=48, n_epochs=1, seed=0, device="cpu")
    model.learn(200)
    assert model.ep_info_buffer
    assert all({"r", "l", "success"} <= set(episode) for episode in model.ep_info_buffer)
    venv.training = False
    returns, lengths = evaluate_policy(model, venv, n_eval_episodes=7, return_episode_rewards=True)
    assert len(returns) == 7
    assert set(returns) <= {0.0, 1.0}, "the env's own rewards, not normalised ones"
    assert max(lengths) <= HORIZON


@pytest.mark.parametrize("flat", [None, ("state", "scene")])
def test_an_agent_sees_what_the_model_was_trained_on(flat: Any) -> None:
    venv: Any = VecNormalize(reach_lanes(flat=flat))
    model = PPO("MlpPolicy" if flat else "MultiInputPolicy", venv, n_steps=32, batch_size=96, device="cpu")
    model.learn(100)
    venv.training = False
    agent = Sb3Agent(model, flat=flat, normalize=venv)
    envs: Any = venv.unwrapped.envs
    raw = envs.reset(seed=3)[0]
    expected = model.predict(venv.normalize_obs(flat_rows(raw, flat) if flat else raw), deterministic=True)[0]
    raw["instruction"] = np.array(["go"] * NUM_LANES)
    np.testing.assert_array_equal(agent.act(raw), expected)
    np.testing.assert_array_equal(agent.act(raw), expected)
    assert (agent.act(raw) != Sb3Agent(model, flat=flat).act(raw)).any(), "numbers are normalised"
    assert np.shape(expected) == (NUM_LANES, *venv.action_space.shape)
    protocol = EvalProtocol(
        name="t",
        version=1,
        task="reach",
        backend="none",
        split="all",
        obs="state",
        num_episodes=5,
        seed=0,
        horizon=None,
        chunk_len=1,
    )
    assert len(evaluate(agent, envs, protocol).seeds) == 5


def untrained(flat: Any) -> PPO:
    policy = "MlpPolicy" if flat else "MultiInputPolicy"
    return PPO(policy, reach_lanes(flat=flat), n_steps=8, batch_size=24, device="cpu")


def test_an_agent_says_which_keys_it_needs() -> None:
    rows = reach_lanes().envs.reset(seed=0)[0]
    model = untrained(("scene",))
    for flat in ("scene", ()):
        with pytest.raises(ValueError, match=r"write flat=\('scene',\)|flat is empty"):
            Sb3Agent(model, flat=flat)
    with pytest.raises(ValueError, match="trained on the whole dict: leave flat out"):
        Sb3Agent(untrained(None), flat=("scene",))
    with pytest.raises(ValueError, match=r"gives no \['observation'\] but \['scene', 'state'\]: give flat="):
        Sb3Agent(model).act(rows)
    with pytest.raises(ValueError, match=r"gives no \['smell'\] but"):
        Sb3Agent(model, flat=("scene", "smell")).act(rows)
    with pytest.raises(ValueError, match=r"make rows of \(22,\), the model was trained on \(6,\)"):
        Sb3Agent(model, flat=("scene", "state")).act(rows)
    with pytest.raises(ValueError, match=r"gives no \['state'\] but \['scene'\]"):
        Sb3Agent(untrained(None)).act({"scene": rows["scene"]})


def test_an_agent_of_an_env_without_dict() -> None:
    envs = LaneVectorEnv(lambda: gym.wrappers.FlattenObservation(ReachEnv()), num_envs=2)
    model = PPO("MlpPolicy", Sb3VecEnv(envs), n_steps=8, batch_size=16, device="cpu")
    observation, _ = envs.reset(seed=0)
    assert Sb3Agent(model).act({"observation": np.asarray(observation)}).shape == (2, 12)


def test_ppo_learns_to_reach() -> None:
    venv = Sb3VecEnv(LaneVectorEnv(lambda: ReachEnv((2.0, 4.0)), num_envs=8), flat=("scene",))
    model = PPO("MlpPolicy", venv, n_steps=32, batch_size=64, learning_rate=3e-3, gamma=0.9, seed=0, device="cpu")
    before, _ = evaluate_policy(model, venv, n_eval_episodes=40, deterministic=False, warn=False)
    model.learn(8 * 32 * 12)
    after, _ = evaluate_policy(model, venv, n_eval_episodes=40, deterministic=False, warn=False)
    assert (before < 0.4, after > 0.9) == (True, True), f"success {before:.2f} before, {after:.2f} after"
