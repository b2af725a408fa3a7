"""An ablation: what its variants change, that they begin alike, and what its tables say, by hand."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.z1_agent.test_recipe import MODULES, RECIPE
from tests.z1_agent.tiny_training import tiny
from z1_agent import pipeline
from z1_agent import recipe as recipe_module
from z1_agent.ablation import CONTROL, DEFAULT, FACTORS, KIND, VARIANTS, ablation_jobs, name_of, variants_of
from z1_agent.ablation_report import times, write_ablation
from z1_agent.backends import eval_protocol
from z1_agent.checkpoint import load_policy
from z1_agent.cli import main
from z1_agent.commands.ablate import Ablate
from z1_agent.comparison import Curve, Found, difference, reach_rows, read_runs, share_to_reach
from z1_agent.flow import transition
from z1_agent.jobs import ControlJob, TrainJob
from z1_agent.manifest import Manifest, open_manifest, read_manifest
from z1_agent.presets import TrainConfig, cpu
from z1_agent.recipe import Modules, Recipe, RecipeError, check_fixed, keep_recipe, recipe_defaults, with_recipe
from z1_agent.run import Run, open_run
from z1_agent.statistics import Estimate, median_over_runs
from z1_agent.taken_over import sft_commit
from z1_envs.evaluate import Report

TASK = "CloseDrawer"


def begin(path: Path, configs: dict[str, TrainConfig], seeds: int = 1) -> Manifest:
    return open_manifest(path, KIND, "smoke", configs, num_seeds=seeds, command=["z1", "ablate"], resume=False)


def flat_settings(values: dict[str, Any], name: str = "") -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for key, value in values.items():
        settings |= flat_settings(value, f"{name}{key}.") if isinstance(value, dict) else {name + key: value}
    return settings


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_a_variant_changes_its_factor_alone(variant: Any) -> None:
    own = {
        "branching": {"grpo.branching"},
        "schedule": {"grpo.schedule", "grpo.trunk.start", "grpo.trunk.until", "grpo.branching"},
        "reward": {"grpo.reward"},
        "baseline": {"grpo.baseline"},
        "trainable": {"grpo.trainable"},
        "denoising": {"sde.stochastic", "sde.noise"},
    }
    for default in (cpu("OpenDrawer"), tiny(TASK, num_iterations=3, group_size=4)):
        before, after = (flat_settings(dataclasses.asdict(config)) for config in (default, variant.change(default)))
        assert {key for key in before if before[key] != after[key]} <= own[variant.factor]


def test_the_default_is_trained_once() -> None:
    default = cpu("OpenDrawer")
    names = set(variants_of(default, FACTORS))
    # Of each factor one value is the default's own: 18 variants, 6 factors.
    assert len(names) == 1 + 18 - 6
    assert names & {"trunk", "linear", "decay", "running", "joint", "one"} == set()
    assert variants_of(default, [CONTROL]) == {DEFAULT: default}
    with pytest.raises(ValueError, match="unknown factor 'speed'; choose among branching, schedule, reward"):
        variants_of(default, ["speed"])
    # Around a flat default a schedule needs something to schedule.
    flat = dataclasses.replace(default, grpo=dataclasses.replace(default.grpo, branching="flat"))
    assert variants_of(flat, ["schedule"])["constant"].grpo.branching == "trunk"
    # "linear" is "trunk" there, by whichever factor it is asked for: it is not trained twice.
    assert "trunk" in variants_of(flat, ["schedule"])
    assert not {"linear", "flat"} & variants_of(flat, FACTORS).keys()


def test_spread_noise_brings_as_much_variance_as_one_random_step() -> None:
    wanted = variants_of(cpu("OpenDrawer"), ["denoising"])
    still = torch.zeros(4, 1, 1)
    one, spread = (
        transition(wanted[name].sde, still, still, torch.arange(4))[1].flatten() for name in (DEFAULT, "spread")
    )
    # One of four steps of std 1.20, 1.04, 0.60 and 0.35, drawn evenly, brings (1.44 + 1.08 + 0.36 + 0.12) / 4 = 0.75.
    assert (one**2).mean().item() == pytest.approx(0.75)
    assert (spread**2).sum().item() == pytest.approx(0.75)


def is_not_wanted(*_given: Any, **_named: Any) -> None:
    pytest.fail("a variant is filmed")


def test_variants_begin_with_the_default_s_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "film_policy", is_not_wanted)
    wanted = variants_of(tiny(TASK, num_iterations=3, group_size=4), ["branching", "denoising", CONTROL])
    assert set(wanted) == {DEFAULT, "flat", "tree", "all", "spread"}
    configs = {name_of(TASK, name): config for name, config in wanted.items()}
    manifest = begin(tmp_path / "ablation", configs)
    jobs = ablation_jobs(manifest, configs, with_control=True, command=["z1", "ablate"], threads=1)
    kinds = [(type(job), job.path.name) for job in jobs]
    assert kinds[:2] == [(TrainJob, f"{TASK}-default-0"), (ControlJob, f"{TASK}-default-0.control.json")]
    assert [job.is_ready for job in jobs] == [True, False, False, False, False, False]
    for job in jobs:
        assert job.work() == 0
        assert job.is_done

    runs = {name: Run(manifest.run_path(name_of(TASK, name), 0)) for name in wanted}
    assert len({run.eval_sft.read_text() for run in runs.values()}) == 1
    stochastic = {name: load_policy(run.checkpoint).config.sde.stochastic for name, run in runs.items()}
    assert stochastic == {DEFAULT: "one", "flat": "one", "tree": "one", "all": "all", "spread": "all"}

    # The default begun from its own SFT policy is the default, bit for bit.
    default = jobs[0]
    assert isinstance(default, TrainJob)
    again = dataclasses.replace(default, path=tmp_path / "again", after=default.path)
    assert again.work() == 0
    curves = [
        [line["success"] for line in run.log() if line["stage"] == "rl"] for run in (Run(again.path), runs[DEFAULT])
    ]
    assert curves[0] == curves[1]
    assert Run(again.path).eval_rl.read_text() == runs[DEFAULT].eval_rl.read_text()

    # Another ablation takes its SFT over, the default alone: the variants begin with the default's policy anyway.
    other = begin(tmp_path / "other", configs)
    taken = ablation_jobs(
        other, configs, with_control=False, command=["z1", "ablate"], threads=1, sft_folder=manifest.path / "runs"
    )
    assert [isinstance(job, TrainJob) and job.sft_folder is not None for job in taken] == [True, *[False] * 4]
    assert taken[0].work() == 0
    assert sft_commit(Run(taken[0].path)) == runs[DEFAULT].about()["commit"]
    assert Run(taken[0].path).eval_rl.read_text() == runs[DEFAULT].eval_rl.read_text()

    rows = {row.variant: row for row in write_ablation(manifest)}
    assert set(rows) == {*wanted, CONTROL}
    assert (rows["flat"].equal is None, rows["all"].equal is None) == (False, True), "noisier rollouts are no curve"
    assert rows["all"].cost_share is not None
    assert rows["all"].final.before == rows[DEFAULT].final.after
    values = json.loads((manifest.path / "results.json").read_text())
    assert [row["variant"] for row in values["variants"]] == list(rows)
    assert {row.variant for row in reach_rows(manifest)} == {DEFAULT, "tree"}
    text = (manifest.path / "results.md").read_text()
    assert "| branching | tree | a group shares a trunk, then halves at branch points | 1 | 1 |" in text
    assert (manifest.path / "figures" / f"{TASK}-branching.svg").exists()
    assert list(read_runs(manifest)[TASK]["flat"]) == [0]
    assert isinstance(read_runs(manifest)[TASK]["flat"][0], Found)


def curve(success: list[float], step: float, second: float = 1.0) -> Curve:
    count = len(success)
    return Curve(env_steps=(step,) * count, cpu_seconds=(second,) * count, success=tuple(success))


def test_the_share_of_flat_s_steps() -> None:
    # Five iterations each: a window of one. Flat ends with 0.8, which it first has after 4 · 100 steps; the other
    # has it after 3 · 50: 150 / 400.
    flat = curve([0.2, 0.4, 0.6, 0.8, 0.8], 100.0)
    assert share_to_reach(flat, curve([0.3, 0.6, 0.9, 0.9, 0.9], 50.0)) == 150 / 400
    assert share_to_reach(flat, flat) == 1.0
    assert share_to_reach(flat, curve([0.7] * 5, 50.0)) == math.inf
    # Of 50 iterations or more a window of ten: a single good one reaches nothing.
    assert share_to_reach(curve([0.5] * 50, 10.0), curve([0.9] + [0.0] * 49, 10.0)) == math.inf
    assert times(Estimate(mean=0.375, interval=(0.3, math.inf))) == "0.38 × (0.30 × to never)"
    # Of three seeds that never reach it there is an interval, which is not one seed's.
    never = median_over_runs([[math.inf, math.inf, math.inf]])
    assert (times(never), times(median_over_runs([[math.inf]]))) == ("never", "never (a task has one seed)")


def test_differences_at_equal_cost() -> None:
    # 5 · 100 and 5 · 50 steps: both are read after 250, the default then with 2 whole iterations (0.4), the other with
    # 5 (0.9). Averages: (0.2·100 + 0.4·100 + 0.6·50) / 250 = 0.36 and (0.3 + 0.6 + 0.9 · 3) / 5 = 0.72.
    default, other = curve([0.2, 0.4, 0.6, 0.8, 0.8], 100.0), curve([0.3, 0.6, 0.9, 0.9, 0.9], 50.0, second=2.0)
    found = difference([[(default, other)]], "env_steps")
    assert found.at_the_end.mean == pytest.approx(0.9 - 0.4)
    assert found.on_average.mean == pytest.approx(0.72 - 0.36)
    # In time 5 s and 10 s: after 5 s the default has 0.8, the other two whole iterations (0.6).
    # Averages 2.8 / 5 = 0.56 and (0.3·2 + 0.6·2 + 0.9·1) / 5 = 0.54.
    found = difference([[(default, other)]], "cpu_seconds")
    assert found.at_the_end.mean == pytest.approx(0.6 - 0.8)
    assert found.on_average.mean == pytest.approx(0.54 - 0.56)


def put_recipe(folder: Path, task: str, **changes: Any) -> Recipe:
    modules = dataclasses.replace(MODULES, **changes)
    recipe = dataclasses.replace(RECIPE, task=task, modules=modules)
    (folder / f"{task}.json").write_text(recipe.to_json(), encoding="utf-8")
    return recipe


def around(recipe: Recipe, path: Path) -> TrainConfig:
    return with_recipe(recipe_defaults(cpu(recipe.task), str(path)))


def test_a_recipe_is_varied_by_one_factor_at_a_time(tmp_path: Path) -> None:
    recipe = put_recipe(tmp_path, TASK)  # trees, 4 decisions by phase, plain rewards, all of the network learns
    default = around(recipe, tmp_path)
    variants = variants_of(default, FACTORS)
    assert set(variants) == {DEFAULT, *(one.name for one in VARIANTS)} - {
        "tree",
        "phase",
        "plain",
        "running",
        "joint",
        "one",
    }
    assert variants.pop(DEFAULT) is default
    assert (default.recipe, default.recipe_digest) == (str(tmp_path), recipe.digest)
    chosen = flat_settings(dataclasses.asdict(default))
    for name, config in variants.items():
        settings = flat_settings(dataclasses.asdict(config))
        changed = {key for key in settings if settings[key] != chosen[key]}
        assert {"recipe", "recipe_digest"} < changed
        # Two and the factor; the paper's trunk has a schedule, a start and an end, noise that is spread its level.
        assert len(changed) == 2 + {"paper": 3, "spread": 2}.get(name, 1)
        assert (config.recipe, config.recipe_digest) == (None, None)


def test_variants_may_contradict_the_recipe_and_the_default_may_not(tmp_path: Path) -> None:
    variants = variants_of(around(put_recipe(tmp_path, TASK), tmp_path), FACTORS)
    runs = {}
    for name, config in variants.items():
        runs[name] = open_run(tmp_path / name, config, preset="cpu", command=["z1"], resume=False)
        keep_recipe(config, runs[name])
        check_fixed(config, runs[name])
    assert [name for name, run in runs.items() if run.recipe.exists()] == [DEFAULT]
    put_recipe(tmp_path, TASK, reward="decay")
    with pytest.raises(RecipeError, match="has changed since training began"):
        check_fixed(variants[DEFAULT], runs[DEFAULT])
    check_fixed(variants["flat"], runs["flat"])


def test_around_flat_groups_there_is_a_trunk_to_share(tmp_path: Path) -> None:
    recipe = put_recipe(tmp_path, TASK, branching="flat", schedule="linear", trunk_start=0, trunk_until=0.2)
    variants = variants_of(around(recipe, tmp_path), ["branching", "schedule"])
    assert "flat" not in variants
    # Four decisions, as without a recipe; the paper's start is half of 24 decisions.
    starts = {name: config.grpo.trunk.start for name, config in variants.items()}
    sharing = dict.fromkeys(("trunk", "tree", "constant", "phase", "uncertainty"), 4)  # "linear" is "trunk" again
    assert starts == sharing | {DEFAULT: 0, "paper": 12}
    assert {config.grpo.branching for name, config in variants.items() if name != DEFAULT} == {"trunk", "tree"}


def finish(manifest: Manifest, name: str, success: list[float], won: int) -> None:
    """Leaves what a training with `success` in 100 env steps each leaves, and `won` of 10 final episodes."""
    config = manifest.config(name)
    path = manifest.run_path(name, 0)
    path.mkdir(parents=True)
    protocol = eval_protocol(config, "by hand", 10, 0)
    seeds = np.arange(10)
    report = Report(protocol=protocol, seeds=seeds, successes=seeds < won, elapsed=np.full(10, 40), skipped=())
    (path / "eval_rl.json").write_text(report.to_json())
    lines = [{"stage": "rl", "env_steps": 100, "cpu_seconds": 1.0, "success": one} for one in success]
    (path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (path / "result.json").write_text("{}")


def test_the_tables_of_tasks_with_recipes_of_their_own(tmp_path: Path) -> None:
    flat = put_recipe(tmp_path, "OpenDrawer", branching="flat")
    tree = put_recipe(tmp_path, TASK)
    configs = {
        name_of(recipe.task, name): config
        for recipe in (flat, tree)
        for name, config in variants_of(around(recipe, tmp_path), ["branching"]).items()
    }
    manifest = begin(tmp_path / "ablation", configs)
    # Flat groups end with 0.8, reached after 400 steps; trees have it after 200 and 100 steps.
    slow, fast, faster = [0.2, 0.4, 0.6, 0.8, 0.8], [0.5, 0.8, 0.8, 0.8, 0.8], [0.9] * 5
    finish(manifest, "OpenDrawer-default", slow, won=6)
    finish(manifest, "OpenDrawer-tree", fast, won=8)
    finish(manifest, f"{TASK}-default", faster, won=9)
    finish(manifest, f"{TASK}-flat", slow, won=7)
    rows = {(row.task, row.variant): row for row in write_ablation(manifest)}
    # "flat" is the one task's default, "tree" the other's: each is compared where it is a change.
    assert [(rows[None, name].num_tasks, rows[None, name].final.gain.mean) for name in ("flat", "tree")] == [
        (1, pytest.approx(-0.2)),
        (1, pytest.approx(0.2)),
    ]
    reach = {(row.task, row.variant): row.share.mean for row in reach_rows(manifest)}
    assert reach == {
        (None, DEFAULT): 0.25,
        (None, "tree"): 0.5,
        ("OpenDrawer", "tree"): 0.5,
        (TASK, DEFAULT): 0.25,
    }
    text = (manifest.path / "results.md").read_text()
    words = "up to 4 by phase, plain, AE+VLM, rate 0.0001, VLM rate × 0.1"
    assert f"OpenDrawer: flat, plain, AE+VLM, rate 0.0001, VLM rate × 0.1 (recipe {flat.digest}); " in text
    assert f"{TASK}: tree {words} (recipe {tree.digest})." in text
    defaults = json.loads((manifest.path / "results.json").read_text())["defaults"]
    assert defaults[TASK] == {"modules": f"tree {words}", "recipe_digest": tree.digest}
    order = ["figures/differences.svg", "## All tasks", "## Env steps to"]
    order += ["## OpenDrawer", "figures/OpenDrawer-branching", f"## {TASK}", f"figures/{TASK}-branching"]
    places = [text.index(part) for part in order]
    assert places == sorted(places), "what holds for all tasks comes first, and a task's curves behind its table"


def test_the_command_varies_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recipe_module, "COMMITTED", tmp_path)
    out = tmp_path / "ablation"
    words = ["ablate", TASK, "--preset", "smoke", "--iterations", "3", "--out", str(out), "--recipe", "auto"]
    assert main(words) == 2
    assert f"no recipe is committed for {TASK}; make one with: z1 diagnose {TASK}" in capsys.readouterr().err
    assert not out.exists()

    recipe = put_recipe(tmp_path, TASK)
    Ablate(tasks=(TASK,), preset="smoke", iterations=3, recipe="auto", out=out).prepare(words)
    manifest = read_manifest(out, KIND)
    default = manifest.config(name_of(TASK, DEFAULT))
    assert (Modules.of(default), default.recipe, default.recipe_digest) == (MODULES, "auto", recipe.digest)
    assert default.grpo.num_iterations == 3
    flat = manifest.config(name_of(TASK, "flat"))
    assert Modules.of(flat) == dataclasses.replace(MODULES, branching="flat")
    assert (flat.recipe, flat.grpo.num_iterations) == (None, 3)

    before = (out / "manifest.json").read_text()
    assert main([*words[:-2], "--resume"]) == 2
    assert "grpo.branching is 'tree' there and 'trunk' here" in capsys.readouterr().err
    other = put_recipe(tmp_path, TASK, reward="decay")
    assert main([*words, "--resume"]) == 2
    said = capsys.readouterr().err
    assert f"{TASK}-default: recipe_digest is '{recipe.digest}' there and '{other.digest}' here" in said
    assert "grpo.reward is 'plain' there and 'decay' here" in said
    assert (out / "manifest.json").read_text() == before
    put_recipe(tmp_path, TASK)
    Ablate(tasks=(TASK,), preset="smoke", iterations=3, recipe="auto", out=out, resume=True).prepare(words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["OpenDrawr"], "unknown task 'OpenDrawr': did you mean OpenDrawer"),
        (["OpenDrawer", "--factors", "speed"], "unknown factor 'speed'; choose among branching"),
        (["OpenDrawer", "--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["OpenDrawer", "--resume"], "there is no ablation to resume in"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ablate", *words, "--out", str(tmp_path / "ablation")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "ablation").exists()
