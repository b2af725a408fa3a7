"""Any Stable-Baselines3 algorithm on any branching vector env.

    envs = gym.make_vec("Z1-RoboCasa-OpenDrawer", num_envs=32, backend="kitchen")
    model = PPO("MlpPolicy", Sb3VecEnv(envs, flat=("scene",))).learn(500_000)
    evaluate(Sb3Agent(model, flat=("scene",)), envs, protocol)

Without `flat` it is the dict of the env, for MultiInputPolicy.

A branching vector env leaves finished lanes as they are; SB3 wants them to begin the next episode within the same
step. The adapter does that, for the finished lanes only, and keeps what SB3 needs of the episode that ended:
`terminal_observation` and `TimeLimit.truncated`, which says whether the value of that observation still counts.

Axes: L lanes.
"""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from z1_envs.branch import BranchVectorEnv, check_branching
from z1_envs.lane_rows import Infos, Observation


def flat_rows(observation: dict[str, NDArray], keys: Sequence[str]) -> NDArray[np.float32]:
    """The vectors under `keys` side by side: [L, width] in float32."""
    return np.concatenate([observation[key] for key in keys], axis=1, dtype=np.float32)


class Sb3VecEnv(VecEnv):
    """SB3's view of a BranchVectorEnv of single lanes. Closes it when closed.

    The lanes live in one object, so attributes and methods are that object's, the same for every lane.
    """

    def __init__(self, envs: BranchVectorEnv, *, flat: Sequence[str] | None = None) -> None:
        """flat: keys of a dict observation to lay side by side in one vector; None leaves observations as they are.

        Raises TypeError for envs that do not branch, ValueError for groups of more than one lane, and for keys that are
        not vectors.
        """
        check_branching(envs, "Sb3VecEnv")
        if envs.group_size != 1:
            raise ValueError(
                f"SB3 resets each lane on its own, but lanes of a group start together: build envs with group_size=1, "
                f"not {envs.group_size}"
            )
        self.envs = envs
        self._flat = _checked_keys(flat)
        self._actions: NDArray | None = None
        space = envs.single_observation_space
        observation_space = space if self._flat is None else _flat_space(space, self._flat)
        super().__init__(envs.num_envs, observation_space, envs.single_action_space)

    def reset(self) -> Any:
        """Starts all lanes: from the seeds of `seed`, where it was called since the last reset."""
        seeded = [seed for seed in self._seeds if seed is not None]
        observation, infos = self.envs.reset(seed=seeded or None, options=self._shared_options())
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = _info_dicts(infos, np.arange(self.num_envs))
        return self._rows(observation)

    def step_async(self, actions: NDArray) -> None:
        """Keeps `actions` [L, A], or chunks [L, H, A], for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Moves all lanes; the finished ones then begin their next episode.

        Returns observations [L, …] (of the new episode, where one ended), rewards float32 [L], done [L] and L infos.
        """
        if self._actions is None:
            raise RuntimeError("step_wait() without actions: call step_async(actions) before")
        actions, self._actions = self._actions, None
        observation, rewards, terminated, truncated, columns = self.envs.step(actions)
        done = terminated | truncated
        rows = self._rows(observation)
        infos = _info_dicts(columns, np.arange(self.num_envs))
        for lane, info in enumerate(infos):
            info["TimeLimit.truncated"] = bool(truncated[lane] and not terminated[lane])
        if done.any():
            ended = np.flatnonzero(done)
            for lane in ended.tolist():
                infos[lane]["terminal_observation"] = _lane_of(rows, lane)
            observation, columns = self.envs.reset(options={"reset_mask": done})
            rows = self._rows(observation)
            for lane, info in zip(ended.tolist(), _info_dicts(columns, ended), strict=True):
                self.reset_infos[lane] = info
        return rows, rewards.astype(np.float32), done, infos

    def close(self) -> None:
        """Closes the lanes."""
        self.envs.close()

    def get_images(self) -> Sequence[NDArray | None]:
        """None for each lane: z1_envs.video films lanes."""
        return [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The vector env's attribute, once for each of `indices`. Raises AttributeError where there is none."""
        return [getattr(self.envs, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Sets it in the vector env. Raises ValueError for some lanes only."""
        self._require_all_lanes(attr_name, indices)
        setattr(self.envs, attr_name, value)

    def env_method(  # pyright: ignore[reportIncompatibleMethodOverride] (the house passes no keywords through)
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None
    ) -> list[Any]:
        """Calls the vector env's method once; the answer, once for each lane. Raises ValueError for some lanes only."""
        self._require_all_lanes(method_name, indices)
        return [getattr(self.envs, method_name)(*method_args)] * self.num_envs

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """Whether a layer of the lanes has the name of `wrapper_class`."""
        names = {layer.split("(")[0] for layer in self.envs.stack}
        return [wrapper_class.__name__ in names for _ in self._get_indices(indices)]

    def _rows(self, observation: Observation) -> Any:
        if self._flat is None or not isinstance(observation, dict):
            return observation
        return flat_rows(observation, self._flat)

    def _shared_options(self) -> dict[str, Any] | None:
        if any(options != self._options[0] for options in self._options):
            raise ValueError("lanes are reset with the same options: give set_options() one dict, not one per lane")
        return self._options[0] or None

    def _require_all_lanes(self, name: str, indices: VecEnvIndices) -> None:
        if sorted(self._get_indices(indices)) != list(range(self.num_envs)):
            raise ValueError(f"the lanes share one object, so {name!r} concerns all of them: leave out `indices`")


class Sb3Agent:
    """What SB3 has trained, as an agent for `z1_envs.evaluate`. It takes the most likely action."""

    def __init__(
        self, model: BaseAlgorithm, *, flat: Sequence[str] | None = None, normalize: VecNormalize | None = None
    ) -> None:
        """flat: as the model's Sb3VecEnv has it. normalize: the wrapper that the model was trained in, if any.

        Raises ValueError for a text, and where the model takes a dict.
        """
        self._model = model
        self._flat = _checked_keys(flat)
        if self._flat is not None and isinstance(model.observation_space, spaces.Dict):
            raise ValueError(f"flat={self._flat}, but the model was trained on the whole dict: leave flat out")
        self._normalize = normalize

    def act(self, observation: dict[str, NDArray], /) -> NDArray:
        """Actions [B, A] for the B rows of `observation`. Raises ValueError for rows that the model cannot take."""
        rows = self._rows(observation)
        if self._normalize is not None:
            rows = self._normalize.normalize_obs(rows)
        return self._model.predict(rows, deterministic=True)[0]

    def _rows(self, observation: dict[str, NDArray]) -> Any:
        space = self._model.observation_space
        # Under "observation" evaluate() puts what is no dict.
        keys = tuple(space.spaces) if isinstance(space, spaces.Dict) else self._flat or ("observation",)
        missing = [key for key in keys if key not in observation]
        if missing:
            raise ValueError(
                f"the model sees {keys}, the env gives no {missing} but {sorted(observation)}: give flat= as the "
                "model's Sb3VecEnv has it, and an env with what it was trained on"
            )
        if isinstance(space, spaces.Dict):
            return {key: observation[key] for key in keys}
        if self._flat is None:
            return observation["observation"]
        rows = flat_rows(observation, keys)
        if rows.shape[1:] != space.shape:
            raise ValueError(
                f"{keys} make rows of {rows.shape[1:]}, the model was trained on {space.shape}: give flat= as the "
                "model's Sb3VecEnv has it"
            )
        return rows


def _checked_keys(flat: Sequence[str] | None) -> tuple[str, ...] | None:
    """`flat` as a tuple. Raises ValueError for a text, whose letters would be taken for keys."""
    if isinstance(flat, str):
        raise ValueError(f"flat takes a sequence of keys, got the text {flat!r}: write flat=({flat!r},)")
    if flat is not None and len(flat) == 0:
        raise ValueError("flat is empty: name at least one key, or leave it out")
    return None if flat is None else tuple(flat)


def _flat_space(space: spaces.Space, keys: tuple[str, ...]) -> spaces.Box:
    if not isinstance(space, spaces.Dict):
        raise ValueError(f"flat= names keys of a dict observation; this env's is {space}: leave it out")
    leaves: list[spaces.Box] = []
    for key in keys:
        leaf = space.spaces.get(key)
        if not isinstance(leaf, spaces.Box) or len(leaf.shape) != 1:
            raise ValueError(
                f"flat={keys} needs vectors, {key!r} is {leaf}; the env has {sorted(space.spaces)}. Leave flat out "
                "and use MultiInputPolicy for the whole dict"
            )
        leaves.append(leaf)
    low, high = (np.concatenate([getattr(leaf, side) for leaf in leaves]) for side in ("low", "high"))
    return spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)


def _lane_of(rows: Observation, lane: int) -> Any:
    """A copy of one lane's observation."""
    if isinstance(rows, dict):
        return {key: values[lane].copy() for key, values in rows.items()}
    return rows[lane].copy()


def _info_dicts(columns: Infos, lanes: NDArray[np.int64]) -> list[dict[str, Any]]:
    """One dict of plain Python values for each of `lanes`."""
    rows = zip(*(column[lanes].tolist() for column in columns.values()), strict=True)
    dicts = [dict(zip(columns, row, strict=True)) for row in rows]
    return dicts if columns else [{} for _ in lanes]
