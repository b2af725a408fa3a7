"""The assets that RoboCasa needs: which official packs are missing, and our own stand-in pack of primitive geoms.

The official assets are 10 GB. The stand-in pack is written in seconds, so that the true task code with the true joints
and predicates runs without them; what is measured on it is no result on RoboCasa.
"""

import json
import logging
import os
import shutil
import struct
import tempfile
import xml.etree.ElementTree as ElementTree
import zlib
from pathlib import Path
from typing import Any

from z1_envs.robocasa import packs
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
from z1_envs.robocasa.mjcf import STEEL, Colour
from z1_envs.robocasa.object_models import BY_NAME, BY_NAME_V02, VARIANTS, build_object
from z1_envs.robocasa.package_models import named_textures, replace_meshes
from z1_envs.robocasa.versions import ASSETS_VARIABLE, V02, V101, Installed, Pack, installed

BACKEND = "robocasa"
STAND_IN_BACKEND = "robocasa-stand-in"
STAND_IN_VERSION = 2
MANIFEST = "z1_stand_in.json"
# Parts of the installed package that the pack is begun with: of v0.2 all, since it brings its fixtures' models.
_COPIED = {
    V02.name: ("arenas", "fixtures", "scenes"),
    V101.name: (
        "arenas", "scenes/kitchen_layouts", "fixtures/cabinets", "fixtures/handles", "fixtures/counters",
        "fixtures/accessories", "fixtures/fixture_registry/wall_accessory.yaml",
    ),
}  # fmt: skip
_LISTS = ("scenes/kitchen_styles", "fixtures/fixture_registry")  # of v1.0.1 the pack has its own
# RoboCasa and robosuite rewrite paths that contain these (fixture.py:30, kitchen.py:1256, robosuite base.py).
_UNUSABLE = ("textures/", "models/assets/", "/robosuite/")

logger = logging.getLogger("z1_envs")


def is_stand_in(folder: Path) -> bool:
    """Whether `folder` is a pack that `write_stand_in` wrote."""
    return (folder / MANIFEST).is_file()


def backend_of(folder: Path) -> str:
    """What infos and reports call the backend on these assets: results on stand-ins are never taken for official."""
    return STAND_IN_BACKEND if is_stand_in(folder) else BACKEND


def missing_packs(folder: Path, found: Installed) -> list[Pack]:
    """The official packs that `folder` lacks or has in part; none for a stand-in pack, which serves all tasks."""
    return [] if is_stand_in(folder) else packs.missing_packs(folder, found)


def check_assets(task: str, folder: Path, found: Installed) -> None:
    """Raises FileNotFoundError that names what `task` lacks in `folder`, its size, and the command; ValueError for
    stand-ins of another release or version.
    """
    _check_own(folder, found)
    _refuse(task, folder, found, missing_packs(folder, found))


def check_assets_begun(task: str, folder: Path, found: Installed) -> None:
    """As `check_assets`, but a pack of which only a part is found passes with a warning: RoboCasa's lists may name what
    no task reads, and whoever asks for this backend may know better.
    """
    _check_own(folder, found)
    missing = missing_packs(folder, found)
    _refuse(task, folder, found, [pack for pack in missing if not any((folder / pack.folder).glob(pack.only))])
    if missing:
        logger.warning("%s has a part of %s; `z1 assets check` says more", folder, ", ".join(map(str, missing)))


def _check_own(folder: Path, found: Installed) -> None:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder of assets {folder}: write plain stand-ins there with: z1 assets stand-in {folder}"
        )
    _check_stand_in(folder, found)
    parts = (*_COPIED[found.version.name], *_LISTS)
    own = next((part for part in parts if not (folder / part).exists()), None)
    if own is not None:
        raise FileNotFoundError(
            f"{folder} lacks {own}, which comes with RoboCasa's package and with no download: "
            f"cp -rn {found.assets}/. {folder}"
        )


