"""Small wrappers for one env. All are stateless, so `SnapshotRestore` has nothing to keep for them.

Rewards that prefer fast successes come in two kinds (the first is Z-1's): `SuccessDecay` scales a success by
γ^d, `SuccessPenalty` subtracts from it; d is the number of chunks until the success. Failures keep theirs.
"""

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from z1_envs.actions import ActionCheck, ActionError
from z1_envs.arguments import check_at_least_0, check_whole
from z1_envs.snapshot import Stateless

_ONE_LANE = np.array([0])


class ActionChunk(Stateless, gym.Wrapper, gym.utils.RecordConstructorArgs):
    """One step of this env is a chunk [H, A]; it ends early where the episode ends.

    The reward is the sum over the steps taken, observation, flags and info are those of the last one.
    For single-env learners; a BranchVectorEnv takes chunks by itself.
    """

    def __init__(self, env: gym.Env, chunk_len: int) -> None:
        """chunk_len: H [steps].

        Raises ValueError for actions that are not a Box, chunk_len < 1, and rewards inside that count other chunks.
        """
        check_whole("chunk_len", chunk_len, least=1)
        for layer in _layers(env):
            if isinstance(layer, (SuccessDecay, SuccessPenalty)) and layer.chunk_len != chunk_len:
                raise ValueError(
                    f"the {type(layer).__name__} inside counts chunks of chunk_len={layer.chunk_len}, this ActionChunk "
                    f"has {chunk_len}: put ActionChunk inside and the rewards around it"
                )
        gym.utils.RecordConstructorArgs.__init__(self, chunk_len=chunk_len)
        gym.Wrapper.__init__(self, env)
        space = env.action_space
        if not isinstance(space, spaces.Box):
            raise ValueError(f"chunks need a Box action space, got {space}")
        self.chunk_len = chunk_len
        self._check = ActionCheck(space, 1)
        self.action_space = spaces.Box(
            np.repeat(space.low[None], chunk_len, axis=0),
            np.repeat(space.high[None], chunk_len, axis=0),
            dtype=space.dtype.type,
        )

    def step(self, action: NDArray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Takes a chunk [H, A]; raises ActionError for another shape, and for entries that are not finite or outside of
        the space by more than 1e-6, before anything moves.
        """
        if np.shape(action) != self.action_space.shape:
            raise ActionError(
                f"a chunk must have the shape {self.action_space.shape} (chunk_len, action width), "
                f"got {np.shape(action)}"
            )
        self._check.chunks(np.asarray(action)[None], _ONE_LANE)
        total = 0.0
        for single in action:
            observation, reward, terminated, truncated, info = self.env.step(single)
            total += float(reward)
            if terminated or truncated:
                break
        return observation, total, terminated, truncated, info


class SuccessDecay(Stateless, gym.Wrapper, gym.utils.RecordConstructorArgs):
    """Success-aware reward decay: a reward r that comes with success becomes r·γ^d."""

    def __init__(self, env: gym.Env, gamma: float = 0.998, *, chunk_len: int | None = None) -> None:
        """gamma: γ in (0, 1] per chunk. chunk_len: steps in a chunk, to turn info["elapsed"] into d [steps]; None: that
        of an ActionChunk in the stack, 1 without one. Raises ValueError for others, and where the two differ.
        """
        chunk_len = _checked_chunk_len(env, chunk_len)
        gym.utils.RecordConstructorArgs.__init__(self, gamma=gamma, chunk_len=chunk_len)
        gym.Wrapper.__init__(self, env)
        if not 0.0 < gamma <= 1.0:
            raise ValueError(f"gamma must be in (0, 1], got {gamma}")
        self._gamma = gamma
        self.chunk_len = chunk_len

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Raises KeyError where info lacks `success` or `elapsed`."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if _succeeded(info):
            reward = float(reward) * self._gamma ** _num_chunks(info, self.chunk_len)
        return observation, float(reward), terminated, truncated, info


class SuccessPenalty(Stateless, gym.Wrapper, gym.utils.RecordConstructorArgs):
    """A reward r that comes with success becomes r - penalty·d: slow successes are pushed down explicitly."""

    def __init__(self, env: gym.Env, penalty: float, *, chunk_len: int | None = None) -> None:
        """penalty: what each chunk costs, >= 0. chunk_len: as `SuccessDecay` has it."""
        chunk_len = _checked_chunk_len(env, chunk_len)
        gym.utils.RecordConstructorArgs.__init__(self, penalty=penalty, chunk_len=chunk_len)
        gym.Wrapper.__init__(self, env)
        check_at_least_0("penalty", penalty)
        self._penalty = penalty
        self.chunk_len = chunk_len

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Raises KeyError where info lacks `success` or `elapsed`."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if _succeeded(info):
            reward = float(reward) - self._penalty * _num_chunks(info, self.chunk_len)
        return observation, float(reward), terminated, truncated, info


def _layers(env: gym.Env) -> Iterator[gym.Env]:
    """`env` and what is inside of it, outermost first."""
    yield env
    while isinstance(env, gym.Wrapper):
        env = env.env
        yield env


def _checked_chunk_len(env: gym.Env, chunk_len: int | None) -> int:
    """`chunk_len`, or what it is in the stack `env`. Raises ValueError where both are there and differ."""
    if chunk_len is not None:
        check_whole("chunk_len", chunk_len, least=1)
    found = next((layer.chunk_len for layer in _layers(env) if isinstance(layer, ActionChunk)), None)
    if None not in (chunk_len, found) and chunk_len != found:
        raise ValueError(
            f"got chunk_len={chunk_len}, but an ActionChunk in the stack has {found}: leave chunk_len out to take that"
        )
    return chunk_len or found or 1


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
