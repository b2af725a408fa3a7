"""Importing RoboCasa: what has to be decided before, and three differences between releases of robosuite.

RoboCasa v1.0.1 was written against robosuite's master branch. The released robosuite 1.5.2 carries the same version
number, so no pin can tell them apart: each adapter looks whether it is needed, and does nothing on master.
"""

import contextlib
import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import io
import logging
import os
import re
import sys
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from z1_envs.robocasa.versions import ASSETS_VARIABLE, COMMAND, Installed, RoboCasaError, installed

_MUJOCO_BELOW = (3, 10)
_LEGACY_BASE = "JOINT_VELOCITY_LEGACY"


def check_installed() -> Installed:
    """What is installed.

    Raises RoboCasaError, with the command to type, for missing packages, a version of RoboCasa that has no table, and
    releases of mujoco, numpy and robosuite that it does not run on or that nothing tells. Imports nothing. With numpy 2
    pip complains, as robosuite's mink asks for less; nothing here uses mink, and all works.
    """
    if importlib.util.find_spec("robosuite") is None:
        raise RoboCasaError(f"the official backend needs robosuite, which is not installed: {COMMAND}")
    found = installed()
    name, install = f"RoboCasa {found.version.name}", found.version.install
    try:
        here = {package: importlib.metadata.version(package) for package in ("mujoco", "numpy", "robosuite")}
    except importlib.metadata.PackageNotFoundError as error:
        raise RoboCasaError(
            f"{error.name} can be imported, but is not installed as a package, so nothing tells its release: {install}"
        ) from error
    for package, allowed in (("mujoco", found.mujoco), ("numpy", found.numpy)):
        if allowed and here[package] not in allowed:
            wanted = " or ".join(allowed)
            raise RoboCasaError(f"this {name} runs on {package} {wanted} only, not on {here[package]}: {install}")
    if _release(here["mujoco"]) >= _MUJOCO_BELOW:
        raise RoboCasaError(
            f"robosuite does not run on mujoco {here['mujoco']}, it needs one below 3.10: "
            "pip install 'mujoco>=3.8,<3.10'"
        )
    first, end = found.version.robosuite
    if not _release(first) <= _release(here["robosuite"]) < _release(end):
        raise RoboCasaError(
            f"{name} runs on robosuite from {first} to below {end}, not on {here['robosuite']}: {install}"
        )
    return found


def assets_folder(chosen: Path | None, found: Installed) -> Path:
    """The folder of assets to use: `chosen`, else the environment variable's, else RoboCasa's own."""
    named = os.environ.get(ASSETS_VARIABLE)
    return chosen or (Path(named) if named else found.assets)


def load(assets: Path | None = None) -> ModuleType:
    """RoboCasa, imported with `assets` as its folder of assets (None: as `assets_folder` says), adapted.

    Raises RoboCasaError where it was imported with another folder before (it cannot change that), and where it does
    not import.
    """
    found = check_installed()
    folder = assets_folder(assets, found)
    check_choice_of_assets(folder)
    if assets is not None:
        os.environ[ASSETS_VARIABLE] = str(assets.resolve())  # for envs without a choice, in other processes too
    chosen = os.environ.get("MUJOCO_GL")
    try:
        with _hushed():
            robocasa = _imported(folder)
    except (ImportError, AssertionError, AttributeError, ValueError) as error:
        raise RoboCasaError(
            f"RoboCasa {found.version.name} does not import here ({type(error).__name__}: {error}): "
            f"{found.version.install}"
        ) from error
    if chosen is not None:
        os.environ["MUJOCO_GL"] = chosen  # robosuite writes "egl" there, whatever was chosen (binding_utils.py:37)
    logging.getLogger("robosuite_logs").setLevel(logging.WARNING)  # it tells of every file that it reads
    adapt()
    return robocasa


def check_choice_of_assets(folder: Path) -> None:
    """Raises RoboCasaError where RoboCasa was imported with another folder of assets than `folder`."""
    if "robocasa.models" in sys.modules:
        used = Path(sys.modules["robocasa.models"].assets_root)
        if used.resolve() != folder.resolve():
            raise RoboCasaError(
                f"RoboCasa was imported with the assets in {used}, asked for are those in {folder}: use one folder "
                "per process, and leave importing RoboCasa to z1_envs"
            )


