"""A seed decides a scene, in any process; scenes vary, fit together, and start at rest, unsolved and untouched."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import mujoco
import numpy as np
import pytest

from tests.z1_envs.kitchen.play import TASKS, all_of, robot_touches, started
from z1_envs.kitchen.env import KitchenVectorEnv
from z1_envs.kitchen.layouts import LAYOUTS
from z1_envs.kitchen.objects import select
from z1_envs.kitchen.physics import PoolPhysics, check_sizes, mujoco_batch
from z1_envs.kitchen.plans import plan as plan_module
from z1_envs.kitchen.scene import SceneOptions, make_scene
from z1_envs.tasks import get_task

ROOT = Path(__file__).parents[3]
needs_batch = pytest.mark.skipif(mujoco_batch is None, reason="mujoco.batch came with MuJoCo 3.17")
NUM_SEEDS = 24
ALL = SceneOptions(split="all")


def fingerprint() -> str:
    """Ids, compiled models and first observations of some scenes, as lines."""
    lines = []
    for task in TASKS:
        for seed in range(2):
            scene = make_scene(task, seed)
            model = np.empty(mujoco.mj_sizeModel(scene.model), np.uint8)
            mujoco.mj_saveModel(scene.model, None, model)
            lanes = started(task, [seed])
            first = b"".join(array.tobytes() for array in lanes.observe(all_of(lanes)).values())
            digests = [hashlib.sha256(part).hexdigest() for part in (model.tobytes(), first)]
            lines.append(" ".join([scene.scene_id, scene.instruction, *digests]))
    return "\n".join(lines)


def test_a_seed_is_the_same_scene_in_another_process() -> None:
    code = "from tests.z1_envs.kitchen.test_scenes import fingerprint; print(fingerprint())"
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1"},
    )  # fmt: skip
    assert other.stdout.strip() == fingerprint()


@needs_batch
@pytest.mark.parametrize("task", TASKS)
def test_a_seed_is_the_same_first_observation_on_both_stepping_paths(
    task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batched = started(task, [0, 1])
    monkeypatch.setattr("z1_envs.kitchen.lanes.make_physics", PoolPhysics)
    pooled = started(task, [0, 1])
    assert isinstance(pooled.physics, PoolPhysics)
    for key, rows in batched.observe(all_of(batched)).items():
        assert pooled.observe(all_of(pooled))[key].tobytes() == rows.tobytes()


@pytest.mark.parametrize("task", TASKS)
def test_other_seeds_are_other_scenes(task: str) -> None:
    ids = {make_scene(task, seed).scene_id for seed in range(NUM_SEEDS)}
    assert len(ids) == NUM_SEEDS
    assert make_scene(task, 0, 1).scene_id not in ids, "a redraw is another scene of the same seed"


def test_groups_start_from_consecutive_seeds() -> None:
    envs = KitchenVectorEnv("OpenDrawer", num_envs=6, group_size=2)
    _, infos = envs.reset(seed=7)
    expected = [make_scene("OpenDrawer", seed).scene_id for seed in (7, 7, 8, 8, 9, 9)]
    assert infos["scene_id"].tolist() == envs.scene_ids == expected
    _, infos = envs.reset(seed=[9, 0, 9])
    assert len(set(infos["scene_id"].tolist())) == 2
    following = [envs.reset()[1]["scene_id"].tolist() for _ in range(2)]
    envs.reset(seed=[9, 0, 9])
    assert [envs.reset()[1]["scene_id"].tolist() for _ in range(2)] == following, "unseeded starts follow the seed"


@pytest.mark.parametrize("task", TASKS)
def test_all_scenes_of_a_task_fit_into_one_block_of_rows(task: str) -> None:
    check_sizes([make_scene(task, seed, 0, ALL).model for seed in range(NUM_SEEDS)])


@pytest.mark.parametrize("task", TASKS)
def test_starts_are_unsolved_untouched_and_at_rest(task: str) -> None:
    lanes = started(task, range(NUM_SEEDS))
    assert not lanes.status(all_of(lanes)).success.any()
    touching = [seed for seed in range(NUM_SEEDS) if robot_touches(lanes.scenes[seed].model, lanes.physics.rows[seed])]
    assert touching == []
    before = lanes.geometry(all_of(lanes))
    for _ in range(20):
        lanes.step(all_of(lanes), np.zeros((NUM_SEEDS, 12)))
    after = lanes.geometry(all_of(lanes))
    # Objects are put down half a millimetre over what they stand on, sink into soft contacts by as much again, and
    # tilt a little as they do. What has joints or servos stays.
    assert np.abs(after.target_position - before.target_position).max() < 4e-3
    assert np.abs(after.joints - before.joints).max() < 1e-3
    assert np.abs(after.eef_position - before.eef_position).max() < 1e-4
    assert not lanes.status(all_of(lanes)).success.any()
    assert np.abs(lanes.physics.qvel).max() < 0.1, "something is still moving after a second"


@pytest.mark.parametrize("task", TASKS)
def test_scenes_vary_in_place_and_look(task: str) -> None:
    lanes = started(task, range(NUM_SEEDS))
    scenes = lanes.scenes
    g = lanes.geometry(all_of(lanes))
    # A uniform draw over a range of 20 cm has a deviation of 6 cm.
    assert g.target_position[:, 1].std() > 0.05
    relative = g.target_position - g.base_position
    assert (relative[:, :2].std(axis=0) > 0.01).all()
    assert np.std([scene.start.base[2] for scene in scenes]) > 0.02
    for part in ("cabinet", "front", "counter", "metal", "wall", "floor"):
        assert len({getattr(scene.plan.kitchen.style, part) for scene in scenes}) == NUM_SEEDS, part
    assert len({scene.plan.kitchen.layout.left + scene.plan.kitchen.layout.right for scene in scenes}) >= 5


@pytest.mark.parametrize("task", TASKS)
def test_instructions_are_robocasas_with_all_words_filled_in(task: str) -> None:
    template = get_task(task).instruction
    said = {make_scene(task, seed).instruction for seed in range(NUM_SEEDS)}
    pattern = re.sub(r"\\{\w+\\}", r"[a-z ]+", re.escape(template).replace("\\ ", " "))
    for sentence in said:
        assert re.fullmatch(pattern, sentence), sentence
    # A mug is a mug.
    assert (len(said) > 1) == ("{" in template and not task.startswith("Coffee"))


def test_splits_share_no_layout_style_or_kind() -> None:
    drawn = {}
    for split in ("train", "test"):
        scenes = [make_scene("PnPCounterToSink", seed, 0, SceneOptions(split=split)) for seed in range(60)]
        drawn[split] = {scene.plan.kind.name for scene in scenes if scene.plan.kind}
        assert drawn[split] <= {kind.name for kind in select(split, "washable")}
    assert len(drawn["train"]) > 10
    assert not drawn["train"] & drawn["test"]
    train, test = SceneOptions(), SceneOptions(split="test")
    assert set(train.layout_names) | set(test.layout_names) == set(LAYOUTS)
    assert not set(train.layout_names) & set(test.layout_names)
    assert not set(train.style_names) & set(test.style_names)
    assert min(len(train.layout_names), len(train.style_names)) >= 10


def test_layouts_and_styles_can_be_chosen() -> None:
    chosen = SceneOptions(layouts=("island",), styles=("sage",))
    kitchens = [make_scene("OpenDrawer", seed, 0, chosen).plan.kitchen for seed in range(8)]
    assert all(kitchen.layout.island for kitchen in kitchens)
    greens = [kitchen.style.front for kitchen in kitchens]
    assert np.ptp(np.array(greens), axis=0).max() < 0.25, "one style, varied a little"
    seen = {make_scene("OpenDrawer", seed, 0, chosen).scene_id for seed in range(8)}
    assert not seen & {make_scene("OpenDrawer", seed).scene_id for seed in range(8)}


def test_a_new_version_of_the_compiler_makes_other_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = make_scene("OpenDrawer", 0).plan
    before = plan.scene_id
    monkeypatch.setattr(plan_module, "SCENE_VERSION", plan_module.SCENE_VERSION + 1)
    assert plan.scene_id != before
