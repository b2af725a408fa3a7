"""ActionChunk, SuccessDecay, SuccessPenalty: hand-worked rewards, and what SnapshotRestore makes of them."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tests.z1_envs.fake_env import FakeEnv
from z1_envs.snapshot import SnapshotRestore
from z1_envs.wrappers import ActionChunk, SuccessDecay, SuccessPenalty

RIGHT = np.array([1.0, 0.0], dtype=np.float32)


def steps_until_success(env: FakeEnv) -> int:
    env.reset(seed=0)
    for count in range(1, 100):
        if env.step(RIGHT)[2]:
            return count
    raise AssertionError("never succeeds")


def test_a_chunk_equals_its_steps() -> None:
    one, many = FakeEnv(), ActionChunk(FakeEnv(), 4)
    one.reset(seed=0)
    many.reset(seed=0)
    chunk = np.linspace(-0.5, 0.5, 8, dtype=np.float32).reshape(4, 2)
    last = [one.step(action) for action in chunk][-1]
    result = many.step(chunk)
    np.testing.assert_array_equal(result[0]["state"], last[0]["state"])
    assert result[1:] == last[1:]


def test_a_chunk_stops_where_the_episode_ends() -> None:
    num_steps = steps_until_success(FakeEnv())
    env = ActionChunk(FakeEnv(), num_steps + 5)
    env.reset(seed=0)
    _, reward, terminated, _, info = env.step(np.tile(RIGHT, (num_steps + 5, 1)))
    assert (reward, terminated, info["elapsed"]) == (1.0, True, num_steps)


def test_a_chunk_of_another_shape_is_refused_before_anything_moves() -> None:
    env = ActionChunk(FakeEnv(), 4)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"\(4, 2\).*got \(3, 2\)"):
        env.step(np.zeros((3, 2)))
    assert env.unwrapped.elapsed == 0  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="Box action space"):
        ActionChunk(gym.make("CartPole-v1"), 4)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.5])
def test_a_chunk_with_a_bad_entry_is_refused_before_anything_moves(value: float) -> None:
    env = ActionChunk(FakeEnv(), 4)
    env.reset(seed=0)
    chunk = np.zeros((4, 2), dtype=np.float32)
    chunk[2, 1] = value
    with pytest.raises(ValueError, match=rf"finite numbers in \[-1, 1\] \(it has {value}\)"):
        env.step(chunk)
    assert env.unwrapped.elapsed == 0  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")  # it is meant to be
def test_the_chunked_env_keeps_gymnasium_s_contract() -> None:
    check_env(ActionChunk(FakeEnv(), 4), skip_render_check=True)


def test_decay_of_a_success_is_gamma_to_the_number_of_chunks() -> None:
    num_steps = steps_until_success(FakeEnv())
    env = SuccessDecay(FakeEnv(), 0.9, chunk_len=2)
    env.reset(seed=0)
    rewards = [env.step(RIGHT)[1] for _ in range(num_steps)]
    # The chunk in which it succeeds counts: with chunks of 2, step 5 is in the third, so 0.9^3.
    assert rewards[:-1] == [0.0] * (num_steps - 1)
    assert rewards[-1] == pytest.approx(0.9 ** ((num_steps + 1) // 2))


def test_penalty_of_a_success_is_linear_in_the_number_of_chunks() -> None:
    num_steps = steps_until_success(FakeEnv())
    env = SuccessPenalty(FakeEnv(), 0.01, chunk_len=1)
    env.reset(seed=0)
    rewards = [env.step(RIGHT)[1] for _ in range(num_steps)]
    assert rewards[-1] == pytest.approx(1.0 - 0.01 * num_steps)


def succeed(env: gym.Env) -> float:
    """The reward of the success."""
    env.reset(seed=0)
    action = np.broadcast_to(RIGHT, env.action_space.shape or ())
    while True:
        _, reward, terminated, _, _ = env.step(action)
        if terminated:
            return float(reward)


@pytest.mark.parametrize("with_limit", [False, True])
def test_the_chunk_length_is_that_of_the_action_chunk_in_the_stack(with_limit: bool) -> None:
    num_steps = steps_until_success(FakeEnv())
    chunked: gym.Env = ActionChunk(FakeEnv(), 2)
    if with_limit:  # other layers between do not hide it
        chunked = gym.wrappers.TimeLimit(chunked, 50)
    assert succeed(SuccessDecay(chunked, 0.9)) == pytest.approx(0.9 ** -(-num_steps // 2))
    assert succeed(SuccessPenalty(chunked, 0.1)) == pytest.approx(1 - 0.1 * -(-num_steps // 2))
    assert succeed(SuccessDecay(FakeEnv(), 0.9)) == pytest.approx(0.9**num_steps), "steps, where nothing makes chunks"
    assert SnapshotRestore(SuccessDecay(chunked)).stack[0] == "SuccessDecay(gamma=0.998, chunk_len=2)"


@pytest.mark.parametrize("wrapper", [SuccessDecay, SuccessPenalty])
def test_two_chunk_lengths_in_one_stack_are_refused(wrapper: Any) -> None:
    amount = 0.9
    with pytest.raises(ValueError, match=r"chunk_len=5, but an ActionChunk in the stack has 2: leave chunk_len out"):
        wrapper(ActionChunk(FakeEnv(), 2), amount, chunk_len=5)
    # The other way round: one action at a time passes through the inner wrapper.
    for inner, found in ((wrapper(FakeEnv(), amount), 1), (wrapper(FakeEnv(), amount, chunk_len=5), 5)):
        with pytest.raises(ValueError, match=rf"{wrapper.__name__} inside .* chunk_len={found}, .* has 2: put"):
            ActionChunk(inner, 2)
    assert succeed(ActionChunk(wrapper(FakeEnv(), amount, chunk_len=2), 2)) == succeed(
        wrapper(ActionChunk(FakeEnv(), 2), amount)
    )


@pytest.mark.parametrize("chunk_len", [0, 5.5, "5", True])
def test_chunk_lengths_are_whole_numbers(chunk_len: Any) -> None:
    for build in (
        lambda: ActionChunk(FakeEnv(), chunk_len),
        lambda: SuccessDecay(FakeEnv(), chunk_len=chunk_len),
        lambda: SuccessPenalty(FakeEnv(), 0.1, chunk_len=chunk_len),
    ):
        with pytest.raises(ValueError, match="chunk_len must be a whole number of at least 1, got"):
            build()


def test_rewards_by_success_say_what_the_env_lacks() -> None:
    env = SuccessDecay(gym.make("CartPole-v1"), chunk_len=1)
    env.reset(seed=0)
    with pytest.raises(KeyError, match=r"info\['success'\].*add them to the env's info"):
        env.step(0)
    with pytest.raises(ValueError, match="gamma must be in"):
        SuccessDecay(FakeEnv(), 1.5, chunk_len=1)
    with pytest.raises(ValueError, match="penalty must be"):
        SuccessPenalty(FakeEnv(), -1.0, chunk_len=1)
    with pytest.raises(ValueError, match="penalty must be"):
        SuccessPenalty(FakeEnv(), float("nan"), chunk_len=1)


def test_snapshots_understand_all_three() -> None:
    env = SnapshotRestore(SuccessPenalty(SuccessDecay(ActionChunk(FakeEnv(), 2), chunk_len=2), 0.1, chunk_len=2))
    assert env.stack == (
        "SuccessPenalty(penalty=0.1, chunk_len=2)",
        "SuccessDecay(gamma=0.998, chunk_len=2)",
        "ActionChunk(chunk_len=2)",
        "FakeEnv",
    )
    env.reset(seed=0)
    moment = env.snapshot()
    chunk = np.full((2, 2), 0.5, dtype=np.float32)
    first = env.step(chunk)
    env.restore(moment)
    np.testing.assert_array_equal(env.step(chunk)[0]["state"], first[0]["state"])
