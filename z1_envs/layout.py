"""The order of every flat vector: the 12-dim action and the proprioceptive states of 16 and 25 entries.

This is the only place that knows an order. Everything else asks for a part by name::

    ACTION["gripper"]                    # slice(6, 7)
    parts = ACTION.split(action)         # {"eef_position": [..., 3], ...}
    action = ACTION.join(parts)          # [..., 12]

Sources: RoboCasa's PandaOmron in HYBRID_MOBILE_BASE (robosuite `default_pandaomron.json`) for the action,
RoboCasa 1.0's LeRobot modality file for the state, RLinf's π0 on RoboCasa for the wide one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Part:
    """A named run of entries in a flat vector."""

    name: str
    width: int
    unit: str
    frame: str


@dataclass(frozen=True)
class Layout:
    """A flat vector as named parts, in order."""

    name: str
    parts: tuple[Part, ...]
    _slices: dict[str, slice] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        start = 0
        for part in self.parts:
            self._slices[part.name] = slice(start, start + part.width)
            start += part.width

    @property
    def width(self) -> int:
        """Number of entries of the whole vector."""
        return sum(part.width for part in self.parts)

    def __getitem__(self, name: str) -> slice:
        if name not in self._slices:
            raise KeyError(f"{self.name} has no part {name!r}; it has {', '.join(self._slices)}")
        return self._slices[name]

    def split(self, vector: NDArray) -> dict[str, NDArray]:
        """Views of the parts of `vector` [..., width] by name.

        Raises ValueError where the last axis has another length.
        """
        if vector.shape[-1] != self.width:
            raise ValueError(f"{self.name} has {self.width} entries, got an array of shape {vector.shape}")
        return {name: vector[..., part] for name, part in self._slices.items()}

    def join(self, parts: Mapping[str, NDArray]) -> NDArray:
        """The flat vector [..., width] made of `parts`; the inverse of `split`.

        Raises ValueError where a part is missing, unknown or of another width.
        """
        if set(parts) != set(self._slices):
            raise ValueError(f"{self.name} needs exactly the parts {', '.join(self._slices)}; got {', '.join(parts)}")
        for part in self.parts:
            if np.shape(parts[part.name])[-1] != part.width:
                raise ValueError(
                    f"{self.name}.{part.name} has {part.width} entries, got shape {np.shape(parts[part.name])}"
                )
        return np.concatenate([parts[part.name] for part in self.parts], axis=-1)

    def reordered(self, name: str, order: Sequence[str]) -> "Layout":
        """The same parts in another order. Raises ValueError where `order` does not name each part once."""
        if sorted(order) != sorted(self._slices):
            raise ValueError(f"{self.name} needs each of {', '.join(self._slices)} once; got {', '.join(order)}")
        parts = {part.name: part for part in self.parts}
        return Layout(name, tuple(parts[part] for part in order))


# All entries lie in [-1, 1]. What ±1 means per control step of 50 ms:
ACTION = Layout(
    "ACTION",
    (
        Part("eef_position", 3, "0.05 m", "robot base"),
        Part("eef_rotation", 3, "0.5 rad, axis-angle", "robot base"),
        Part("gripper", 1, "-1 opens, +1 closes", "gripper"),
        Part("base", 3, "1 m/s forward, 1 m/s left, 1.5 rad/s yaw", "robot base"),
        Part("torso", 1, "0.05 m", "robot base"),
        Part("base_mode", 1, "sign", "none"),
    ),
)

# The order in RoboCasa 1.0's LeRobot datasets (groot_dataset_assets/PandaOmron_modality.json).
ACTION_V1 = ACTION.reordered("ACTION_V1", ("base", "torso", "base_mode", "eef_position", "eef_rotation", "gripper"))

STATE = Layout(
    "STATE",
    (
        Part("base_position", 3, "m", "world"),
        Part("base_quaternion", 4, "xyzw", "world"),
        Part("eef_position", 3, "m", "robot base"),
        Part("eef_quaternion", 4, "xyzw", "robot base"),
        Part("gripper_qpos", 2, "m", "gripper"),
    ),
)

# Official backend only. Parts that STATE has too are the same numbers.
STATE_25 = Layout(
    "STATE_25",
    (
        Part("eef_position_world", 3, "m", "world"),
        Part("eef_quaternion_world", 4, "xyzw", "world"),
        Part("gripper_qpos", 2, "m", "gripper"),
        Part("gripper_qvel", 2, "m/s", "gripper"),
        Part("eef_position", 3, "m", "robot base"),
        Part("eef_quaternion", 4, "xyzw", "robot base"),
        Part("base_position", 3, "m", "world"),
        Part("base_quaternion", 4, "xyzw", "world"),
    ),
)

# Width → layout: what the option `state_width` chooses among.
STATES = {layout.width: layout for layout in (STATE, STATE_25)}

# Privileged, embedded kitchen only. `target` is what the gripper goes to (handle, push point, object), `goal` the
# place it ends at; with two doors, those of the door that is due. Rotations are the first two columns of the matrix.
SCENE = Layout(
    "SCENE",
    (
        Part("eef_position", 3, "m", "robot base"),
        Part("eef_rotation", 6, "none", "robot base"),
        Part("arm_qpos", 7, "rad", "joints"),
        Part("arm_lead", 7, "rad, servo target minus joint", "joints"),
        Part("gripper_qpos", 2, "m", "gripper"),
        Part("target_from_eef", 3, "m", "robot base"),
        Part("target_rotation", 6, "none", "robot base"),
        Part("goal_from_target", 3, "m", "robot base"),
        Part("fixture_joints", 2, "share of a right angle (doors) or of the travel (drawers), else rad", "fixture"),
        Part("latch", 1, "1 where the machine is on", "fixture"),
        Part("grasp", 2, "m, width of the object where it is held and height of that over its centre", "object"),
    ),
)

# Observation key → RoboCasa's camera.
CAMERAS = {
    "image_left": "robot0_agentview_left",
    "image_right": "robot0_agentview_right",
    "image_wrist": "robot0_eye_in_hand",
}

# The names in such a dataset's meta/modality.json → our parts.
MODALITY_ACTION = {
    "base_motion": ("base", "torso"),
    "control_mode": ("base_mode",),
    "end_effector_position": ("eef_position",),
    "end_effector_rotation": ("eef_rotation",),
    "gripper_close": ("gripper",),
}
MODALITY_STATE = {
    "base_position": ("base_position",),
    "base_rotation": ("base_quaternion",),
    "end_effector_position_relative": ("eef_position",),
    "end_effector_rotation_relative": ("eef_quaternion",),
    "gripper_qpos": ("gripper_qpos",),
}

# Part of STATE → RoboCasa's observation; quaternions are xyzw in both.
STATE_KEYS = {
    "base_position": "robot0_base_pos",
    "base_quaternion": "robot0_base_quat",
    "eef_position": "robot0_base_to_eef_pos",
    "eef_quaternion": "robot0_base_to_eef_quat",
    "gripper_qpos": "robot0_gripper_qpos",
}
