"""Which packs of official assets a folder lacks, or holds in part after a download that was interrupted.

RoboCasa publishes no list of files, but its package names much of what it reads: the styles choose models and textures
from the registry of fixtures, and every category of objects has a folder. All of these have to be there; what is not
looked at are further objects of a category, and meshes and textures inside of a model's folder. Where RoboCasa's own
download ended too early, the archive that it unpacks still lies there, whatever is missing.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from z1_envs.robocasa.catalogue import categories
from z1_envs.robocasa.versions import Installed, Pack

_VALUE = re.compile(r"[\w.]+(?![\w.:])")  # no key, which has a colon behind it
_ENTRY = re.compile(r"^([\w.]+):", re.MULTILINE)  # of the outermost level
_MODEL = re.compile(r"^ +xml: *(\S+)", re.MULTILINE)
_TEXTURE = re.compile(r"^ +(?:\w+_)?texture: *(\S+)", re.MULTILINE)
_COMMENT = re.compile(r"#.*")


@dataclass(frozen=True, kw_only=True)
class _Named:
    """What RoboCasa's lists name, as paths inside the folder of assets."""

    models: frozenset[str]
    textures: frozenset[str]
    categories: frozenset[str]


def missing_packs(folder: Path, found: Installed) -> list[Pack]:
    """The packs of which something that RoboCasa's lists name is not in `folder`, or whose archive is."""
    named = _named(folder, found)
    return [pack for pack in found.version.packs if not _is_whole(pack, folder, named)]


def _is_whole(pack: Pack, folder: Path, named: _Named) -> bool:
    inside = f"{pack.folder}/"
    files = [f"{model}/{pack.model}" for model in named.models] + [*named.textures]
    files = [path for path in files if path.startswith(inside)]
    kinds = [path for path in named.categories if path.startswith(inside)]
    return (
        not (folder / f"{pack.folder}.zip").exists()
        and bool(files or kinds)
        and all((folder / path).exists() for path in files)
        and all(any((folder / path).glob("*/model.xml")) for path in kinds)
    )


def _named(folder: Path, found: Installed) -> _Named:
    chosen: dict[str, set[str]] = {}  # by kind of fixture: the entries of the registry that styles choose
    for style in (folder / "scenes" / "kitchen_styles").rglob("*.yaml"):
        for kind, values in _blocks(style):
            chosen.setdefault(kind, set()).update(_VALUE.findall(values))
    models: set[str] = set()
    textures: set[str] = set()
    for registry in (folder / "fixtures" / "fixture_registry").glob("*.yaml"):
        for entry, values in _blocks(registry):
            if entry in chosen.get(registry.stem, ()):
                models.update(_MODEL.findall(values))
                textures.update(_TEXTURE.findall(values))
    folders = {f"objects/{category.folder}" for category in categories(found.assets) if not category.is_lid}
    return _Named(models=frozenset(models), textures=frozenset(textures), categories=frozenset(folders))


def _blocks(path: Path) -> list[tuple[str, str]]:
    """The entries of a YAML file's outermost level: names and what belongs to each, which is read as text.

    The package that reads YAML comes with RoboCasa alone, and takes a second for what takes milliseconds here.
    """
    text = _COMMENT.sub("", path.read_text(encoding="utf-8"))
    _, *parts = _ENTRY.split(text)
    return list(zip(parts[::2], parts[1::2], strict=True))
