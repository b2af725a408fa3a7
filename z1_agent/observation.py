"""Env observations to model tensors, and model actions back to the env's.

An observation of B lanes is a dict::

    "state"        float32 [B, 16]             z1_envs.layout.STATE
    "scene"        float32 [B, scene_width]    where the policy reads privileged scene state
    "image_left", "image_right", "image_wrist"   uint8 [B, h, w, 3]   where it reads pixels; None for a camera
                   that is not there, whose tokens are then left out
    "instruction"  sequence of B strings, none empty

Normalisation is π0.5's: quantiles to [-1, 1] for state and actions. Source: arXiv 2504.16054 and its
public code's output, of which tests hold examples.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from z1_agent.images import image_tensor
from z1_agent.quantiles import RunningQuantiles
from z1_agent.tokenizer import PromptFormat, Tokenizer, state_bins
from z1_envs.layout import ACTION, STATE

Observation = Mapping[str, Any]

# The published model's three places for images, in the order of its prefix, and the camera in each: the convention of
# RLinf's RoboCasa policies (base view, wrist, extra view). A robot with one arm has its wrist on the left.
PUBLISHED_CAMERAS = {
    "base_0_rgb": "image_left",
    "left_wrist_0_rgb": "image_wrist",
    "right_wrist_0_rgb": "image_right",
}

# The formula divides by q99 - q01. Where the data hardly move, the interval is widened around its middle to these
# widths: a hundredth of the range of an action, 2 cm or 1° of a state. A rare deviation may still be 200 there;
# in an action, whose entry is then not played either, it is no target (`Normalizer.action`).
_MIN_ACTION_RANGE, _MIN_STATE_RANGE, _MIN_SCENE_STD = 0.02, 0.02, 0.01
_SCENE_LIMIT = 10.0


def take(observation: Observation, rows: slice | NDArray[np.int64]) -> dict[str, Any]:
    """The given rows of an observation; what is None stays None."""
    if isinstance(rows, slice):
        return {name: values if values is None else values[rows] for name, values in observation.items()}
    return {name: values if values is None else np.asarray(values)[rows] for name, values in observation.items()}


def join(observations: list[Observation]) -> dict[str, Any]:
    """The rows of all `observations`, of the same parts, in order.

    Raises ValueError where one has a part, or a camera, that another lacks.
    """
    first = observations[0]
    for other in observations[1:]:
        if {name: values is None for name, values in other.items()} != {
            name: values is None for name, values in first.items()
        }:
            raise ValueError(
                f"observations to join need the same parts and cameras, got {', '.join(first)} and {', '.join(other)}"
            )
    return {
        name: None if values is None else np.concatenate([np.asarray(other[name]) for other in observations])
        for name, values in first.items()
    }


@dataclass(frozen=True, kw_only=True)
class Normalizer:
    """Statistics of the training data, float32: quantiles of state [16] and action [12], moments of
    scene [S].
    """

    state_q01: NDArray
    state_q99: NDArray
    action_q01: NDArray
    action_q99: NDArray
    scene_mean: NDArray
    scene_std: NDArray

    def __post_init__(self) -> None:
        widths = {"state": STATE.width, "action": ACTION.width, "scene": np.shape(self.scene_mean)[0]}
        for field in fields(self):
            array, width = np.asarray(getattr(self, field.name), np.float32), widths[field.name.split("_")[0]]
            if array.shape != (width,) or not np.isfinite(array).all():
                raise ValueError(f"{field.name} needs {width} finite numbers, got shape {array.shape}: {array}")
            object.__setattr__(self, field.name, array)

    @property
    def action_moves(self) -> NDArray:
        """Which action entries [12] the demonstrations move. The others keep the value they had there: noise
        on a base that nobody drives would only blur the likelihood.
        """
        return self.action_q99 - self.action_q01 > 1.01 * _MIN_ACTION_RANGE

    @staticmethod
    def fit(state: NDArray, actions: NDArray, scene: NDArray | None) -> "Normalizer":
        """Statistics of state [N, 16], actions [M, 12] and scene [N, S] (None where the policy reads
        none).
        """
        state_q01, state_q99 = _quantiles(state, _MIN_STATE_RANGE)
        action_q01, action_q99 = _quantiles(actions, _MIN_ACTION_RANGE)
        scene = np.zeros((1, 0)) if scene is None else scene
        return Normalizer(
            state_q01=state_q01,
            state_q99=state_q99,
            action_q01=action_q01,
            action_q99=action_q99,
            scene_mean=scene.mean(0),
            scene_std=np.maximum(scene.std(0), _MIN_SCENE_STD),
        )

    @staticmethod
    def fit_stream(batches: "Iterable[tuple[NDArray, NDArray]]") -> "Normalizer":
        """As `fit` without scene, of batches (state [N, 16], actions [M, 12]) that need not fit into memory together.

        Quantiles differ from `fit`'s by at most `RunningQuantiles.bin_width`, below 1/4000 of the range of the data.
        """
        state, actions = RunningQuantiles(STATE.width), RunningQuantiles(ACTION.width)
        for states, chunk in batches:
            state.add(states)
            actions.add(chunk)
        state_q01, state_q99 = _widened(state.quantile(0.01), state.quantile(0.99), _MIN_STATE_RANGE)
        action_q01, action_q99 = _widened(actions.quantile(0.01), actions.quantile(0.99), _MIN_ACTION_RANGE)
        return Normalizer(
            state_q01=state_q01,
            state_q99=state_q99,
            action_q01=action_q01,
            action_q99=action_q99,
            scene_mean=np.zeros(0),
            scene_std=np.zeros(0),
        )

    def state(self, state: NDArray) -> NDArray:
        """State [..., 16] in its units → model space, mostly in [-1, 1]."""
        return _normalise(state, self.state_q01, self.state_q99)

    def action(self, action: NDArray) -> NDArray:
        """Action [..., 12] of the env → model space, mostly in [-1, 1].

        What an entry that hardly moves does outside of its interval becomes the 0 that `env_action` plays there.
        """
        normalised = _normalise(action, self.action_q01, self.action_q99)
        return np.where(self.action_moves | (np.abs(normalised) <= 1), normalised, np.float32(0))

    def env_action(self, action: NDArray) -> NDArray:
        """Action [..., 12] in model space → the env's, clipped to [-1, 1]; the inverse of `action` in the
        entries that move.
        """
        action = np.where(self.action_moves, action, 0.0)
        env = (action + 1) / 2 * (self.action_q99 - self.action_q01 + 1e-6) + self.action_q01
        return np.clip(env, -1, 1).astype(np.float32)

    def scene(self, scene: NDArray) -> NDArray:
        """Scene [..., S] → zero mean, unit spread; limited, so that one unseen pose cannot drown the
        others.
        """
        return np.clip((scene - self.scene_mean) / self.scene_std, -_SCENE_LIMIT, _SCENE_LIMIT).astype(np.float32)


def _quantiles(data: NDArray, min_range: float) -> tuple[NDArray, NDArray]:
    q01, q99 = np.quantile(data, [0.01, 0.99], axis=0)
    return _widened(q01, q99, min_range)


def _widened(q01: NDArray, q99: NDArray, min_range: float) -> tuple[NDArray, NDArray]:
    middle, half = (q01 + q99) / 2, np.maximum(q99 - q01, min_range) / 2
    return middle - half, middle + half


def _normalise(x: NDArray, q01: NDArray, q99: NDArray) -> NDArray:
    return ((x - q01) / (q99 - q01 + 1e-6) * 2 - 1).astype(np.float32)


@dataclass(frozen=True)
class Inputs:
    """What `Pi05.encode` takes."""

    tokens: Tensor
    token_mask: Tensor
    images: dict[str, Tensor] | None
    scene: Tensor | None


@dataclass(frozen=True, kw_only=True)
class ObservationEncoder:
    """From observations to `Inputs`, reading the `cameras` at `image_px` [px] and, if `reads_scene`, the scene.

    The state reaches the model through the prompt alone, in its own width. Images of another size are resized.
    """

    normalizer: Normalizer
    tokenizer: Tokenizer
    cameras: tuple[str, ...]
    reads_scene: bool
    image_px: int
    prompt_format: PromptFormat

    def __call__(self, observation: Observation, device: torch.device) -> Inputs:
        """Raises ValueError where a part is missing, has another shape, or is not finite, and for no lanes at all."""
        if "state" not in observation:
            raise ValueError(f"the observation has no 'state'; it has {', '.join(observation)}")
        batch = len(observation["state"])
        if batch == 0:
            raise ValueError("the observation has no rows (a batch of 0); give at least one lane")
        state = _part(observation, "state", batch, STATE.width)
        instructions = observation.get("instruction")
        if instructions is None or isinstance(instructions, str) or len(instructions) != batch:
            raise ValueError(f'"instruction" needs a sequence of {batch} strings, got {instructions!r}')
        bins = state_bins(self.normalizer.state(state)) if self.prompt_format is PromptFormat.STATE else None
        tokens, mask = self.tokenizer.prompts(instructions, bins)
        scene = None
        if self.reads_scene:
            scene = self.normalizer.scene(_part(observation, "scene", batch, len(self.normalizer.scene_mean)))
            scene = torch.from_numpy(scene).to(device)
        images = self._images(observation, batch, device)
        return Inputs(torch.from_numpy(tokens).to(device), torch.from_numpy(mask).to(device), images, scene)

    def _images(self, observation: Observation, batch: int, device: torch.device) -> dict[str, Tensor] | None:
        missing = [camera for camera in self.cameras if camera not in observation]
        if missing:
            raise ValueError(
                f"the observation has no {missing[0]!r}, which this policy reads; make the env with "
                f'obs="pixels", or say that a camera is not there by giving None'
            )
        there = [camera for camera in self.cameras if observation[camera] is not None]
        if self.cameras and not there:
            raise ValueError(f"all of {', '.join(self.cameras)} are None; this policy needs at least one image")
        images = {camera: image_tensor(camera, observation[camera], batch, self.image_px, device) for camera in there}
        return images or None


def _part(observation: Observation, name: str, batch: int, width: int) -> NDArray:
    if name not in observation:
        raise ValueError(f"the observation has no {name!r}, which this policy reads; it has {', '.join(observation)}")
    array = np.asarray(observation[name], np.float32)
    if array.shape != (batch, width) or not np.isfinite(array).all():
        raise ValueError(f"{name!r} needs finite numbers of shape [{batch}, {width}], got {array.shape}: {array}")
    return array
