"""What the kitchen's envs show and take, as Gymnasium spaces."""

from typing import Literal

import numpy as np
from gymnasium import spaces

from z1_envs.arguments import check_whole
from z1_envs.canvas import MAX_PX, MIN_PX
from z1_envs.layout import ACTION, CAMERAS, SCENE, STATE

ObsMode = Literal["state", "pixels"]


def observation_space(obs: ObsMode, image_px: int) -> spaces.Dict:
    """`state` and `scene` for obs="state"; three images and `state` for obs="pixels".

    Raises ValueError for another mode or size.
    """
    if obs not in ("state", "pixels"):
        raise ValueError(f"obs must be 'state' or 'pixels', got {obs!r}")
    state = spaces.Box(-np.inf, np.inf, (STATE.width,), np.float32)
    if obs == "state":
        return spaces.Dict({"state": state, "scene": spaces.Box(-np.inf, np.inf, (SCENE.width,), np.float32)})
    check_whole("image_px", image_px, least=1)
    if not MIN_PX <= image_px <= MAX_PX:
        raise ValueError(f"image_px must lie in [{MIN_PX}, {MAX_PX}], got {image_px}")
    image = spaces.Box(0, 255, (image_px, image_px, 3), np.uint8)
    return spaces.Dict({**dict.fromkeys(CAMERAS, image), "state": state})


def action_space() -> spaces.Box:
    """[-1, 1]^12 in the order of layout.ACTION."""
    return spaces.Box(-1.0, 1.0, (ACTION.width,), np.float32)
