"""Demonstrations: what successful episodes looked like, step by step, in memory.

demos = read_lerobot(Path("drawer"))    # or kitchen.demos.collect
actions, real = demos.chunks(10)        # what SFT learns: [N, 10, 12] and [N, 10]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


class DemosError(RuntimeError):
    """Demonstrations that cannot be had: an expert that fails, or a dataset that is missing, broken or another one."""


@dataclass(frozen=True, kw_only=True)
class Demonstrations:
    """N steps of successful episodes, one episode after the other.

    observation: arrays [N, …] by key, `instruction` among them. actions: float32 [N, 12], what the expert
    wanted. episode: int [N], which episode a step is of. seeds: of each episode [E]; empty where nobody knows.
    attempts: episodes run to get them, failures included; simulated_steps: of all of these; 0 where nobody counted.

    Raises DemosError where arrays are not of the same steps, or a number is not finite.
    """

    task: str
    backend: str
    observation: dict[str, NDArray]
    actions: NDArray[np.float32]
    episode: NDArray[np.int64]
    attempts: int
    simulated_steps: int = 0
    seeds: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        lengths = {"actions": len(self.actions), "episode": len(self.episode)}
        lengths |= {key: len(values) for key, values in self.observation.items()}
        if len(set(lengths.values())) > 1:
            raise DemosError(f"{self.task}: every step has an action and an observation, got {lengths} of them")
        vectors = {key: rows for key, rows in self.observation.items() if rows.ndim == 2 and rows.dtype.kind == "f"}
        for name, rows in {"action": self.actions, **vectors}.items():
            bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
            if len(bad):
                episode = int(self.episode[bad[0]])
                step = int(bad[0] - np.searchsorted(self.episode, episode))
                raise DemosError(
                    f"{self.task}, episode {episode}, step {step}: {name} is {rows[bad[0]].tolist()} ({len(bad)} such "
                    f"steps); leave that episode out"
                )

    @property
    def num_episodes(self) -> int:
        """How many episodes there are."""
        return int(self.episode[-1]) + 1 if len(self.episode) else 0

    @property
    def ends(self) -> NDArray[np.int64]:
        """One behind the last step of each episode [E]."""
        return np.flatnonzero(np.append(np.diff(self.episode), 1)) + 1 if len(self.episode) else self.episode

    def chunks(self, chunk_len: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """From every step the next `chunk_len` actions [N, H, 12] and which of them exist [N, H].

        Behind an episode's end its last action is repeated.
        """
        last = self.ends[self.episode] - 1
        steps = np.arange(len(self.actions))[:, None] + np.arange(chunk_len)
        return self.actions[np.minimum(steps, last[:, None])], steps <= last[:, None]


def one_episode(
    task: str, seen: Sequence[Mapping[str, NDArray]], actions: Sequence[NDArray], info: Mapping[str, Any], *, seed: int
) -> Demonstrations:
    """An episode of any policy on one of our envs: the observation before each of its `actions` [12], and the last
    `info`. One that failed is counted, without its steps.

    Raises DemosError for an episode without actions, and where one has no observation before it.
    """
    if not actions:
        raise DemosError(f"the episode of {task} with seed {seed} has no actions; give those that were carried out")
    if len(seen) not in (len(actions), len(actions) + 1):
        raise DemosError(
            f"the episode of {task} with seed {seed} has {len(actions)} actions and {len(seen)} observations; give the "
            f"one before each action, and the last one if you like"
        )
    kept = slice(len(actions) if info["success"] else 0)
    seen = seen[: len(actions)]
    observation = {key: np.stack([one[key] for one in seen])[kept] for key in seen[0]}
    return Demonstrations(
        task=task,
        backend=str(info["backend"]),
        observation=observation | {"instruction": np.array([info["instruction"]] * len(actions))[kept]},
        actions=np.stack(actions).astype(np.float32)[kept],
        episode=np.zeros(len(actions), np.int64)[kept],
        attempts=1,
        simulated_steps=len(actions),
        seeds=(seed,) if info["success"] else (),
    )


def join(parts: Sequence[Demonstrations]) -> Demonstrations:
    """The episodes of all `parts`, in order. Raises DemosError for none, and for several tasks, backends or kinds of
    observations."""
    kinds = {(part.task, part.backend, *sorted(part.observation)) for part in parts}
    if len(kinds) != 1:
        raise DemosError(
            f"parts of one task and backend, with the same observations, can be joined, got {sorted(kinds) or 'none'}"
        )
    before = np.cumsum([0, *(part.num_episodes for part in parts)])
    first = parts[0]
    return Demonstrations(
        task=first.task,
        backend=first.backend,
        observation={key: np.concatenate([part.observation[key] for part in parts]) for key in first.observation},
        actions=np.concatenate([part.actions for part in parts]),
        episode=np.concatenate([part.episode + offset for part, offset in zip(parts, before, strict=False)]),
        attempts=sum(part.attempts for part in parts),
        simulated_steps=sum(part.simulated_steps for part in parts),
        seeds=tuple(seed for part in parts for seed in part.seeds),
    )
