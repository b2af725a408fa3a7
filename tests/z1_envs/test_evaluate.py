"""Evaluation: which episodes run, what the agent sees, and statistics against numbers worked by hand."""

import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.z1_envs.fake_env import FakeEnv, FakeVectorEnv
from z1_envs.evaluate import EvalProtocol, Paired, Report, compare, evaluate
from z1_envs.kitchen.env import KitchenVectorEnv
from z1_envs.lanes import LaneVectorEnv


def protocol(**changes: Any) -> EvalProtocol:
    values: dict[str, Any] = {
        "name": "house",
        "version": 1,
        "task": "Push",
        "backend": "push",  # what FakeVectorEnv says it is
        "split": "train",
        "obs": "state",
        "num_episodes": 5,
        "seed": 0,
        "horizon": 20,
        "chunk_len": 2,
    }
    return EvalProtocol(**{**values, **changes})


class Pusher:
    """Pushes with the same force for ever, and keeps what it was shown."""

    def __init__(self, force: float, shape: tuple[int, ...] = (2, 2)) -> None:
        self.force = force
        self.shape = shape
        self.rows: list[dict[str, NDArray]] = []
        self.seeds: list[int] = []

    def reset(self, seed: int) -> None:
        self.seeds.append(seed)

    def act(self, observation: dict[str, NDArray], /) -> NDArray:
        self.rows.append(observation)
        chunk = np.zeros((len(observation["state"]), *self.shape), dtype=np.float32)
        chunk[..., 0] = self.force
        return chunk


def report(successes: list[int], **changes: Any) -> Report:
    return Report(
        protocol=protocol(num_episodes=max(len(successes), 1), **changes),
        seeds=np.arange(len(successes)),
        successes=np.array(successes, dtype=bool),
        elapsed=np.full(len(successes), 7),
        skipped=(),
    )


def test_all_episodes_run_once_in_waves() -> None:
    agent = Pusher(1.0)
    seen: list[tuple[int, int, int]] = []
    found = evaluate(agent, FakeVectorEnv(2, 1), protocol(), progress=lambda *counts: seen.append(counts))
    assert found.seeds.tolist() == [0, 1, 2, 3, 4]
    assert found.successes.all()
    assert (found.rate, found.task, found.backend) == (1.0, "Push", "push")
    # Velocity 1, 1.5, 1.75: above 3 at step 3 (4.25), whatever the small start and sway.
    assert found.elapsed.tolist() == [3] * 5
    assert agent.seeds == [0]
    assert [len(rows["state"]) for rows in agent.rows] == [2, 2, 2, 2, 1, 1]  # the sixth lane has no episode
    assert agent.rows[0]["instruction"].tolist() == ["push", "push"]
    # Done, of all, and won so far: three waves of two decisions, all won at the second.
    assert seen == [(0, 5, 0), (2, 5, 2), (2, 5, 2), (4, 5, 4), (4, 5, 4), (5, 5, 5)]


def test_the_horizon_ends_an_episode_as_a_failure() -> None:
    found = evaluate(Pusher(0.0), FakeVectorEnv(5, 1), protocol(horizon=7, chunk_len=2))
    assert not found.successes.any()
    assert found.elapsed.tolist() == [7] * 5  # 2 + 2 + 2 + 1


def test_a_success_before_the_first_action_is_no_trial() -> None:
    # FakeVectorEnv starts at 0.01 * seed, so seeds above 300 start as a success.
    found = evaluate(Pusher(1.0), FakeVectorEnv(4, 1), protocol(seed=299, num_episodes=4))
    assert found.seeds.tolist() == [299, 300]
    assert found.skipped == (301, 302)


def test_only_the_decided_part_of_a_chunk_is_carried_out() -> None:
    agent = Pusher(1.0, shape=(10, 2))
    evaluate(agent, FakeVectorEnv(5, 1), protocol(chunk_len=1))
    assert len(agent.rows) == 3  # success at step 3, one step per decision
    single = Pusher(1.0, shape=(2,))
    evaluate(single, FakeVectorEnv(5, 1), protocol(chunk_len=1))
    assert len(single.rows) == 3
    with pytest.raises(ValueError, match=r"\[5, H >= 4.*got \(5, 2, 2\)"):
        evaluate(Pusher(1.0), FakeVectorEnv(5, 1), protocol(chunk_len=4))


