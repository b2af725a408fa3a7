"""A tiny injectable Snapshottable env: every kind of state a real one has, each of which can be 'forgotten'.

The env is a leaky integrator driven by the action and by its own random stream, with a warm start (the last
solution, which the next one starts from), a latch that closes once, and a counter.
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from z1_envs.branch import BranchVectorEnv
from z1_envs.snapshot import copied


class FakeEnv(gym.Env):
    """Observation: dict of `state` float32 [3] and `latch` float32 [1]; action float32 [2].

    The scene is named by `seed // 100`, so that seeds 0 to 99 are one scene and 100 is another. Success, and
    termination, when the first entry exceeds `goal`.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (gymnasium's)
    kept = ("position", "warm_start", "latch", "elapsed", "np_random")

    def __init__(self, goal: float = 3.0) -> None:
        self.observation_space = spaces.Dict(
            {
                "state": spaces.Box(-1e3, 1e3, (3,), np.float32),
                "latch": spaces.Box(0.0, 1.0, (1,), np.float32),
            }
        )
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.goal = goal
        self.scene_id = "fake-0"
        self.position = np.zeros(3)
        self.warm_start = 0.0
        self.latch = False
        self.elapsed = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        if seed is not None:
            self.scene_id = f"fake-{seed // 100}"
        self.position = self.np_random.normal(size=3) * 0.1
        self.warm_start, self.latch, self.elapsed = 0.0, False, 0
        return self._observation(), self._info()

    def step(self, action: Any) -> Any:
        noise = self.np_random.normal(size=3) * 0.01
        # Two sweeps of a fixed-point iteration: where it ends depends on where it starts.
        for _ in range(2):
            self.warm_start = 0.5 * self.warm_start + 0.3 * float(action[0])
        self.position = self.position + noise + [self.warm_start, float(action[1]), 0.1 * self.latch]
        self.latch = self.latch or bool(action[1] > 0.9)
        self.elapsed += 1
        success = bool(self.position[0] > self.goal)
        return self._observation(), float(success), success, False, self._info()

    def _observation(self) -> dict[str, NDArray]:
        return {
            "state": self.position.astype(np.float32),
            "latch": np.array([self.latch], dtype=np.float32),
        }

    def _info(self) -> dict[str, Any]:
        return {
            "success": bool(self.position[0] > self.goal),
            "elapsed": self.elapsed,
            "scene_id": self.scene_id,
            "instruction": "push it over the edge",
        }

    def get_state(self) -> dict[str, Any]:
        values = {name: copied(getattr(self, name)) for name in self.kept if name != "np_random"}
        if "np_random" in self.kept:
            values["np_random"] = self.np_random.bit_generator.state
        return values

    def set_state(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            if name == "np_random":
                self.np_random.bit_generator.state = value
            else:
                setattr(self, name, copied(value))


class FakeVectorEnv(BranchVectorEnv):
    """All lanes at once in arrays, as the embedded kitchen does it: shows what the base class itself does.

    Rows [L, 4]: position, velocity, elapsed, random-looking counter. Done where the position exceeds 3.
    """

    def __init__(self, num_envs: int, group_size: int, *, width: int = 30) -> None:
        super().__init__(
            num_envs=num_envs,
            group_size=group_size,
            single_observation_space=spaces.Dict(
                {
                    "state": spaces.Box(-np.inf, np.inf, (width,), np.float32),
                    "scene": spaces.Box(-np.inf, np.inf, (width,), np.float32),
                }
            ),
            single_action_space=spaces.Box(-1.0, 1.0, (2,), np.float32),
            stack=("FakeVectorEnv",),
        )
        self.width = width
        self.state = np.zeros((num_envs, 4))
        self.names = ["fake"] * self.num_groups

    def _reset_groups(self, groups: NDArray[np.int64], seeds: list[int | None], options: dict[str, Any] | None) -> Any:
        for group, seed in zip(groups.tolist(), seeds, strict=True):
            start = self.state[group * self.group_size, 0] + 1e-3 if seed is None else 1e-2 * seed
            self.state[self.group_index == group] = [start, 0.0, 0.0, 0.0]
        self.names = [f"fake-{group % 2}" for group in range(self.num_groups)]
        lanes = np.flatnonzero(np.isin(self.group_index, groups))
        return self._observe(lanes), self._infos(lanes), [self.names[g] for g in self.group_index[lanes]]

    def _step_lanes(self, actions: NDArray, lanes: NDArray[np.int64]) -> Any:
        rewards = np.zeros(len(lanes))
        done = np.zeros(len(lanes), dtype=bool)
        for chunk_index in range(actions.shape[1]):
            moving = lanes[~done]
            action = actions[~done, chunk_index].astype(np.float64)
            self.state[moving, 1] = 0.5 * self.state[moving, 1] + action[:, 0]
            self.state[moving, 0] += self.state[moving, 1] + 0.01 * np.sin(self.state[moving, 3])
            self.state[moving, 2] += 1
            self.state[moving, 3] += 1 + action[:, 1]
            rewards[~done] += self.state[moving, 0] > 3
            done = self.state[lanes, 0] > 3
        return self._observe(lanes), rewards, done, np.zeros(len(lanes), dtype=bool), self._infos(lanes)

    def _branch_lanes(self, lanes: NDArray[np.int64], source: NDArray[np.int64]) -> None:
        self.state[lanes] = self.state[source]

    def _save_lanes(self, lanes: NDArray[np.int64]) -> list[tuple[Any, ...]]:
        return [(self.state[lane].copy(),) for lane in lanes.tolist()]

    def _restore_lanes(self, lanes: Any, scene_ids: list[str], records: list[tuple[Any, ...]]) -> None:
        for lane, (record,) in zip(lanes.tolist(), records, strict=True):
            if not np.isfinite(record).all():
                raise ValueError(f"broken record for lane {lane}")
            self.state[lane] = record

    def _observe(self, lanes: NDArray[np.int64]) -> dict[str, NDArray]:
        state = np.repeat(self.state[lanes, :1], self.width, axis=1).astype(np.float32)
        scene = np.repeat(self.state[lanes, 1:2], self.width, axis=1).astype(np.float32)
        return {"state": state, "scene": scene}

    def _infos(self, lanes: NDArray[np.int64]) -> dict[str, NDArray]:
        text = np.full(len(lanes), "push", dtype=object)
        return {
            "success": self.state[lanes, 0] > 3,
            "elapsed": self.state[lanes, 2].astype(np.int64),
            "phase": np.zeros(len(lanes), dtype=np.int64),
            "backend": text,
            "scene_id": np.array([self.names[g] for g in self.group_index[lanes]], dtype=object),
            "instruction": text,
        }
