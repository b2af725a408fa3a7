"""One stand-in pack for the whole run: RoboCasa reads its folder of assets once, when it is imported."""

import shutil
from pathlib import Path

import pytest

from z1_envs.robocasa.assets import write_stand_in
from z1_envs.robocasa.versions import installed


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("robosuite", reason="needs the extra `robocasa`", exc_type=ImportError)
    return write_stand_in(tmp_path_factory.mktemp("stand_in") / "pack")


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """A folder of assets as RoboCasa's package brings it: nothing is downloaded."""
    pytest.importorskip("robosuite", reason="needs the extra `robocasa`", exc_type=ImportError)
    folder = tmp_path / "official"
    shutil.copytree(installed().assets, folder)
    return folder
