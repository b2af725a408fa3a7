"""RoboCasa v0.2's demonstrations: one HDF5 file in robomimic's layout. Needs the extra `hdf5`.

data            attributes env_args (JSON: env_name, env_kwargs with robots, control_freq, controller_configs), total
data/demo_n     attributes model_file, ep_meta (JSON with `lang`, the instruction), num_samples
  actions       float64 [n, 12] in the env's own order, which is `layout.ACTION`
  action_dict   rel_pos, rel_rot_axis_angle, gripper: the same again by name, which the order is checked against
  dones         1 at steps whose state is a success; episodes without any are left out, unless all are
  obs           robot0_…: states; robot0_…_image uint8 [n, px, px, 3]
mask            names of episodes by filter key

Images are stored upright: what writes them flips robosuite's (v0.2:utils/robomimic/robomimic_env_wrapper.py:267).
Order: v1.0.1:utils/lerobot_utils.py, ACTION_KEY_ORDERING_HDF5; scripts/dataset_states_to_obs.py writes the file.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from z1_envs.demos import DemosError
from z1_envs.episodes import Episode, task_of
from z1_envs.layout import ACTION, CAMERAS, STATE, STATE_KEYS
from z1_envs.robocasa.versions import V101

_CONTROL_HZ = 20
_ROBOTS = ("PandaOmron", "PandaMobile")  # one robot: v0.1 called it PandaMobile (v0.2:K/kitchen.py:280)
# Name in action_dict → entries of the action that it repeats (v0.2:utils/robomimic/robomimic_dataset_utils.py:56).
_NAMED = {"rel_pos": "eef_position", "rel_rot_axis_angle": "eef_rotation", "gripper": "gripper"}
_COMMAND = 'pip install -e ".[hdf5]"'


class RobomimicDataset:
    """A file of demonstrations; see `episodes.Dataset`.

    Raises DemosError where `path` is cut short, lacks what the layout asks for, or shows another robot, rate, kind
    or number of actions. To be closed.
    """

    format = "RoboCasa v0.2, HDF5 in robomimic's layout"
    latches = "-1/1"
    fps = float(_CONTROL_HZ)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _open(path)
        try:
            with self._reading():
                self._read_about()
        except BaseException:
            self._file.close()
            raise

    def _read_about(self) -> None:
        data: Any = self._file.get("data", {})
        self.names: tuple[str, ...] = tuple(sorted(data, key=_number))
        if not self.names:
            raise DemosError(f"{self._path} has no episodes data/demo_0, …: it is no file of robomimic's layout")
        if "env_args" not in data.attrs:
            raise DemosError(
                f"{self._path} has no attribute env_args: it is a raw recording without observations; RoboCasa's "
                "scripts/dataset_states_to_obs.py makes them"
            )
        env_args = _json(data.attrs["env_args"], f"{self._path}: env_args")
        env_name = _check_env(self._path, env_args)
        first = self._group(self.names[0])
        self._cameras = {key: f"{camera}_image" for key, camera in CAMERAS.items() if f"{camera}_image" in first["obs"]}
        self.image_px = self._find_image_px(first)
        self.action_order = f"{' '.join(part.name for part in ACTION.parts)}, says the robot in env_args"
        if "action_dict" in first:
            self.action_order += "; action_dict confirms it"
        groups = [self._group(name) for name in self.names]
        self.num_steps: tuple[int, ...] = tuple(int(group.attrs["num_samples"]) for group in groups)
        self._words = tuple(
            V101.words(_instruction(group, f"{self._path}, {name}"))
            for group, name in zip(groups, self.names, strict=True)
        )
        self.tasks = tuple(task_of(env_name, words) for words in self._words)
        self._marks = tuple(_mark(group) for group in groups)
        # Where no episode at all is marked, whoever wrote the file marks nothing.
        self.failed: tuple[bool, ...] = tuple(mark is False and True in self._marks for mark in self._marks)
        self.notes = self._check_lists(data)
        self.digest = self._digest(groups)

    def episode(self, index: int) -> Episode:
        """Raises DemosError for what lacks or has another shape, and where `action_dict` contradicts the order."""
        name = self.names[index]
        where = f"{self._path}, {name}"
        with self._reading():
            group = self._group(name)
            actions = _vectors(group["actions"], ACTION.width, f"{where}: actions")
            missing = [key for key in STATE_KEYS.values() if key not in group["obs"]]
            if missing:
                raise DemosError(f"{where}: obs lacks {', '.join(missing)}; it has {', '.join(group['obs'])}")
            parts = {
                part.name: _vectors(group["obs"][STATE_KEYS[part.name]], part.width, f"{where}: {part.name}")
                for part in STATE.parts
            }
            lengths = {part: len(values) for part, values in parts.items()} | {"actions": len(actions)}
            if len(set(lengths.values())) > 1:
                raise DemosError(f"{where} has parts of different lengths: {lengths}")
            if "action_dict" in group:
                _check_order(where, actions, group["action_dict"])
            lacking = [key for key in self._cameras.values() if key not in group["obs"]]
            if lacking:
                raise DemosError(f"{where}: obs lacks {', '.join(lacking)}, which the first episode has")
            return Episode(
                name=name,
                instruction=self._words[index],
                state=STATE.join(parts),
                actions=actions,
                succeeded=self._marks[index],
                pictures={key: partial(self._pictures, name, image) for key, image in self._cameras.items()},
            )

    def close(self) -> None:
        self._file.close()

    def _pictures(self, name: str, image: str) -> NDArray[np.uint8]:
        with self._reading():
            pictures = self._group(name)["obs"][image][()]
        if pictures.dtype != np.uint8 or pictures.ndim != 4:
            raise DemosError(
                f"{self._path}, {name}: {image} is {pictures.dtype} {list(pictures.shape)}, expected uint8"
            )
        return pictures

    def _group(self, name: str) -> Any:
        group = self._file["data"][name]
        for key in ("actions", "obs"):
            if key not in group:
                raise DemosError(f"{self._path}, {name} lacks {key}; it has {', '.join(group)}")
        if "num_samples" not in group.attrs:
            raise DemosError(f"{self._path}, {name} lacks the attribute num_samples; copy the file again")
        return group

    def _find_image_px(self, first: Any) -> int:
        if not self._cameras:
            return 0
        if len(self._cameras) < len(CAMERAS):
            raise DemosError(f"{self._path} has images {', '.join(self._cameras)} alone, expected {', '.join(CAMERAS)}")
        sizes = {first["obs"][image].shape[1:] for image in self._cameras.values()}
        height, width, *_ = sizes.copy().pop()
        if len(sizes) > 1 or height != width:
            raise DemosError(f"{self._path} has images of {sorted(sizes)}, expected squares of one size")
        return int(height)

    def _check_lists(self, data: Any) -> tuple[str, ...]:
        total = int(data.attrs["total"]) if "total" in data.attrs else sum(self.num_steps)
        if total != sum(self.num_steps):
            raise DemosError(
                f"{self._path} declares {total} steps in all, its episodes {sum(self.num_steps)}: episodes are "
                "missing; copy the file again"
            )
        masks = self._file.get("mask", {})
        for mask in masks:
            lost = sorted({name.decode() for name in masks[mask][()]} - set(self.names), key=_number)
            if lost:
                raise DemosError(f"{self._path}: mask/{mask} lists {', '.join(lost[:5])}, which data lacks")
        notes = [] if self._cameras else ["there are no images: it has low-dimensional observations alone"]
        if any(self.failed):
            notes.append(
                f"{sum(self.failed)} of {len(self.failed)} episodes are marked as failed: they are left out of what is "
                "learned"
            )
        elif True not in self._marks:
            notes.append("no episode is marked as a success: all are taken for one")
        return tuple(notes)

    def _digest(self, groups: list[Any]) -> str:
        """Of actions and instructions to learn from; pictures count by their size alone, which is quick to have."""
        kept = [index for index, failed in enumerate(self.failed) if not failed]
        about = ([self.tasks[index] for index in kept], [self._words[index] for index in kept], self.image_px)
        found = hashlib.sha256(json.dumps(about).encode())
        for index in kept:
            found.update(np.ascontiguousarray(groups[index]["actions"][()]).tobytes())
        return found.hexdigest()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """h5py's errors as ours: what a file that was cut short or overwritten raises."""
        try:
            yield
        except (OSError, KeyError, RuntimeError) as error:
            if isinstance(error, DemosError):
                raise
            raise DemosError(f"{self._path} cannot be read: {error}; copy the file again") from error


