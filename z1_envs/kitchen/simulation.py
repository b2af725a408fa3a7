"""Lanes with cameras and a horizon: what the kitchen's single and vector env share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from z1_envs.arguments import check_whole
from z1_envs.kitchen.cameras import Cameras
from z1_envs.kitchen.lanes import KitchenLanes
from z1_envs.kitchen.physics import LaneIndex
from z1_envs.kitchen.scene import Scene, SceneOptions, remade_scene
from z1_envs.kitchen.spaces import ObsMode, observation_space
from z1_envs.layout import CAMERAS

BACKEND = "kitchen"
_FILM_WIDTH, _FILM_HEIGHT = 480, 360  # [px]


class Simulation:
    """Some lanes of one task, not yet in groups; arguments as `KitchenVectorEnv`."""

    def __init__(
        self,
        task: str,
        num_lanes: int,
        *,
        obs: ObsMode,
        horizon: int | None,
        image_px: int,
        scenes: SceneOptions,
        num_threads: int | None,
    ):
        self.space = observation_space(obs, image_px)
        if horizon is not None:
            check_whole("horizon", horizon, least=1)
        if num_threads is not None:
            check_whole("num_threads", num_threads, least=1)
        self.lanes = KitchenLanes(task, num_lanes, options=scenes, num_threads=num_threads)
        self.horizon = self.lanes.task.horizon if horizon is None else horizon
        self.obs: ObsMode = obs
        self.image_px = image_px if obs == "pixels" else None
        self._cameras: Cameras | None = None
        self._film_cameras: Cameras | None = None

    def layer_name(self, kind: str) -> str:
        """`kind` with all arguments that decide what a state means, was observed as, and is followed by."""
        obs = "obs=state" if self.image_px is None else f"obs={self.obs}, image_px={self.image_px}"
        return f"{kind}({self.lanes.task.name}, {obs}, horizon={self.horizon}, {self.lanes.options})"

    def remade(self, record: Any) -> Scene:
        """The scene of `record`. Raises SnapshotError for what does not fit these lanes."""
        return remade_scene(record, self.lanes.task.name, self.lanes.options)

    def run(self, lanes: LaneIndex, actions: NDArray) -> tuple[NDArray[np.float64], NDArray, NDArray]:
        """Applies chunks [n, H, 12]; a lane stops when done. Rewards, terminated and truncated [n].

        A lane whose simulation diverges is truncated in the state before that step.
        """
        terminated, truncated = np.zeros(len(lanes), dtype=bool), np.zeros(len(lanes), dtype=bool)
        going = np.arange(len(lanes))
        for h in range(actions.shape[1]):
            result = self.lanes.step(lanes[going], actions[going, h])
            terminated[going] = result.success
            truncated[going] = ~result.success & (result.diverged | (result.elapsed >= self.horizon))
            going = going[~(terminated | truncated)[going]]
            if len(going) == 0:
                break
        return terminated.astype(np.float64), terminated, truncated

    def observe(self, lanes: LaneIndex) -> dict[str, NDArray]:
        """Observations [n, …] of `lanes` now."""
        vectors = self.lanes.observe(lanes)
        if self.image_px is None:
            return vectors
        if self._cameras is None:
            self._cameras = Cameras(self.lanes.scenes[0].model, self.image_px, self.image_px)
        shots = [self._cameras.observe(self.lanes.scenes[i].model, self.lanes.physics.rows[i]) for i in lanes]
        return {**{key: np.stack([shot[key] for shot in shots]) for key in CAMERAS}, "state": vectors["state"]}

    def infos(self, lanes: LaneIndex) -> dict[str, NDArray]:
        """The contract's info keys, [n] each."""
        status = self.lanes.status(lanes)
        scenes = [self.lanes.scenes[i] for i in lanes]
        return {
            "success": status.success,
            "elapsed": status.elapsed,
            "phase": np.where(status.manipulating, "manipulation", "approach").astype(object),
            "backend": np.full(len(lanes), BACKEND, dtype=object),
            "scene_id": np.array([scene.scene_id for scene in scenes], dtype=object),
            "instruction": np.array([scene.instruction for scene in scenes], dtype=object),
        }

    def film(self, lane: int) -> NDArray[np.uint8]:
        """A picture of `lane` for people, uint8 [360, 480, 3]."""
        if self._film_cameras is None:
            self._film_cameras = Cameras(self.lanes.scenes[0].model, _FILM_WIDTH, _FILM_HEIGHT, detail=None)
        return self._film_cameras.film(self.lanes.scenes[lane].model, self.lanes.physics.rows[lane])

    def close(self) -> None:
        """Frees the OpenGL contexts."""
        for cameras in (self._cameras, self._film_cameras):
            if cameras is not None:
                cameras.close()
        self._cameras = self._film_cameras = None
