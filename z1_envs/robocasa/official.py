"""RoboCasa's own env, made as the installed version wants it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from z1_envs.robocasa import compat
from z1_envs.robocasa.options import RoboCasaOptions
from z1_envs.robocasa.preflight import Ready

# What robosuite's constructor calls to build a scene (robosuite/environments/base.py:143-167).
_BUILDERS = ("_load_model", "_initialize_sim", "initialize_renderer", "_reset_internal", "_setup_observables")


def make_official(ready: Ready, options: RoboCasaOptions) -> Any:
    """RoboCasa's env, without a scene yet. The first call in a process imports RoboCasa.

    Raises ValueError where the task's class excludes all kitchens of `ready`.
    """
    compat.load(options.assets)
    _order_counter_tops()
    from robosuite.controllers import load_composite_controller_config  # pyright: ignore[reportMissingImports]
    from robosuite.environments.base import REGISTERED_ENVS  # pyright: ignore[reportMissingImports]

    official_class = REGISTERED_ENVS[ready.row.class_name]
    _check_kitchens(ready, official_class)
    return _without_scene(
        official_class,
        {
            "robots": "PandaOmron",
            "controller_configs": load_composite_controller_config(robot="PandaOmron"),
            "use_camera_obs": False,
            "has_renderer": False,
            "has_offscreen_renderer": options.obs == "pixels",
            "renderer": "mujoco",
            "ignore_done": True,
            "layout_and_style_ids": list(ready.kitchens),
            "obj_instance_split": ready.objects,
        },
    )


def _without_scene(official_class: Any, arguments: Mapping[str, Any]) -> Any:
    """An env that builds nothing before its first reset.

    The released constructor builds a scene (1 to 2 s) that this reset throws away, partly from numpy's global stream.
    """
    official = official_class.__new__(official_class)
    vars(official).update(dict.fromkeys(_BUILDERS, dict), sim=None)  # the instance's own hide the class's
    official.__init__(**arguments)
    for name in _BUILDERS:
        del vars(official)[name]
    return official


def _order_counter_tops() -> None:
    """Leaves the choice among a counter's tops to the seed.

    v1.0.1 numbers them in the order of a set of XML elements, which is that of their addresses in memory
    (models/fixtures/counter.py:813): one seed put objects left or right of the sink, by chance.
    """
    from robocasa.models.fixtures import counter  # pyright: ignore[reportMissingImports]

    vars(counter)["set"] = dict.fromkeys  # hides the builtin from that module, which uses it there alone


def choose_fixture(official: Any, ready: Ready, rng: np.random.Generator) -> None:
    """Which kind of fixture the next reset of `official` is about, where the version's class serves several tasks."""
    kinds = ready.row.fixtures
    if kinds:
        from robocasa.models.fixtures import FixtureType  # pyright: ignore[reportMissingImports]

        # With a reference RoboCasa itself looks for a layout that has such a fixture (kitchen.py:656).
        official.fixture_id = official.init_robot_base_ref = FixtureType[kinds[int(rng.integers(len(kinds)))]]


def _check_kitchens(ready: Ready, official_class: Any) -> None:
    layouts, styles = set(official_class.EXCLUDE_LAYOUTS), set(getattr(official_class, "EXCLUDE_STYLES", ()))
    if all(layout in layouts or style in styles for layout, style in ready.kitchens):
        excluded = f"layouts {sorted(layouts)} and styles {sorted(styles)}"
        raise ValueError(
            f"RoboCasa {ready.version.name} has {ready.task} in none of the kitchens asked for: choose others than "
            f"{excluded}"
        )
