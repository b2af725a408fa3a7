"""One stand-in pack for the whole run: RoboCasa reads its folder of assets once, when it is imported.

Tests state facts of the version that is installed: v1.0.1 in CI, v0.2 where somebody has it (docs/robocasa.md).
"""

import shutil
from pathlib import Path

import pytest

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
