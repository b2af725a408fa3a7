"""Which OpenGL backend MuJoCo can load on this Linux machine.

Without a display MuJoCo's default, GLFW, fails late. Where the library of the chosen backend is not installed,
importing mujoco fails altogether, also for those who want no images. robosuite reads the same variable when it is
first imported; it knows EGL and OSMesa, and takes EGL for all else.
"""

import ctypes
import logging
from collections.abc import Mapping

OFF = "off"
_LIBRARIES = {"egl": ("libEGL.so.1",), "osmesa": ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so")}

BACKENDS = ("egl", "osmesa", "glfw")
# What MuJoCo takes on Linux beside them; all others make importing it fail.
_SWITCHES = ("", "glx", "enable", "enabled", "on", "true", "1", OFF, "disable", "disabled", "false", "0")
HOW_TO_DRAW = (
    "On a machine without a display install EGL (Debian and Ubuntu: apt-get install libegl1 libgl1-mesa-dri) and set "
    "MUJOCO_GL=egl, or install libosmesa6 and set MUJOCO_GL=osmesa; `z1 doctor` draws a test frame. MuJoCo reads "
    "MUJOCO_GL when it is first imported: import z1_envs before mujoco, or set it in the shell. Without images use "
    "obs='state'"
)
unknown_choice: str | None = None  # what MUJOCO_GL was, where nobody knows it

logger = logging.getLogger("z1_envs")


class RenderError(RuntimeError):
    """No image can be made on this machine; the message says what to install or set."""


def usable_backend(environ: Mapping[str, str]) -> str:
    """What MUJOCO_GL should be: what it is, EGL where nothing (or "") is set and there is no display.

    "off" where nobody knows that backend or its library does not load: then everything works but images, which raise
    RenderError.
    """
    global unknown_choice  # whoever asks later finds MUJOCO_GL replaced
    default = "" if environ.get("DISPLAY") else "egl"
    chosen = environ.get("MUJOCO_GL", "").lower().strip() or default
    if chosen not in (*BACKENDS, *_SWITCHES):
        unknown_choice = chosen
        logger.warning("MUJOCO_GL=%s is unknown; images are off. Choose among %s", chosen, ", ".join(BACKENDS))
        return OFF
    if chosen in _LIBRARIES and not any(_loads(library) for library in _LIBRARIES[chosen]):
        logger.info("MUJOCO_GL=%s, but %s does not load: images are off", chosen, _LIBRARIES[chosen][0])
        return OFF
    return chosen


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