def _open(path: Path) -> Any:
    try:
        import h5py  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise DemosError(f"{path} is HDF5, which needs h5py: {_COMMAND}") from error
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DemosError(f"{path} is no HDF5 file, or was cut short: {error}; copy the file again") from error


def _number(name: str) -> int:
    digits = name.rpartition("_")[2]
    if not digits.isdigit():
        raise DemosError(f"an episode is called {name!r}, expected demo_0, demo_1, …")
    return int(digits)


def _check_env(path: Path, env_args: Mapping[str, Any]) -> str:
    """The env's name, once robot, rate and kind of action are those that `layout.ACTION` describes."""
    try:
        name, kwargs = env_args["env_name"], env_args["env_kwargs"]
        robots = kwargs["robots"]
    except (KeyError, TypeError) as error:
        raise DemosError(f"{path}: env_args lacks {error}; copy the file again") from error
    robot = robots if isinstance(robots, str) else " and ".join(robots)
    if robot not in _ROBOTS:
        raise DemosError(f"{path} shows the robot {robot}, whose action has another order; expected {_ROBOTS[0]}")
    rate = kwargs.get("control_freq", _CONTROL_HZ)  # robosuite's own default
    if rate != _CONTROL_HZ:
        raise DemosError(f"{path} has {rate} steps per second, expected {_CONTROL_HZ}, the rate of the robot's control")
    if _is_absolute(kwargs.get("controller_configs")):
        raise DemosError(f"{path} has absolute actions, expected changes of the pose (OSC_POSE with deltas)")
    return str(name)


