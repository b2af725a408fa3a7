"""mujoco.batch, from MuJoCo 3.17 on."""

from collections.abc import Sequence
from typing import Any

from mujoco import MjModel
from numpy import float64
from numpy.typing import NDArray

class Batch:
    state: NDArray[float64]
    qpos: NDArray[float64]
    qvel: NDArray[float64]
    ctrl: NDArray[float64]
    userdata: NDArray[float64]
    def __init__(self, model: MjModel, nsim: int, nthread: int = 0, persistent: bool = False) -> None: ...
    def set_models(self, models: Sequence[MjModel], /) -> None: ...
    def bind(self, name: str, /) -> NDArray[float64]: ...
    def forward(self, *, ids: Any, stage: int) -> None: ...
    def step(self, *, ids: Any, nstep: int, stage: int) -> None: ...
