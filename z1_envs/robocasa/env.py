"""RoboCasa's own tasks as Gymnasium envs, behind the contract of the embedded kitchen's `KitchenEnv`.

What RoboCasa computes is taken as it is: physics, controllers, observations, predicates, instructions. Ours are the
seeds, the flat spaces and the end of an episode. Not here: snapshots.
"""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from z1_envs.actions import ActionCheck
from z1_envs.layout import ACTION, CAMERAS, STATES
from z1_envs.robocasa import compat
from z1_envs.robocasa.assets import assets_folder, check_assets, is_stand_in
from z1_envs.robocasa.options import RoboCasaOptions
from z1_envs.tasks import Task, get_task

BACKEND = "robocasa"
DEFAULT = RoboCasaOptions()
_SEED_LIMIT = 2**63  # seeds that the env draws itself lie below
_MAX_DRAWS = 20  # scenes drawn for one start before giving up

# Part of layout.STATE and STATE_25 → RoboCasa's observation. Quaternions are xyzw in both.
_STATE_KEYS = {
    "eef_position_world": "robot0_eef_pos",
    "eef_quaternion_world": "robot0_eef_quat",
    "gripper_qvel": "robot0_gripper_qvel",
    "base_position": "robot0_base_pos",
    "base_quaternion": "robot0_base_quat",
    "eef_position": "robot0_base_to_eef_pos",
    "eef_quaternion": "robot0_base_to_eef_quat",
    "gripper_qpos": "robot0_gripper_qpos",
}

# What v1.0 has one class for, v0.2 told apart by fixture: the kinds among which a start draws with equal chances.
_FIXTURES: Mapping[str, tuple[str, ...]] = {
    "OpenSingleDoor": ("CABINET_SINGLE_DOOR", "MICROWAVE"),
    "CloseSingleDoor": ("CABINET_SINGLE_DOOR", "MICROWAVE"),
    "OpenDoubleDoor": ("CABINET_DOUBLE_DOOR",),
    "CloseDoubleDoor": ("CABINET_DOUBLE_DOOR",),
}


class RoboCasaEnv(gym.Env):
    """One official RoboCasa env, on the assets that this process uses."""

    metadata: dict[str, Any] = {"render_modes": [], "render_fps": 20}  # noqa: RUF012 (gymnasium's)

    def __init__(self, task: str, options: RoboCasaOptions = DEFAULT):
        """Raises ValueError for unknown tasks, RoboCasaError and FileNotFoundError for what is not installed or
        downloaded, with the command; all before anything is built.
        """
        self._task: Task = get_task(task)
        self.options = options
        self.observation_space = observation_space(options)
        self.action_space = spaces.Box(-1.0, 1.0, (ACTION.width,), np.float32)
        self.horizon = self._task.horizon if options.horizon is None else options.horizon
        compat.check_installed()
        check_assets(self._task.name, assets_folder() if options.assets is None else options.assets)
        compat.load(options.assets)
        self._px = options.image_px if options.obs == "pixels" else None
        self._env = _make(self._task, options)
        self._action_check = ActionCheck(self.action_space, 1)
        self._lane = np.zeros(1, dtype=np.int32)
        self._running, self._elapsed, self.scene_id, self.instruction = False, 0, "", ""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Starts the episode that `seed` decides (None: drawn from `np_random`): scene, objects, the robot's place.

        A scene in which the task is done already is drawn again.
        """
        if options:
            raise ValueError(f"RoboCasa's envs take no reset options, got {sorted(options)}")
        super().reset(seed=seed)
        scene_seed = int(self.np_random.integers(_SEED_LIMIT)) if seed is None else seed
        for draw in range(_MAX_DRAWS):
            official = self._build(np.random.default_rng([scene_seed, draw]))
            if not self._is_done():
                break
        else:
            raise RuntimeError(f"{self._task.name}: seed {scene_seed} gave {_MAX_DRAWS} scenes in which all was done")
        self.scene_id = hashlib.sha256(self._env.model.get_xml().encode()).hexdigest()[:16]
        self.instruction = _v02_words(self._env.get_ep_meta()["lang"])
        self._gripper, self._robot_root = _gripper_geoms(self._env)
        self._running, self._elapsed = True, 0
        return self._observation(official), self._info(success=False)

    def step(self, action: Any):
        """One control step of 50 ms under `action` [12] in [-1, 1].

        Raises ValueError for another shape, NaN or entries out of range, ResetNeeded after the end.
        """
        if not self._running:
            raise gym.error.ResetNeeded("the episode is over or has not begun: call reset()")
        if np.shape(action) != self.action_space.shape:
            raise ValueError(
                f"the action must have the shape {self.action_space.shape}, got {np.shape(action)}: step a chunk one "
                "action at a time, or wrap the env in z1_envs.wrappers.ActionChunk"
            )
        chunk = self._action_check.chunks(np.asarray(action)[None], self._lane)
        official, _, _, _ = self._env.step(chunk[0, 0].astype(np.float64))
        self._elapsed += 1
        success = self._is_done()
        truncated = not success and self._elapsed >= self.horizon
        self._running = not (success or truncated)
        return self._observation(official), float(success), success, truncated, self._info(success=success)

    def close(self) -> None:
        """Frees the simulation."""
        self._env.close()
        self._running = False

    def _build(self, rng: np.random.Generator) -> Mapping[str, NDArray]:
        """A scene and a start out of `rng`; RoboCasa's observation of it."""
        self._env.rng = rng
        if self._task.name in _FIXTURES:
            kinds = _FIXTURES[self._task.name]
            kind = _fixture_type(kinds[int(rng.integers(len(kinds)))])
            # With a reference RoboCasa itself looks for a layout that has such a fixture (kitchen.py:656).
            self._env.fixture_id = self._env.init_robot_base_ref = kind
        with _global_stream(rng):
            return self._env.reset()

    def _is_done(self) -> bool:
        return bool(self._env._check_success())

    def _observation(self, official: Mapping[str, NDArray]) -> dict[str, NDArray]:
        layout = STATES[self.options.state_width]
        parts = [np.asarray(official[_STATE_KEYS[part.name]], dtype=np.float32) for part in layout.parts]
        state = {"state": np.concatenate(parts)}
        if self._px is None:
            return state
        # RoboCasa's images stand on their heads.
        images = {
            key: np.ascontiguousarray(
                self._env.sim.render(camera_name=CAMERAS[key], width=self._px, height=self._px)[::-1]
            )
            for key in self.options.cameras
        }
        return {**images, **state}

    def _info(self, *, success: bool) -> dict[str, Any]:
        return {
            "success": success,
            "elapsed": self._elapsed,
            "phase": "manipulation" if self._touches() else "approach",
            "backend": BACKEND,
            "assets": "stand-in" if is_stand_in(assets_folder()) else "official",
            "scene_id": self.scene_id,
            "instruction": self.instruction,
        }

    def _touches(self) -> bool:
        """Whether the gripper is in contact with anything but the robot."""
        model, data = self._env.sim.model._model, self._env.sim.data._data
        geoms = data.contact.geom
        roots = model.body_rootid[model.geom_bodyid]
        others = roots[geoms] != self._robot_root
        return bool((self._gripper[geoms] & others[:, ::-1]).any())


