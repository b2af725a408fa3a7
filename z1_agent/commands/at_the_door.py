"""What commands check before they work. Each refusal is one sentence that says what to give instead."""

from pathlib import Path

import torch

from z1_agent import checkpoint
from z1_agent.checkpoint import CheckpointError
from z1_agent.policy import Pi05Policy
from z1_agent.presets import cpu
from z1_envs.canvas import MIN_PX
from z1_envs.kitchen.simulation import BACKEND
from z1_envs.kitchen.spaces import ObsMode


def check_at_least_1(flag: str, number: int | None) -> None:
    """None, where the flag was not given, passes."""
    if number is not None and number < 1:
        raise ValueError(f"{flag} must be at least 1, got {number}; give a larger number")


def check_not_negative(flag: str, number: int) -> None:
    """0 passes."""
    if number < 0:
        raise ValueError(f"{flag} must not be negative, got {number}")


def check_device(name: str) -> torch.device:
    """Where networks are to compute. Raises ValueError where this machine has no such device."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch built without CUDA asserts
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device {name!r} is not to be had here: {reason}; give cpu") from error
    if device.type == "meta":
        raise ValueError("--device 'meta' holds no weights; give cpu")
    return device


def make_directory(path: Path) -> None:
    """With its parents, where it does not exist yet."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot write to {path}: {error.strerror}; give another place") from error


def load_policy(path: Path) -> checkpoint.Checkpoint:
    """A checkpoint that was trained on the embedded kitchen. Raises CheckpointError for another."""
    loaded = checkpoint.load(path)
    if loaded.backend != BACKEND:
        raise CheckpointError(
            f"{path} was trained on the backend {loaded.backend!r}, this is the embedded kitchen; film it with "
            f"z1 record --backend robocasa"
        )
    return loaded


def sight_of(policy: Pi05Policy) -> tuple[ObsMode, int]:
    """The observations that its envs are to give it, and how wide their images are [px]; no matter without images."""
    vision = policy.config.model.vision
    return ("state", MIN_PX) if vision is None else ("pixels", vision.image_px)


def horizon_of(task: str, given: int | None) -> int:
    """Of an episode [steps]: the given one, or else that of training on a CPU."""
    return cpu(task).horizon if given is None else given
