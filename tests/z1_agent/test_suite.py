"""A suite: what its table says, that it survives being killed, and which directories it refuses."""

import dataclasses
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.z1_agent.tiny_training import tiny
from z1_agent import pipeline
from z1_agent import recipe as recipe_module
from z1_agent import run as run_module
from z1_agent.cli import main
from z1_agent.console import StopRequest
from z1_agent.cost_control import control_counts
from z1_agent.grpo import GrpoConfig
from z1_agent.jobs import ControlJob, Job, TrainJob, cost_of, output_of, run_jobs
from z1_agent.manifest import Manifest, open_manifest, read_manifest
from z1_agent.recipe import find_recipe
from z1_agent.run import Run, RunError
from z1_agent.schedules import LinearTrunk
from z1_agent.suite import KIND, run_suite, run_trainings, suite_jobs
from z1_agent.suite_report import write_suite
from z1_agent.summary import summarise
from z1_envs.evaluate import wilson
from z1_envs.kitchen.plans.plan import SCENE_VERSION
from z1_envs.opengl import RenderError

ROOT = Path(__file__).parents[2]
COSTS = {"cpu_seconds", "peak_memory_bytes", "origins"}  # what two equal suites may differ in


CONFIGS = {"CloseDrawer": tiny("CloseDrawer", num_iterations=8)}


def begin(path: Path, *, resume: bool = False, seeds: int | None = 2, configs: Any = None) -> Manifest:
    return open_manifest(
        path, KIND, "smoke", configs or CONFIGS, num_seeds=seeds, command=["z1", "suite"], resume=resume
    )


def jobs_of(manifest: Manifest) -> list[Job]:
    return suite_jobs(manifest, CONFIGS, command=["z1", "suite"], threads=1)


def run_all(manifest: Manifest) -> list[Any]:
    return run_suite(manifest, jobs_of(manifest), at_once=2, console=Console(quiet=True), stop=StopRequest())


# The suite as another process runs it; jobs one after the other.
SCRIPT = """
import sys
from pathlib import Path
from rich.console import Console
sys.path.insert(0, {root!r})
from tests.z1_agent import test_suite as t
manifest = t.begin(Path(sys.argv[1]))
t.run_suite(manifest, t.jobs_of(manifest), at_once=1, console=Console(), stop=t.StopRequest())
"""


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "the suite ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.02)


def without_costs(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: without_costs(value) for key, value in values.items() if key not in COSTS}
    return [without_costs(value) for value in values] if isinstance(values, list) else values


def draws_nothing(*_given: Any, **_named: Any) -> None:
    raise RenderError("films take longer than the training")


@pytest.mark.slow
def test_a_killed_suite_goes_on_to_the_table_of_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUJOCO_GL", "off")  # no films in processes that begin now, nor in this one
    monkeypatch.setattr(pipeline, "film_policy", draws_nothing)
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    script = SCRIPT.format(root=str(ROOT))
    with subprocess.Popen([sys.executable, "-c", script, str(killed)], cwd=ROOT) as process:
        second = killed / "runs" / "CloseDrawer-1" / "log.jsonl"
        wait_for(lambda: second.exists() and second.read_text().count('"stage": "rl"') >= 1, process)
        process.send_signal(signal.SIGKILL)
    assert (killed / "results.json").exists(), "the first training had finished"
    assert not (second.parent / "result.json").exists()
    # The same without interruption.
    manifest = begin(straight)
    assert [job.work() for job in jobs_of(manifest)] == [0, 0]
    write_suite(manifest)
    for half in ("results.md.tmp", "results.json.tmp", "manifest.json.tmp", "runs/CloseDrawer-1/result.json.tmp"):
        (killed / half).write_text('{"half')

    time.sleep(1.0)  # the training ends with its suite, as soon as it gets to it
    assert run_all(begin(killed, resume=True)) == []
    tables = [without_costs(json.loads((path / "results.json").read_text())) for path in (straight, killed)]
    assert tables[0] == tables[1]
    assert [row["seeds"] for row in tables[0]["rows"]] == [[0, 1]]
    evaluations = [(path / "runs" / "CloseDrawer-1" / "eval_rl.json").read_text() for path in (straight, killed)]
    assert evaluations[0] == evaluations[1]
    page = (killed / "results.html").read_text()
    assert "another simulator" in page
    assert page.count("<svg") == 2
    cost = cost_of(killed / "runs" / "CloseDrawer-0")
    assert 0 < cost.cpu_seconds < 600
    assert 10**8 < cost.peak_memory_bytes < 10**10


