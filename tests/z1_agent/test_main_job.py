"""The benchmark of the main job."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_its_table_has_training_and_control_and_a_finished_run_is_not_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location("main_job", ROOT / "benchmarks" / "main_job.py")
    assert spec is not None
    assert spec.loader is not None
    main_job = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(main_job)
    words = ["--task", "CloseDrawer", "--preset", "smoke", "--seeds", "1", "--out", str(tmp_path)]
    assert main_job.main(words) == 0
    first = capsys.readouterr().out
    assert "CloseDrawer-1: done\nCloseDrawer-1.control.json: done\n" in first
    rows = [line for line in first.splitlines() if line.startswith("| 1 | ")]
    assert len(rows) == 1
    assert "not run" not in rows[0]
    assert main_job.main(words) == 0
    assert "done" not in (second := capsys.readouterr().out)
    assert rows[0] in second
