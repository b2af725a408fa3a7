"""Recipes: what is measured, what follows from it, who may use it, and that it stays what it was until the end."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tests.z1_agent.tiny_training import tiny
from z1_agent import diagnose as diagnose_module
from z1_agent import pipeline
from z1_agent import recipe as recipe_module
from z1_agent.choice import Thresholds, choose
from z1_agent.cli import main
from z1_agent.commands import diagnose as diagnose_command
from z1_agent.commands.suite import Suite
from z1_agent.console import StopRequest
from z1_agent.manifest import open_manifest
from z1_agent.pipeline import Training, train
from z1_agent.presets import TrainConfig, cpu, smoke
from z1_agent.recipe import Modules, Recipe, RecipeError, measured_settings, parse_recipe, recipe_defaults, with_recipe
from z1_agent.run import Run, open_run
from z1_agent.signals import (
    Approach,
    EarlyProgress,
    Failures,
    Probe,
    Rate,
    Signals,
    Watched,
    approach_of,
    failures_of,
)
from z1_envs.kitchen.plans.plan import SCENE_VERSION
from z1_envs.kitchen.spaces import ObsMode
from z1_envs.layout import SCENE
from z1_envs.tasks import TASKS

TASK = "CloseDrawer"
MODULES = Modules(
    branching="tree",
    schedule="phase",
    trunk_start=4,
    trunk_until=0.5,
    reward="plain",
    trainable="all",
    learning_rate=1e-4,
    vlm_rate_share=0.1,
)
RECIPE = Recipe(
    task=TASK,
    backend="kitchen",
    obs="state",
    scene_version=SCENE_VERSION,
    modules=MODULES,
    reasons=("Because.",),
    signals={"sft": 0.5},
    thresholds={},
    diagnosis={"seed": 0},
    origin={"commit": None},
)
# 40 of 100 by SFT; all reach, after 5 to 6 decisions; +2 of 100 in 10,000 steps is 0.2 % per 1,000.
SIGNALS = Signals(
    sees="state",
    sft=Rate(successes=40, episodes=100),
    approach=Approach(reached=Rate(successes=100, episodes=100), early=5.0, median=5.5, late=6.0),
    failures=Failures(never_reached=0, reached_and_failed=30, grasped_and_lost=20, unfinished=10),
    early=EarlyProgress(
        iterations=5,
        gained=5,
        lost=3,
        episodes=100,
        env_steps=10_000,
        cpu_seconds=30.0,
        dead=20,
        mixed=50,
        all_success=10,
    ),
)
STATE_RATE, PIXEL_RATE = Rate(successes=60, episodes=100), Rate(successes=20, episodes=100)


def chosen(**changes: Any) -> Modules:
    return choose(dataclasses.replace(SIGNALS, **changes), cpu(TASK), Thresholds()).modules


def approach(reached: int, early: float | None, late: float | None) -> Approach:
    return Approach(reached=Rate(successes=reached, episodes=100), early=early, median=early, late=late)


def early(**changes: int) -> EarlyProgress:
    return dataclasses.replace(SIGNALS.early, **changes)


def put(path: Path, recipe: Recipe = RECIPE) -> str:
    path.write_text(recipe.to_json(), encoding="utf-8")
    return str(path)


def test_progress_is_success_per_cost() -> None:
    measured = SIGNALS.early
    assert measured.gain == pytest.approx(0.02)  # (5 - 3) / 100
    assert measured.per_1000_steps == pytest.approx(0.002)  # 0.02 / 10
    assert measured.per_cpu_minute == pytest.approx(0.04)  # 0.02 / 0.5 min
    assert measured.all_success_share == 0.125  # 10 / 80
    # Six of six discordant episodes lost: p = 2 / 2^6 = 0.031. Five of five: 2 / 2^5 = 0.0625.
    assert early(gained=0, lost=6).is_worse
    assert not early(gained=0, lost=5).is_worse
    assert not early(gained=6, lost=0).is_worse


def test_the_rules_by_hand() -> None:
    assert chosen() == Modules(
        branching="tree",  # all reach, after five decisions
        schedule="linear",
        trunk_start=4,
        trunk_until=0.5,
        reward="decay",  # 12.5 % of groups succeed as a whole
        trainable="all",
        learning_rate=3e-4,
        vlm_rate_share=1.0,
    )


def test_groups_share_what_is_reached_reliably() -> None:
    flat = chosen(approach=approach(79, 5.0, 6.0))
    assert (flat.branching, flat.trunk_start) == ("flat", 0)
    assert chosen(approach=approach(80, 5.0, 6.0)).branching == "tree"
    assert chosen(approach=approach(0, None, None)).branching == "flat"
    # ... and before manipulation begins, in the median episode.
    assert chosen(approach=approach(100, 3.0, 3.0)).branching == "tree"
    assert chosen(approach=approach(100, 2.5, 6.0)).branching == "flat"
    assert chosen(approach=approach(100, None, None)).branching == "flat"


def test_rewards_decay_where_whole_groups_succeed() -> None:
    assert chosen(early=early(dead=22, mixed=50, all_success=8)).reward == "decay"  # 8 of 80
    assert chosen(early=early(dead=23, mixed=50, all_success=7)).reward == "plain"


def test_the_action_expert_learns_alone_where_it_succeeds_or_learns_fast() -> None:
    assert chosen(sft=Rate(successes=75, episodes=100)).trainable == "action_expert"
    assert chosen(sft=Rate(successes=74, episodes=100)).trainable == "all"
    assert chosen(early=early(gained=23, lost=3)).trainable == "action_expert"  # 20 of 100
    assert chosen(early=early(gained=22, lost=3)).trainable == "all"


def test_the_action_expert_learns_alone_where_what_it_reads_is_known_well() -> None:
    for num_demos, trainable in ((99, "all"), (100, "action_expert")):
        config = cpu(TASK)
        config = dataclasses.replace(config, sft=dataclasses.replace(config.sft, num_demos=num_demos))
        assert choose(SIGNALS, config, Thresholds()).modules.trainable == trainable


def test_the_probe_decides_for_a_policy_that_sees_pixels() -> None:
    probe = Probe(state=STATE_RATE, pixels=PIXEL_RATE)  # Wilson: 50 % to 69 %, and 13 % to 29 %
    assert probe.gap == pytest.approx(0.4)
    good = Rate(successes=80, episodes=100)
    assert chosen(sees="pixels", probe=probe, sft=good).trainable == "all"
    assert chosen(sees="state", probe=probe, sft=good).trainable == "action_expert"
    unclear = Probe(state=Rate(successes=6, episodes=10), pixels=Rate(successes=3, episodes=10))
    assert unclear.gap == pytest.approx(0.3)
    assert chosen(sees="pixels", probe=unclear, sft=good).trainable == "action_expert"


def test_the_rate_is_halved_where_early_training_did_harm() -> None:
    assert chosen(early=early(gained=0, lost=6)).learning_rate == 1.5e-4


def test_thresholds_are_settings() -> None:
    with pytest.raises(ValueError, match=r"shared_reach is a share and lies in \[0, 1\], got 80"):
        Thresholds(shared_reach=80)
    with pytest.raises(ValueError, match=r"worse_rate_share must be a finite number above 0, got 0\.0"):
        Thresholds(worse_rate_share=0.0)
    rules = Thresholds(shared_reach=1.0, decay_groups=0.2)
    modules = choose(dataclasses.replace(SIGNALS, approach=approach(99, 5.0, 6.0)), cpu(TASK), rules).modules
    assert (modules.branching, modules.reward) == ("flat", "plain")


def scene_of(looks: int, lanes: int, **parts: Any) -> np.ndarray:
    scene = np.zeros((looks, lanes, SCENE.width), dtype=np.float32)
    scene[..., SCENE["goal_from_target"]] = 1.0
    for name, values in parts.items():
        scene[..., SCENE[name]] = values
    return scene


def test_failures_by_how_far_they_came() -> None:
    # Doors, three looks: never there; there; opened by 0.5 and left at once; opened by 0.5 and held; 0.5, then 0.2.
    joint = np.array([[0, 0, 0, 0, 0], [0, 0.05, 0.5, 0.5, 0.5], [0, 0, 0.5, 0.5, 0.2]])
    scene = scene_of(3, 6, fixture_joints=0)
    scene[:, :5, SCENE["fixture_joints"].start] = joint
    there = np.array([[0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1]], dtype=bool)
    success = np.array([0, 0, 0, 0, 0, 1], dtype=bool)
    watched = Watched(manipulating=there, scene=scene, success=success)
    assert failures_of(watched) == Failures(never_reached=1, reached_and_failed=1, grasped_and_lost=2, unfinished=1)
    # Five of six reach, all of them before the look after one decision.
    assert approach_of(watched) == Approach(reached=Rate(successes=5, episodes=6), early=1.0, median=1.0, late=1.0)


def test_objects_are_lost_where_they_fall_but_not_where_they_belong() -> None:
    # Heights over the start: lifted and dropped, lifted and held, dropped at the goal, never up; and no object at all.
    height = np.array([[0, 0, 0, 0, 0], [0.1, 0.1, 0.1, 0.02, 0.1], [0, 0.1, 0, 0, 0]])
    scene = scene_of(3, 5)
    scene[..., SCENE["target_from_eef"].stop - 1] = height
    scene[:, :4, SCENE["grasp"]] = 0.05
    scene[-1, 2, SCENE["goal_from_target"]] = [0.06, 0.06, 1.0]  # 0.085 m < 0.1 m away, sideways
    there = np.ones((3, 5), dtype=bool)
    watched = Watched(manipulating=there, scene=scene, success=np.zeros(5, dtype=bool))
    assert failures_of(watched) == Failures(never_reached=0, reached_and_failed=2, grasped_and_lost=1, unfinished=2)


def test_a_machine_that_was_switched_back_is_lost() -> None:
    scene = scene_of(3, 2)
    scene[1, :, SCENE["latch"]] = 1
    scene[2, 1, SCENE["latch"]] = 1
    watched = Watched(manipulating=np.ones((3, 2), dtype=bool), scene=scene, success=np.zeros(2, dtype=bool))
    assert failures_of(watched) == Failures(never_reached=0, reached_and_failed=0, grasped_and_lost=1, unfinished=1)


def test_a_recipe_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "recipe.json"
    put(file)
    read = parse_recipe(file.read_text(), file)
    assert read == RECIPE
    assert read.digest == RECIPE.digest
    other = dataclasses.replace(RECIPE, modules=dataclasses.replace(MODULES, trunk_start=3))
    assert other.digest != RECIPE.digest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace('"trunk_start": 4', '"trunk_start": 3'), "was edited: it says digest"),
        (lambda text: text[: len(text) // 2], "no recipe of this program"),
        (lambda text: "[]", "no recipe of this program"),
        (lambda text: text.replace('"format": 2', '"format": 1'), "format 1, this program reads 2"),
        (lambda text: text.replace("trunk_start", "trunk_begin"), "no recipe of this program"),
    ],
)
def test_damaged_recipes_are_refused(tmp_path: Path, change: Any, words: str) -> None:
    file = tmp_path / "recipe.json"
    file.write_text(change(RECIPE.to_json()))
    with pytest.raises(RecipeError, match=words):
        recipe_defaults(cpu(TASK), str(file))


def test_a_recipe_becomes_the_settings(tmp_path: Path) -> None:
    config = with_recipe(recipe_defaults(cpu(TASK), put(tmp_path / "recipe.json")))
    assert Modules.of(config) == MODULES
    assert (config.recipe, config.recipe_digest) == (str(tmp_path / "recipe.json"), RECIPE.digest)
    default = cpu(TASK)
    same = dataclasses.replace(config, recipe=None, recipe_digest=None)
    assert Modules.of(default).applied(same) == default  # nothing else has changed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "trunk 4→0 by 50%, decay, AE"),
        ({"branching": "flat", "reward": "plain", "trainable": "all"}, "flat, plain, AE+VLM"),
        ({"branching": "tree", "trunk_start": 6, "trunk_until": 0.5}, "tree 6→0 by 50%, decay, AE"),
        ({"schedule": "constant", "reward": "penalty"}, "trunk 4 throughout, penalty, AE"),
        ({"schedule": "phase", "trunk_start": 5}, "trunk up to 5 by phase, decay, AE"),
        ({"schedule": "uncertainty", "branching": "tree"}, "tree up to 4 by uncertainty, decay, AE"),
        ({"trainable": "vlm_lora", "learning_rate": 1e-4}, "trunk 4→0 by 50%, decay, AE+LoRA(VLM), rate 0.0001"),
        ({"trainable": "all", "vlm_rate_share": 0.1}, "trunk 4→0 by 50%, decay, AE+VLM, VLM rate × 0.1"),
        # Without effect: the trunk of flat groups, the rate of what does not learn, the end of what does not shrink.
        ({"branching": "flat", "trunk_start": 0, "schedule": "phase"}, "flat, decay, AE"),
        ({"trainable": "action_expert_lora", "vlm_rate_share": 0.1}, "trunk 4→0 by 50%, decay, LoRA(AE)"),
        ({"schedule": "constant", "trunk_until": 0.5}, "trunk 4 throughout, decay, AE"),
    ],
)
def test_modules_in_words(change: dict[str, Any], words: str) -> None:
    assert dataclasses.replace(Modules.of(TrainConfig(task=TASK)), **change).in_words == words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"backend": "robocasa"}, "diagnosed with backend 'robocasa', this is 'kitchen'"),
        ({"obs": "pixels"}, "diagnosed with obs 'pixels', this is 'state'"),
        ({"scene_version": SCENE_VERSION - 1}, f"scene version {SCENE_VERSION - 1}, this is {SCENE_VERSION}"),
        ({"task": "OpenDrawer"}, f"is the recipe of OpenDrawer, this is {TASK}; .*z1 diagnose {TASK}"),
    ],
)
def test_a_recipe_for_something_else_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    given = put(tmp_path / "recipe.json", dataclasses.replace(RECIPE, **change))
    with pytest.raises(RecipeError, match=words):
        with_recipe(recipe_defaults(cpu(TASK), given))


def test_settings_by_hand_may_not_contradict_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given, out = put(tmp_path / "recipe.json"), tmp_path / "run"
    words = ["train", TASK, "--preset", "smoke", "--recipe", given, "--out", str(out)]
    assert main([*words, "--grpo.branching", "flat", "--grpo.trunk.start", "4"]) == 2
    said = capsys.readouterr().err
    assert "chooses grpo.branching = 'tree', not 'flat': leave out either that setting or --recipe" in said
    assert not out.exists()


def test_a_recipe_says_what_it_was_measured_with(tmp_path: Path) -> None:
    measured = {"preset": "cpu", "settings": measured_settings(cpu(TASK))}
    given = put(tmp_path / "recipe.json", dataclasses.replace(RECIPE, diagnosis=measured))
    config = recipe_defaults(cpu(TASK), given)
    with_recipe(config)
    with_recipe(dataclasses.replace(config, seed=3, eval_episodes=9, device="cuda"))
    with pytest.raises(RecipeError, match=r"other settings: horizon is 120 there and 40 here; .*--recipe"):
        with_recipe(dataclasses.replace(config, horizon=40))
    with pytest.raises(RecipeError, match=r"sft\.max_rounds is 12 there and 2 here; .*sft\.num_demos is"):
        with_recipe(dataclasses.replace(config, sft=smoke(TASK).sft))
    with pytest.raises(RecipeError, match=r"other settings: validation_episodes is 128 there and 64 here; .*leave out"):
        with_recipe(dataclasses.replace(config, validation_episodes=64))
    with_recipe(dataclasses.replace(config, image_px=32))  # which nothing reads where the state is seen
    sees = {"preset": "cpu", "settings": measured_settings(cpu(TASK, "pixels"))}
    seen = put(tmp_path / "seen.json", dataclasses.replace(RECIPE, obs="pixels", diagnosis=sees))
    with pytest.raises(RecipeError, match="image_px is 64 there and 32 here"):
        with_recipe(dataclasses.replace(recipe_defaults(cpu(TASK, "pixels"), seen), image_px=32))
    del measured["settings"]["horizon"]
    earlier = put(tmp_path / "earlier.json", dataclasses.replace(RECIPE, diagnosis=measured))
    with pytest.raises(RecipeError, match="horizon is None there and 120 here"):
        with_recipe(recipe_defaults(cpu(TASK), earlier))


@pytest.mark.parametrize("change", [{"policy": "runs/x/sft"}, {"demos": "drawer"}])
def test_a_recipe_says_nothing_about_another_start(tmp_path: Path, change: dict[str, str]) -> None:
    (flag,) = change
    with pytest.raises(RecipeError, match=f"says nothing about --{flag} {change[flag]}; leave out --recipe, or --"):
        with_recipe(dataclasses.replace(recipe_defaults(cpu(TASK), put(tmp_path / "recipe.json")), **change))


def test_auto_says_where_none_is_committed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipe_module, "COMMITTED", tmp_path)
    assert main(["train", TASK, "--recipe", "auto", "--out", str(tmp_path / "run")]) == 2
    assert f"no recipe is committed for {TASK}; make one with: z1 diagnose {TASK}" in capsys.readouterr().err
    assert main(["suite", "--tasks", TASK, "--recipe", "auto", "--out", str(tmp_path / "suite")]) == 2
    assert f"z1 diagnose {TASK}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_suite_takes_the_recipe_of_each_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe_module, "COMMITTED", tmp_path)
    put(tmp_path / f"{TASK}.json")
    config = Suite(recipe="auto", iterations=3)._config(TASK)
    assert (Modules.of(config), config.recipe, config.grpo.num_iterations) == (MODULES, "auto", 3)
    with pytest.raises(RecipeError, match="no recipe is committed for OpenDrawer"):
        Suite(recipe="auto")._config("OpenDrawer")


def test_the_committed_recipes_fit_their_tasks() -> None:
    files = list(recipe_module.COMMITTED.glob("*.json"))
    assert {file.stem for file in files} == set(TASKS)
    for file in files:
        with_recipe(recipe_defaults(cpu(file.stem), recipe_module.AUTO))


def test_a_suite_of_before_there_were_recipes_goes_on(tmp_path: Path) -> None:
    configs = {TASK: cpu(TASK)}
    manifest = open_manifest(tmp_path, "suite", "cpu", configs, num_seeds=1, command=["z1"], resume=False)
    for name in ("recipe", "recipe_digest"):
        del manifest.planned[TASK].config[name]
    manifest.write()
    manifest.let_go()
    resumed = open_manifest(tmp_path, "suite", "cpu", configs, num_seeds=1, command=["z1"], resume=True)
    assert resumed.planned[TASK].num_seeds == 1


def short(task: str, obs: ObsMode = "state") -> TrainConfig:
    return dataclasses.replace(tiny(task, num_iterations=2), obs=obs, eval_episodes=4, checkpoint_every=1)


class ChangesTheRecipe(StopRequest):
    """Once GRPO has begun, somebody writes down another recipe."""

    def __init__(self, run: Run, file: Path) -> None:
        self._run, self._file = run, file

    @property
    def made(self) -> bool:
        if any(line["stage"] == "rl" for line in self._run.log()):
            put(self._file, dataclasses.replace(RECIPE, reasons=("It worked.",)))
        return False


@pytest.fixture(scope="module")
def disputed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, TrainConfig, Path]:
    """A training whose recipe was changed while it ran."""
    folder = tmp_path_factory.mktemp("recipe")
    file = folder / "mine.json"
    config = with_recipe(recipe_defaults(short(TASK), put(file)))
    run = open_run(folder / "run", config, preset="smoke", command=["z1"], resume=False)
    with pytest.raises(RecipeError, match=r"has changed since training began .* fixed before the final evaluation"):
        train(Training(run, config, Console(quiet=True), ChangesTheRecipe(run, file), 1))
    return run, config, file


def test_no_final_evaluation_by_a_changed_recipe(
    disputed: tuple[Run, TrainConfig, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, config, file = disputed
    monkeypatch.setattr(pipeline, "_film", lambda _training: None)  # seconds, and not the matter here
    assert not run.eval_rl.exists()
    assert not run.result.exists()
    assert parse_recipe(run.recipe.read_text(), run.recipe) == RECIPE
    assert run.about()["config"]["recipe_digest"] == RECIPE.digest
    # The copy is watched as well.
    put(file)
    kept = run.recipe.read_text()
    for spoil, words in ((lambda: run.recipe.unlink(), "is gone"), (lambda: put(run.recipe, edited()), "has ")):
        spoil()
        again = open_run(run.path, config, preset="smoke", command=["z1"], resume=True)
        with pytest.raises(RecipeError, match=words):
            train(Training(again, config, Console(quiet=True), StopRequest(), 1))
        assert not run.eval_rl.exists()
        run.recipe.write_text(kept)
    # With the old one back the run goes on, and its result says by which recipe.
    again = open_run(run.path, config, preset="smoke", command=["z1"], resume=True)
    result = train(Training(again, config, Console(quiet=True), StopRequest(), 1))
    assert result["recipe_digest"] == RECIPE.digest


def edited() -> Recipe:
    return dataclasses.replace(RECIPE, diagnosis={"seed": 1})


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--episodes", "0"], "--episodes must be at least 1, got 0"),
        (["--iterations", "0"], "--iterations must be at least 1, got 0"),
        (["--seed", "-1"], "--seed must not be negative"),
        (["--probe-pixels", "--image-px", "50"], "image_px must be a multiple of 16"),
    ],
)
def test_diagnose_refuses_at_the_door(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    out = tmp_path / "out"
    assert main(["diagnose", TASK, "--out", str(out), *flags]) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_diagnose_measures_chooses_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnose_command, "PRESETS", {"smoke": short})
    words = ["diagnose", TASK, "--preset", "smoke", "--out", str(tmp_path), "--episodes", "5", "--iterations", "2"]
    assert main([*words, "--threads", "1", "--rules.shared-reach", "0", "--rules.tree-approach", "0"]) == 0
    file = tmp_path / "recipe.json"
    recipe = parse_recipe(file.read_text(), file)
    assert recipe.digest in capsys.readouterr().out
    assert len(recipe.reasons) == 4
    assert recipe.thresholds["shared_reach"] == 0
    assert recipe.modules.branching == "tree"
    signals = recipe.signals
    assert signals["sft"]["episodes"] == signals["early"]["episodes"] == 5
    assert sum(signals["failures"].values()) == 5 - signals["sft"]["successes"]
    # Flat groups: 2 iterations of one group of 8, of at most 40 steps, for a training with groups of 2.
    assert sum(signals["early"][kind] for kind in ("dead", "mixed", "all_success")) == 2
    assert 8 < signals["early"]["env_steps"] <= 2 * 8 * 40
    assert Modules.of(with_recipe(recipe_defaults(short(TASK), str(file)))) == recipe.modules
    with pytest.raises(RecipeError, match="horizon is 40 there and 60 here"):
        with_recipe(recipe_defaults(smoke(TASK), str(file)))
    before = file.read_text()
    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err
    assert file.read_text() == before
    assert json.loads(before)["format"] == 2
    # The rules again, on what was measured then.
    monkeypatch.setattr(diagnose_command, "measure", None)
    assert main([*words, "--resume", "--rules.tree-approach", "99"]) == 0
    again = parse_recipe(file.read_text(), file)
    assert (again.modules.branching, again.signals, again.origin) == ("flat", recipe.signals, recipe.origin)
    after = file.read_text()
    for flags, said in ((["--seed", "1"], "seed is 0 there and 1 here"), (["--episodes", "6"], "with episodes 5")):
        assert main([*words, "--resume", *flags]) == 2
        assert said in capsys.readouterr().err
        assert file.read_text() == after


def test_a_diagnosis_that_was_killed_keeps_its_sft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnose_command, "PRESETS", {"smoke": short})
    words = ["diagnose", TASK, "--preset", "smoke", "--out", str(tmp_path), "--episodes", "5", "--iterations", "1"]

    def killed(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(diagnose_module, "watch", killed)
        assert main(words) == 130
    log = (tmp_path / "log.jsonl").read_text()
    assert '"stage": "sft"' in log
    assert main([*words, "--resume"]) == 0
    assert (tmp_path / "log.jsonl").read_text() == log
    with_resume = json.loads((tmp_path / "recipe.json").read_text())
    assert main([*words[:5], str(tmp_path / "again"), *words[6:]]) == 0
    in_one_go = json.loads((tmp_path / "again" / "recipe.json").read_text())
    for recipe in (with_resume, in_one_go):
        del recipe["signals"]["early"]["cpu_seconds"], recipe["signals"]["derived"]["early_gain_per_cpu_minute"]
    assert with_resume["signals"] == in_one_go["signals"]
