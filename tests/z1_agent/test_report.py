"""The report: what the test says in words, and a page that needs nothing but itself."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from z1_agent.curves import figures
from z1_agent.presets import smoke
from z1_agent.report import paired_in_words, write_report
from z1_agent.run import STAGES, Run, open_run, write_text

LOG: list[dict[str, Any]] = [
    {"stage": "sft", "round": 0, "success": 0.2, "loss": 1.0},
    {"stage": "sft", "round": 1, "success": 0.5, "loss": 0.5},
] + [
    {
        "stage": "rl",
        "iteration": i,
        "success": 0.1 * i,
        "groups": {"dead": 4 - i, "mixed": i, "all_success": 0, "trained": i},
        "clip_fraction": 0.01,
        "kl": None if i == 2 else 0.001,  # a divergence that was not finite
        "env_steps": 1000,
    }
    for i in range(4)
]


class Page(HTMLParser):
    """Collects tags that were opened and not closed, addresses, and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "poster")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


def made_run(path: Path, *, rate: float | None = 0.75) -> Run:
    run = open_run(path, smoke("OpenDrawer"), preset="smoke", command=["z1", "train", "<b>&"], resume=False)
    before = {"successes": 2, "episodes": 4, "rate": 0.5, "interval": [0.15, 0.85]}
    after = {"successes": 3, "episodes": 4, "rate": rate, "interval": [0.3, 0.954]}
    result = {
        "task": "OpenDrawer",
        "backend": "kitchen",
        "protocol": {"name": "z1-train evaluation", "version": 1, "num_episodes": 4, "horizon": 60},
        "protocol_hash": "0123456789ab",
        "seed": 0,
        "sft": before,
        "rl": after,
        "paired": {"p_value": 1.0, "gained": 1, "lost": 0},
        "env_steps": dict.fromkeys(STAGES, 1000),
        "wall_seconds": dict.fromkeys(STAGES, 61.0),
        "cpu_seconds": dict.fromkeys(STAGES, 2.0),
        "peak_memory_bytes": 500_000_000,
        "commit": None,
        "versions": {"torch": "2.13"},
    }
    write_text(run.result, json.dumps(result))
    for line in LOG:
        run.append_log(line)
    return run


def test_the_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run")
    write_report(run)
    text = run.report.read_text()
    page = Page(text)
    assert page.open == []
    assert len(page.addresses) == 5  # the figures; there are no videos
    for address in page.addresses:
        kind, _, content = address.partition(",")
        assert kind == "data:image/svg+xml;base64"
        assert ElementTree.fromstring(base64.b64decode(content)).tag.endswith("svg")
    assert not re.search(r"https?://", re.sub(r"base64,[\w+/=]+", "", text))
    for wanted in ("50.0 %", "75.0 %", "30.0 % – 95.4 %", "3 / 4", "0123456789ab", "5 min 5 s", "5,000", "0.50 GB"):
        assert wanted in page.text
    assert "z1 train '<b>&'" in page.text  # escaped in the source, so it is text here


def test_a_rate_without_trials_is_a_dash(tmp_path: Path) -> None:
    run = made_run(tmp_path / "run", rate=None)
    write_report(run)
    assert "– after reinforcement learning" in Page(run.report.read_text()).text


def test_figures_are_svg_and_come_with_their_data() -> None:
    made = figures(LOG)
    assert len(made) == 5
    for svg in made.values():
        assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert list(figures(LOG[:2])) == ["Held-out success after each SFT round"]
    assert figures([]) == {}


@pytest.mark.parametrize(
    ("gained", "lost", "p_value", "words"),
    [
        (0, 0, 1.0, "exactly the same episodes"),
        (9, 0, 0.0039, "GRPO is better on these episodes, beyond chance (McNemar's exact test, p = 0.0039)"),
        (0, 9, 0.0039, "GRPO is worse on these episodes, beyond chance"),
        (
            3,
            2,
            1.0,
            "won 3 episodes that the policy before it had lost, and lost 2 that it had won: that may well be chance",
        ),
        (60, 2, 1e-15, "p < 0.0001"),
    ],
)
def test_the_paired_test_in_words(gained: int, lost: int, p_value: float, words: str) -> None:
    assert words in paired_in_words({"gained": gained, "lost": lost, "p_value": p_value})
