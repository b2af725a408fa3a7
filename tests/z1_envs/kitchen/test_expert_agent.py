"""The experts as an agent: of evaluations, of films, and as the one who labels what another agent visits."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.z1_envs.fake_env import FakeVectorEnv
from z1_envs.evaluate import EvalProtocol, Report, evaluate
from z1_envs.kitchen.env import KitchenVectorEnv
from z1_envs.kitchen.experts.agent import ExpertAgent
from z1_envs.kitchen.experts.expert import expert_actions
from z1_envs.layout import ACTION
from z1_envs.video import record_rollout


def lanes(num_envs: int, horizon: int = 120) -> KitchenVectorEnv:
    return KitchenVectorEnv("OpenDrawer", num_envs=num_envs, horizon=horizon, num_threads=1)


def protocol(num_episodes: int, horizon: int = 120) -> EvalProtocol:
    return EvalProtocol(
        name="expert", version=1, task="OpenDrawer", backend="kitchen", split="train", obs="state",
        num_episodes=num_episodes, seed=0, horizon=horizon, chunk_len=1,
    )  # fmt: skip


def outcome(report: Report) -> list[list[int]]:
    return [report.seeds.tolist(), report.successes.tolist(), report.elapsed.tolist()]


def test_an_episode_of_the_expert_does_not_depend_on_which_lane_plays_it() -> None:
    few, many = (evaluate(ExpertAgent(envs), envs, protocol(5)) for envs in (lanes(2), lanes(5)))
    assert few.seeds.tolist() == many.seeds.tolist()
    assert few.successes.tolist() == many.successes.tolist()
    # BLAS may sum in another order for another number of rows.
    assert np.abs(few.elapsed - many.elapsed).max() <= 1
    assert few.successes.sum() >= 4
    assert len(set(few.elapsed.tolist())) > 1, "episodes end at different times: not all lanes are asked about"


class Visitor:
    """Moves at random and has an expert say, at each step, what it would have done."""

    def __init__(self, envs: KitchenVectorEnv) -> None:
        self.envs, self.expert = envs, ExpertAgent(envs)
        self.rng = np.random.default_rng(0)
        self.labels: list[NDArray] = []

    def act(self, observation: dict[str, NDArray], /) -> NDArray:
        self.labels.append(self.expert.act(observation))
        rows = observation["lane"].astype(np.int32)
        expected = expert_actions("OpenDrawer", self.envs.lanes.geometry(rows))
        assert self.labels[-1] == pytest.approx(expected, abs=1e-6)
        return self.rng.uniform(-1, 1, (len(rows), ACTION.width)).astype(np.float32)


def test_it_labels_the_states_that_others_visit() -> None:
    envs = lanes(2)
    visitor = Visitor(envs)
    evaluate(visitor, envs, protocol(3, horizon=4))
    assert [len(label) for label in visitor.labels] == [2] * 4 + [1] * 4
    assert not np.array_equal(visitor.labels[0], visitor.labels[1]), "the states went on"
    everywhere = ExpertAgent(envs).act({"lane": np.arange(2)})
    assert (everywhere.shape, everywhere.dtype) == ((2, 12), np.float32)


def test_its_noise_is_of_its_translation_and_begins_anew_with_a_seed() -> None:
    envs = lanes(2)
    envs.reset(seed=0)
    asked = {"lane": np.arange(2)}
    calm, noisy = ExpertAgent(envs).act(asked), ExpertAgent(envs, noise=0.3, seed=5)
    first = noisy.act(asked)
    moved = (first != calm).any(axis=0)
    assert moved.tolist() == [True] * 3 + [False] * 9
    assert np.abs(first).max() <= 1
    assert not np.array_equal(noisy.act(asked), first)
    noisy.reset(5)
    assert np.array_equal(noisy.act(asked), first)
    again = [outcome(evaluate(noisy, envs, protocol(2, horizon=60))) for _ in range(2)]
    assert again[0] == again[1]


def test_it_is_filmed(tmp_path: Path, opengl: None) -> None:
    envs = lanes(2, horizon=4)
    won = record_rollout(envs, ExpertAgent(envs), tmp_path / "film.mp4", seed=0)
    assert (won.tolist(), (tmp_path / "film.mp4").stat().st_size > 0) == ([False, False], True)
    envs.close()


def test_it_says_what_it_needs() -> None:
    envs = lanes(2)
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r'needs observation\["lane"\].* got \[\'state\'\]; add it'):
        ExpertAgent(envs).act({"state": np.zeros((2, 16))})
    with pytest.raises(TypeError, match="pass a KitchenVectorEnv, not FakeVectorEnv"):
        ExpertAgent(FakeVectorEnv(2, 1))  # pyright: ignore[reportArgumentType]
