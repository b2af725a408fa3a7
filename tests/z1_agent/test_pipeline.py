"""A whole training, small: what it leaves, that it stops and goes on bit for bit, and who may go on with it."""

import dataclasses
import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import weakref
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.z1_agent.tiny_training import tiny
from z1_agent import checkpoint, doctor, pipeline
from z1_agent import run as run_module
from z1_agent.advantage import GroupFilter
from z1_agent.console import Stopped, StopRequest
from z1_agent.cost_control import more_sft
from z1_agent.grpo import GrpoConfig
from z1_agent.pi05 import pi05_nano
from z1_agent.pipeline import Training, stream_seed, train, warn_of_other_programs
from z1_agent.policy import Pi05Policy
from z1_agent.presets import PRESETS, FineTuneConfig, TrainConfig, check_episode, cpu, load_config, smoke
from z1_agent.run import RL, SFT, STAGES, Run, RunError, open_run
from z1_agent.schedules import LinearTrunk
from z1_agent.sft import SftConfig
from z1_agent.taken_over import check_sft_folder, sft_commit, take_over_sft, taken_over_seconds
from z1_envs.evaluate import Report
from z1_envs.kitchen import simulation as kitchen_simulation
from z1_envs.kitchen.demos import collect
from z1_envs.kitchen.env import KitchenVectorEnv
from z1_envs.kitchen.plans.plan import SCENE_VERSION
from z1_envs.opengl import RenderError
from z1_envs.tasks import TASKS

ROOT = Path(__file__).parents[2]
CONFIG = smoke("CloseSingleDoor")
# What two equal runs may differ in; the commit where somebody commits between them.
TIMES = ("wall_seconds", "cpu_seconds", "peak_memory_bytes", "commit", "commits", "sft_commit")


class StopAfter(StopRequest):
    """As if Ctrl-C were pressed in the `count`-th round or iteration of `stage`."""

    def __init__(self, run: Run, stage: str, count: int) -> None:
        self._run, self._stage, self._count = run, stage, count

    @property
    def made(self) -> bool:
        return sum(line["stage"] == self._stage for line in self._run.log()) >= self._count


def begin(path: Path, *, resume: bool = False, config: TrainConfig = CONFIG, preset: str = "smoke") -> Run:
    return open_run(path, config, preset=preset, command=["z1", "train", config.task], resume=resume)


def go(run: Run, stop: StopRequest | None = None, config: TrainConfig = CONFIG) -> dict[str, Any]:
    return train(Training(run, config, Console(quiet=True), stop or StopRequest()))


def draws() -> bool:
    try:
        doctor.draw_test_frame()
    except RenderError:
        return False
    return True


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = begin(tmp_path_factory.mktemp("straight") / "run")
    go(run)
    return run


def test_a_run_leaves_everything(straight: Run) -> None:
    left = {path.name for path in straight.path.iterdir()}
    expected = {"config.json", "checkpoint", "sft", "eval_sft.json", "eval_rl.json", "log.jsonl", "tb", "result.json"}
    expected |= {"lock"}
    videos = {"rollout.mp4", "tree.mp4"} if draws() else set()
    assert left == expected | videos | {"report.html"}
    for video in videos:
        assert 1_000 < (straight.path / video).stat().st_size < 1_000_000


def test_the_result_agrees_with_the_evaluations(straight: Run) -> None:
    result = json.loads(straight.result.read_text())
    reports = [Report.from_json(file.read_text()) for file in (straight.eval_sft, straight.eval_rl)]
    for name, report in zip(("sft", "rl"), reports, strict=True):
        assert result[name]["successes"] == report.successes.sum()
        assert result[name]["episodes"] == len(report.successes) == CONFIG.eval_episodes
        assert result[name]["rate"] == report.rate
        assert result[name]["interval"] == list(report.interval)
    won = result["rl"]["successes"] - result["sft"]["successes"]
    assert result["paired"]["gained"] - result["paired"]["lost"] == won
    assert (reports[0].seeds == reports[1].seeds).all()
    assert result["protocol_hash"] == reports[1].protocol_hash
    assert (result["task"], result["backend"], result["seed"]) == ("CloseSingleDoor", "kitchen", 0)
    assert result["versions"]["torch"] == torch.__version__
    assert result["peak_memory_bytes"] < 2e9
    rl = [line for line in straight.log() if line["stage"] == RL]
    assert result["env_steps"]["rl"] == sum(line["env_steps"] for line in rl)
    assert result["wall_seconds"]["rl"] == pytest.approx(sum(line["wall_seconds"] for line in rl))
    assert all(seconds > 0 for seconds in result["wall_seconds"].values())


