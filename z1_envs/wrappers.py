"""Small wrappers for one env. All are stateless, so `SnapshotRestore` has nothing to keep for them.

Rewards that prefer fast successes come in two kinds (the first is Z-1's): `SuccessDecay` scales a success by
γ^d, `SuccessPenalty` subtracts from it; d is the number of chunks until the success. Failures keep theirs.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from z1_envs.snapshot import Stateless


class ActionChunk(Stateless, gym.Wrapper, gym.utils.RecordConstructorArgs):
    """One step of this env is a chunk [H, A]; it ends early where the episode ends.

    The reward is the sum over the steps taken, observation, flags and info are those of the last one.
    For single-env learners; a BranchVectorEnv takes chunks by itself.
    """

    def __init__(self, env: gym.Env, chunk_len: int) -> None:
        """chunk_len: H [steps]. Raises ValueError for actions that are not a Box, or chunk_len < 1."""
        gym.utils.RecordConstructorArgs.__init__(self, chunk_len=chunk_len)
        gym.Wrapper.__init__(self, env)
        space = env.action_space
        if not isinstance(space, spaces.Box) or chunk_len < 1:
            raise ValueError(f"chunks need a Box action space and chunk_len >= 1, got {space} and {chunk_len}")
        self.action_space = spaces.Box(
            np.repeat(space.low[None], chunk_len, axis=0),
            np.repeat(space.high[None], chunk_len, axis=0),
            dtype=space.dtype.type,
        )

    def step(self, action: NDArray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Takes a chunk [H, A]; raises ValueError for another shape, before anything moves."""
        if np.shape(action) != self.action_space.shape:
            raise ValueError(
                f"a chunk must have the shape {self.action_space.shape} (chunk_len, action width), "
                f"got {np.shape(action)}"
            )
        total = 0.0
        for single in action:
            observation, reward, terminated, truncated, info = self.env.step(single)
            total += float(reward)
            if terminated or truncated:
                break
        return observation, total, terminated, truncated, info


class SuccessDecay(Stateless, gym.Wrapper, gym.utils.RecordConstructorArgs):
    """Success-aware reward decay: a reward r that comes with success becomes r·γ^d."""

    def __init__(self, env: gym.Env, gamma: float = 0.998, *, chunk_len: int) -> None:
        """gamma: γ in (0, 1] per chunk. chunk_len: steps in a chunk, to turn info["elapsed"] into d."""
        gym.utils.RecordConstructorArgs.__init__(self, gamma=gamma, chunk_len=chunk_len)
        gym.Wrapper.__init__(self, env)
        if not 0.0 < gamma <= 1.0 or chunk_len < 1:
            raise ValueError(f"gamma must be in (0, 1] and chunk_len >= 1, got {gamma} and {chunk_len}")
        self._gamma = gamma
        self._chunk_len = chunk_len

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Raises KeyError where info lacks `success` or `elapsed`."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if _succeeded(info):
            reward = float(reward) * self._gamma ** _num_chunks(info, self._chunk_len)
        return observation, float(reward), terminated, truncated, info


class SuccessPenalty(Stateless, gym.Wrapper, gym.utils.RecordConstructorArgs):
    """A reward r that comes with success becomes r - penalty·d: slow successes are pushed down explicitly."""

    def __init__(self, env: gym.Env, penalty: float, *, chunk_len: int) -> None:
        """penalty: what each chunk costs, >= 0. chunk_len: steps in a chunk."""
        gym.utils.RecordConstructorArgs.__init__(self, penalty=penalty, chunk_len=chunk_len)
        gym.Wrapper.__init__(self, env)
        if penalty < 0.0 or chunk_len < 1:
            raise ValueError(f"penalty must be >= 0 and chunk_len >= 1, got {penalty} and {chunk_len}")
        self._penalty = penalty
        self._chunk_len = chunk_len

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Raises KeyError where info lacks `success` or `elapsed`."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if _succeeded(info):
            reward = float(reward) - self._penalty * _num_chunks(info, self._chunk_len)
        return observation, float(reward), terminated, truncated, info


def _succeeded(info: dict[str, Any]) -> bool:
    if "success" not in info or "elapsed" not in info:
        raise KeyError(
            "rewards by success need info['success'] (bool) and info['elapsed'] [steps] from the env, got the keys "
            f"{sorted(info)}; add them to the env's info, or leave this wrapper out"
        )
    return bool(info["success"])


def _num_chunks(info: dict[str, Any], chunk_len: int) -> int:
    """d: the chunk in which the success came counts in full."""
    return -(-int(info["elapsed"]) // chunk_len)
