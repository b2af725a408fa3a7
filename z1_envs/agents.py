"""Agents: what they are shown, and what of their answers is carried out. Evaluations and films share it.

Axes: L lanes, B those of them that move, H chunk length, A action shape.
"""

from typing import Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

from z1_envs.lane_rows import Infos, Observation


class Agent(Protocol):
    """Bring your own. An agent may also have `reset(seed)`, which is called once before each run of an evaluation and
    before each film.
    """

    def act(self, observation: dict[str, NDArray], /) -> NDArray:
        """Actions [B, A] or chunks [B, H, A] for the B rows of `observation`: those of the lanes that move, ever fewer.

        An agent with memory tells them apart by "episode" int [B], the number of each row's episode; one that looks at
        the env itself, as a scripted expert does, by "lane" int [B].
        """
        ...


def check_agent(agent: object) -> None:
    """Raises TypeError for an agent that cannot act."""
    if not callable(getattr(agent, "act", None)):
        raise TypeError(f"an agent has a method act(observation), {type(agent).__name__} has none; see Agent")


def reset_agent(agent: Agent, seed: int) -> None:
    """Calls the agent's `reset`, where it has one."""
    reset = getattr(agent, "reset", None)
    if reset is not None:
        reset(seed)


def check_infos(infos: Infos, keys: tuple[str, ...], what: str) -> None:
    """Raises ValueError where `what`, a name for the message, would miss `keys` in the infos of an env."""
    missing = [key for key in keys if key not in infos]
    if missing:
        raise ValueError(f"{what} needs infos {missing} from the env; it gives {sorted(infos)}")


def agent_rows(observation: Observation, infos: Infos, lanes: NDArray) -> dict[str, NDArray]:
    """What an agent sees of `lanes` (indices [B] or a mask [L]): their rows of observations [L, …] by key, an array
    under "observation", and their texts under "instruction" where the env has them.
    """
    given = observation if isinstance(observation, dict) else {"observation": observation}
    rows = {key: values[lanes] for key, values in given.items()}
    if "instruction" in infos:
        rows["instruction"] = infos["instruction"][lanes].astype(str)
    return rows


def ask(
    agent: Agent,
    observation: Observation,
    infos: Infos,
    *,
    moving: NDArray[np.bool_],
    first_episode: int,
    space: spaces.Space,
    chunk_len: int | None,
) -> NDArray:
    """What `agent` wants the `moving` lanes [L] to do: actions [L, H, A] of `space`, zeros for the others.

    Lane i plays episode first_episode + i. chunk_len: how much of a chunk is carried out [steps]; None for all of it.
    Raises ValueError for an answer of another shape, or shorter than chunk_len.
    """
    lanes = np.flatnonzero(moving)
    rows = agent_rows(observation, infos, lanes) | {"lane": lanes, "episode": first_episode + lanes}
    chunks = _chunks(agent.act(rows), len(lanes), space.shape or (), chunk_len)
    actions = np.zeros((len(moving), *chunks.shape[1:]), chunks.dtype)
    actions[lanes] = chunks
    return actions


def _chunks(answer: ArrayLike, num_rows: int, width: tuple[int, ...], chunk_len: int | None) -> NDArray:
    """The part [B, H, A] of an agent's answer that is carried out before the next decision."""
    actions = np.asarray(answer)
    chunks = actions[:, None] if actions.ndim == 1 + len(width) else actions
    fits = chunks.ndim == 2 + len(width) and chunks.shape[0] == num_rows and chunks.shape[2:] == width
    if not fits or chunks.shape[1] < (chunk_len or 1):
        wanted = ", ".join(map(str, (num_rows, f"H >= {chunk_len or 1}", *width)))
        raise ValueError(
            f"the agent must return [{wanted}] (or no H axis with chunk_len 1), got {actions.shape}; "
            "chunk_len says how much of a chunk is carried out"
        )
    return chunks[:, :chunk_len]