def result(task: str, seed: int, gained: int, lost: int, won: int) -> dict[str, Any]:
    """A result.json of 100 episodes, of which SFT has won `won`."""
    stages = {"sft": 60.0, "rl": 240.0}
    return {
        "task": task,
        "seed": seed,
        "sft": {"successes": won, "episodes": 100, "rate": won / 100},
        "rl": {"successes": won + gained - lost, "episodes": 100, "rate": (won + gained - lost) / 100},
        "paired": {"gained": gained, "lost": lost},
        "env_steps": {"sft": 1000, "rl": 3000},
        "cpu_seconds": stages,
        "peak_memory_bytes": 10**9,
    }


def finish(manifest: Manifest, task: str, seed: int, gained: int, lost: int, won: int) -> None:
    path = manifest.run_path(task, seed)
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"config": manifest.planned[task].config}))
    (path / "result.json").write_text(json.dumps(result(task, seed, gained, lost, won)))


def test_the_table_by_hand(tmp_path: Path) -> None:
    names = ("OpenDrawer", "CloseDrawer", "TurnOnStove", "TurnOffStove")
    manifest = begin(tmp_path / "suite", configs={name: tiny(name, num_iterations=8) for name in names})
    assert write_suite(manifest) is None
    assert not (manifest.path / "results.md").exists()
    finish(manifest, "OpenDrawer", 0, gained=30, lost=0, won=50)
    finish(manifest, "OpenDrawer", 1, gained=10, lost=0, won=70)
    finish(manifest, "CloseDrawer", 0, gained=0, lost=20, won=90)
    finish(manifest, "TurnOnStove", 0, gained=2, lost=2, won=40)
    summary = write_suite(manifest)
    assert summary is not None
    rows = {row.task: row for row in summary.rows}
    # OpenDrawer: (50 + 70) / 2 → (80 + 80) / 2; CloseDrawer 90 → 70; TurnOnStove 40 → 40.
    assert rows["OpenDrawer"].found.before.mean == pytest.approx(0.6)
    assert rows["OpenDrawer"].found.gain.mean == pytest.approx(0.2)
    assert rows["OpenDrawer"].p_value == pytest.approx(2 / 2**40)  # 40 gained, none lost
    assert rows["OpenDrawer"].p_holm == pytest.approx(3 * 2 / 2**40)
    assert rows["CloseDrawer"].p_holm == pytest.approx(2 * 2 / 2**20)
    assert rows["TurnOnStove"].p_holm == 1.0
    assert summary.worse == ("CloseDrawer",)
    low, high = wilson(70, 100)
    after = rows["CloseDrawer"].found.after.interval
    assert after[0] <= low < high <= after[1]
    # Drawers: (0.2 - 0.2) / 2; all: (0.2 - 0.2 + 0) / 3.
    assert [(one.name, one.num_tasks) for one in summary.categories] == [("drawers", 2), ("stove", 1)]
    assert summary.categories[0].found.gain.mean == pytest.approx(0)
    assert summary.overall.found.after.mean == pytest.approx((0.8 + 0.7 + 0.4) / 3)
    low, high = summary.overall.found.gain.interval
    assert summary.overall_drawn is not None
    wider = summary.overall_drawn.found.gain.interval
    assert wider[0] < low < 0 < high < wider[1]
    assert [one.has_one_seed for one in (*summary.categories, summary.overall)] == [True, True, True]
    # TurnOnStove with seed 1, CloseDrawer with seed 1, and both of TurnOffStove.
    assert len(summary.unfinished) == 4

    text = (manifest.path / "results.md").read_text()
    assert "| CloseDrawer | drawers | 1* | 1 × 100 | 90.0 % (" in text
    assert "| OpenDrawer | drawers | 2 | 2 × 100 | 60.0 % (" in text
    assert "| 4,000 | 5.0 | 1.00 |" in text
    assert "Significantly worse than its SFT (corrected p < 0.05): CloseDrawer." in text
    assert "TurnOffStove with seed 0" in text
    assert "Published for Z-1, in another simulator" in text
    before = text, (manifest.path / "figures" / "tasks.svg").read_text()
    write_suite(manifest)
    assert before == ((manifest.path / "results.md").read_text(), (manifest.path / "figures/tasks.svg").read_text())


