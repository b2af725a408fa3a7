"""All that is looked at before RoboCasa is imported, so that no env is left half built and no window opens."""

from dataclasses import dataclass
from pathlib import Path

import mujoco

from z1_envs.opengl import HOW_TO_DRAW, RenderError
from z1_envs.robocasa.assets import backend_of, check_assets, check_assets_begun, is_stand_in
from z1_envs.robocasa.compat import assets_folder, check_choice_of_assets, check_installed
from z1_envs.robocasa.options import RoboCasaOptions
from z1_envs.robocasa.versions import Pairs, RoboCasaError, TaskRow, Version
from z1_envs.tasks import get_task


@dataclass(frozen=True, kw_only=True)
class Ready:
    """An env that can be built, in the words of the installed version.

    task: our name. row: the version's. horizon [steps]. kitchens: pairs of layout and style to draw among. objects:
    name of the object split, None for all. assets: the folder. backend: what infos and reports are to say.
    """

    task: str
    version: Version
    row: TaskRow
    horizon: int
    kitchens: Pairs
    objects: str | None
    assets: Path
    backend: str


def check(task: str, options: RoboCasaOptions) -> Ready:
    """What an env of `task` with `options` will be.

    Each refusal ends with what mends it. Raises ValueError for unknown tasks and for options that the installed
    version lacks, RoboCasaError for what is not installed or does not fit, FileNotFoundError for assets, RenderError
    where images are wanted and cannot be drawn.
    """
    name = get_task(task).name
    found = check_installed()
    version, row = found.version, found.version.tasks[name]
    kitchens, objects = version.kitchens(options), version.object_split(options)
    folder = assets_folder(options.assets, found)
    check_choice_of_assets(folder)
    check_assets_begun(name, folder, found)
    if options.obs == "pixels":
        check_images()
    return Ready(
        task=name,
        version=version,
        row=row,
        horizon=row.horizon if options.horizon is None else options.horizon,
        kitchens=kitchens,
        objects=objects,
        assets=folder,
        backend=backend_of(folder),
    )


def why_not_official() -> str | None:
    """None where RoboCasa and its official assets are both there; else what keeps `backend="auto"` from them."""
    try:
        found = check_installed()
        folder = assets_folder(None, found)
        if is_stand_in(folder):
            return f"the assets in {folder} are plain stand-ins; they are used where backend='robocasa' asks for them"
        check_assets("RoboCasa", folder, found)
    except (RoboCasaError, FileNotFoundError, ValueError) as error:
        return str(error)
    return None


def check_images() -> None:
    """Raises RenderError where OpenGL does not start. robosuite itself would fail in the middle of the first reset."""
    try:
        context = mujoco.GLContext(64, 64)
        context.make_current()
        context.free()
    except Exception as error:  # each backend raises its own kind, AttributeError among them
        raise RenderError(f"OpenGL cannot start ({type(error).__name__}: {error}). {HOW_TO_DRAW}") from error
