"""A trivial env in the shape of the kitchen's: push along one axis until a line is crossed."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

HORIZON = 9


class ReachEnv(gym.Env):
    """The first action entry moves the position; success beyond a line drawn from `lines`; 9 steps at most."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (gymnasium's)
    scene_id = "reach"

    def __init__(self, lines: tuple[float, float] = (0.5, 2.0)) -> None:
        self.lines = lines
        self.observation_space = spaces.Dict(
            {
                "state": spaces.Box(-np.inf, np.inf, (16,), np.float32),
                "scene": spaces.Box(-np.inf, np.inf, (6,), np.float32),
            }
        )
        self.action_space = spaces.Box(-1.0, 1.0, (12,), np.float32)
        self.position, self.line, self.elapsed = 0.0, 1.0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.position, self.elapsed = 0.0, 0
        self.line = float(self.np_random.uniform(*self.lines))
        return self._observation(), self._info()

    def step(self, action: Any) -> Any:
        self.position += float(action[0])
        self.elapsed += 1
        success = self.position > self.line
        truncated = not success and self.elapsed >= HORIZON
        return self._observation(), float(success), success, truncated, self._info()

    def get_state(self) -> Any:
        return self.position, self.line, self.elapsed, self.np_random.bit_generator.state

    def set_state(self, state: Any, /) -> None:
        self.position, self.line, self.elapsed, self.np_random.bit_generator.state = state

    def _observation(self) -> dict[str, np.ndarray]:
        scene = np.array([self.position, self.line, self.elapsed / HORIZON, 0, 0, 0], dtype=np.float32)
        return {"state": np.zeros(16, dtype=np.float32), "scene": scene}

    def _info(self) -> dict[str, Any]:
        return {"success": self.position > self.line, "elapsed": self.elapsed, "instruction": "open the left drawer"}