def test_controls_come_last_and_are_columns_of_the_table(tmp_path: Path) -> None:
    names = ("OpenDrawer", "CloseDrawer")
    configs = {name: tiny(name, num_iterations=8) for name in names}
    manifest = begin(tmp_path / "suite", configs=configs, seeds=2)
    jobs = suite_jobs(manifest, configs, command=["z1", "suite"], threads=1, with_control=True)
    trainings, controls = jobs[:4], jobs[4:]
    assert {type(job) for job in trainings} == {TrainJob}
    assert [job.path.name for job in controls] == [f"{job.path.name}.control.json" for job in trainings]
    assert not any(job.is_ready for job in controls), "there is no time to match yet"
    for seed, name in ((0, "OpenDrawer"), (1, "OpenDrawer"), (0, "CloseDrawer")):
        finish(manifest, name, seed, gained=30, lost=0, won=50)
    summary = write_suite(manifest)
    assert summary is not None
    assert summary.over_more_sft is None
    assert "more SFT" not in (manifest.path / "results.md").read_text()
    # More SFT reaches 60 of 100 with seed 0; GRPO, with 80, wins 25 episodes that it loses and loses 5 that it wins.
    best = {"successes": 60, "episodes": 100, "grpo_against_it": {"gained": 25, "lost": 5, "p_value": 0.0}}
    controls[0].path.write_text(json.dumps({"last": None, "best": best}))
    summary = write_suite(manifest)
    assert summary is not None
    rows = {row.task: row.over_more_sft for row in summary.rows}
    over = rows["OpenDrawer"]
    assert over is not None
    assert (over.before.mean, over.after.mean, over.gain.mean) == pytest.approx((0.6, 0.8, 0.2))
    assert rows["CloseDrawer"] is None
    # Of another training, that was in the same place before, a control says nothing; it is made anew.
    assert isinstance(controls[0], ControlJob)
    assert controls[0].is_done
    run = Run(controls[0].run)
    run.eval_rl.write_text("this training's")
    for against, is_done in (("that training's", False), ("this training's", True)):
        digest = hashlib.sha256(against.encode()).hexdigest()[:12]
        controls[0].path.write_text(json.dumps({"last": None, "best": best, "eval_rl_digest": digest}))
        assert controls[0].is_done == is_done
        assert (control_counts(run) is not None) == is_done
    text = (manifest.path / "results.md").read_text()
    said = r"same CPU time in SFT alone reaches 60\.0 % \(.*\) on the 1 task with that control, GRPO 80\.0 %"
    assert re.search(said, text)
    assert "| p | more SFT | GRPO over it | env steps |" in text
    assert re.search(r"\| 60\.0 % \([^|]*\) \| \+20\.0 \(", text)


def test_where_no_episode_differs_the_gain_is_not_certain(tmp_path: Path) -> None:
    manifest = begin(tmp_path / "suite", configs={"OpenDrawer": tiny("OpenDrawer", num_iterations=8)}, seeds=1)
    finish(manifest, "OpenDrawer", 0, gained=0, lost=0, won=100)
    summary = summarise(manifest)
    assert summary is not None
    # Of 100 episodes none was lost: at most 3.7 of 100 may be, says Wilson; and none can be gained that is not lost.
    assert summary.rows[0].found.gain.interval == pytest.approx((-wilson(0, 100)[1], wilson(0, 100)[1]))
    assert summary.overall.found == summary.categories[0].found == summary.rows[0].found
    assert summary.overall_drawn is None, "one task is no sample of tasks"


FLAT = GrpoConfig(branching="flat", reward="plain", trainable="all")
TREE = GrpoConfig(branching="tree", trunk=LinearTrunk(start=6, until=0.5))


def by_recipe(grpo: GrpoConfig, recipe: str | None = "auto", digest: str | None = "0123456789ab") -> dict[str, Any]:
    return {"grpo": grpo, "recipe": recipe, "recipe_digest": digest}


