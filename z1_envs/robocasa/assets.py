"""The assets that RoboCasa needs: which official packs are missing, and our own stand-in pack of primitive geoms.

The official assets are 10 GB. The stand-in pack is written in seconds, so that the true task code with the true joints
and predicates runs without them; what is measured on it is no result on RoboCasa.
"""

import json
import os
import shutil
import struct
import tempfile
import xml.etree.ElementTree as ElementTree
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from z1_envs.robocasa.catalogue import (
    FIXTURE_VARIANTS,
    KINDS,
    STYLES,
    categories,
    model_folder,
    model_name,
    registry,
    style,
    textures,
)
from z1_envs.robocasa.compat import ASSETS_VARIABLE, installed_assets
from z1_envs.robocasa.mjcf import STEEL, Colour
from z1_envs.robocasa.object_models import VARIANTS, build_object
from z1_envs.tasks import get_task

STAND_IN_VERSION = 1
MANIFEST = "z1_stand_in.json"
# Parts of the installed package that are complete as they are.
_COPIED = (
    "arenas", "scenes/kitchen_layouts", "fixtures/cabinets", "fixtures/handles", "fixtures/counters",
    "fixtures/accessories", "fixtures/fixture_registry/wall_accessory.yaml",
)  # fmt: skip
# RoboCasa and robosuite rewrite paths that contain these (fixture.py:30, kitchen.py:1256, robosuite base.py).
_UNUSABLE = ("textures/", "models/assets/", "/robosuite/")


@dataclass(frozen=True, kw_only=True)
class Pack:
    """One official pack. download: size of its archive [MB], None where nobody publishes it; probe: what it fills."""

    name: str
    download: int | None
    probe: str

    def __str__(self) -> str:
        size = "size not published" if self.download is None else f"{self.download} MB"
        return f"{self.name} ({size})"


# All tasks need all of them: every scene has textures and appliances, and objects are drawn from both zoos.
# Sizes: the archives of May 2026, as mirrors of them list them.
PACKS = (
    Pack(name="tex", download=None, probe="textures"),
    Pack(name="fixtures_lw", download=530, probe="fixtures/microwaves"),
    Pack(name="objs_objaverse", download=None, probe="objects/objaverse"),
    Pack(name="objs_lw", download=792, probe="objects/lightwheel"),
)


def assets_folder() -> Path:
    """The folder that RoboCasa will use: the environment variable's, else the one inside the installed package."""
    chosen = os.environ.get(ASSETS_VARIABLE)
    return Path(chosen) if chosen else installed_assets()


def is_stand_in(folder: Path) -> bool:
    """Whether `folder` is a pack that `write_stand_in` wrote: results made with it say so."""
    return (folder / MANIFEST).is_file()


def missing_packs(task: str, folder: Path) -> list[Pack]:
    """The official packs that `task` needs and `folder` lacks; none for a stand-in pack, which serves all tasks.

    Raises ValueError for unknown tasks.
    """
    get_task(task)
    if is_stand_in(folder):
        return []
    return [pack for pack in PACKS if not _has_entries(folder / pack.probe)]


def check_assets(task: str, folder: Path) -> None:
    """Raises FileNotFoundError that names what `task` lacks in `folder`, its size, and the command."""
    missing = missing_packs(task, folder)
    if missing:
        types = " ".join(pack.name for pack in missing)
        raise FileNotFoundError(
            f"{get_task(task).name} needs assets that are not in {folder}: {', '.join(map(str, missing))}; all packs "
            f"together are about 10 GB. Download them: robocasa-download-assets --type {types} -y; or write plain "
            f"stand-ins: python -m z1_envs.robocasa FOLDER, then export {ASSETS_VARIABLE}=FOLDER"
        )


def write_stand_in(folder: Path) -> Path:
    """Writes the stand-in pack to `folder`, which must be empty or not there; the same files for the same release.

    It appears whole or not at all. Raises FileExistsError for a folder with something in it, ValueError for a path
    that RoboCasa would misread.
    """
    folder = folder.absolute()
    unusable = [part for part in _UNUSABLE if part in f"{folder}/"]
    if unusable:
        raise ValueError(f"RoboCasa misreads paths that contain {unusable[0]!r}: choose another folder than {folder}")
    if _has_entries(folder):
        raise FileExistsError(f"{folder} is not empty: choose a new folder, or empty this one")
    package_assets = installed_assets()
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write_pack(unfinished, package_assets)
        unfinished.chmod(0o755)
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return folder


def _write_pack(folder: Path, package_assets: Path) -> None:
    for part in _COPIED:
        source, target = package_assets / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
    _fill_in_textures(folder)
    for path, colour in textures().items():
        _write(folder / path, _png(colour))
    for kind, configs in registry().items():
        _write_json(folder / "fixtures" / "fixture_registry" / f"{kind}.yaml", configs)  # JSON is YAML
    for number in STYLES:
        group = "test" if number <= 10 else "train"
        _write_json(folder / "scenes" / "kitchen_styles" / group / f"style{number:03d}.yaml", style(number))
    for kind, entry in KINDS.items():
        for variant in range(FIXTURE_VARIANTS):
            text = entry.build(model_name(kind, variant), variant).text()
            _write(folder / model_folder(kind, variant) / "model.xml", text.encode())
    for category in categories(package_assets):
        for variant in range(VARIANTS):
            model = build_object(category.name, category.types, variant, shrink=category.scale)
            # Not the category's name with a number: RoboCasa excludes official models by such names.
            place = folder / "objects" / category.folder / f"plain_{variant}"
            _write((place / "lid" if category.is_lid else place) / "model.xml", model.text().encode())
    _write_json(folder / MANIFEST, {"version": STAND_IN_VERSION, "made_of": "primitive geoms"})


def _fill_in_textures(folder: Path) -> None:
    """Flat images where models of the package name one that only the official packs have."""
    for model in sorted(folder.rglob("*.xml")):
        for texture in ElementTree.parse(model).iter("texture"):
            name = texture.get("file")
            if name is not None:
                path = Path(os.path.normpath(model.parent / name))
                if path.is_relative_to(folder) and not path.exists():
                    _write(path, _png(STEEL))


def _has_entries(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _write_json(path: Path, content: dict[str, Any]) -> None:
    _write(path, (json.dumps(content, indent=1) + "\n").encode())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _png(colour: Colour, px: int = 8) -> bytes:
    """A PNG of `px` × `px` in one colour."""
    row = b"\0" + bytes(round(255 * part) for part in colour) * px
    header = struct.pack(">IIBBBBB", px, px, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(row * px)), (b"IEND", b""))
    parts = [
        struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data)) for tag, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
