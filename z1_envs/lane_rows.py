"""What every lane returned last: the bookkeeping behind `BranchVectorEnv`.

Observations are kept as arrays [L, …], infos as arrays [L], one per key, for all lanes at all times: where an
env did not give a key, its column shows False, -1, nan or None, whichever fits its dtype.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from z1_envs.snapshot import Snapshot, SnapshotError, copied

Observation = dict[str, NDArray] | NDArray
Infos = dict[str, NDArray]

MISSING_INFO: dict[str, Any] = {"b": False, "i": -1, "f": np.nan, "O": None}  # by dtype kind

_WHOLE = ""  # the one key of an observation that is an array and not a dict


class LaneRows:
    """Last observation, infos, flags and scene of L lanes. Hands out copies, takes arrays over."""

    def __init__(self, num_lanes: int, single_observation_space: spaces.Space) -> None:
        """Raises ValueError where an observation is not an array or a flat dict of arrays."""
        space = single_observation_space
        leaves = space.spaces.values() if isinstance(space, spaces.Dict) else [space]
        known = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
        if not all(isinstance(leaf, known) for leaf in leaves):
            raise ValueError(
                f"lanes carry observations that are arrays or flat dicts of arrays, got {space}; "
                "wrap the env in gymnasium.wrappers.FlattenObservation"
            )
        self.num_lanes = num_lanes
        self.terminated = np.zeros(num_lanes, dtype=bool)
        self.truncated = np.zeros(num_lanes, dtype=bool)
        self.lost = np.zeros(num_lanes, dtype=bool)  # lanes whose rows do not belong to where they are
        self.scene_ids: list[str] = []
        self._observation: dict[str, NDArray] = {}
        self._infos: Infos = {}

    def start(self, observation: Observation, infos: Infos, scene_ids: list[str]) -> None:
        """All lanes anew, none finished."""
        self._observation = _as_dict(observation)
        self._infos = {key: _info_column(rows) for key, rows in infos.items()}
        self.terminated = np.zeros(self.num_lanes, dtype=bool)
        self.truncated = np.zeros(self.num_lanes, dtype=bool)
        self.lost = np.zeros(self.num_lanes, dtype=bool)
        self.scene_ids = list(scene_ids)

    def restart(self, lanes: NDArray[np.int64], observation: Observation, infos: Infos, scene_ids: list[str]) -> None:
        """`lanes` [n] anew, none of them finished; the others as they are."""
        unfinished = np.zeros(len(lanes), dtype=bool)
        self.put(lanes, observation, unfinished, unfinished, infos)
        self.lost[lanes] = False
        for lane, scene_id in zip(lanes.tolist(), scene_ids, strict=True):
            self.scene_ids[lane] = scene_id

    def current(self) -> tuple[Observation, Infos]:
        """Copies of the observations [L, …] and infos [L]."""
        infos = {key: _copied_column(rows) for key, rows in self._infos.items()}
        if _WHOLE in self._observation:
            return self._observation[_WHOLE].copy(), infos
        return {key: rows.copy() for key, rows in self._observation.items()}, infos

    def put(
        self,
        lanes: NDArray[np.int64],
        observation: Observation,
        terminated: NDArray,
        truncated: NDArray,
        infos: Infos,
    ) -> None:
        """Writes rows [n, …] of `lanes` [n]."""
        for key, rows in _as_dict(observation).items():
            self._observation[key][lanes] = rows
        self.terminated[lanes] = terminated
        self.truncated[lanes] = truncated
        for key, given in infos.items():
            rows = _info_column(given)
            self._column(key, rows.dtype)[lanes] = rows
        self._mark_missing(infos, lanes)

    def branch(self, lanes: NDArray[np.int64], source: NDArray[np.int64]) -> None:
        """Row lanes[k] becomes what row source[k] was before."""
        flags = (self.terminated, self.truncated, self.lost)
        for array in (*self._observation.values(), *self._infos.values(), *flags):
            array[lanes] = array[source]
        origin = [self.scene_ids[other] for other in source]
        for lane, scene_id in zip(lanes, origin, strict=True):
            self.scene_ids[lane] = scene_id

    def snapshot(self, lane: int, stack: tuple[str, ...], states: tuple[Any, ...]) -> Snapshot:
        """A lane's rows, with its states, as a Snapshot."""
        row = {key: np.array(rows[lane]) for key, rows in self._observation.items()}
        return Snapshot(
            scene_id=self.scene_ids[lane],
            stack=stack,
            states=states,
            observation=row.get(_WHOLE, row),
            info={key: copied(rows[lane]) for key, rows in self._infos.items()},
            terminated=bool(self.terminated[lane]),
            truncated=bool(self.truncated[lane]),
        )

    def check_snapshot(self, snapshot: Snapshot) -> None:
        """Raises SnapshotError, with both values, where the observation's keys or shapes are not those of a lane."""
        given = _as_dict(snapshot.observation)
        if given.keys() != self._observation.keys():
            raise SnapshotError(
                f"the snapshot's observation has the keys {sorted(given)}, a lane here {sorted(self._observation)}"
            )
        for key, value in given.items():
            if np.shape(value) != self._observation[key].shape[1:]:
                raise SnapshotError(
                    f"the snapshot's observation {key!r} has shape {np.shape(value)}, "
                    f"a lane's has {self._observation[key].shape[1:]}"
                )

    def put_snapshot(self, lane: int, snapshot: Snapshot) -> None:
        """The inverse of `snapshot`."""
        for key, value in _as_dict(snapshot.observation).items():
            self._observation[key][lane] = value
        self.terminated[lane] = snapshot.terminated
        self.truncated[lane] = snapshot.truncated
        self.lost[lane] = False
        self.scene_ids[lane] = snapshot.scene_id
        for key, value in snapshot.info.items():
            self._column(key, info_dtype(value))[lane] = copied(value)
        self._mark_missing(snapshot.info, lane)

    def _column(self, key: str, dtype: np.dtype) -> NDArray:
        """The array [L] of an info key, made or widened so that it takes `dtype`."""
        column = self._infos.get(key)
        if column is None:
            column = self._infos[key] = np.full(self.num_lanes, MISSING_INFO[dtype.kind], dtype)
        elif column.dtype != dtype:
            either = object in (column.dtype, dtype)
            wider = np.dtype(object) if either else np.promote_types(column.dtype, dtype)
            column = self._infos[key] = column.astype(wider)
        return column

    def _mark_missing(self, given: dict[str, Any], lanes: Any) -> None:
        if len(given) != len(self._infos):
            for key in self._infos.keys() - given.keys():
                self._infos[key][lanes] = MISSING_INFO[self._infos[key].dtype.kind]


