"""One stand-in pack for the whole run: RoboCasa reads its folder of assets once, when it is imported."""

from pathlib import Path

import pytest

from z1_envs.robocasa.assets import write_stand_in


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("robosuite", reason="needs the extra `robocasa`", exc_type=ImportError)
    return write_stand_in(tmp_path_factory.mktemp("stand_in") / "pack")