def _is_absolute(config: Any) -> bool:
    """Whether a controller's config asks for absolute poses: `control_delta` in v0.1, `input_type` per part since."""
    if isinstance(config, list):
        return any(_is_absolute(entry) for entry in config)
    if not isinstance(config, dict):
        return False
    is_arm = config.get("type") == "OSC_POSE"
    if is_arm and (config.get("control_delta") is False or config.get("input_type") == "absolute"):
        return True
    return any(_is_absolute(entry) for entry in config.values())


def _mark(group: Any) -> bool | None:
    """Whether a step of the episode is marked as a success; None where steps have no marks."""
    return bool(np.any(group["dones"][()])) if "dones" in group else None


def _check_order(where: str, actions: NDArray[np.float32], named: Any) -> None:
    for key, part in _NAMED.items():
        if key not in named:
            continue
        again = np.asarray(named[key][()], np.float32)
        given = actions[:, ACTION[part]]
        if again.shape != given.shape or not np.allclose(again, given, atol=1e-6, equal_nan=True):
            raise DemosError(
                f"{where}: action_dict/{key} is not what actions hold as {part}: their order is another one"
            )


def _vectors(stored: Any, width: int, what: str) -> NDArray[np.float32]:
    if stored.ndim != 2 or stored.shape[1] != width:
        raise DemosError(f"{what} have the shape {list(stored.shape)}, expected [n, {width}]")
    return np.asarray(stored[()], np.float32)


def _instruction(group: Any, where: str) -> str:
    if "ep_meta" not in group.attrs:
        raise DemosError(f"{where} lacks the attribute ep_meta, which holds the instruction")
    words = _json(group.attrs["ep_meta"], f"{where}: ep_meta").get("lang")
    if not isinstance(words, str) or not words:
        raise DemosError(f"{where}: ep_meta has no `lang`, the instruction; it says {words!r}")
    return words


def _json(text: Any, what: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (TypeError, ValueError) as error:
        raise DemosError(f"{what} is not JSON: {error}; copy the file again") from error
    if not isinstance(values, dict):
        raise DemosError(f"{what} holds no JSON object; copy the file again")
    return values
