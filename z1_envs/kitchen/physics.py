"""Physics of many lanes: one state row per lane, stepped in C, with the same bits on both paths.

A row is MuJoCo's mjSTATE_INTEGRATION (time, qpos, qvel, servo targets, userdata, the solver's warm start): all
that a continuation depends on. What is derived from it (`site_xpos`, …) is recomputed at the new state after
every step, never read one substep late, so a restored row continues bit for bit.

`mujoco.batch.Batch` steps the rows from MuJoCo 3.17 on; before that a thread pool around `mj_step` does.
Lanes may hold different scenes of one task: their models have the same sizes and differ in numbers.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol
from weakref import WeakKeyDictionary

import mujoco
import numpy as np
from numpy.typing import NDArray

try:
    from mujoco import batch as mujoco_batch
except ImportError:  # MuJoCo before 3.17
    mujoco_batch = None

FloatArray = NDArray[np.float64]
LaneIndex = NDArray[np.int32]

_STATE = int(mujoco.mjtState.mjSTATE_INTEGRATION)
DERIVED = ("site_xpos", "site_xmat", "xpos", "xmat", "xanchor", "xaxis")
# Sizes of a model that do not shape its MjData: texts and the total.
_FREE_SIZES = {"nbuffer", "nnames", "nnames_map", "npaths", "ntext", "ntextdata"}
_SIZES: WeakKeyDictionary[mujoco.MjModel, dict[str, int]] = WeakKeyDictionary()  # looking them up takes a millisecond


class Physics(Protocol):
    """What both steppers offer. `ids` are distinct lane indices [n] int32."""

    rows: FloatArray  # [L, n_row], writable; after writing call `refresh`
    qpos: FloatArray  # [L, nq] view into the rows, like the next three
    qvel: FloatArray  # [L, nv]
    ctrl: FloatArray  # [L, nu] servo targets
    userdata: FloatArray  # [L, nuserdata]
    derived: dict[str, FloatArray]  # DERIVED at the rows' states, world frame, [L, n, 3 or 9]

    def set_models(self, models: Sequence[mujoco.MjModel]) -> None:
        """Lane i runs `models[i]` from now on; rows stay. Raises ValueError where sizes differ."""
        ...

    def refresh(self, ids: LaneIndex) -> None:
        """Recompute `derived` from the rows."""
        ...

    def step(self, ids: LaneIndex, num_substeps: int) -> None:
        """Advance by `num_substeps` of the model's timestep, then refresh."""
        ...


def make_physics(models: Sequence[mujoco.MjModel], num_threads: int) -> Physics:
    """The fastest stepper of this MuJoCo for lanes with `models`, on `num_threads` threads."""
    return BatchPhysics(models, num_threads) if mujoco_batch else PoolPhysics(models, num_threads)


def check_sizes(models: Sequence[mujoco.MjModel]) -> None:
    """Raises ValueError where `models` cannot share one block of rows."""
    wanted = _sizes(models[0])
    for i, model in enumerate(models):
        if model is not models[0] and (sizes := _sizes(model)) != wanted:
            different = ", ".join(f"{k}={v} (lane 0: {wanted[k]})" for k, v in sizes.items() if v != wanted[k])
            raise ValueError(f"lanes must have models of equal sizes: lane {i} has {different}")


def _sizes(model: mujoco.MjModel) -> dict[str, int]:
    if model not in _SIZES:
        names = (name for name in dir(model) if name.startswith("n") and name not in _FREE_SIZES)
        _SIZES[model] = {name: value for name in names if isinstance(value := getattr(model, name), int)}
    return _SIZES[model]