def table_of(path: Path, changes: dict[str, dict[str, Any]]) -> tuple[str, list[dict[str, Any]], str]:
    """Markdown, rows of the JSON and page of a suite whose tasks differ from `tiny` by `changes`."""
    configs = {name: dataclasses.replace(tiny(name, num_iterations=8), **change) for name, change in changes.items()}
    manifest = begin(path, configs=configs, seeds=1)
    for name in configs:
        finish(manifest, name, 0, gained=30, lost=0, won=50)
    write_suite(manifest)
    rows = json.loads((path / "results.json").read_text())["rows"]
    return (path / "results.md").read_text(), rows, (path / "results.html").read_text()


def test_modules_that_all_tasks_share_are_said_once(tmp_path: Path) -> None:
    text, rows, page = table_of(tmp_path / "suite", {"OpenDrawer": {}, "CloseDrawer": {"horizon": 50}})
    said = "All tasks have the same modules: trunk 4→0 by 50%, decay, AE. No training follows a recipe."
    assert text.count(said) == page.count(said) == 1
    assert "| task | category | seeds |" in text
    assert text.count("trunk 4→0") == 1
    found = [(row["modules"], row["recipe_digests"]) for row in rows]
    assert found == [("trunk 4→0 by 50%, decay, AE", [None])] * 2
    # Recipes that agree are recipes nevertheless.
    text, rows, _ = table_of(tmp_path / "recipes", {"OpenDrawer": by_recipe(FLAT), "CloseDrawer": by_recipe(FLAT)})
    assert "the same modules: flat, plain, AE+VLM. Trainings follow recipes of their tasks" in text
    assert [row["recipe_digests"] for row in rows] == [["0123456789ab"]] * 2


def test_modules_that_differ_have_a_column(tmp_path: Path) -> None:
    changes = {"OpenDrawer": by_recipe(FLAT), "CloseDrawer": by_recipe(TREE, digest="ba9876543210")}
    text, rows, page = table_of(tmp_path / "suite", changes)
    assert "| task | category | modules | seeds |" in text
    assert "| --- | --- | --- | ---: |" in text
    assert "| OpenDrawer | drawers | flat, plain, AE+VLM | 1* |" in text
    assert "| CloseDrawer | drawers | tree 6→0 by 50%, decay, AE | 1* |" in text
    assert '<td class="name">tree 6→0 by 50%, decay, AE</td>' in page
    assert {row["task"]: row["recipe_digests"] for row in rows} == {
        "OpenDrawer": ["0123456789ab"],
        "CloseDrawer": ["ba9876543210"],
    }
    said = "Trainings follow recipes of their tasks, fixed before the final evaluation"
    assert said in text
    assert said in page
    assert "the same modules" not in text


def test_only_committed_recipes_are_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (by_recipe(FLAT, digest=find_recipe("auto", task).digest) for task in ("OpenDrawer", "CloseDrawer"))
    text = table_of(tmp_path / "both", {"OpenDrawer": first, "CloseDrawer": second})[0]
    assert "Trainings follow the committed recipes of their tasks, fixed" in text
    changes = {"OpenDrawer": first, "CloseDrawer": by_recipe(TREE, recipe="/mine")}
    assert "Trainings follow recipes of their tasks, fixed" in table_of(tmp_path / "own", changes)[0]
    text = table_of(tmp_path / "some", {"OpenDrawer": first, "CloseDrawer": {}})[0]
    assert "Trainings of 1 of 2 tasks follow the committed recipes of their tasks, fixed" in text
    # One that was committed then, and has been made anew since.
    text = table_of(tmp_path / "old", {"OpenDrawer": first, "CloseDrawer": by_recipe(FLAT)})[0]
    assert "Trainings follow recipes of their tasks, fixed" in text
    # Of two seeds one had another recipe, whatever the manifest says by now.
    manifest = begin(
        tmp_path / "mixed",
        configs={"OpenDrawer": dataclasses.replace(CONFIGS["CloseDrawer"], task="OpenDrawer", **first)},
    )
    for seed in (0, 1):
        finish(manifest, "OpenDrawer", seed, gained=30, lost=0, won=50)
    about = manifest.run_path("OpenDrawer", 1) / "config.json"
    about.write_text(about.read_text().replace(first["recipe_digest"], "0123456789ab"))
    write_suite(manifest)
    assert "Trainings follow recipes of their tasks, fixed" in (manifest.path / "results.md").read_text()
    monkeypatch.setattr(recipe_module, "COMMITTED", tmp_path)  # none is there any more
    assert "Trainings follow recipes of their tasks, fixed" in table_of(tmp_path / "gone", {"OpenDrawer": first})[0]