def _refuse(task: str, folder: Path, found: Installed, missing: list[Pack]) -> None:
    if missing:
        command, gigabytes = found.version.download
        types = "".join(f" {pack.name}" for pack in missing) if command.endswith("--type") else ""
        raise FileNotFoundError(
            f"{task} needs assets of which {folder} has nothing or a part: {', '.join(map(str, missing))}; all packs "
            f"together are about {gigabytes} GB. Download them: {command}{types}; or write plain stand-ins: "
            f"z1 assets stand-in FOLDER, then export {ASSETS_VARIABLE}=FOLDER"
        )


def _check_stand_in(folder: Path, found: Installed) -> None:
    if not is_stand_in(folder):
        return
    mend = "write a new one: z1 assets stand-in FOLDER"
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        release, written_for = manifest["version"], manifest["robocasa"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"the stand-in pack in {folder} is of an older release, or broken: {mend}") from error
    if (release, written_for) != (STAND_IN_VERSION, found.version.name):
        raise ValueError(
            f"the stand-in pack in {folder} is release {release} for RoboCasa {written_for}, needed is release "
            f"{STAND_IN_VERSION} for {found.version.name}: {mend}"
        )


def write_stand_in(folder: Path) -> Path:
    """Writes the stand-in pack to `folder`, which must be empty or not there; the same files for the same release.

    It appears whole or not at all. Raises FileExistsError for a folder with something in it, ValueError for a path
    that RoboCasa would misread, RoboCasaError where RoboCasa is missing. The pack is for the installed version alone.
    """
    found, folder = check_place(folder), folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write_pack(unfinished, found)
        unfinished.chmod(0o755)
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return folder


def check_place(folder: Path) -> Installed:
    """What is installed, where a stand-in pack can be written to `folder`; raises what `write_stand_in` raises."""
    found = installed()
    unusable = [part for part in _UNUSABLE if part in f"{folder.absolute()}/"]
    if unusable:
        raise ValueError(f"RoboCasa misreads paths that contain {unusable[0]!r}: choose another folder than {folder}")
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file: choose a new folder")
    if _has_entries(folder):
        raise FileExistsError(f"{folder} is not empty: choose a new folder, or empty this one")
    return found


def _write_pack(folder: Path, found: Installed) -> None:
    for part in _COPIED[found.version.name]:
        source, target = found.assets / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
    if found.version is V02:
        replace_meshes(folder)
        flat, by_name = named_textures(found.assets), BY_NAME_V02
    else:
        _write_fixtures(folder)
        flat, by_name = textures(), BY_NAME
    for path, colour in flat.items():
        _write(folder / path, _png(colour))
    _fill_in_textures(folder)
    for category in categories(found.assets):
        for variant in range(VARIANTS):
            model = build_object(category.name, category.types, variant, shrink=category.scale, by_name=by_name)
            # Not the category's name with a number: RoboCasa excludes official models by such names.
            place = folder / "objects" / category.folder / f"plain_{variant}"
            _write((place / "lid" if category.is_lid else place) / "model.xml", model.text().encode())
    manifest = {"version": STAND_IN_VERSION, "robocasa": found.version.name, "made_of": "primitive geoms"}
    _write_json(folder / MANIFEST, manifest)


def _write_fixtures(folder: Path) -> None:
    """Fixtures, styles and the registry in which both find each other, in place of v1.0.1's."""
    for kind, configs in registry().items():
        _write_json(folder / "fixtures" / "fixture_registry" / f"{kind}.yaml", configs)  # JSON is YAML
    for number in STYLES:
        group = "test" if number <= 10 else "train"
        _write_json(folder / "scenes" / "kitchen_styles" / group / f"style{number:03d}.yaml", style(number))
    for kind, entry in KINDS.items():
        for variant in range(FIXTURE_VARIANTS):
            text = entry.build(model_name(kind, variant), variant).text()
            _write(folder / model_folder(kind, variant) / "model.xml", text.encode())


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