def test_evaluation_refuses_what_it_cannot_stand_for() -> None:
    with pytest.raises(ValueError, match="group_size=1, not 2"):
        evaluate(Pusher(1.0), FakeVectorEnv(4, 2), protocol())
    wrapped = gym.wrappers.vector.RecordEpisodeStatistics(FakeVectorEnv(2, 1))
    others = gym.make_vec("CartPole-v1", num_envs=2, vectorization_mode="sync")
    for envs, words in (
        (FakeEnv(), r"got FakeEnv: that is a single env; use gymnasium\.make_vec"),
        (wrapped, r"got RecordEpisodeStatistics: pass `envs\.unwrapped`"),
        (others, r"got SyncVectorEnv: gymnasium\.make_vec makes one of our ids, .* LaneVectorEnv one of your own"),
    ):
        with pytest.raises(TypeError, match=words):
            evaluate(Pusher(1.0), envs, protocol())  # pyright: ignore[reportArgumentType]
    assert evaluate(Pusher(1.0), wrapped.unwrapped, protocol()).rate == 1.0  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"a method act\(observation\), function has none"):
        evaluate(lambda rows: rows, FakeVectorEnv(4, 1), protocol())  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"must return \[4, H >= 2, 2\] .* got \(4, 2, 3\)"):
        evaluate(Pusher(1.0, shape=(2, 3)), FakeVectorEnv(4, 1), protocol())
    with pytest.raises(ValueError, match=r"'robocasa', the env runs \['push'\]"):
        evaluate(Pusher(1.0), FakeVectorEnv(4, 1), protocol(backend="robocasa"))


class Remembering(Pusher):
    """Counts how often it has been asked in each episode, and answers with a list of tensors' rows."""

    def __init__(self) -> None:
        super().__init__(1.0)
        self.asked: dict[int, int] = {}

    def act(self, observation: dict[str, NDArray], /) -> Any:
        for episode in observation["episode"].tolist():
            self.asked[episode] = self.asked.get(episode, 0) + 1
        return super().act(observation).tolist()


def test_an_agent_with_memory_can_tell_episodes_apart() -> None:
    agent = Remembering()
    found = evaluate(agent, FakeVectorEnv(4, 1), protocol(num_episodes=6, num_runs=2))
    assert found.rate == 1.0
    # Chunks of 2 steps: an episode of 3 steps is asked about twice, and no two episodes share a number.
    assert agent.asked == {episode: -(-int(steps) // 2) for episode, steps in enumerate(found.elapsed)}
    assert len(agent.asked) == 12


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"task": "Pull"}, "the task 'Push', the env has 'Pull'"),
        ({"split": "test"}, "the split 'train', the env has 'test'"),
        ({"obs": "pixels"}, "the obs 'state', the env has 'pixels'"),
        ({"horizon": 19}, "horizon of 20 steps, the env ends episodes after 19"),
    ],
)
def test_what_the_env_knows_must_fit_the_protocol(known: dict[str, Any], words: str) -> None:
    envs = FakeVectorEnv(4, 1)
    vars(envs).update(known)
    agent = Pusher(1.0)
    with pytest.raises(ValueError, match=words):
        evaluate(agent, envs, protocol())
    assert agent.seeds == [], "refused before anything happens"
    vars(envs).update({"task": "Push", "split": "train", "obs": "state", "horizon": 500})
    assert evaluate(agent, envs, protocol()).rate == 1.0


def test_the_kitchen_says_what_it_is() -> None:
    envs = KitchenVectorEnv("OpenDrawer", num_envs=2, horizon=30)
    assert (envs.task, envs.obs, envs.horizon, envs.image_px) == ("OpenDrawer", "state", 30, None)
    assert KitchenVectorEnv("OpenDrawer", obs="pixels", image_px=48).image_px == 48


@pytest.mark.parametrize("name", ["num_episodes", "chunk_len", "horizon", "num_runs", "image_px"])
def test_a_protocol_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, got 0"):
        protocol(**{name: 0})


def test_none_stands_for_the_env_s_own_alone() -> None:
    assert (protocol(horizon=None, image_px=None).horizon, protocol().image_px) == (None, None)
    for name in ("num_episodes", "seed", "chunk_len", "num_runs", "wait_steps"):
        with pytest.raises(ValueError, match=f"{name} must be a whole number of at least [01], got None"):
            protocol(**{name: None})
    with pytest.raises(ValueError, match="scenes must be pairs of layout and style, one at least, or None, got 3"):
        protocol(scenes=3)


class Watched(FakeEnv):
    """Keeps every action that it is given, over all instances of a test."""

    actions: list[list[float]] = []  # noqa: RUF012

    def step(self, action: Any) -> Any:
        self.actions.append(np.asarray(action).tolist())
        return super().step(action)


