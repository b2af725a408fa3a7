"""Our control step of the official env against its own, and observations that are a function of the state."""

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import gymnasium as gym
import mujoco
import numpy as np
import pytest

from z1_envs.conformance import first_difference
from z1_envs.layout import ACTION, STATE
from z1_envs.robocasa.env import _STATE_KEYS, RoboCasaEnv
from z1_envs.robocasa.options import RoboCasaOptions
from z1_envs.robocasa.snapshot_state import SimulationState

pytestmark = pytest.mark.robocasa
pytest.importorskip("robosuite", reason="needs the extra `robocasa`", exc_type=ImportError)

ACTIONS = np.random.default_rng(0).uniform(-1, 1, (15, ACTION.width)).astype(np.float32)
STILL = np.zeros(ACTION.width, np.float32)


@pytest.fixture(scope="module", params=["PnPCounterToStove", "OpenDrawer", "TurnOnMicrowave"])
def env(pack: Path, request: pytest.FixtureRequest) -> Iterator[RoboCasaEnv]:
    env = RoboCasaEnv(request.param, RoboCasaOptions(assets=pack, layouts=(1,)))
    env.reset(seed=0)
    yield env
    env.close()


def parts(state: SimulationState) -> dict[str, Any]:
    return {field.name: getattr(state, field.name) for field in fields(state)}


def step_officially(env: RoboCasaEnv, action: np.ndarray) -> dict[str, np.ndarray]:
    """RoboCasa's own `step`, with its own scan of contacts."""
    ours = env._env.__dict__.pop("check_contact")
    try:
        return env._env.step(action.astype(np.float64))[0]
    finally:
        env._env.check_contact = ours


def test_a_step_has_the_bits_of_the_official_one(env: RoboCasaEnv) -> None:
    assert env._episode is not None
    access, simulation = env._episode.access, env._episode.simulation
    begin = access.get_state()
    runs: list[list[Any]] = []
    for step in (lambda action: step_officially(env, action), lambda action: env.step(action)):
        access.set_state(begin)
        run = []
        for action in ACTIONS:
            step(action)
            run.append((parts(access.get_state()), simulation.data.qfrc_constraint.copy(), simulation.is_done()))
        runs.append(run)
        env.reset(options={"scene": env.get_scene()})
        access, simulation = env._episode.access, env._episode.simulation
    assert first_difference(runs[1], runs[0]) is None
    assert not np.array_equal(runs[0][-1][0]["physics"], parts(begin)["physics"])


def test_refreshing_does_not_change_what_follows(env: RoboCasaEnv) -> None:
    assert env._episode is not None
    access, simulation = env._episode.access, env._episode.simulation
    begin = access.get_state()
    ends = []
    for refreshes in (0, 1, 3):
        access.set_state(begin)
        for action in ACTIONS[:8]:
            simulation.step(action.astype(np.float64))
            for _ in range(refreshes):
                simulation.refresh()
        ends.append(parts(access.get_state()))
    assert first_difference(ends[1], ends[0]) is None
    assert first_difference(ends[2], ends[0]) is None


def test_observations_are_robocasa_s_own_one_substep_later(env: RoboCasaEnv) -> None:
    assert env._episode is not None
    access = env._episode.access
    begin = access.get_state()
    for actions, tolerance in ((ACTIONS, 5e-3), (np.repeat(STILL[None], 40, axis=0), 2e-5)):
        access.set_state(begin)
        for observable in env._env._observables.values():
            observable.reset()
        env._env._update_observables(force=True)  # as its reset does: that sets the phase of their clocks
        for action in actions:
            late = step_officially(env, action)
        access.set_state(begin)
        for action in actions:
            ours = env.step(action)[0]["state"] if env._running else pytest.fail("the episode ended")
        # RoboCasa computes all anew at this very state: the same numbers to the bit.
        now = env._env._get_observations(force_update=True)
        for part in STATE.parts:
            key = _STATE_KEYS[part.name]
            assert (ours[STATE[part.name]] == now[key].astype(np.float32)).all(), key
            # Signs of quaternions: both have a positive w, which is about 0 where the gripper points down.
            away = min(abs(now[key] - late[key]).max(), abs(now[key] + late[key]).max())
            assert away <= tolerance, (key, away)


def test_contacts_are_found_as_robosuite_finds_them(env: RoboCasaEnv) -> None:
    from robosuite.utils.sim_utils import check_contact

    official = env._env
    gripper = official.robots[0].gripper["right"]
    names = [mujoco.mj_id2name(official.sim.model._model, mujoco.mjtObj.mjOBJ_GEOM, geom)
             for geom in np.unique(official.sim.data.contact.geom)]  # fmt: skip
    asked = [(name, other) for name in names for other in (None, *names)]
    asked += [(gripper, None), (gripper, "nothing"), (names[:2], names[2:])]
    asked += [(thing, None) for thing in official.objects.values()]
    found = [official.check_contact(*pair) for pair in asked]
    assert found == [check_contact(official.sim, *pair) for pair in asked]
    assert True in found
    assert False in found


def test_an_episode_whose_simulation_diverges_is_truncated_where_it_was(
    env: RoboCasaEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warnings to a file where it is
    env.reset(options={"scene": env.get_scene()})
    env.step(STILL)
    assert env._episode is not None
    data = env._episode.simulation.data
    data.qvel[:] = 1e12
    before = env.get_state()
    observation, reward, terminated, truncated, info = env.step(STILL)
    # MuJoCo alone would go on with every drawer closed and every knob off, which some tasks ask for.
    assert (reward, terminated, truncated, info["success"], info["elapsed"]) == (0.0, False, True, False, 2)
    assert first_difference(parts(env.get_state().simulation), parts(before.simulation)) is None
    assert np.isfinite(observation["state"]).all()
    with pytest.raises(gym.error.ResetNeeded):
        env.step(STILL)
    env.reset(options={"scene": env.get_scene()})
    assert not any(env.step(STILL)[3] for _ in range(3)), "what has been is not held against the next episode"
