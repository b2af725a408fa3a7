"""What is wrong with recorded episodes: numbers that no robot recorded, orders that do not fit, pictures that lack.

print(validate(Path("demo_im128.hdf5")))

Reading a dataset refuses it with the same sentences.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from z1_envs.demos import DemosError
from z1_envs.episodes import Dataset, Episode
from z1_envs.layout import ACTION, STATE, Layout

_LATCHES = ("gripper", "base_mode")  # parts that are -1, 0 or 1: open or close, on or off
_NORM_TOLERANCE = 1e-3  # of a quaternion stored in float32
_UPRIGHT = 1e-3  # x² + y² of a quaternion that turns about z alone


@dataclass(frozen=True, kw_only=True)
class DemosReport:
    """What is in a dataset.

    num_steps: of each episode. successes: episodes that are marked as such, None where nothing says so. Of those that
    are not left out as failed, ranges: part of action and state → smallest and largest value; instructions: how many
    episodes have each; problems: sentences that name episode and step; a dataset with any is not read. notes: what is
    worth knowing.
    """

    path: str
    format: str
    action_order: str
    latches: str
    fps: float
    image_px: int
    tasks: dict[str, int]
    num_steps: tuple[int, ...]
    successes: int | None
    instructions: dict[str, int]
    ranges: dict[str, tuple[float, float]]
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        """For people, a fact per line."""
        steps = self.num_steps
        lengths = f", {min(steps)} to {max(steps)} each" if steps else ""
        pictures = f"{self.image_px} px" if self.image_px else "none"
        marked = "nothing says" if self.successes is None else f"{self.successes} of {len(steps)} episodes"
        lines = [
            f"{self.path}: {self.format}",
            f"episodes      {len(steps)}, {sum(steps)} steps{lengths}, {self.fps:g} steps per second",
            f"tasks         {_counted(self.tasks)}",
            f"instructions  {_counted(self.instructions)}",
            f"success       marked in {marked}" if self.successes is not None else f"success       {marked}",
            f"images        {pictures}",
            f"action order  {self.action_order}",
            f"latches       {self.latches}",
            *(f"  {part:24} {low:9.4f} to {high:9.4f}" for part, (low, high) in self.ranges.items()),
            *(f"note: {note}" for note in self.notes),
            *(f"problem: {problem}" for problem in self.problems),
            f"{len(self.problems)} problems" if self.problems else "No problems: it can be learned from.",
        ]
        return "\n".join(lines)


def report_on(dataset: Dataset, path: Path) -> DemosReport:
    """Reads all of `dataset` that can be learned from, an episode at a time."""
    problems: list[str] = []
    instructions: Counter[str] = Counter()
    successes: list[bool] = []
    beyond = 0
    lows = {f"{layout.name}.{part.name}": np.inf for layout in (ACTION, STATE) for part in layout.parts}
    highs = dict.fromkeys(lows, -np.inf)
    for index, num_steps in enumerate(dataset.num_steps):
        if dataset.failed[index]:
            successes.append(False)
            continue
        try:
            episode = dataset.episode(index)
        except DemosError as error:
            problems.append(str(error))
            continue
        problems += problems_of(episode, num_steps, dataset.image_px, has_latches=dataset.latches is not None)
        instructions[episode.instruction] += 1
        beyond += int((np.abs(episode.actions) > 1).sum())
        if episode.succeeded is not None:
            successes.append(episode.succeeded)
        for layout, vectors in ((ACTION, episode.actions), (STATE, episode.state)):
            for part, values in layout.split(vectors).items():
                name = f"{layout.name}.{part}"
                if values.size and np.isfinite(values).any():
                    lows[name] = min(lows[name], float(np.nanmin(values)))
                    highs[name] = max(highs[name], float(np.nanmax(values)))
    notes = list(dataset.notes)
    if beyond:
        notes.append(
            f"{beyond} entries of actions lie beyond -1 and 1; they are clipped, as robosuite's controllers do"
        )
    gripper = f"{ACTION.name}.gripper"
    if instructions and lows[gripper] == highs[gripper] == 0:
        problems.append(f"{path}: the gripper is told neither to open nor to close in any step: the order does not fit")
    return DemosReport(
        path=str(path),
        format=dataset.format,
        action_order=dataset.action_order,
        latches=dataset.latches or "any number",
        fps=dataset.fps,
        image_px=dataset.image_px,
        tasks=dict(Counter(dataset.tasks)),
        num_steps=dataset.num_steps,
        successes=sum(successes) if successes else None,
        instructions=dict(instructions),
        ranges={name: (low, highs[name]) for name, low in lows.items() if np.isfinite(low)},
        problems=tuple(problems),
        notes=tuple(notes),
    )


def problems_of(episode: Episode, num_steps: int, image_px: int, *, has_latches: bool = True) -> list[str]:
    """What is wrong with `episode`, which was declared to have `num_steps` and pictures of `image_px` (0: none).

    has_latches: whether gripper and base mode have RoboCasa's values, which show that the order is right.
    """
    found: list[str] = []
    for layout, vectors in ((ACTION, episode.actions), (STATE, episode.state)):
        if len(vectors) != num_steps:
            found.append(f"{episode.name} has {len(vectors)} rows of {layout.name.lower()}, declared are {num_steps}")
        found += _not_finite(episode.name, layout, vectors)
    if num_steps == 0:
        found.append(f"{episode.name} has no steps")
    if not episode.instruction:
        found.append(f"{episode.name} has no instruction")
    if not found:
        found += (_wrong_latches(episode) if has_latches else []) + _wrong_quaternions(episode)
    if image_px:
        found += _wrong_pictures(episode, num_steps, image_px)
    return found


def _not_finite(name: str, layout: Layout, vectors: NDArray) -> list[str]:
    for part, values in layout.split(vectors).items():
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            return [f"{name}, step {bad[0]}: {layout.name.lower()} {part} is {values[bad[0]]} ({len(bad)} such steps)"]
    return []


def _wrong_latches(episode: Episode) -> list[str]:
    found = []
    for part in _LATCHES:
        values = episode.actions[:, ACTION[part]][:, 0]
        bad = np.flatnonzero(~np.isin(values, (-1, 0, 1)))
        if len(bad):
            found.append(
                f"{episode.name}, step {bad[0]}: what should be the {part} is {values[bad[0]]:.4g}, RoboCasa records "
                f"-1, 0 or 1 ({len(bad)} such steps): the order of the action does not fit the data"
            )
    return found


def _wrong_quaternions(episode: Episode) -> list[str]:
    found = []
    for part in ("base_quaternion", "eef_quaternion"):
        values = episode.state[:, STATE[part]]
        norms = np.linalg.norm(values, axis=1)
        bad = np.flatnonzero(np.abs(norms - 1) > _NORM_TOLERANCE)
        if len(bad):
            found.append(
                f"{episode.name}, step {bad[0]}: the {part} has the length {norms[bad[0]]:.4f}, expected 1 "
                f"({len(bad)} such steps)"
            )
    base = np.square(episode.state[:, STATE["base_quaternion"]])
    # The base turns about the vertical alone: x = y = 0.
    if not found and (base[:, 0] + base[:, 1] > _UPRIGHT).any():
        is_wxyz = bool((base[:, 1] + base[:, 2] <= _UPRIGHT).all())
        hint = "as wxyz it would not: the file has another convention" if is_wxyz else "the order does not fit"
        found.append(f"{episode.name}: read as xyzw the base_quaternion tilts the robot; {hint}")
    return found


def _wrong_pictures(episode: Episode, num_steps: int, image_px: int) -> list[str]:
    found = []
    for camera, read in episode.pictures.items():
        try:
            pictures = read()
        except DemosError as error:
            found.append(str(error))
            continue
        if pictures.shape != (num_steps, image_px, image_px, 3):
            found.append(
                f"{episode.name} has {camera} of shape {list(pictures.shape)}, expected "
                f"[{num_steps}, {image_px}, {image_px}, 3]"
            )
    return found


def _counted(numbers: dict[str, int]) -> str:
    shown = [f"{name} ({number})" for name, number in sorted(numbers.items(), key=lambda item: -item[1])[:8]]
    return ", ".join(shown) + (f" and {len(numbers) - 8} more" if len(numbers) > 8 else "")