def test_a_suite_with_unknown_settings_is_refused_at_the_door(tmp_path: Path) -> None:
    manifest = begin(tmp_path / "suite")
    manifest.planned["CloseDrawer"].config["grpo"]["patience"] = 3
    manifest.write()
    manifest.let_go()
    # Although only another task is asked for: the table has a row for each.
    with pytest.raises(RunError, match=r"CloseDrawer: the configuration has unknown grpo.patience; use the"):
        begin(manifest.path, resume=True, configs={"OpenDrawer": tiny("OpenDrawer", num_iterations=8)})


def test_all_tasks_come_before_the_next_seed(tmp_path: Path) -> None:
    both = CONFIGS | {"OpenDrawer": tiny("OpenDrawer", num_iterations=8)}
    manifest = begin(tmp_path / "suite", configs=both, seeds=1)
    assert manifest.in_order() == [("CloseDrawer", 0), ("OpenDrawer", 0)]
    # Seeds and tasks are added; none is lost.
    manifest = reopened(manifest, {"OpenDrawer": both["OpenDrawer"]}, 3)
    assert manifest.in_order() == [("CloseDrawer", 0), ("OpenDrawer", 0), ("OpenDrawer", 1), ("OpenDrawer", 2)]
    manifest = reopened(manifest, both, 2)
    assert {name: one.num_seeds for name, one in manifest.planned.items()} == {"CloseDrawer": 2, "OpenDrawer": 3}
    manifest = reopened(manifest, both, None)
    assert manifest.in_order()[-1] == ("OpenDrawer", 2)
    assert [job.path.name for job in jobs_of(manifest)] == ["CloseDrawer-0", "CloseDrawer-1"]


def reopened(manifest: Manifest, configs: Any, seeds: int | None) -> Manifest:
    path = manifest.path
    manifest.let_go()
    return begin(path, resume=True, configs=configs, seeds=seeds)


def test_other_settings_and_other_directories_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = begin(tmp_path / "suite")
    before = (manifest.path / "manifest.json").read_text()
    manifest.let_go()
    changed = {"CloseDrawer": dataclasses.replace(CONFIGS["CloseDrawer"], horizon=50)}
    with pytest.raises(RunError, match="CloseDrawer: horizon is 40 there and 50 here; resume with what"):
        begin(manifest.path, resume=True, configs=changed)
    changed = {"CloseDrawer": dataclasses.replace(CONFIGS["CloseDrawer"], recipe_digest="0123456789ab")}
    with pytest.raises(RunError, match="recipe_digest is None there and '0123456789ab' here"):
        begin(manifest.path, resume=True, configs=changed)
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "SCENE_VERSION", SCENE_VERSION + 1)
        with pytest.raises(RunError, match=f"scene_version is {SCENE_VERSION} there and {SCENE_VERSION + 1} here"):
            begin(manifest.path, resume=True)
        (manifest.path / "manifest.json").write_text(before.replace('"scene_version"', '"not_said_then"'))
        begin(manifest.path, resume=True).let_go()
        (manifest.path / "manifest.json").write_text(before)
    with pytest.raises(RunError, match="is in use: add --resume to go on with the suite there, or give another --out"):
        begin(manifest.path)
    with pytest.raises(RunError, match="another kind of results, 'suite', not 'ablation'"):
        read_manifest(manifest.path, "ablation")
    assert (manifest.path / "manifest.json").read_text() == before

    (manifest.path / "manifest.json").write_text(before.replace('"horizon": 40', '"horizon": 41'))
    with pytest.raises(RunError, match="was edited: its digest is another one"):
        begin(manifest.path, resume=True)
    (manifest.path / "manifest.json").write_text('{"name": "something else"}')
    with pytest.raises(RunError, match="was not written by this program"):
        begin(manifest.path, resume=True)

    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.tex").touch()
    with pytest.raises(RunError, match="is in use: give another --out"):
        begin(other)
    with pytest.raises(RunError, match=r"no suite to resume in .*other \(no manifest.json\); leave out --resume"):
        begin(other, resume=True)
    assert [file.name for file in other.iterdir()] == ["thesis.tex"]
    assert summarise(manifest) is None


