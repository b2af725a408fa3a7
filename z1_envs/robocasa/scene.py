"""One scene of an official env as a record that another env, in another process, can hold exactly.

Scenes are rebuilt from their seed. Where the model comes out differently, as it may with another machine's maths
library, RoboCasa is given the text of the model instead; never that of `sim.model.get_xml()`, which loses what keeps
visual geoms from having mass.
"""

import hashlib
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mujoco

from z1_envs.robocasa.snapshot_state import SimulationState
from z1_envs.snapshot import SnapshotError

_NAMES = re.compile(r'<(\w+)[^>]*? name="([^"]*)"')


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """A scene and its start; picklable.

    name: of the env with its options. seed, draw: what RoboCasa's stream is seeded with. text: the model in full
    precision, compressed, with placeholders for folders. instruction: which of the knobs, or which way. sizes: of the
    compiled model. start: its first moment.
    """

    scene_id: str
    name: str
    seed: int
    draw: int
    text: bytes
    instruction: str
    sizes: tuple[int, ...]
    start: SimulationState


def model_text(official: Any) -> str:
    """The model of the scene in full precision, the same wherever RoboCasa and its assets lie."""
    text = official.model.get_xml()
    for placeholder, folder in _folders().items():
        text = text.replace(f'"{folder}/', f'"{placeholder}/')
    return text


def scene_hash(text: str, instruction: str) -> str:
    """The `scene_id` of a model's text and of what is to be done there: one model may serve several goals."""
    return hashlib.sha256(f"{text}\n{instruction}".encode()).hexdigest()[:16]


def model_sizes(model: mujoco.MjModel) -> tuple[int, ...]:
    """What tells models with other assets apart: joints, bodies, geoms, sites, mesh vertices, texture bytes."""
    return model.nq, model.nv, model.nbody, model.ngeom, model.nsite, model.nmeshvert, model.ntexdata


def compressed(text: str) -> bytes:
    """For `Scene.text`."""
    return zlib.compress(text.encode(), 1)


def check_scene(scene: Any, name: str) -> None:
    """Raises SnapshotError where `scene` is none, is damaged, or is of an env of another `name`."""
    if not isinstance(scene, Scene):
        raise SnapshotError(f'options={{"scene": …}} takes what get_scene() returned, got {type(scene).__name__}')
    if scene.name != name:
        raise SnapshotError(
            f"the scene is of {scene.name}, this env is {name}: build this env with the same task and options"
        )
    try:
        found = scene_hash(zlib.decompress(scene.text).decode(), scene.instruction)
    except (zlib.error, UnicodeDecodeError):
        found = None
    if found != scene.scene_id:
        raise SnapshotError(
            f"model and instruction do not belong to scene {scene.scene_id!r}: the record is damaged; take another copy"
        )


def hold(official: Any, scene: Scene, build: Callable[[int, int], None]) -> str:
    """Makes `official` hold the model of `scene` and returns its text; `build(seed, draw)` draws a scene.

    Raises SnapshotError where this process has other assets or another release: then the env needs a reset.
    """
    build(scene.seed, scene.draw)
    rebuilt = model_text(official)
    text = zlib.decompress(scene.text).decode()
    if text != rebuilt:
        unlike = set(_NAMES.findall(text)) ^ set(_NAMES.findall(rebuilt))
        if unlike:
            raise SnapshotError(
                f"scene {scene.scene_id!r} has other parts here, among them {sorted(unlike)[:3]}: use the same assets "
                "and the same releases of robocasa and robosuite as where it was made, then reset"
            )
        placed = text
        for placeholder, folder in _folders().items():
            placed = placed.replace(f'"{placeholder}/', f'"{folder}/')
        official.reset_from_xml_string(placed)
    sizes = model_sizes(official.sim.model._model)
    if sizes != scene.sizes:
        raise SnapshotError(
            f"scene {scene.scene_id!r} compiles to the sizes {sizes} here, {scene.sizes} where it was made: use the "
            "same assets as there, then reset"
        )
    return text


def _folders() -> Mapping[str, str]:
    """Placeholder → folder; the assets may lie inside the package, so they come first."""
    import robocasa.models  # pyright: ignore[reportMissingImports]
    import robosuite  # pyright: ignore[reportMissingImports]

    return {
        "$assets": str(robocasa.models.assets_root),
        "$robocasa": robocasa.__path__[0],
        "$robosuite": robosuite.__path__[0],
    }
