"""One stand-in pack for the whole run: RoboCasa reads its folder of assets once, when it is imported.

Tests state facts of the version that is installed: v1.0.1 in CI, v0.2 where somebody has it (docs/robocasa.md).
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from z1_envs.robocasa import catalogue
from z1_envs.robocasa.assets import write_stand_in
from z1_envs.robocasa.versions import V02, Version, installed


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("robosuite", reason="needs the extra `robocasa`", exc_type=ImportError)
    return write_stand_in(tmp_path_factory.mktemp("stand_in") / "pack")


@pytest.fixture(scope="session")
def version(pack: Path) -> Version:
    """The version that is installed."""
    return installed().version


@pytest.fixture(scope="session")
def layouts(version: Version) -> tuple[int, ...]:
    """A few of its kitchens."""
    return (1, 2) if version is V02 else (1, 2, 11, 44)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """A folder of assets as RoboCasa's package brings it: nothing is downloaded."""
    pytest.importorskip("robosuite", reason="needs the extra `robocasa`", exc_type=ImportError)
    folder = tmp_path / "official"
    shutil.copytree(installed().assets, folder)
    return folder


@pytest.fixture
def downloaded(official: Path, version: Version) -> Path:
    """The same with an empty file for all that the packs would bring and RoboCasa's lists name."""
    yaml: Any = pytest.importorskip("yaml")
    for path in (official / "fixtures" / "fixture_registry").glob("*.yaml"):
        for key, value in leaves(yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))):
            if key == "xml" and value:
                touch(official / value / ("visuals/body.obj" if version is V02 else "model.xml"))
            elif key.endswith("texture"):
                touch(official / value)
    for category in catalogue.categories(installed().assets):
        place = official / "objects" / category.folder / "first"
        touch((place / "lid" if category.is_lid else place) / "model.xml")
    return official


def leaves(tree: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Key and value of all that is no dictionary."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value)
        else:
            yield str(key), value


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