class BatchPhysics:
    """Rows stepped by `mujoco.batch.Batch`: threads in C."""

    def __init__(self, models: Sequence[mujoco.MjModel], num_threads: int):
        check_sizes(models)
        assert mujoco_batch is not None, "make_physics chooses PoolPhysics without mujoco.batch"
        self._batch = mujoco_batch.Batch(models[0], len(models), num_threads)
        self._batch.set_models(list(models))
        self.rows = self._batch.state
        self.qpos, self.qvel = self._batch.qpos, self._batch.qvel
        self.ctrl, self.userdata = self._batch.ctrl, self._batch.userdata
        self.derived = {name: self._batch.bind(name) for name in DERIVED}

    def set_models(self, models: Sequence[mujoco.MjModel]) -> None:
        check_sizes(models)
        self._batch.set_models(list(models))

    def refresh(self, ids: LaneIndex) -> None:
        self._batch.forward(ids=ids, stage=int(mujoco.mjtStage.mjSTAGE_POS))

    def step(self, ids: LaneIndex, num_substeps: int) -> None:
        self._batch.step(ids=ids, nstep=num_substeps, stage=int(mujoco.mjtStage.mjSTAGE_POS))


class PoolPhysics:
    """Rows stepped by `mj_step` in a thread pool, one MjData per thread and size: for MuJoCo before 3.17."""

    def __init__(self, models: Sequence[mujoco.MjModel], num_threads: int):
        check_sizes(models)
        model, num_lanes = models[0], len(models)
        self._models = list(models)
        self.rows = np.zeros((num_lanes, mujoco.mj_stateSize(model, _STATE)))
        self.qpos, self.qvel, self.ctrl, self.userdata = self._views(model)
        probe = mujoco.MjData(model)
        self.derived = {name: np.zeros((num_lanes, *getattr(probe, name).shape)) for name in DERIVED}
        for i in range(num_lanes):
            mujoco.mj_getState(model, probe, self.rows[i], _STATE)
        self._num_threads = max(1, min(num_threads, num_lanes))
        self._data = [mujoco.MjData(model) for _ in range(self._num_threads)]
        self._pool = ThreadPoolExecutor(self._num_threads) if self._num_threads > 1 else None

    def _views(self, model: mujoco.MjModel) -> list[FloatArray]:
        """Columns of qpos, qvel, ctrl and userdata in the rows, found by probing (mjtState's order of bits)."""
        views, start = [], 0
        wanted = {
            mujoco.mjtState.mjSTATE_QPOS, mujoco.mjtState.mjSTATE_QVEL,
            mujoco.mjtState.mjSTATE_CTRL, mujoco.mjtState.mjSTATE_USERDATA,
        }  # fmt: skip
        for bit in range(_STATE.bit_length()):
            if not _STATE & (1 << bit):
                continue
            width = mujoco.mj_stateSize(model, 1 << bit)
            if any(1 << bit == int(state) for state in wanted):
                views.append(self.rows[:, start : start + width])
            start += width
        return views

    def set_models(self, models: Sequence[mujoco.MjModel]) -> None:
        check_sizes([self._models[0], *models])
        self._models = list(models)

    def refresh(self, ids: LaneIndex) -> None:
        self._run(ids, 0)

    def step(self, ids: LaneIndex, num_substeps: int) -> None:
        self._run(ids, num_substeps)

    def _run(self, ids: LaneIndex, num_substeps: int) -> None:
        parts = np.array_split(ids, self._num_threads)
        if self._pool is None:
            self._run_part(self._data[0], parts[0], num_substeps)
        else:
            list(self._pool.map(self._run_part, self._data, parts, [num_substeps] * len(parts)))

    def _run_part(self, data: mujoco.MjData, ids: LaneIndex, num_substeps: int) -> None:
        for lane in ids:
            model, row = self._models[lane], self.rows[lane]
            mujoco.mj_setState(model, data, row, _STATE)
            if num_substeps:
                mujoco.mj_step(model, data, num_substeps)
                mujoco.mj_getState(model, data, row, _STATE)
            mujoco.mj_kinematics(model, data)  # all that DERIVED needs of the position stage
            mujoco.mj_comPos(model, data)
            for name, out in self.derived.items():
                out[lane] = getattr(data, name)