def test_the_robot_waits_before_the_agent_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Watched, "actions", [])
    agent = Pusher(0.0)
    found = evaluate(agent, LaneVectorEnv(Watched, num_envs=1), protocol(num_episodes=1, wait_steps=3, horizon=4))
    assert Watched.actions == [[0.0, 0.0]] * 7
    assert [len(rows["state"]) for rows in agent.rows] == [1, 1]  # two decisions of two steps
    assert found.elapsed.tolist() == [4], "waiting is not the agent's"
    still = LaneVectorEnv(FakeEnv, num_envs=1)
    still.reset(seed=[0])
    seen, *_ = still.step(np.zeros((1, 3, 2), dtype=np.float32))
    assert isinstance(seen, dict)
    assert np.array_equal(agent.rows[0]["state"], seen["state"])


def test_waiting_is_fair_to_all_lanes() -> None:
    # FakeVectorEnv starts at 0.01 * seed and sways: seed 300 starts at 3, not above, and is above after a step.
    found = evaluate(Pusher(1.0), FakeVectorEnv(4, 1), protocol(seed=298, num_episodes=4, wait_steps=2))
    assert found.skipped == (300, 301)
    assert found.seeds.tolist() == [298, 299]
    assert found.successes.all()
    assert found.elapsed.tolist() == [1, 1]


def test_several_runs_have_episodes_and_rates_of_their_own() -> None:
    class Tired(Pusher):
        def reset(self, seed: int) -> None:
            super().reset(seed)
            self.force = 1.0 if len(self.seeds) == 1 else 0.0

    agent = Tired(1.0)
    seen: list[tuple[int, int, int]] = []
    wanted = protocol(num_episodes=3, num_runs=2, seed=10)
    found = evaluate(agent, FakeVectorEnv(2, 1), wanted, progress=lambda *counts: seen.append(counts))
    assert agent.seeds == [10, 13]
    assert found.seeds.tolist() == [10, 11, 12, 13, 14, 15]
    assert found.run_rates == (1.0, 0.0)
    assert found.rate == 0.5
    assert seen[-1] == (6, 6, 3)


@pytest.mark.parametrize(
    ("prescribed", "known", "words"),
    [
        ({"image_px": 224}, {"image_px": 128}, "prescribes the image_px 224, the env has 128"),
        ({"robocasa_version": "v0.2"}, {"robocasa_version": "v1.0.1"}, "'v0.2', the env has 'v1.0.1'"),
        ({"robocasa_version": "v0.2"}, {}, "the env does not say which it has"),
        ({"scenes": ((1, 1),)}, {"scenes": ((1, 1), (2, 2))}, "the env has"),
        ({"wait_steps": 10}, {"horizon": 29}, "after 10 steps of waiting, the env ends .* after 29; .*horizon=30"),
    ],
)
def test_what_a_protocol_prescribes_the_env_must_have(
    prescribed: dict[str, Any], known: dict[str, Any], words: str
) -> None:
    envs = FakeVectorEnv(4, 1)
    vars(envs).update(known)
    with pytest.raises(ValueError, match=words):
        evaluate(Pusher(1.0), envs, protocol(**prescribed))
    vars(envs).update({**prescribed, "horizon": 30})
    assert evaluate(Pusher(1.0), envs, protocol(**prescribed)).rate == 1.0


def test_any_env_with_success_and_elapsed_can_be_evaluated() -> None:
    envs = LaneVectorEnv(FakeEnv, num_envs=2)
    found = evaluate(Pusher(1.0), envs, protocol(num_episodes=3))
    assert found.successes.all()
    assert evaluate(Pusher(1.0), envs, protocol(num_episodes=3)).elapsed.tolist() == found.elapsed.tolist()


def test_wilson_s_interval() -> None:
    # n = 10, p = 0.8, z = 1.959964: centre (0.8 + z²/20) / (1 + z²/10) = 0.992073 / 1.384146 = 0.716740,
    # half width z/1.384146 · sqrt(0.016 + z²/400) = 1.416010 · 0.160019 = 0.226588.
    low, high = report([1] * 8 + [0] * 2).interval
    assert low == pytest.approx(0.4902, abs=1e-4)
    assert high == pytest.approx(0.9433, abs=1e-4)
    assert report([]).interval == (0.0, 1.0)


