"""Demonstrations by the scripted experts, in memory.

demos = collect("OpenDrawer", num_episodes=20, seed=0)
actions, real = demos.chunks(10)        # what SFT learns: [N, 10, 12] and [N, 10]
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from z1_envs.kitchen.env import KitchenVectorEnv, ObsMode
from z1_envs.kitchen.experts.expert import expert_actions

# Translation and rotation of the executed action are disturbed, the gripper is not; rotations less.
NOISE_SHAPE = np.array([1, 1, 1, 0.3, 0.3, 0.3, 0, 0, 0, 0, 0, 0])
_MAX_ROUNDS = 8


@dataclass(frozen=True, kw_only=True)
class Demonstrations:
    """N steps of successful episodes, one episode after the other.

    observation: arrays [N, …] by key, `instruction` among them. actions: float32 [N, 12], what the expert
    wanted. episode: int [N], which episode a step is of. attempts: episodes run to get them, failures included;
    simulated_steps: of all of these; 0 where nobody counted.
    """

    task: str
    backend: str
    observation: dict[str, NDArray]
    actions: NDArray[np.float32]
    episode: NDArray[np.int64]
    attempts: int
    simulated_steps: int = 0

    @property
    def num_episodes(self) -> int:
        """How many episodes there are."""
        return int(self.episode[-1]) + 1 if len(self.episode) else 0

    def chunks(self, chunk_len: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """From every step the next `chunk_len` actions [N, H, 12] and which of them exist [N, H].

        Behind an episode's end its last action is repeated.
        """
        ends = np.flatnonzero(np.append(np.diff(self.episode), 1))
        last = ends[self.episode]
        steps = np.arange(len(self.actions))[:, None] + np.arange(chunk_len)
        return self.actions[np.minimum(steps, last[:, None])], steps <= last[:, None]


def collect(
    task: str,
    *,
    num_episodes: int,
    seed: int,
    noise: float = 0.15,
    obs: ObsMode = "state",
    image_px: int = 64,
    horizon: int | None = None,
) -> Demonstrations:
    """`num_episodes` successes of the expert on `task`, from seeds `seed` on.

    noise: standard deviation that is added to the expert's action when it is executed, so that the
    demonstrations show how to recover; what is recorded is the action without it.
    Raises RuntimeError where the expert fails far too often.
    """
    envs = KitchenVectorEnv(task, num_envs=num_episodes, obs=obs, image_px=image_px, horizon=horizon)
    rng = np.random.default_rng([seed, *b"demonstration noise"])
    episodes: list[tuple[dict[str, list], list]] = []
    attempts = simulated_steps = 0
    for round_index in range(_MAX_ROUNDS):
        won, num_steps = _run_round(envs, task, seed + round_index * num_episodes, noise, rng)
        attempts += num_episodes
        simulated_steps += num_steps
        episodes += won[: num_episodes - len(episodes)]
        if len(episodes) == num_episodes:
            break
    else:
        raise RuntimeError(
            f"{task}: the expert won {len(episodes)} of {attempts} episodes with action noise {noise}; lower `noise`"
        )
    envs.close()
    observation = {key: np.stack([row for columns, _ in episodes for row in columns[key]]) for key in episodes[0][0]}
    actions = np.stack([action for _, rows in episodes for action in rows])
    episode = np.repeat(np.arange(num_episodes), [len(rows) for _, rows in episodes])
    return Demonstrations(
        task=task,
        backend="kitchen",
        observation=observation,
        actions=actions,
        episode=episode,
        attempts=attempts,
        simulated_steps=simulated_steps,
    )


def _run_round(
    envs: KitchenVectorEnv, task: str, seed: int, noise: float, rng: np.random.Generator
) -> tuple[list[tuple[dict[str, list], list]], int]:
    """One episode per lane: the successful ones as lists of rows, in lane order, and the steps of all."""
    observation, infos = envs.reset(seed=seed)
    assert isinstance(observation, dict)
    columns: list[dict[str, list]] = [{key: [] for key in (*observation, "instruction")} for _ in range(envs.num_envs)]
    actions: list[list] = [[] for _ in range(envs.num_envs)]
    while not envs.finished.all():
        lanes = np.flatnonzero(~envs.finished)
        wanted = expert_actions(task, envs.lanes.geometry(lanes.astype(np.int32)))
        for row, lane in enumerate(lanes):
            for key, values in observation.items():
                columns[lane][key].append(values[lane])
            columns[lane]["instruction"].append(infos["instruction"][lane])
            actions[lane].append(wanted[row])
        executed = np.zeros((envs.num_envs, wanted.shape[1]))
        disturbed = wanted + rng.normal(0, noise, wanted.shape) * NOISE_SHAPE
        executed[lanes] = np.clip(disturbed, -1, 1)
        observation, _, _, _, infos = envs.step(executed)
        assert isinstance(observation, dict)
    return [(columns[i], actions[i]) for i in np.flatnonzero(infos["success"])], sum(map(len, actions))
