"""Recordings for people: episodes side by side, and a tree that branches, as small mp4 files.

    envs = KitchenVectorEnv("OpenDrawer", num_envs=2)
    record_rollout(envs, agent, Path("rollout.mp4"), seed=0)

    envs = KitchenVectorEnv("OpenDrawer", num_envs=8, group_size=8)
    record_tree(envs, agent, Path("tree.mp4"), seed=0, decision=3)

Every lane is a tile. Its frame says what it is doing: blue moves in the shared trunk, grey moves alone, green has
succeeded and red has failed; the last two stand still. One picture every second step: the film runs in real time.

Axes: L lanes, H chunk length, A action width.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import imageio.v2 as imageio
import numpy as np
from numpy.typing import ArrayLike, NDArray

from z1_envs.agents import Agent, ask, check_agent, check_infos, reset_agent
from z1_envs.arguments import check_whole
from z1_envs.branch import check_branching
from z1_envs.lane_rows import Infos, Observation

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

STEPS_PER_PICTURE = 2
FPS = 10  # of 20 steps per second
BORDER_PX = 6
TRUNK, ALONE, SUCCESS, FAILURE = (56, 132, 255), (96, 96, 96), (38, 166, 91), (214, 69, 65)


class FilmedEnv(Protocol):
    """A BranchVectorEnv whose lanes can be filmed, e.g. `KitchenVectorEnv`."""

    num_envs: int
    group_size: int
    single_action_space: Any

    @property
    def finished(self) -> NDArray[np.bool_]: ...
    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]: ...
    def step(self, actions: ArrayLike, *, active: Any = None) -> tuple[Any, Any, Any, Any, dict[str, Any]]: ...
    def branch(self, source: ArrayLike) -> tuple[Any, dict[str, Any]]: ...
    def film(self, lane: int) -> Image:
        """A picture [height, width, 3] of `lane` as it is now."""
        ...


def record_rollout(
    envs: FilmedEnv, agent: Agent, path: str | Path, *, seed: int, chunk_len: int | None = None
) -> NDArray[np.bool_]:
    """Films an episode of every lane, side by side, to the mp4 file `path`; group g starts from seed + g.

    chunk_len: how many actions of a chunk are carried out before the agent is asked again [steps]; None for all.
    The agent is treated as `evaluate` treats it: with the protocol's seed, horizon and chunk_len, and as many lanes as
    it has episodes, this is what was evaluated. Returns the success of each lane [L]. Where recording fails, `path` is
    as it was.

    Raises TypeError and ValueError for envs, agents and answers as `evaluate` does, and TypeError for envs without a
    method film(lane).
    """
    filmed = Filmed.begin(envs, agent, seed=seed, chunk_len=chunk_len)
    with film_writer(path) as append:
        for stills in filmed.roll(np.ones(envs.num_envs, dtype=bool)):
            append(_grid([framed(still, filmed.colour(i, ALONE)) for i, still in enumerate(stills)]))
    return filmed.success


def record_tree(
    envs: FilmedEnv, agent: Agent, path: str | Path, *, seed: int, decision: int, chunk_len: int | None = None
) -> NDArray[np.bool_]:
    """Films a trunk of `decision` decisions, then the branches that leave it, to the mp4 file `path`.

    All lanes are one group. The agent's chunks should be random, or the branches stay alike. chunk_len and what is
    returned and raised: as `record_rollout`; also ValueError for several groups or a negative `decision`.
    """
    check_branching(envs, "record_tree")
    if envs.group_size != envs.num_envs:
        raise ValueError(f"a tree is one group: build envs with group_size={envs.num_envs}, not {envs.group_size}")
    check_whole("decision", decision, least=0)
    filmed = Filmed.begin(envs, agent, seed=seed, chunk_len=chunk_len)
    with film_writer(path) as append:
        for stills in filmed.roll(np.arange(envs.num_envs) == 0, decision):
            append(_grid([framed(stills[0], filmed.colour(0, TRUNK))] * envs.num_envs))
        filmed.observation, filmed.infos = envs.branch(np.zeros(envs.num_envs, dtype=np.int64))
        for stills in filmed.roll(np.ones(envs.num_envs, dtype=bool)):
            append(_grid([framed(still, filmed.colour(i, ALONE)) for i, still in enumerate(stills)]))
    return filmed.success


@dataclass
class Filmed:
    """An env with its agent, and what its lanes returned last. chunk_len: as `record_rollout` has it."""

    envs: FilmedEnv
    agent: Agent
    chunk_len: int | None
    observation: Observation
    infos: Infos

    @classmethod
    def begin(cls, envs: FilmedEnv, agent: Agent, *, seed: int, chunk_len: int | None) -> "Filmed":
        """Both reset with `seed`. Raises TypeError and ValueError where no film can come of them."""
        check_branching(envs, "a film")
        if not callable(getattr(envs, "film", None)):
            raise TypeError(f"{type(envs).__name__} has no film(lane) -> uint8 [height, width, 3]; see FilmedEnv")
        check_agent(agent)
        if chunk_len is not None:
            check_whole("chunk_len", chunk_len, least=1)
        reset_agent(agent, seed)
        observation, infos = envs.reset(seed=seed)
        check_infos(infos, ("success",), "a film")
        return cls(envs, agent, chunk_len, observation, infos)

    @property
    def success(self) -> NDArray[np.bool_]:
        """Lanes [L] that have succeeded."""
        return np.asarray(self.infos["success"], dtype=bool)

    def colour(self, lane: int, moving: Colour) -> Colour:
        """The frame of `lane`: `moving` until it is finished."""
        if not self.envs.finished[lane]:
            return moving
        return SUCCESS if self.success[lane] else FAILURE

    def roll(self, chosen: NDArray[np.bool_], max_decisions: int | None = None) -> Iterator[list[Image]]:
        """Moves the `chosen` lanes [L] to their ends, or for `max_decisions`; yields the latest still of every lane."""
        envs = self.envs
        stills = [envs.film(lane) for lane in range(envs.num_envs)]
        yield stills
        num_decisions = num_steps = 0
        while (chosen & ~envs.finished).any() and num_decisions != max_decisions:
            chunk = ask(
                self.agent,
                self.observation,
                self.infos,
                moving=chosen & ~envs.finished,
                first_episode=0,
                space=envs.single_action_space,
                chunk_len=self.chunk_len,
            )
            for actions in chunk.swapaxes(0, 1):
                moving = chosen & ~envs.finished
                if not moving.any():
                    break
                self.observation, _, _, _, self.infos = envs.step(actions, active=moving)
                num_steps += 1
                # A lane that ends between two pictures would never be filmed again.
                on_picture = num_steps % STEPS_PER_PICTURE == 0
                for lane in np.flatnonzero(moving & (on_picture | envs.finished)):
                    stills[lane] = envs.film(int(lane))
                if on_picture or not (chosen & ~envs.finished).any():
                    yield stills
            num_decisions += 1


@contextmanager
def film_writer(path: str | Path):
    """A function that appends an image [height, width, 3] to the film `path`, which appears once it is complete."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"a film goes to a file, and {path} is a directory; give a name in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.tmp.mp4")
    last: list[Image] = []
    # yuv420p needs even sizes; imageio's default, multiples of 16, would rescale the tiles.
    writer: Any = imageio.get_writer(aside, format="FFMPEG", fps=FPS, codec="libx264", quality=6, macro_block_size=2)

    def append(image: Image) -> None:
        last[:] = [image]
        writer.append_data(image)

    try:
        yield append
        for _ in range(FPS):  # the end stands for a second
            append(last[0])
        writer.close()
        os.replace(aside, path)
    finally:
        writer.close()
        aside.unlink(missing_ok=True)