def _imported(folder: Path) -> ModuleType:
    """RoboCasa with `folder` as its folder of assets.

    Its modules read the folder's name while they are imported, and the versions from git take it from nowhere else, so
    it is written before the package's own code runs.
    """
    if "robocasa" not in sys.modules:
        spec = importlib.util.find_spec("robocasa")
        assert spec is not None
        assert spec.loader is not None
        package = importlib.util.module_from_spec(spec)
        sys.modules["robocasa"] = package
        try:
            vars(importlib.import_module("robocasa.models"))["assets_root"] = str(folder.resolve())
            spec.loader.exec_module(package)
        except BaseException:
            del sys.modules["robocasa"]
            raise
    return sys.modules["robocasa"]


def adapt() -> list[str]:
    """Mends what this robosuite lacks; the names of the adapters that were needed. Idempotent."""
    adapters = (_accept_load_model_on_init, _accept_physics_flags, _know_legacy_base)
    return [adapter.__name__.lstrip("_") for adapter in adapters if adapter()]


def _accept_load_model_on_init() -> bool:
    """RoboCasa v1.0.1's Kitchen passes `load_model_on_init=False` (environments/kitchen/kitchen.py:522).

    Master then leaves the building to the first reset; `official` does so with every release.
    """
    from robosuite.environments.manipulation.manipulation_env import (  # pyright: ignore[reportMissingImports]
        ManipulationEnv,
    )

    if not _lacks(ManipulationEnv.__init__, "load_model_on_init"):
        return False
    original = ManipulationEnv.__init__

    @functools.wraps(original)
    def init(self: Any, *args: Any, load_model_on_init: bool = True, **keywords: Any) -> None:
        original(self, *args, **keywords)

    ManipulationEnv.__init__ = init
    return True


def _accept_physics_flags() -> bool:
    """RoboCasa asks ManipulationTask for multi-contact collisions (environments/kitchen/kitchen.py:639-640).

    Sleeping islands, which MuJoCo has from 3.4 on, are never asked for; here they are refused.
    """
    from robosuite.models.tasks.manipulation_task import ManipulationTask  # pyright: ignore[reportMissingImports]

    if not _lacks(ManipulationTask.__init__, "enable_multiccd"):
        return False
    original = ManipulationTask.__init__

    @functools.wraps(original)
    def init(
        self: Any, *args: Any, enable_multiccd: bool = False, enable_sleeping_islands: bool = False, **keywords: Any
    ) -> None:
        if enable_sleeping_islands:
            raise ValueError("this robosuite has no sleeping islands: leave enable_sleeping_islands False")
        original(self, *args, **keywords)
        if enable_multiccd:
            option = self.root.find("option")
            flag = option.find("flag")
            if flag is None:
                flag = ElementTree.SubElement(option, "flag")
            flag.set("multiccd", "enable")

    ManipulationTask.__init__ = init
    return True


def _know_legacy_base() -> bool:
    """RoboCasa asks for the base controller `JOINT_VELOCITY_LEGACY` (environments/kitchen/kitchen.py:491).

    The released `JOINT_VELOCITY` moves along the axes that RoboCasa v0.2 had: forward, side, yaw.
    """
    from robosuite.controllers.parts import controller_factory  # pyright: ignore[reportMissingImports]

    factory = controller_factory.mobile_base_controller_factory
    if hasattr(factory, "__wrapped__") or _LEGACY_BASE in inspect.getsource(factory):
        return False

    @functools.wraps(factory)
    def with_legacy(name: str, params: dict[str, Any]) -> Any:
        return factory("JOINT_VELOCITY" if name == _LEGACY_BASE else name, params)

    controller_factory.mobile_base_controller_factory = with_legacy
    return True


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Without the dozen remarks of both packages on private macro files and robots that are not installed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _release(text: str) -> tuple[int, ...]:
    """The first three numbers of a version: (3, 9, 0) of "3.9.0"."""
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _lacks(function: Callable[..., Any], argument: str) -> bool:
    # What an adapter put there has the argument in its own signature, not in that of what it wraps.
    return not hasattr(function, "__wrapped__") and argument not in inspect.signature(function).parameters
