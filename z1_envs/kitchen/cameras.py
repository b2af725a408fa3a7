"""Rendering the lanes: one OpenGL context for all scenes of a task.

Scenes are primitives and colours, with nothing to upload per model, so one context draws them all. Images come
out upright. Choose the OpenGL backend with MUJOCO_GL (egl, osmesa, glfw) before mujoco is imported;
`import z1_envs` does that on machines without a display.
"""

import atexit
import copy
import weakref
from functools import partial

import mujoco
import numpy as np
from numpy.typing import NDArray

from z1_envs.layout import CAMERAS
from z1_envs.opengl import HOW_TO_DRAW, RenderError

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION
_MAX_GEOMS = 500  # that may be drawn; scenes have 120
MIN_PX, MAX_PX = 32, 640
# Where films are taken from; the azimuths [deg] are tried in turn.
_FILM_DISTANCE, _FILM_ELEVATION = 2.0, -20.0  # [m, deg]
_FILM_AZIMUTHS = (58.0, -58.0, 30.0, -30.0)


class Cameras:
    """Draws states of scenes as `width` × `height` pixels. Not for use from several threads."""

    def __init__(self, model: mujoco.MjModel, width: int, height: int, *, samples: int = 0):
        """samples: of multisampling, for smooth edges; 4 cost more than all the rest of an image.

        Raises RenderError where OpenGL cannot start, ValueError for sizes out of [32, 640].
        """
        if not (MIN_PX <= width <= MAX_PX and MIN_PX <= height <= MAX_PX):
            raise ValueError(f"image sizes run from {MIN_PX} to {MAX_PX} pixels, got {width} x {height}")
        sampled = copy.copy(model)
        sampled.vis.quality.offsamples = samples
        self._context, self._mjr = _open_context(sampled, width, height)
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._scene = mujoco.MjvScene(model, _MAX_GEOMS)
        self._option = mujoco.MjvOption()
        self._option.sitegroup[4] = 0  # where shapes.marker puts its sites
        self._perturbation = mujoco.MjvPerturb()
        self._data = mujoco.MjData(model)
        # Before MuJoCo ends OpenGL at the interpreter's exit, where freeing a context fails or crashes.
        self._exit = partial(_close_at_exit, weakref.ref(self))
        atexit.register(self._exit)

    def observe(self, model: mujoco.MjModel, row: NDArray[np.float64]) -> dict[str, NDArray[np.uint8]]:
        """The policy's cameras, by observation key, uint8 [height, width, 3], of a lane's state row."""
        self._place(model, row)
        return {key: self._draw(model, _fixed(model, name)) for key, name in CAMERAS.items()}

    def film(self, model: mujoco.MjModel, row: NDArray[np.float64]) -> NDArray[np.uint8]:
        """A view from the side where nothing is in the way, for people: uint8 [height, width, 3]."""
        self._place(model, row)
        camera = mujoco.MjvCamera()
        x, y, _ = self._data.body("robot0_base").xpos
        camera.lookat[:] = [x + 0.5, y, 1.12]
        camera.distance, camera.elevation = _FILM_DISTANCE, _FILM_ELEVATION
        camera.azimuth = next((a for a in _FILM_AZIMUTHS if self._is_free(model, camera.lookat, a)), _FILM_AZIMUTHS[-1])
        return self._draw(model, camera)

    def _is_free(self, model: mujoco.MjModel, lookat: NDArray[np.float64], azimuth: float) -> bool:
        """Whether no wall or tall unit stands between a film camera and the robot, whose own parts do not count."""
        turn, rise = np.deg2rad([azimuth, _FILM_ELEVATION])
        back = -np.array([np.cos(rise) * np.cos(turn), np.cos(rise) * np.sin(turn), np.sin(rise)])
        beyond_robot, hit = 0.45 * _FILM_DISTANCE, np.zeros(1, np.int32)
        distance = mujoco.mj_ray(model, self._data, lookat + beyond_robot * back, back, None, 1, -1, hit)
        return distance < 0 or distance > _FILM_DISTANCE - beyond_robot

    def close(self) -> None:
        """Frees the context; also done when the object goes, and at exit."""
        if self._context is not None:
            atexit.unregister(self._exit)
            self._context.make_current()  # what is freed is looked up in the current context
            self._mjr.free()
            self._context.free()
            self._context = None

    def __del__(self) -> None:
        if getattr(self, "_context", None) is not None:
            self.close()

    def _place(self, model: mujoco.MjModel, row: NDArray[np.float64]) -> None:
        mujoco.mj_setState(model, self._data, row, _STATE)
        mujoco.mj_kinematics(model, self._data)
        mujoco.mj_comPos(model, self._data)
        mujoco.mj_camlight(model, self._data)

    def _draw(self, model: mujoco.MjModel, camera: mujoco.MjvCamera) -> NDArray[np.uint8]:
        assert self._context is not None, "these cameras are closed"
        self._context.make_current()
        mujoco.mjv_updateScene(
            model,
            self._data,
            self._option,
            self._perturbation,
            camera,
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        mujoco.mjr_render(self._rect, self._scene, self._mjr)
        image = np.empty((self._rect.height, self._rect.width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(image, None, self._rect, self._mjr)
        return image[::-1].copy()  # OpenGL's rows run upwards


def _close_at_exit(reference: "weakref.ref[Cameras]") -> None:
    cameras = reference()
    if cameras is not None:
        cameras.close()


def _fixed(model: mujoco.MjModel, name: str) -> mujoco.MjvCamera:
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
    camera.fixedcamid = model.camera(name).id
    return camera


def _open_context(model: mujoco.MjModel, width: int, height: int):
    try:
        context = mujoco.GLContext(width, height)
        context.make_current()
        mjr = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_resizeOffscreen(width, height, mjr)  # beyond the model's own buffer nothing would be drawn
    except Exception as error:  # each backend raises its own kind, AttributeError among them
        raise RenderError(f"OpenGL cannot start ({type(error).__name__}: {error}). {HOW_TO_DRAW}") from error
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, mjr)
    return context, mjr
