"""The scripted experts' successes as demonstrations.

demos = collect("OpenDrawer", num_episodes=20, seed=0)

Many episodes come in parts, so that they need not be in memory at once::

    write_lerobot(collect_parts("OpenDrawer", num_episodes=10_000, seed=0), Path("drawer"))
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from z1_envs.arguments import check_at_least_0, check_whole
from z1_envs.demos import Demonstrations, DemosError, join
from z1_envs.kitchen.env import KitchenVectorEnv
from z1_envs.kitchen.experts.expert import expert_actions
from z1_envs.kitchen.simulation import BACKEND
from z1_envs.kitchen.spaces import ObsMode
from z1_envs.layout import ACTION

# Of the executed action only what the arm does is disturbed, rotations less: the gripper would drop things.
NOISE_SHAPE = ACTION.join(
    {
        "eef_position": np.ones(3),
        "eef_rotation": np.full(3, 0.3),
        "gripper": np.zeros(1),
        "base": np.zeros(3),
        "torso": np.zeros(1),
        "base_mode": np.zeros(1),
    }
)
_MAX_LANES = 64  # episodes under way at once, and thus in memory
_PATIENCE = 8  # rounds before an expert that wins less than one episode in as many is given up

Progress = Callable[[int, int], None]  # (episodes won, steps simulated)


def collect(
    task: str,
    *,
    num_episodes: int,
    seed: int,
    noise: float = 0.15,
    obs: ObsMode = "state",
    image_px: int = 64,
    horizon: int | None = None,
    num_threads: int | None = None,
) -> Demonstrations:
    """All of `collect_parts` at once."""
    parts = collect_parts(
        task,
        num_episodes=num_episodes,
        seed=seed,
        noise=noise,
        obs=obs,
        image_px=image_px,
        horizon=horizon,
        num_threads=num_threads,
    )
    return join(list(parts))


def collect_parts(
    task: str,
    *,
    num_episodes: int,
    seed: int,
    noise: float = 0.15,
    obs: ObsMode = "state",
    image_px: int = 64,
    horizon: int | None = None,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Demonstrations]:
    """`num_episodes` successes of the expert on `task`, from seeds `seed` on, in parts of at most 64 episodes.

    noise: standard deviation that is added to the expert's action when it is executed, so that the
    demonstrations show how to recover; what is recorded is the action without it. num_threads: of the physics, None
    for all cores. progress: told, whenever an episode is won, how many are and the steps simulated so far.
    Raises ValueError for numbers out of range, DemosError where the expert fails far too often.
    """
    _check_numbers(num_episodes, seed, noise)
    lanes = min(num_episodes, _MAX_LANES)
    envs = KitchenVectorEnv(task, num_envs=lanes, obs=obs, image_px=image_px, horizon=horizon, num_threads=num_threads)
    return _parts(envs, num_episodes, seed, noise, progress)


def _parts(
    envs: KitchenVectorEnv, num_episodes: int, seed: int, noise: float, progress: Progress | None
) -> Iterator[Demonstrations]:
    lanes = envs.num_envs
    rng = np.random.default_rng([seed, *b"demonstration noise"])
    won = attempts = all_steps = counted_attempts = counted_steps = told = 0

    def tell(num_won: int, num_steps: int) -> None:
        nonlocal told
        now = min(won + num_won, num_episodes)
        if progress is not None and now > told:
            told = now
            progress(now, all_steps + num_steps)

    try:
        while won < num_episodes:
            if attempts >= _PATIENCE * lanes and won * _PATIENCE < attempts:
                raise DemosError(
                    f"{envs.task}: the expert won {won} of {attempts} episodes with action noise {noise}; lower the "
                    "noise, or raise the horizon"
                )
            rows = _run_round(envs, seed + attempts, noise, rng, tell)
            attempts += lanes
            all_steps += len(rows.lane)
            winners = rows.winners[: num_episodes - won]
            if len(winners) > 0:
                counts = {"attempts": attempts - counted_attempts, "simulated_steps": all_steps - counted_steps}
                counted_attempts, counted_steps = attempts, all_steps
                won += len(winners)
                seeds = tuple(seed + attempts - lanes + lane for lane in winners.tolist())
                observation, actions, episode = rows.of(winners)
                yield Demonstrations(
                    task=envs.task,
                    backend=BACKEND,
                    observation=observation,
                    actions=actions,
                    episode=episode,
                    seeds=seeds,
                    **counts,
                )
    finally:
        envs.close()


def _check_numbers(num_episodes: int, seed: int, noise: float) -> None:
    check_whole("num_episodes", num_episodes, least=1)
    check_whole("seed", seed, least=0)
    check_at_least_0("noise", noise)


class _Rows:
    """What the lanes of a round saw and wanted, in order of time; `lane` says whose row it is."""

    def __init__(self, steps: list[tuple[NDArray[np.int64], dict[str, NDArray], NDArray]], winners: NDArray) -> None:
        self._steps = steps
        self.lane = np.concatenate([lanes for lanes, _, _ in steps])
        self.winners = winners

    def of(self, lanes: NDArray[np.int64]) -> tuple[dict[str, NDArray], NDArray[np.float32], NDArray[np.int64]]:
        """Observations, actions and episode numbers of `lanes`, lane by lane. To be asked once."""
        by_lane = np.argsort(self.lane, kind="stable")
        chosen = by_lane[np.isin(self.lane[by_lane], lanes)]
        observation: dict[str, NDArray] = {}
        for key in list(self._steps[0][1]):
            # Images of a round are half a gigabyte: what is put together is let go of.
            observation[key] = np.concatenate([rows.pop(key) for _, rows, _ in self._steps])[chosen]
        observation["instruction"] = observation["instruction"].astype(np.str_)
        actions = np.concatenate([wanted for _, _, wanted in self._steps])[chosen]
        return observation, actions, np.searchsorted(lanes, self.lane[chosen])


def _run_round(envs: KitchenVectorEnv, seed: int, noise: float, rng: np.random.Generator, tell: Progress) -> _Rows:
    """One episode per lane."""
    observation, infos = envs.reset(seed=seed)
    steps: list[tuple[NDArray[np.int64], dict[str, NDArray], NDArray]] = []
    num_steps = 0
    while not envs.finished.all():
        assert isinstance(observation, dict)
        lanes = np.flatnonzero(~envs.finished)
        wanted = expert_actions(envs.task, envs.lanes.geometry(lanes.astype(np.int32)))
        seen = {key: values[lanes] for key, values in observation.items()}
        steps.append((lanes, seen | {"instruction": infos["instruction"][lanes]}, wanted))
        executed = np.zeros((envs.num_envs, wanted.shape[1]))
        disturbed = wanted + rng.normal(0, noise, wanted.shape) * NOISE_SHAPE
        executed[lanes] = np.clip(disturbed, -1, 1)
        observation, _, _, _, infos = envs.step(executed)
        num_steps += len(lanes)
        tell(int(infos["success"].sum()), num_steps)
    return _Rows(steps, np.flatnonzero(infos["success"]))
