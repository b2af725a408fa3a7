"""The protocol of an evaluation says what decides its success rate, image sizes included."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from z1_agent.backends import eval_envs, eval_protocol
from z1_agent.presets import TrainConfig
from z1_envs.evaluate import evaluate
from z1_envs.opengl import RenderError


def config(**changes: Any) -> TrainConfig:
    return TrainConfig(task="OpenDrawer", horizon=2, executed_len=5, **changes)


class Still:
    def act(self, observation: dict[str, NDArray], /) -> NDArray:
        return np.zeros((len(observation["state"]), 5, 12), dtype=np.float32)


def test_protocols_of_images_differ_by_their_size_and_those_of_states_do_not() -> None:
    small, large = (eval_protocol(config(obs="pixels", image_px=px), "house", 2, 0) for px in (32, 64))
    assert (small.image_px, large.image_px) == (32, 64)
    assert small.hash != large.hash
    state = [eval_protocol(config(obs="state", image_px=px), "house", 2, 0) for px in (32, 64)]
    assert state[0] == state[1]
    # As it was before image_px was said: old reports of states can still be compared with new ones.
    assert state[0].hash == STATE_HASH


# sha256 of {"backend":"kitchen","chunk_len":5,"differences":[],"horizon":2,"image_px":null,"name":"house",
# "num_episodes":2,"num_runs":1,"obs":"state","robocasa_version":null,"scenes":null,"seed":0,"split":"train",
# "task":"OpenDrawer","version":2,"wait_steps":0} without the line breaks.
STATE_HASH = "a47745fc6950"


def test_envs_of_another_image_size_are_refused() -> None:
    pixels = config(obs="pixels", image_px=32)
    envs = eval_envs(pixels, 1, 2)
    try:
        assert len(evaluate(Still(), envs, eval_protocol(pixels, "house", 2, 0)).seeds) == 2
    except RenderError as error:
        pytest.skip(f"no image can be made here: {error}")
    with pytest.raises(ValueError, match="prescribes the image_px 64, the env has 32"):
        evaluate(Still(), envs, eval_protocol(config(obs="pixels", image_px=64), "house", 2, 0))
    envs.close()
