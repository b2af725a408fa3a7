"""Scenes that another env, in this or another process, holds exactly; images of two envs in one process."""

import pickle
import re
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from z1_envs.conformance import check_snapshot, first_difference
from z1_envs.layout import ACTION
from z1_envs.robocasa.env import RoboCasaEnv
from z1_envs.robocasa.options import RoboCasaOptions
from z1_envs.robocasa.scene import Scene, compressed, scene_hash
from z1_envs.snapshot import SnapshotError

pytestmark = pytest.mark.robocasa
pytest.importorskip("robosuite", reason="needs the extra `robocasa`", exc_type=ImportError)

ACTIONS = np.random.default_rng(0).uniform(-1, 1, (6, ACTION.width)).astype(np.float32)


@pytest.fixture(scope="module")
def envs(pack: Path) -> Iterator[tuple[RoboCasaEnv, RoboCasaEnv]]:
    """Two alike, the first in a scene."""
    options = RoboCasaOptions(assets=pack, layouts=(1,))
    pair = RoboCasaEnv("OpenDrawer", options), RoboCasaEnv("OpenDrawer", options)
    pair[0].reset(seed=0)
    yield pair
    for env in pair:
        env.close()


def other_text(scene: Scene) -> Scene:
    """`scene` as another machine might have made it: one number of the model differs in its last digits."""
    text = zlib.decompress(scene.text).decode()
    changed = text.replace('armature="5.0"', f'armature="{5.0 * (1 + 1e-12)!r}"', 1)
    assert changed != text
    return replace(scene, scene_id=scene_hash(changed, scene.instruction), text=compressed(changed))


def test_nothing_to_hand_out_before_a_reset(pack: Path) -> None:
    env = RoboCasaEnv("OpenDrawer", RoboCasaOptions(assets=pack))
    assert env.scene_id == ""
    for ask in (env.get_scene, env.get_state, lambda: env.set_state(None)):
        with pytest.raises(SnapshotError, match="call reset"):
            ask()


def test_an_env_alike_starts_in_the_scene(envs: tuple[RoboCasaEnv, RoboCasaEnv]) -> None:
    first, second = envs
    start = first.reset(seed=1)
    first.step(ACTIONS[0])
    scene = pickle.loads(pickle.dumps(first.get_scene()))
    second.reset(seed=4)
    again = second.reset(options={"scene": scene})
    assert first_difference(again, start) is None
    first.reset(seed=1)
    for action in ACTIONS:
        assert first_difference(second.step(action), first.step(action)) is None


def test_a_scene_that_a_seed_does_not_give_here_is_taken_from_its_text(
    envs: tuple[RoboCasaEnv, RoboCasaEnv],
) -> None:
    first, second = envs
    start = first.reset(seed=1)
    scene = other_text(first.get_scene())
    again = second.reset(options={"scene": scene})
    assert second.scene_id == scene.scene_id != first.scene_id
    assert second.get_scene().text == scene.text
    assert first_difference(again[0], start[0]) is None
    state = second.get_state()
    steps = [second.step(action) for action in ACTIONS]
    for action in ACTIONS:
        first.step(action)
    # A joint's inertia, other by 10^-12: seen in the last bits at most.
    assert np.abs(second.get_state().simulation.physics - first.get_state().simulation.physics).max() < 1e-5
    second.set_state(state)
    assert first_difference([second.step(action) for action in ACTIONS], steps) is None


def test_scenes_of_others_are_refused_with_the_env_as_it_was(pack: Path, envs: tuple[RoboCasaEnv, RoboCasaEnv]) -> None:
    env = envs[0]
    env.reset(seed=0)
    scene, before = env.get_scene(), env.get_state()
    for wrong, words in (
        (replace(scene, name="RoboCasaEnv(CloseDrawer)"), r"the scene is of RoboCasaEnv\(CloseDrawer\), this env is"),
        (replace(scene, text=compressed("<mujoco/>")), "the record is damaged"),
        (replace(scene, text=b"cut short"), "the record is damaged"),
        (replace(scene, instruction="open the other drawer"), "the record is damaged"),
        ("scene", r"takes what get_scene\(\) returned, got str"),
    ):
        with pytest.raises(SnapshotError, match=words):
            env.reset(options={"scene": wrong})
    with pytest.raises(ValueError, match=r"take the reset option 'scene', got \['scenes'\]"):
        env.reset(options={"scenes": scene})
    assert env.scene_id == scene.scene_id
    assert (env.get_state().simulation.physics == before.simulation.physics).all()


def test_other_assets_are_named(envs: tuple[RoboCasaEnv, RoboCasaEnv]) -> None:
    env = envs[0]
    env.reset(seed=0)
    scene = env.get_scene()
    with pytest.raises(SnapshotError, match=r"compiles to the sizes .* use the same assets"):
        env.reset(options={"scene": replace(scene, sizes=(*scene.sizes[:-1], 0))})
    text = re.sub(r"sink_\w+_spout_joint", "another_joint", zlib.decompress(scene.text).decode())
    other = replace(scene, scene_id=scene_hash(text, scene.instruction), text=compressed(text))
    with pytest.raises(SnapshotError, match=r"has other parts here, among them .*another_joint"):
        env.reset(options={"scene": other})
    assert env.scene_id == ""
    assert env.reset(options={"scene": scene})[1]["scene_id"] == scene.scene_id


def test_a_scene_with_another_goal_is_another_scene(envs: tuple[RoboCasaEnv, RoboCasaEnv]) -> None:
    env = envs[0]
    env.reset(seed=0)
    scene = env.get_scene()
    text = zlib.decompress(scene.text).decode()
    wrong = replace(scene, instruction="open the other drawer", scene_id=scene_hash(text, "open the other drawer"))
    assert wrong.scene_id != scene.scene_id == scene_hash(text, env.instruction)
    with pytest.raises(
        SnapshotError, match=r"is to 'open the .* drawer' here, to 'open the other drawer' where it was"
    ):
        env.reset(options={"scene": wrong})
    assert env.reset(options={"scene": scene})[1]["scene_id"] == scene.scene_id


@pytest.mark.slow
def test_images_of_two_envs_in_a_process_are_each_its_own(pack: Path) -> None:
    options = RoboCasaOptions(
        assets=pack, layouts=(1,), obs="pixels", image_px=64, cameras=("image_left", "image_wrist")
    )
    first, second = RoboCasaEnv("CoffeePressButton", options), RoboCasaEnv("TurnOnStove", options)
    assert check_snapshot(first, steps=3, seed=1) == 3
    begin = first.get_state()
    alone = [first.step(action)[0] for action in ACTIONS[:2]]
    second.reset(seed=0)
    for turn in range(2):
        first.set_state(begin)
        assert first_difference([first.step(action)[0] for action in ACTIONS[:2]], alone) is None, turn
        second.reset(seed=1)  # frees its textures, and makes others
    second.close()
    first.set_state(begin)
    assert first_difference(first.step(ACTIONS[0])[0], alone[0]) is None
    first.close()
