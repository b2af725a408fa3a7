"""The scripted experts as an agent: to evaluate, to film, and to label the states that others visit.

envs = KitchenVectorEnv("OpenDrawer", num_envs=32)
evaluate(ExpertAgent(envs), envs, protocol)
record_rollout(envs, ExpertAgent(envs), "expert.mp4", seed=0)

labels = ExpertAgent(envs).act({"lane": np.arange(32)})  # whatever brought the lanes where they are
"""

import numpy as np
from numpy.typing import NDArray

from z1_envs.kitchen.env import KitchenVectorEnv
from z1_envs.kitchen.experts.expert import expert_actions
from z1_envs.layout import ACTION

# Translation alone is disturbed, so that branches of the expert part visibly.
_IS_DISTURBED = np.isin(np.arange(ACTION.width), np.r_[ACTION["eef_position"]])


class ExpertAgent:
    """The expert of the task of `envs`. It reads poses of their lanes as they are now, not what it is shown."""

    def __init__(self, envs: KitchenVectorEnv, *, noise: float = 0.0, seed: int = 0) -> None:
        """noise: standard deviation of what is added to its translation, 1 is 0.05 m; seed: of that noise.

        Raises TypeError for envs of another kind.
        """
        if not isinstance(envs, KitchenVectorEnv):
            raise TypeError(
                f"the experts are the embedded kitchen's: pass a KitchenVectorEnv, not {type(envs).__name__}"
            )
        self._envs, self._noise = envs, noise
        self.reset(seed)

    def reset(self, seed: int) -> None:
        """Starts the noise anew."""
        self._rng = np.random.default_rng(seed)

    def act(self, observation: dict[str, NDArray], /) -> NDArray[np.float32]:
        """Actions [B, 12] for the lanes observation["lane"], int [B], which evaluations and films pass.

        Raises ValueError where that is missing.
        """
        if "lane" not in observation:
            raise ValueError(
                f'the expert needs observation["lane"], the numbers of the lanes it is asked about, got '
                f"{sorted(observation)}; add it, e.g. np.arange(num_envs) for all of them"
            )
        lanes = self._envs.lanes
        actions = expert_actions(self._envs.task, lanes.geometry(np.asarray(observation["lane"], dtype=np.int32)))
        noise = self._rng.normal(0, self._noise, actions.shape) * _IS_DISTURBED
        return np.clip(actions + noise, -1, 1).astype(np.float32)