def test_two_suites_cannot_share_a_directory(tmp_path: Path) -> None:
    held = begin(tmp_path / "suite")
    with pytest.raises(RunError, match=f"is going on, in process {os.getpid()}: wait for it or stop it"):
        begin(held.path, resume=True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tasks", "OpenDrawr"], "unknown task 'OpenDrawr': did you mean OpenDrawer"),
        (["--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["--resume"], "there is no suite to resume in"),
        (["--eval-episodes", "0"], "eval_episodes must be a whole number of at least 1, got 0"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["suite", *words, "--out", str(tmp_path / "suite")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "suite").exists()


@dataclasses.dataclass(frozen=True)
class Written:
    """A job that fails, or leaves a file that others wait for; sleeps: before that [s], below 0 it is killed."""

    path: Path
    fails: bool = False
    needs: Path | None = None
    sleeps: float = 0.0

    @property
    def is_done(self) -> bool:
        return self.path.exists()

    @property
    def is_ready(self) -> bool:
        return self.needs is None or self.needs.exists()

    def work(self) -> int:
        if self.fails:
            print("the disk is full")
            return 3
        if self.sleeps < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.sleeps)
        self.path.touch()
        return 0


def test_a_job_that_fails_takes_only_those_that_need_it_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    done = Written(tmp_path / "done")
    done.path.touch()
    bad = Written(tmp_path / "bad", fails=True)
    late = Written(tmp_path / "late", needs=tmp_path / "bad")
    ends: list[tuple[str, int]] = []
    stop = StopRequest()
    failed = run_jobs(
        [done, late, bad], at_once=2, stop=stop, on_end=lambda job, code: ends.append((job.path.name, code))
    )
    assert ends == [("bad", 3)]
    assert failed == [bad, late]
    assert "the disk is full" in output_of(bad.path).read_text()


def test_a_stop_while_a_table_is_written_loses_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    first, second = Written(tmp_path / "first"), Written(tmp_path / "second", sleeps=1.0)
    ends: list[str] = []
    stop = StopRequest()

    def on_end(job: Job, _code: int) -> None:
        ends.append(job.path.name)
        stop.made = True
        while not second.path.exists():  # it ends meanwhile
            time.sleep(0.05)
        time.sleep(1.0)

    assert run_jobs([first, second], at_once=2, stop=stop, on_end=on_end) == []
    assert ends == ["first", "second"]
    assert cost_of(second.path).cpu_seconds > 0


def test_a_table_that_cannot_be_written_ends_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    jobs = [Written(tmp_path / "first"), Written(tmp_path / "second", sleeps=1.0)]
    output, written = io.StringIO(), iter([False, True, True])

    def write() -> None:
        if not next(written):
            raise OSError("the disk is full")

    stop = StopRequest()
    assert run_trainings(jobs, write=write, where=tmp_path, at_once=2, console=Console(file=output), stop=stop) == []
    assert cost_of(jobs[1].path).cpu_seconds > 0
    assert "the table is not written anew: the disk is full" in output.getvalue()


def test_the_next_job_runs_while_a_table_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    first, second = Written(tmp_path / "first"), Written(tmp_path / "second")
    ends: list[str] = []

    def on_end(job: Job, _code: int) -> None:
        ends.append(job.path.name)
        until = time.monotonic() + 60
        while not second.path.exists() and time.monotonic() < until:
            time.sleep(0.05)
        assert second.path.exists()

    assert run_jobs([first, second], at_once=1, stop=StopRequest(), on_end=on_end) == []
    assert ends == ["first", "second"]


def test_what_was_killed_or_never_begun_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    killed = Written(tmp_path / "killed", sleeps=-1.0)
    late = Written(tmp_path / "late", needs=tmp_path / "killed")
    console = Console(record=True, quiet=False, width=200, file=io.StringIO())
    failed = run_trainings(
        [killed, late], write=lambda: None, where=tmp_path, at_once=1, console=console, stop=StopRequest()
    )
    assert failed == [killed, late]
    said = console.export_text()
    assert "killed failed (killed by SIGKILL, as a machine does that runs out of memory); see" in said
    assert "late was not begun: what it builds on has failed" in said