def observation_space(options: RoboCasaOptions) -> spaces.Dict:
    """`state` [16] or [25], and for obs="pixels" an image [px, px, 3] for each of the chosen cameras."""
    state = spaces.Box(-np.inf, np.inf, (options.state_width,), np.float32)
    if options.obs == "state":
        return spaces.Dict({"state": state})
    image = spaces.Box(0, 255, (options.image_px, options.image_px, 3), np.uint8)
    return spaces.Dict({**dict.fromkeys(options.cameras, image), "state": state})


def _make(task: Task, options: RoboCasaOptions) -> Any:
    """RoboCasa's env of `task`, without a scene yet."""
    import robosuite  # pyright: ignore[reportMissingImports]
    from robosuite.controllers import load_composite_controller_config  # pyright: ignore[reportMissingImports]

    return robosuite.make(
        task.name_v1,
        robots="PandaOmron",
        controller_configs=load_composite_controller_config(robot="PandaOmron"),
        use_camera_obs=False,
        has_renderer=False,
        has_offscreen_renderer=options.obs == "pixels",
        renderer="mujoco",
        ignore_done=True,
        layout_ids=None if options.layouts is None else list(options.layouts),
        style_ids=None if options.styles is None else list(options.styles),
    )


def _fixture_type(name: str) -> Any:
    from robocasa.models.fixtures import FixtureType  # pyright: ignore[reportMissingImports]

    return FixtureType[name]


def _gripper_geoms(env: Any) -> tuple[NDArray[np.bool_], int]:
    """Which geoms are the gripper's [ngeom], and the robot's root body."""
    model = env.sim.model._model
    names = env.robots[0].gripper["right"].contact_geoms
    is_gripper = np.zeros(model.ngeom, dtype=bool)
    is_gripper[[env.sim.model.geom_name2id(name) for name in names]] = True
    first = int(np.flatnonzero(is_gripper)[0])
    return is_gripper, int(model.body_rootid[model.geom_bodyid[first]])


@contextlib.contextmanager
def _global_stream(rng: np.random.Generator) -> Iterator[None]:
    """RoboCasa draws colours of counters from numpy's global stream (models/fixtures/counter.py:369,474)."""
    before = np.random.get_state()  # noqa: NPY002 (that stream is the one)
    np.random.seed(int(rng.integers(2**32)))  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def _v02_words(instruction: str) -> str:
    """v1.0's sentences as v0.2 wrote them: lower case at the start, no full stop."""
    words = instruction.removesuffix(".")
    return words[:1].lower() + words[1:]