def test_mcnemar_s_exact_test() -> None:
    before = report([0, 0, 0, 0, 0, 0, 1, 1, 1, 0])
    after = report([1, 1, 1, 1, 1, 1, 0, 1, 1, 0])
    # 6 gained, 1 lost: two-sided P = 2 · (C(7,0) + C(7,1)) / 2^7 = 16 / 128.
    assert compare(before, after) == Paired(p_value=pytest.approx(0.125), gained=6, lost=1)
    assert compare(before, before) == Paired(p_value=1.0, gained=0, lost=0)


def test_reports_of_different_things_are_not_compared() -> None:
    with pytest.raises(ValueError, match=r"different backends.*: backend 'push' and 'robocasa'; evaluate again"):
        compare(report([1, 0]), report([1, 0], backend="robocasa"))
    with pytest.raises(ValueError, match=r"different protocols .*: name 'house' and 'x', horizon 20 and 30; evaluate"):
        compare(report([1, 0]), report([1, 0], horizon=30, name="x"))
    shifted = report([1] * 20)
    object.__setattr__(shifted, "seeds", np.arange(2, 22))
    words = r"different episodes .*: 2 of the first only \(seeds \[0, 1\]\), 2 of the second only \(seeds \[20, 21\]\)"
    with pytest.raises(ValueError, match=words):
        compare(report([1] * 20), shifted)
    short = report([1] * 20)
    object.__setattr__(short, "seeds", np.arange(10, 20))
    with pytest.raises(ValueError, match=r": 10 of the first only \(seeds \[0, 1, 2, …\]\), 0 of the second only; "):
        compare(report([1] * 20), short)


def test_the_hash_is_stable_and_sees_every_field() -> None:
    base = protocol()
    assert base.hash == protocol().hash
    assert base.hash == HASH
    changes = {"name": "x", "version": 2, "task": "x", "backend": "x", "obs": "x", "num_episodes": 6}
    changes |= {"seed": 1, "horizon": None, "chunk_len": 3, "split": "test", "num_runs": 2, "wait_steps": 1}
    changes |= {"image_px": 64, "robocasa_version": "v0.2", "scenes": ((1, 1),), "differences": ("x",)}
    assert changes.keys() == {field.name for field in fields(EvalProtocol)}
    assert len({protocol(**{key: value}).hash for key, value in changes.items()} | {base.hash}) == len(changes) + 1


# sha256 of {"backend":"push","chunk_len":2,"differences":[],"horizon":20,"image_px":null,"name":"house",
# "num_episodes":5,"num_runs":1,"obs":"state","robocasa_version":null,"scenes":null,"seed":0,"split":"train",
# "task":"Push","version":1,"wait_steps":0} without the line breaks; computed with sha256sum.
HASH = "91333e5d55f0"


def test_a_report_survives_json_and_an_edited_one_does_not() -> None:
    found = report([1, 0, 1], scenes=((1, 1), (6, 9)), differences=("seeds",), image_px=224)
    again = Report.from_json(found.to_json())
    assert again.protocol == found.protocol
    assert again.successes.tolist() == found.successes.tolist()
    assert again.elapsed.tolist() == found.elapsed.tolist()
    assert '"rate": null' in report([]).to_json()
    with pytest.raises(ValueError, match="edited"):
        Report.from_json(found.to_json().replace('"horizon": 20', '"horizon": 90'))


def test_reports_of_another_version_or_cut_short_are_refused() -> None:
    def changed(change: Callable[[dict[str, Any]], object]) -> str:
        values = json.loads(report([1, 0, 1]).to_json())
        change(values)
        return json.dumps(values)

    for text, words in (
        (changed(lambda values: values["protocol"].update(lighting="dim")), "'lighting'.*with the version that wrote"),
        (changed(lambda values: values.pop("elapsed")), "'elapsed'.*with the version that wrote"),
        (changed(lambda values: values["protocol"].pop("task")), "'task'.*with the version that wrote"),
        ("[1]", "with the version that wrote"),
        (changed(lambda values: values["successes"].pop()), "3 seeds, 2 successes and 3 elapsed"),
    ):
        with pytest.raises(ValueError, match=words):
            Report.from_json(text)


def test_a_protocol_of_numpy_s_numbers_is_that_of_python_s() -> None:
    fields = {"task": "OpenDrawer", "backend": "kitchen", "split": "train", "obs": "state", "name": "house"}
    plain = {"version": 1, "num_episodes": 4, "seed": 3, "horizon": 20, "chunk_len": 5}
    theirs = {name: np.int64(number) for name, number in plain.items() if name != "version"}
    assert EvalProtocol(**fields, **plain | theirs).hash == EvalProtocol(**fields, **plain).hash  # pyright: ignore