def test_tensorboard_has_every_round_and_iteration(straight: Run) -> None:
    events = EventAccumulator(str(straight.events))
    events.Reload()
    log = straight.log()
    for stage, name in ((SFT, "loss"), (RL, "success"), (RL, "clip_fraction"), (RL, "env_steps")):
        logged = [line[name] for line in log if line["stage"] == stage]
        assert [scalar.value for scalar in events.Scalars(f"{stage}/{name}")] == pytest.approx(logged)
    mixed = [line["groups"]["mixed"] for line in log if line["stage"] == RL]
    assert [scalar.value for scalar in events.Scalars("rl/mixed")] == mixed


def test_stopping_twice_and_going_on_equals_going_straight(
    straight: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nor does a machine that cannot draw change a number.
    def no_cameras(*_arguments: object, detail: object) -> None:
        raise RenderError("OpenGL cannot start; apt-get install libegl1")

    monkeypatch.setattr(kitchen_simulation, "Cameras", no_cameras)
    run = begin(tmp_path / "run")
    with pytest.raises(Stopped):
        go(run, StopAfter(run, SFT, 1))
    assert not run.sft_checkpoint.exists()
    with pytest.raises(Stopped):
        go(begin(run.path, resume=True), StopAfter(run, RL, 2))
    assert not run.eval_rl.exists()
    # An iteration whose checkpoint was lost with the power is run, and counted, once.
    run.append_log({"stage": RL, "iteration": 2, "env_steps": 10**6, "wall_seconds": 0.0, "cpu_seconds": 0.0})
    again = begin(run.path, resume=True)
    result = train(Training(again, CONFIG, Console(), StopRequest()))

    expected = json.loads(straight.result.read_text())
    assert {k: v for k, v in result.items() if k not in TIMES} == {k: v for k, v in expected.items() if k not in TIMES}
    for folder in ("sft", "checkpoint"):
        weights, wanted = (load_file(r.path / folder / "model.safetensors") for r in (run, straight))
        assert weights.keys() == wanted.keys()
        assert all(torch.equal(weights[name], wanted[name]) for name in wanted)
    trained = [line["trained_nodes"] for line in run.log() if line["stage"] == RL]
    assert len(trained) == CONFIG.grpo.num_iterations
    assert any(trained[:2]), "nothing was learned before the stop, so the test would prove nothing"
    assert any(trained[2:]), "nothing was learned after the stop, so the test would prove nothing"
    out = capsys.readouterr().out
    assert out.count("No videos: OpenGL cannot start; apt-get install libegl1") == 1
    assert run.report.exists()
    assert not run.tree_video.exists()


def test_a_resumed_run_has_one_policy_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that this run makes; two of the published size would not fit."""
    config = tiny("CloseSingleDoor", num_iterations=2)
    first = begin(tmp_path / "first", config=config)
    with pytest.raises(Stopped):
        go(first, StopAfter(first, RL, 1), config)
    given = dataclasses.replace(config, policy=str(first.sft_checkpoint), executed_len=config.chunk_len)
    second = begin(tmp_path / "second", config=given)
    with pytest.raises(Stopped):
        go(second, StopAfter(second, RL, 1), given)

    alive: list[weakref.ref[Pi05Policy]] = []
    made = Pi05Policy.__init__

    def noting(policy: Pi05Policy, *arguments: Any) -> None:
        made(policy, *arguments)
        alive.append(weakref.ref(policy))

    def count(policy: Pi05Policy, *_arguments: object, resume: object, **_options: object) -> None:
        assert resume is not None
        gc.collect()
        assert [one() for one in alive if one() is not None] == [policy]
        raise Stopped

    monkeypatch.setattr(Pi05Policy, "__init__", noting)
    monkeypatch.setattr(pipeline, "train_grpo", count)
    for run, settings in ((first, config), (second, given)):
        alive.clear()
        with pytest.raises(Stopped):
            go(begin(run.path, resume=True, config=settings), config=settings)
        assert alive


def test_a_finished_run_that_is_resumed_is_reported_as_it_is(straight: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "_commit", lambda: "another")
    before = {file: file.read_bytes() for file in straight.path.rglob("*") if file.is_file() and file.name != "lock"}
    assert go(begin(straight.path, resume=True)) == json.loads(straight.result.read_text())
    after = {file: file.read_bytes() for file in straight.path.rglob("*") if file.is_file() and file.name != "lock"}
    assert after == before


def test_what_another_commit_goes_on_with_names_both(
    straight: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # As if the process had ended between the last line of the log and the file that it is about.
    run = Run(tmp_path / "run")
    shutil.copytree(straight.path, run.path)
    for file in (run.eval_rl, run.result, run.report):
        file.unlink()
    lines = [line | {"peak_memory_bytes": 10**12} if line["stage"] == SFT else line for line in run.log()]
    (run.path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(run_module, "_commit", lambda: "another")
    monkeypatch.setattr(run_module, "machine", lambda: "another processor, 1 cores")
    result = train(Training(begin(run.path, resume=True), CONFIG, Console(width=200), StopRequest()))
    begun = straight.about()["commit"]
    assert (result["commit"], result["commits"]) == (begun, [begun, "another"])
    assert result["machines"] == [straight.about()["machine"], "another processor, 1 cores"]
    assert "all_versions" not in result
    assert result["versions"] == straight.about()["versions"]
    assert capsys.readouterr().out.count(f"Begun with commit {begun}, gone on with another") == 1
    assert result["peak_memory_bytes"] == 10**12
    assert [line["stage"] for line in run.log()].count("eval_rl") == 1
    assert result["env_steps"] == json.loads(straight.result.read_text())["env_steps"]


def test_a_run_goes_on_in_the_same_kitchen_and_says_where_packages_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = begin(tmp_path / "run")
    begun.let_go()
    there = begun.about()
    monkeypatch.setattr(run_module, "SCENE_VERSION", SCENE_VERSION + 1)
    with pytest.raises(RunError, match=f"scene_version is {SCENE_VERSION} there and {SCENE_VERSION + 1} here"):
        begin(begun.path, resume=True)
    monkeypatch.undo()
    monkeypatch.setattr(run_module, "version", lambda package: "1.0" if package == "torch" else version(package))
    again = begin(begun.path, resume=True)
    assert [one["torch"] for one in again.about()["all_versions"]] == [version("torch"), "1.0"]
    assert again.about()["versions"] == there["versions"]
    warn_of_other_programs(Training(again, CONFIG, Console(), StopRequest()))
    assert "Begun with other versions of torch: it does not go on bit for bit" in capsys.readouterr().out


def test_sft_that_is_taken_over_is_what_the_run_would_have_done(straight: Run, tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    (run.path / "sft.tmp").mkdir()  # as if the power had gone while it was taken over
    folder = straight.path.parent
    result = train(Training(run, CONFIG, Console(quiet=True), StopRequest(), sft_folder=folder))
    expected = json.loads(straight.result.read_text())
    assert {k: v for k, v in result.items() if k not in TIMES} == {k: v for k, v in expected.items() if k not in TIMES}
    # With its times and its origin: what the suite adds up is what all processes took.
    assert result["cpu_seconds"][SFT] == expected["cpu_seconds"][SFT]
    own = [line | {"commit": straight.about()["commit"]} for line in straight.log() if line["stage"] in STAGES[:2]]
    assert [line for line in run.log() if line["stage"] in STAGES[:2]] == own
    assert taken_over_seconds(run) == sum(line["cpu_seconds"] for line in own) > 0
    assert taken_over_seconds(straight) == 0
    assert result["sft_commit"] == straight.about()["commit"]
    events = EventAccumulator(str(run.events))
    events.Reload()
    assert len(events.Scalars("sft/success")) == sum(line["stage"] == SFT for line in own)


def test_only_the_same_sft_is_taken_over(straight: Run, tmp_path: Path) -> None:
    run, folder = begin(tmp_path / "run"), straight.path.parent
    (folder / "notes.txt").write_text("not a run")
    fine_tuned = open_run(folder / "a-sft-0", FineTuneConfig(data="drawer"), preset="sft", command=["z1"], resume=False)
    later = dataclasses.replace(CONFIG, eval_episodes=99, grpo=dataclasses.replace(CONFIG.grpo, branching="flat"))
    for other in (
        dataclasses.replace(CONFIG, seed=1),
        dataclasses.replace(CONFIG, sft=dataclasses.replace(CONFIG.sft, num_demos=5)),
        smoke("OpenSingleDoor"),
    ):
        assert take_over_sft(folder, run, other) is None
    assert not run.sft_checkpoint.exists()
    assert take_over_sft(straight.path, straight, CONFIG) is None, "a run has nothing to take over from itself"
    # A suite has its runs one level deeper.
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "runs").symlink_to(folder)
    assert take_over_sft(tmp_path / "suite", begin(tmp_path / "of_suite"), CONFIG) is not None
    found = take_over_sft(folder, run, later)
    assert found is not None
    assert found.path == straight.path
    shutil.rmtree(fine_tuned.path)
    # What is taken over a second time still says who did it.
    about = run.about()
    (run.path / "config.json").write_text(json.dumps(about | {"commit": "another"}))
    (run.path / "other").mkdir()
    (run.path / "other" / "config.json").write_text("[1]")  # of some other program
    third = begin(tmp_path / "third")
    assert take_over_sft(run.path, third, CONFIG) is not None
    assert sft_commit(third) == straight.about()["commit"] != "another"
    both = Run(shutil.copytree(straight.path, tmp_path / "both"))
    (both.path / "config.json").write_text(json.dumps(about | {"commits": ["a", "b"]}))
    fifth = begin(tmp_path / "fifth")
    assert take_over_sft(both.path, fifth, CONFIG) is not None
    assert sft_commit(fifth) == "a then b", "both have done it"
    (run.path / "config.json").write_text(json.dumps(about | {"scene_version": 1}))
    assert take_over_sft(run.path, begin(tmp_path / "sixth"), CONFIG) is None
    (run.path / "config.json").write_text(json.dumps(about | {"versions": about["versions"] | {"torch": "1.0"}}))
    assert take_over_sft(run.path, begin(tmp_path / "fourth"), CONFIG) is None
    with pytest.raises(RunError, match=r"no folder .*nowhere to take SFT from; .*leave out --sft"):
        check_sft_folder(tmp_path / "nowhere")


def test_a_damaged_checkpoint_is_refused(straight: Run, tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    checkpoint.save(run.sft_checkpoint, checkpoint.load_policy(straight.sft_checkpoint), task="x", backend="kitchen")
    weights = run.sft_checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    run.let_go()
    with pytest.raises(checkpoint.CheckpointError, match="truncated or changed; copy the directory again"):
        go(begin(run.path, resume=True))


@pytest.mark.parametrize("text", ['{"model_type": "x"}', "[1]", '{"preset": "smo'])
def test_a_config_that_is_none_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RunError, match=r"config\.json was not written by this program, or is damaged"):
        begin(tmp_path, resume=True)
    assert [file.name for file in tmp_path.iterdir()] == ["config.json"]


def test_the_control_spends_what_the_training_has_spent(straight: Run, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    shutil.copytree(straight.path, run.path)
    report = json.loads(run.eval_rl.read_text())
    run.eval_rl.write_text(json.dumps(report | {"successes": [True] * CONFIG.eval_episodes}))
    found = more_sft(run, CONFIG)
    spent = json.loads(run.result.read_text())["cpu_seconds"]
    assert found["cpu_seconds"] >= spent["sft"] + spent["rl"]
    own = [line["success"] for line in run.log() if line["stage"] == SFT]
    assert found["rounds"] == len(found["held_out"]) > CONFIG.sft.max_rounds >= len(own)
    assert found["held_out"][: len(own)] == own, "it begins as the training's own SFT"
    for name in ("last", "best"):
        failures = CONFIG.eval_episodes - found[name]["successes"]
        assert failures > 0
        assert found[name]["grpo_against_it"].items() >= {"gained": failures, "lost": 0}.items()


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match="is in use: give another --out"):
        begin(tmp_path)
    with pytest.raises(RunError, match="no run to resume"):
        begin(tmp_path, resume=True)
    begin(tmp_path / "run").let_go()
    (tmp_path / "run" / "lock").write_text("another process, which has ended")
    with pytest.raises(RunError, match="is in use: add --resume to go on"):
        begin(tmp_path / "run")
    assert (tmp_path / "run" / "lock").read_text() == "another process, which has ended"


def test_a_run_that_is_going_on_is_left_alone(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    for resume in (False, True):
        with pytest.raises(RunError, match=f"is going on, in process {os.getpid()}: wait for it or stop it"):
            begin(run.path, resume=resume)
    run.let_go()
    again = begin(run.path, resume=True)
    ends = "import sys; from pathlib import Path; from z1_agent.run import Run; Run(Path(sys.argv[1])).hold()"
    other = subprocess.run([sys.executable, "-c", ends, str(run.path)], cwd=ROOT, capture_output=True, text=True)
    assert "RunError" in other.stderr
    again.let_go()
    other = subprocess.run([sys.executable, "-c", ends, str(run.path)], cwd=ROOT, capture_output=True, text=True)
    assert other.returncode == 0, other.stderr
    begin(run.path, resume=True)


@pytest.mark.parametrize("torn", ['{"stage": "sft", "rou', '{"stage": "sft", "round": 1}'])
def test_a_torn_last_line_is_dropped_and_never_added_to(tmp_path: Path, torn: str) -> None:
    run = begin(tmp_path / "run")
    run.append_log({"stage": SFT, "round": 0})
    whole = run.log()
    with (run.path / "log.jsonl").open("a") as file:
        file.write(torn)
    run.let_go()
    kept = [*whole, json.loads(torn)] if torn.endswith("}") else whole
    assert run.log() == kept
    again = begin(run.path, resume=True)
    again.append_log({"stage": SFT, "round": 2})
    assert again.log() == [*kept, {"stage": SFT, "round": 2}]


def test_a_resume_with_other_settings_names_both(tmp_path: Path) -> None:
    begin(tmp_path / "run")
    other = dataclasses.replace(CONFIG, seed=7, grpo=dataclasses.replace(CONFIG.grpo, clip=0.1))
    with pytest.raises(RunError, match=r"grpo.clip is 0.2 there and 0.1 here; seed is 0 there and 7 here; .*z1 train"):
        begin(tmp_path / "run", resume=True, config=other)
    with pytest.raises(RunError, match="preset is 'smoke' there and 'cpu' here"):
        begin(tmp_path / "run", resume=True, preset="cpu")


def test_a_run_goes_on_with_what_has_only_moved(tmp_path: Path) -> None:
    given = dataclasses.replace(CONFIG, policy="/old/sft", policy_digest="0123456789ab")
    begin(tmp_path / "run", config=given).let_go()
    begin(tmp_path / "run", resume=True, config=dataclasses.replace(given, policy="/new/sft")).let_go()
    other = dataclasses.replace(given, policy="/new/sft", policy_digest="ba9876543210")
    with pytest.raises(RunError, match="policy is '/old/sft' there and '/new/sft' here; policy_digest is"):
        begin(tmp_path / "run", resume=True, config=other)


def test_streams_never_share_an_episode() -> None:
    names = ("demonstrations", "validation", "evaluation", "films", "SFT", "GRPO", "weights")
    seeds = sorted(stream_seed(seed, name) for seed in range(50) for name in names)
    # Far apart: consecutive seeds from two of them never meet.
    assert min(b - a for a, b in pairwise(seeds)) > 10**6
    assert 0 <= seeds[0] <= seeds[-1] < 2**62


def test_bad_counts_and_tasks_are_refused() -> None:
    with pytest.raises(ValueError, match="eval_episodes must be a whole number of at least 1, got 0"):
        dataclasses.replace(CONFIG, eval_episodes=0)
    with pytest.raises(ValueError, match="unknown task 'TurnOnStov': did you mean TurnOnStove"):
        cpu("TurnOnStov")
    with pytest.raises(ValueError, match="did you mean OpenDrawer"):
        cpu("OpenDraw")
    assert {preset("Z1-RoboCasa-OpenDrawer").task for preset in PRESETS.values()} == {"OpenDrawer"}


def test_settings_that_contradict_the_episode_are_refused() -> None:
    def check(**changes: Any) -> None:
        check_episode(dataclasses.replace(CONFIG, horizon=100, grpo=dataclasses.replace(CONFIG.grpo, **changes)))

    # 100 steps are 20 decisions of 5: 20 · 0.05 = 1, and the last success would earn what a failure does.
    with pytest.raises(ValueError, match=r"penalty of 0.05 per decision, episodes of 20 .* below 0.05"):
        check(reward="penalty", penalty=0.05)
    check(reward="penalty", penalty=0.049)
    check(reward="decay", penalty=0.05)
    with pytest.raises(ValueError, match=r"a trunk of 20 decisions is a whole episode \(20\).*shorter"):
        check(trunk=LinearTrunk(start=20))
    check(trunk=LinearTrunk(start=19))
    check(trunk=LinearTrunk(start=20), branching="flat")
    check(trunk=LinearTrunk(start=20), schedule="phase")


def test_every_stage_keeps_to_its_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int | None] = []
    begun = KitchenVectorEnv.__init__

    def noting(self: KitchenVectorEnv, *arguments: Any, num_threads: int | None = None, **options: Any) -> None:
        told.append(num_threads)
        begun(self, *arguments, num_threads=num_threads, **options)

    monkeypatch.setattr(KitchenVectorEnv, "__init__", noting)
    run = begin(tmp_path / "run")
    train(Training(run, CONFIG, Console(quiet=True), StopRequest(), 1))
    # Demonstrations, validation, two evaluations, rollouts; films where something draws.
    assert len(told) >= 5
    assert set(told) == {1}


@pytest.mark.parametrize(
    ("make", "values"),
    [
        (GrpoConfig, {"num_iterations": 0, "num_groups": 0, "group_size": 1, "epochs": 0, "minibatch_size": 0}),
        (GrpoConfig, {"gamma": 0.0, "clip": 1.0, "learning_rate": 0.0, "final_rate_share": 1.01}),
        (GrpoConfig, {"weight_decay": -0.1, "grad_clip": 0.0}),
        (GroupFilter, {"low": 0.99, "high": 1.01}),
        (LinearTrunk, {"start": -1, "until": 0.0}),
        (SftConfig, {"num_demos": 0, "batch_size": 0, "steps_per_round": 0, "max_rounds": 0, "patience": 0}),
        (SftConfig, {"warmup_steps": 0, "ema_decay": 1.0, "learning_rate": 0.0, "demo_noise": -0.1}),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_with_what_came(make: Any, values: dict[str, float]) -> None:
    for name, value in values.items():
        with pytest.raises(ValueError, match=rf"{name} .*got .*{value}"):
            make(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("obs", "rgb", "obs must be one of state, pixels, got 'rgb'"),
        ("backend", "robocsa", "backend must be one of kitchen, robocasa, got 'robocsa'"),
        ("horizon", 1.5, "horizon must be a whole number of at least 1, got 1.5"),
        ("seed", "1", "seed must be a whole number of at least 0, got '1'"),
    ],
)
def test_a_training_of_nothing_that_exists_is_refused(name: str, value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(CONFIG, **{name: value})


def test_a_configuration_comes_back_from_its_json() -> None:
    for config in (cpu("OpenDrawer"), dataclasses.replace(smoke("CloseSingleDoor"), seed=3)):
        values = json.loads(json.dumps(dataclasses.asdict(config)))
        assert load_config(values) == config
    values["grpo"]["keep"]["middle"] = 0.5
    with pytest.raises(ValueError, match=r"unknown grpo\.keep\.middle; use the program version that wrote it"):
        load_config(values)


def test_images_must_fit_the_patches() -> None:
    with pytest.raises(ValueError, match=r"image_px must be a multiple of 16.*got 50"):
        dataclasses.replace(CONFIG, obs="pixels", image_px=50)
    assert pi05_nano(scene_width=0, vision=True, image_px=128).vision.num_tokens == 64  # pyright: ignore[reportOptionalMemberAccess]
    assert pi05_nano(scene_width=0, vision=True).vision.num_tokens == 16  # pyright: ignore[reportOptionalMemberAccess]


def test_the_first_interrupt_asks_and_the_second_aborts(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    stop = StopRequest()
    with stop.listen(Console()):
        stop.check()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.made
        with pytest.raises(Stopped):
            stop.check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert "Ctrl-C again aborts" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_within_the_first_print_asks_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich._emoji_codes", ModuleType("half imported, as it is then"))
    stop = StopRequest()
    with stop.listen(Console()):
        os.kill(os.getpid(), signal.SIGINT)
    assert stop.made
    assert "Ctrl-C again aborts" in capsys.readouterr().out


def test_a_scheduler_s_sigterm_asks_as_ctrl_c_does() -> None:
    before = signal.getsignal(signal.SIGTERM)
    stop = StopRequest()
    with stop.listen(Console(quiet=True)):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.made
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        os.kill(os.getpid(), signal.SIGINT)  # as a suite hands on what its trainings have heard themselves
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("task", TASKS)
def test_the_horizon_of_training_leaves_the_expert_time_to_show_the_task(task: str) -> None:
    demos = collect(task, num_episodes=8, seed=100, horizon=cpu(task).horizon)
    assert demos.attempts <= 16, "a third round: more than half of the episodes were lost"