def framed(image: Image, colour: Colour) -> Image:
    """A copy of `image` [height, width, 3] with a border."""
    whole = np.empty_like(image)
    whole[:] = colour
    inner = slice(BORDER_PX, -BORDER_PX)
    whole[inner, inner] = image[inner, inner]
    return whole


def _grid(tiles: list[Image]) -> Image:
    """One image of all `tiles`, a single one in full size, several in half of it, at most four in a row."""
    if len(tiles) == 1:
        return tiles[0]
    num_columns = {1: 1, 2: 2, 3: 3, 4: 2}.get(len(tiles), 4)
    num_rows = -(-len(tiles) // num_columns)
    halves = [half_size(tile) for tile in tiles]
    halves += [np.zeros_like(halves[0])] * (num_rows * num_columns - len(halves))
    rows = [halves[i * num_columns : (i + 1) * num_columns] for i in range(num_rows)]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])


def half_size(image: Image) -> Image:
    """`image` [height, width, 3] in half of its size, by averaging; the rest beyond multiples of 4 is cut."""
    height, width = image.shape[0] // 4 * 4, image.shape[1] // 4 * 4  # so that halves are even
    parts = image[:height, :width].reshape(height // 2, 2, width // 2, 2, 3)
    return parts.mean(axis=(1, 3)).astype(np.uint8)
