"""What this machine has, what is missing, and the command that mends it."""

import importlib.util
import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import imageio_ffmpeg
import mujoco
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from z1_envs import opengl
from z1_envs.kitchen.cameras import Cameras
from z1_envs.kitchen.scene import make_scene
from z1_envs.opengl import RenderError
from z1_envs.processes import num_cores
from z1_envs.robocasa.assets import check_assets, is_stand_in
from z1_envs.robocasa.compat import assets_folder, check_installed
from z1_envs.robocasa.preflight import check_images
from z1_envs.robocasa.versions import Installed, RoboCasaError

_MIN_MEMORY_GB, _MIN_DISK_GB = 2.0, 1.0
_PACKAGES = ("z1-robocasa", "torch", "mujoco", "numpy", "scipy", "gymnasium", "stable-baselines3", "safetensors")
_OPENGL = "OpenGL"
_MEND_IMAGES = (
    "apt-get install libegl1 libgl1-mesa-dri, then MUJOCO_GL=egl (or apt-get install libosmesa6, then MUJOCO_GL=osmesa)"
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line. needed: whether training on state fails without it. mend: what to type where it is not `good`."""

    name: str
    found: str
    good: bool = True
    needed: bool = False
    mend: str = ""


def examine() -> list[Finding]:
    """Everything the doctor looks at, in order. Draws a test frame."""
    checks: tuple[Callable[[], list[Finding]], ...] = (_packages, _machine, _images, _robocasa)
    return [finding for check in checks for finding in check()]


def draw_test_frame() -> NDArray[np.uint8]:
    """A small picture [64, 64, 3] of a kitchen. Raises RenderError where this machine cannot draw."""
    model = make_scene("OpenDrawer", 0).model
    row = np.zeros(mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_INTEGRATION))
    mujoco.mj_getState(model, mujoco.MjData(model), row, mujoco.mjtState.mjSTATE_INTEGRATION)
    cameras = Cameras(model, 64, 64)
    frame = cameras.film(model, row)
    cameras.close()
    return frame


def show(findings: list[Finding], console: Console) -> int:
    """Prints `findings`; returns 0 where all that is needed is there, else 1."""
    table = Table("", "", Column(overflow="fold"), box=None, pad_edge=False, show_header=False)
    for finding in findings:
        mark = Text("ok", "green") if finding.good else Text("missing", "red" if finding.needed else "yellow")
        table.add_row(mark, finding.name, Text(finding.found))
        if not finding.good:
            table.add_row("", "", Text(f"mend: {finding.mend}"))
    console.print(table)
    broken = [finding.name for finding in findings if finding.needed and not finding.good]
    sees = any(finding.name == _OPENGL and finding.good for finding in findings)
    ready = "Ready to train on state and on images." if sees else "Ready to train on state; images lack OpenGL."
    console.print(f"Training needs: {', '.join(broken)}" if broken else ready)
    return 1 if broken else 0


def _packages() -> list[Finding]:
    found = [Finding(name="python", found=platform.python_version())]
    for package in _PACKAGES:
        try:
            found.append(Finding(name=package, found=version(package)))
        except PackageNotFoundError:
            mend = f"pip install {package}" if package != _PACKAGES[0] else "pip install -e . (in the checkout)"
            found.append(Finding(name=package, found="not installed", good=False, mend=mend))
    return found


def _machine() -> list[Finding]:
    batched = importlib.util.find_spec("mujoco.batch") is not None
    free_gb = shutil.disk_usage(os.getcwd()).free / 1e9
    found = [
        Finding(name="cores", found=f"{num_cores()} for physics"),
        Finding(name="physics", found=f"mujoco {mujoco.__version__}, {'mujoco.batch' if batched else 'a thread pool'}"),
        Finding(
            name="disk",
            found=f"{free_gb:.0f} GB free here",
            good=free_gb >= _MIN_DISK_GB,
            needed=True,
            mend=f"a run writes up to {_MIN_DISK_GB:.0f} GB: give an --out on another disk",
        ),
    ]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
        found.append(
            Finding(
                name="memory",
                found=f"{memory_gb:.0f} GB",
                good=memory_gb >= _MIN_MEMORY_GB,
                needed=True,
                mend=f"training takes up to {_MIN_MEMORY_GB:.0f} GB: use a larger machine",
            )
        )
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none; the nano policy needs none"
    return [*found, Finding(name="GPU", found=gpu)]


def _images() -> list[Finding]:
    backend = os.environ.get("MUJOCO_GL") or "MuJoCo's default"
    mend = _MEND_IMAGES
    if opengl.unknown_choice is not None:
        backend = f"MUJOCO_GL={opengl.unknown_choice} is unknown"
        mend = f"set MUJOCO_GL to {', '.join(opengl.BACKENDS)}, or unset it"
    try:
        frame = draw_test_frame()
        drawing = Finding(name=_OPENGL, found=f"{backend}: drew a test frame, {len(np.unique(frame))} shades")
    except RenderError as error:
        drawing = Finding(
            name=_OPENGL,
            found=f"{backend}: no images, no videos ({str(error).split('. ')[0]})",
            good=False,
            mend=mend,
        )
    try:
        films = Finding(name="ffmpeg", found=imageio_ffmpeg.get_ffmpeg_version())
    except RuntimeError:
        films = Finding(name="ffmpeg", found="no videos", good=False, mend='pip install "imageio[ffmpeg]"')
    return [drawing, films]


def _robocasa() -> list[Finding]:
    """The official backend; the embedded kitchen needs nothing of this."""
    try:
        found = check_installed()
    except RoboCasaError as error:
        what, _, mend = str(error).rpartition(": ")
        return [Finding(name="RoboCasa", found=what, good=False, mend=mend)]
    asked = ", asks for its own mujoco and numpy" if found.mujoco else ""
    package = Finding(
        name="RoboCasa", found=f"{found.version.name} in {found.folder}{asked}, robosuite {version('robosuite')}"
    )
    return [package, _robocasa_assets(found), _robocasa_images(), _blas_threads()]


def _robocasa_assets(found: Installed) -> Finding:
    name, folder = "  its assets", assets_folder(None, found)
    try:
        check_assets("RoboCasa", folder, found)
    except (FileNotFoundError, ValueError) as error:
        mend = "`z1 assets check` says how to download them, `z1 assets stand-in FOLDER` writes plain stand-ins"
        return Finding(name=name, found=str(error).split(". ")[0], good=False, mend=mend)
    kind = "plain stand-ins, backend 'auto' leaves them alone" if is_stand_in(folder) else "official"
    return Finding(name=name, found=f"{kind}, in {folder}")


def _robocasa_images() -> Finding:
    chosen = os.environ.get("MUJOCO_GL", "")
    try:
        check_images()
    except RenderError as error:
        return Finding(name="  its images", found=str(error).split(". ")[0], good=False, mend=_MEND_IMAGES)
    backend = "OSMesa" if chosen == "osmesa" else "EGL"
    return Finding(name="  its images", found=f"{backend} with MUJOCO_GL={chosen}, read when robosuite is imported")


def _blas_threads() -> Finding:
    chosen = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    said = ", ".join(f"{name}={value or 'unset'}" for name, value in chosen.items())
    if "1" in chosen.values():
        return Finding(name="  BLAS threads", found=said)
    # Measured on two cores: 13.7 steps/s instead of 35.
    return Finding(
        name="  BLAS threads",
        found=f"{said}: more than one thread makes its small matrices slower; worker processes take one by themselves",
        good=False,
        mend="export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1, before Python starts",
    )
