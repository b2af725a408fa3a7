"""The figures of a report, as SVG texts."""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from z1_agent.run import RL, SFT
from z1_agent.statistics import smoothed

INK, MUTED, BLUE, GREEN, RED, SAND = "#1f2933", "#9aa5b1", "#2f6fde", "#26a65b", "#d64541", "#e3b23c"
_WINDOW = 10  # iterations in a moving average


def figures(log: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Caption → SVG, of what there is in a run's log."""
    rounds = [line for line in log if line["stage"] == SFT]
    iterations = [line for line in log if line["stage"] == RL]
    made: dict[str, str] = {}
    if rounds and "held_out_loss" in rounds[0]:
        made["Flow-matching loss of each round"] = _draw(lambda axes: _losses(axes, rounds))
    elif rounds:
        made["Held-out success after each SFT round"] = _draw(lambda axes: _sft(axes, rounds))
    if iterations:
        made["Success of GRPO rollouts"] = _draw(lambda axes: _success(axes, iterations))
        made["Groups per iteration: only mixed ones, and all-success ones that differ in time, teach"] = _draw(
            lambda axes: _groups(axes, iterations)
        )
        made["Share of clipped ratios"] = _draw(lambda axes: _line(axes, iterations, "clip_fraction", percent=True))
        made["Distance from the rollout policy (KL estimate)"] = _draw(
            lambda axes: _line(axes, iterations, "kl", percent=False)
        )
    return made


def _draw(paint: Callable[[Axes], None]) -> str:
    figure = Figure(figsize=(4.6, 2.7), layout="constrained")
    axes = figure.add_subplot()
    paint(axes)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=8, length=3, color=MUTED)
    axes.xaxis.label.set(color=INK, size=8.5)
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.7)
    axes.set_axisbelow(True)
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return text.getvalue()


def _column(lines: Sequence[dict[str, Any]], name: str) -> NDArray[np.float64]:
    return np.array([np.nan if line[name] is None else line[name] for line in lines], dtype=float)


def _sft(axes: Axes, rounds: Sequence[dict[str, Any]]) -> None:
    success = _column(rounds, "success")
    x = _column(rounds, "round") + 1
    axes.plot(x, success, color=BLUE, marker="o", markersize=4)
    best = int(np.argmax(success))
    axes.plot(x[best], success[best], "o", color=GREEN, markersize=8)
    axes.annotate("kept", (x[best], success[best]), (0, 8), textcoords="offset points", ha="center", fontsize=8)
    axes.set_ylim(0, max(0.1, 1.2 * success.max()))
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("round")


def _losses(axes: Axes, rounds: Sequence[dict[str, Any]]) -> None:
    x = _column(rounds, "round") + 1
    axes.plot(x, _column(rounds, "loss"), color=BLUE, marker="o", markersize=4, label="learned from")
    if rounds[0]["held_out_loss"] is not None:
        axes.plot(x, _column(rounds, "held_out_loss"), color=GREEN, marker="o", markersize=4, label="held out")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("round")
    axes.legend(frameon=False, fontsize=8, loc="best")


def _success(axes: Axes, iterations: Sequence[dict[str, Any]]) -> None:
    steps = np.cumsum(_column(iterations, "env_steps")) / 1000
    success = _column(iterations, "success")
    axes.plot(steps, success, color=BLUE, alpha=0.3, linewidth=1, marker=".", label="iteration")
    axes.plot(steps, smoothed(success, _WINDOW), color=BLUE, linewidth=2, label=f"mean of {_WINDOW}")
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1, 0))
    axes.set_xlabel("env steps [thousands]")
    axes.legend(frameon=False, fontsize=8, loc="best")


def _groups(axes: Axes, iterations: Sequence[dict[str, Any]]) -> None:
    counts = np.array([[line["groups"][k] for line in iterations] for k in ("all_success", "mixed", "dead")], float)
    x = _column(iterations, "iteration") + 1
    names = ("all succeed", "mixed", "dead")
    axes.bar(x, counts[0], 1.0, color=GREEN, label=names[0])
    axes.bar(x, counts[1], 1.0, bottom=counts[0], color=SAND, label=names[1])
    axes.bar(x, counts[2], 1.0, bottom=counts[0] + counts[1], color=RED, label=names[2])
    axes.set_ylim(0, counts.sum(axis=0).max())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("iteration")
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def _line(axes: Axes, iterations: Sequence[dict[str, Any]], name: str, *, percent: bool) -> None:
    axes.plot(_column(iterations, "iteration") + 1, _column(iterations, name), color=BLUE)
    axes.axhline(0, color=MUTED, linewidth=0.8)
    if percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1, 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("iteration")