_BOOL, _INT, _FLOAT, _OBJECT = (np.dtype(kind) for kind in (np.bool_, np.int64, np.float64, object))
_COLUMN_DTYPES = {"b": _BOOL, "i": _INT, "u": _INT, "f": _FLOAT}


def info_dtype(value: Any) -> np.dtype:
    """The dtype of the info column that holds `value`: bool, int64, float64, or object for all else."""
    if isinstance(value, (bool, np.bool_)):
        return _BOOL
    if isinstance(value, (int, np.integer)):
        return _INT
    if isinstance(value, (float, np.floating)):
        return _FLOAT
    return _OBJECT


def stack_infos(infos: list[dict[str, Any]]) -> Infos:
    """Copies of the infos of n lanes as columns [n], with the missing value where a lane lacks a key."""
    columns: Infos = {}
    for key in dict.fromkeys(key for info in infos for key in info):
        dtypes = {info_dtype(info[key]) for info in infos if key in info}
        dtype = _OBJECT if _OBJECT in dtypes else np.result_type(*dtypes)
        column = columns[key] = np.full(len(infos), MISSING_INFO[dtype.kind], dtype)
        for row, info in enumerate(infos):
            if key in info:
                column[row] = copied(info[key])
    return columns


def stack_observations(observations: Sequence[Any], space: spaces.Space) -> Observation:
    """The observations of n lanes as rows [n, …] in the dtype of `space`, which is that of one lane.

    Raises ValueError where an observation has another shape than the space says.
    """
    if not isinstance(space, spaces.Dict):
        return _rows("observation", observations, space)
    return {key: _rows(key, [o[key] for o in observations], leaf) for key, leaf in space.items()}


def stack_starts(
    starts: Sequence[tuple[Any, dict[str, Any]]], index: NDArray[np.int64], space: spaces.Space
) -> tuple[Observation, Infos]:
    """What resets of envs of `space` returned, one row per entry of `index`, which says whose."""
    observations, infos = zip(*starts, strict=True)
    columns = stack_infos(list(infos))
    return gathered(stack_observations(observations, space), index), {key: rows[index] for key, rows in columns.items()}


def stack_steps(
    steps: Sequence[tuple[Any, float, bool, bool, dict[str, Any]]], space: spaces.Space
) -> tuple[Observation, NDArray, NDArray, NDArray, Infos]:
    """What steps of envs of `space` returned, one row each."""
    observations, rewards, terminated, truncated, infos = zip(*steps, strict=True)
    return (
        stack_observations(observations, space),
        np.array(rewards, dtype=np.float64),
        np.array(terminated, dtype=bool),
        np.array(truncated, dtype=bool),
        stack_infos(list(infos)),
    )


def gathered(observation: Observation, index: NDArray[np.int64]) -> Observation:
    """Row k of what is returned is a copy of row index[k]."""
    if isinstance(observation, dict):
        return {key: rows[index] for key, rows in observation.items()}
    return observation[index]


def _rows(name: str, values: Sequence[Any], space: spaces.Space) -> NDArray:
    for value in values:
        if np.shape(value) != space.shape:
            raise ValueError(f"{name!r} has shape {np.shape(value)}, its space says {space.shape}: correct the env")
    return np.array(values, dtype=space.dtype)


def _info_column(rows: NDArray) -> NDArray:
    """`rows` in a column's dtype. Text becomes objects, for a text dtype would cut longer strings."""
    return rows.astype(_COLUMN_DTYPES.get(rows.dtype.kind, _OBJECT))


def _copied_column(rows: NDArray) -> NDArray:
    """Of `rows` and what they hold: numpy copies the references of a column of objects alone."""
    fresh = rows.copy()
    if rows.dtype == object:
        for row, value in enumerate(rows.tolist()):
            if type(value) is not str and value is not None:  # most are text, which costs nothing here
                fresh[row] = copied(value)
    return fresh


def _as_dict(observation: Any) -> dict[str, NDArray]:
    return observation if isinstance(observation, dict) else {_WHOLE: observation}
