"""The benchmark of the network runs at nano size on a CPU, and reports what it did not measure as such."""

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "pi05.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("pi05_benchmark", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_runs_at_nano_size(benchmark, tmp_path, capsys):
    benchmark.main(["--device", "cpu", "--size", "nano", "--quick", "--out", str(tmp_path)])
    report = json.loads((tmp_path / "pi05.json").read_text())
    assert report["options"] == {"device": "cpu", "size": "nano", "quick": True}
    assert [len(rows) for rows in report["figures"].values()] == [5, 6, 6, 4]
    assert all(row["figure"] > 0 for rows in report["figures"].values() for row in rows)
    text = (tmp_path / "pi05.md").read_text()
    assert text == capsys.readouterr().out
    assert text.startswith(report["machine"])
    assert text.count("not measured") == 4


def test_a_missed_figure_says_so(benchmark):
    assert benchmark.Row("ratio", 0.41, "", 0.4).line() == "| ratio | 0.41 | ≤ 0.4 (missed) |"
    assert benchmark.Row("rate", 91.0, "chunks/s", 90.0, at_least=True).line() == "| rate | 91 chunks/s | ≥ 90 |"
    assert benchmark.Row("peak", 3.0, "GiB").line() == "| peak | 3 GiB |  |"
