"""Whether images can be made here."""

import pytest

from z1_envs.kitchen.cameras import Cameras
from z1_envs.kitchen.scene import make_scene
from z1_envs.opengl import RenderError


@pytest.fixture(scope="session")
def opengl() -> None:
    """Skips where OpenGL cannot start."""
    try:
        Cameras(make_scene("OpenDrawer", 0).model, 64, 64).close()
    except RenderError as error:
        pytest.skip(f"no image can be made here: {error}")
