"""A picture of a MuJoCo model, drawn in an OpenGL context of its own.

Choose the OpenGL backend with MUJOCO_GL (egl, osmesa, glfw) before mujoco is imported; `import z1_envs` does that on
machines without a display.
"""

import atexit
import weakref
from dataclasses import asdict, dataclass
from functools import partial

import mujoco
import numpy as np
from numpy.typing import NDArray

from z1_envs.opengl import HOW_TO_DRAW, RenderError

MIN_PX, MAX_PX = 32, 640


@dataclass(frozen=True, kw_only=True)
class Detail:
    """How finely a model is drawn, under the names of MuJoCo's visual/quality.

    offsamples: of multisampling, for smooth edges. numslices, numstacks: around round shapes, and along them. numquads:
    along each side of a flat shape, which is lit at their corners.
    """

    offsamples: int
    numslices: int
    numstacks: int
    numquads: int


class Canvas:
    """Draws `width` × `height` pixels. Not for use from several threads.

    option: which groups of geoms and sites are drawn.
    """

    def __init__(self, model: mujoco.MjModel, width: int, height: int, *, detail: Detail | None, max_geoms: int):
        """Uploads meshes and textures of `model`; other models can be drawn that have the same, or none.

        detail: None as `model` has it. max_geoms: that may be drawn at once.
        Raises RenderError where OpenGL cannot start, ValueError for sizes out of [32, 640].
        """
        if not (MIN_PX <= width <= MAX_PX and MIN_PX <= height <= MAX_PX):
            raise ValueError(f"image sizes run from {MIN_PX} to {MAX_PX} pixels, got {width} x {height}")
        self._context, self._mjr = _open_context(model, width, height, detail)
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._scene = mujoco.MjvScene(model, max_geoms)
        self.option = mujoco.MjvOption()
        self._perturbation = mujoco.MjvPerturb()
        # Before MuJoCo ends OpenGL at the interpreter's exit, where freeing a context fails or crashes.
        self._exit = partial(_close_at_exit, weakref.ref(self))
        atexit.register(self._exit)

    def draw(self, model: mujoco.MjModel, data: mujoco.MjData, camera: mujoco.MjvCamera) -> NDArray[np.uint8]:
        """What `camera` sees, upright, [height, width, 3]; poses in `data` are up to date."""
        assert self._context is not None, "this canvas is closed"
        self._context.make_current()
        every = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(model, data, self.option, self._perturbation, camera, every, self._scene)
        mujoco.mjr_render(self._rect, self._scene, self._mjr)
        image = np.empty((self._rect.height, self._rect.width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(image, None, self._rect, self._mjr)
        return image[::-1].copy()  # OpenGL's rows run upwards

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


def place(model: mujoco.MjModel, data: mujoco.MjData, row: NDArray[np.float64]) -> None:
    """Puts `data` into the mjSTATE_INTEGRATION `row`, as far as a picture shows it."""
    mujoco.mj_setState(model, data, row, mujoco.mjtState.mjSTATE_INTEGRATION)
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    mujoco.mj_camlight(model, data)


def _close_at_exit(reference: "weakref.ref[Canvas]") -> None:
    canvas = reference()
    if canvas is not None:
        canvas.close()


def _open_context(model: mujoco.MjModel, width: int, height: int, detail: Detail | None):
    quality = model.vis.quality
    wanted = {} if detail is None else asdict(detail)
    before = {name: getattr(quality, name) for name in wanted}
    try:
        for name, value in wanted.items():
            setattr(quality, name, value)
        context = mujoco.GLContext(width, height)
        context.make_current()
        mjr = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_resizeOffscreen(width, height, mjr)  # beyond the model's own buffer nothing would be drawn
    except Exception as error:  # each backend raises its own kind, AttributeError among them
        raise RenderError(f"OpenGL cannot start ({type(error).__name__}: {error}). {HOW_TO_DRAW}") from error
    finally:
        for name, value in before.items():
            setattr(quality, name, value)
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, mjr)
    return context, mjr
