"""The benchmark of the main job: what it counts, and whose configuration its control takes."""

import dataclasses
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from z1_agent.presets import cpu, load_config, smoke

ROOT = Path(__file__).parents[2]

# Fails the first time, as if it were stopped, and ends the second.
_FAKE_Z1 = """#!/bin/sh
for word in "$@"; do [ "$last" = --out ] && out=$word; last=$word; done
if [ -d "$out" ]; then echo {} > "$out/result.json"; else mkdir -p "$out"; exit 130; fi
"""


@pytest.fixture
def main_job() -> ModuleType:
    spec = importlib.util.spec_from_file_location("main_job", ROOT / "benchmarks" / "main_job.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_cost_is_that_of_all_processes(
    main_job: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "z1"
    program.parent.mkdir()
    program.write_text(_FAKE_Z1)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    run = tmp_path / "run"
    with pytest.raises(SystemExit):
        main_job.train("OpenDrawer", "smoke", 0, run)
    cost = main_job.train("OpenDrawer", "smoke", 0, run)
    assert main_job.train("OpenDrawer", "smoke", 0, run) == cost, "a finished run is not run again"
    processes = json.loads((run / "process.json").read_text())
    assert len(processes) == 2
    assert cost["wall_minutes"] == sum(process["wall_minutes"] for process in processes)
    assert cost["cpu_minutes"] == sum(process["cpu_minutes"] for process in processes)


def test_a_configuration_comes_back_from_its_json() -> None:
    for config in (cpu("OpenDrawer"), dataclasses.replace(smoke("CloseSingleDoor"), seed=3)):
        values = json.loads(json.dumps(dataclasses.asdict(config)))
        assert load_config(values) == config
    values["grpo"]["keep"]["middle"] = 0.5
    with pytest.raises(ValueError, match=r"unknown grpo\.keep\.middle; use the program version that wrote it"):
        load_config(values)
