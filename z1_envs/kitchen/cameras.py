"""Rendering the lanes: one OpenGL context for all scenes of a task.

Scenes are primitives and colours, with nothing to upload per model, so one context draws them all.
"""

import mujoco
import numpy as np
from numpy.typing import NDArray

from z1_envs.canvas import Canvas, Detail, place
from z1_envs.layout import CAMERAS

# Half the time of MuJoCo's defaults for a policy's images: where OpenGL computes on the CPU, corners are what costs.
OBSERVED = Detail(offsamples=0, numslices=16, numstacks=10, numquads=2)
_MAX_GEOMS = 500  # that may be drawn; scenes have 120
# Where films are taken from; the azimuths [deg] are tried in turn.
_FILM_DISTANCE, _FILM_ELEVATION = 2.0, -20.0  # [m, deg]
_FILM_AZIMUTHS = (58.0, -58.0, 30.0, -30.0)


class Cameras:
    """Draws states of scenes as `width` × `height` pixels. Not for use from several threads."""

    def __init__(self, model: mujoco.MjModel, width: int, height: int, *, detail: Detail | None = OBSERVED):
        """detail: None for MuJoCo's own, which people like better.

        Raises RenderError where OpenGL cannot start, ValueError for sizes out of [32, 640]."""
        self._canvas = Canvas(model, width, height, detail=detail, max_geoms=_MAX_GEOMS)
        self._canvas.option.sitegroup[4] = 0  # where shapes.marker puts its sites
        self._data = mujoco.MjData(model)

    def observe(self, model: mujoco.MjModel, row: NDArray[np.float64]) -> dict[str, NDArray[np.uint8]]:
        """The policy's cameras, by observation key, uint8 [height, width, 3], of a lane's state row."""
        place(model, self._data, row)
        return {key: self._canvas.draw(model, self._data, _fixed(model, name)) for key, name in CAMERAS.items()}

    def film(self, model: mujoco.MjModel, row: NDArray[np.float64]) -> NDArray[np.uint8]:
        """A view from the side where nothing is in the way, for people: uint8 [height, width, 3]."""
        place(model, self._data, row)
        camera = mujoco.MjvCamera()
        x, y, _ = self._data.body("robot0_base").xpos
        camera.lookat[:] = [x + 0.5, y, 1.12]
        camera.distance, camera.elevation = _FILM_DISTANCE, _FILM_ELEVATION
        camera.azimuth = next((a for a in _FILM_AZIMUTHS if self._is_free(model, camera.lookat, a)), _FILM_AZIMUTHS[-1])
        return self._canvas.draw(model, self._data, camera)

    def _is_free(self, model: mujoco.MjModel, lookat: NDArray[np.float64], azimuth: float) -> bool:
        """Whether no wall or tall unit stands between a film camera and the robot, whose own parts do not count."""
        turn, rise = np.deg2rad([azimuth, _FILM_ELEVATION])
        back = -np.array([np.cos(rise) * np.cos(turn), np.cos(rise) * np.sin(turn), np.sin(rise)])
        beyond_robot, hit = 0.45 * _FILM_DISTANCE, np.zeros(1, np.int32)
        distance = mujoco.mj_ray(model, self._data, lookat + beyond_robot * back, back, None, 1, -1, hit)
        return distance < 0 or distance > _FILM_DISTANCE - beyond_robot

    def close(self) -> None:
        """Frees the context; also done when the object goes, and at exit."""
        self._canvas.close()


def _fixed(model: mujoco.MjModel, name: str) -> mujoco.MjvCamera:
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
    camera.fixedcamid = model.camera(name).id
    return camera
