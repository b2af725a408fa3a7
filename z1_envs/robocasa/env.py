"""RoboCasa's own tasks as Gymnasium envs, behind the contract of the embedded kitchen's `KitchenEnv`.

What RoboCasa computes is taken as it is: physics, controllers, sensors, predicates, instructions. Ours are the seeds,
the flat spaces, the end of an episode, snapshots, and scenes that travel to other processes. Observations are of the
end of a step; RoboCasa's own poses and images are of one substep (2 ms) before.
"""

import contextlib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from z1_envs.actions import ActionCheck, ActionError
from z1_envs.arguments import check_render_mode, checked_seed
from z1_envs.layout import ACTION, CAMERAS, STATE_KEYS, STATES
from z1_envs.robocasa import preflight
from z1_envs.robocasa.film import FilmCamera
from z1_envs.robocasa.official import choose_fixture, make_official
from z1_envs.robocasa.options import RoboCasaOptions
from z1_envs.robocasa.scene import Scene, check_scene, compressed, hold, model_sizes, model_text, scene_hash
from z1_envs.robocasa.simulation import Simulation, check_contact, make_current
from z1_envs.robocasa.snapshot_state import SimulationState, StateAccess, check_stream
from z1_envs.snapshot import SnapshotError

DEFAULT = RoboCasaOptions()
_SEED_LIMIT = 2**63  # seeds that the env draws itself lie below
_MAX_DRAWS = 20  # scenes drawn for one start before giving up

# Part of layout.STATE and STATE_25 → RoboCasa's observation. Quaternions are xyzw in both.
_STATE_KEYS = {
    **STATE_KEYS,
    "eef_position_world": "robot0_eef_pos",
    "eef_quaternion_world": "robot0_eef_quat",
    "gripper_qvel": "robot0_gripper_qvel",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class EnvState:
    """One moment of an env: RoboCasa's, what the env counts, and its random stream."""

    simulation: SimulationState
    elapsed: int
    running: bool
    stream: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Episode:
    """What stays the same from one reset to the next. text: the model's; start: its first moment."""

    scene_id: str
    instruction: str
    seed: int
    draw: int
    text: str
    start: SimulationState
    simulation: Simulation
    access: StateAccess


class RoboCasaEnv(gym.Env):
    """One official RoboCasa env, on the assets that this process uses. Snapshottable."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 (gymnasium's)

    def __init__(self, task: str, options: RoboCasaOptions = DEFAULT, *, render_mode: str | None = None):
        """render_mode: None or "rgb_array".

        Raises ValueError for other modes, RenderError where pictures are wanted and cannot be drawn, and what
        `preflight.check` raises, before anything is built or RoboCasa is imported.
        """
        check_render_mode(render_mode)
        self._ready = preflight.check(task, options)
        if render_mode is not None:
            preflight.check_images()
        self.render_mode = render_mode
        self.options = options
        self.observation_space = observation_space(options)
        self.action_space = spaces.Box(-1.0, 1.0, (ACTION.width,), np.float32)
        self.horizon = self._ready.horizon
        self._px = options.image_px if options.obs == "pixels" else None
        self._env = make_official(self._ready, options)
        self._action_check = ActionCheck(self.action_space, 1)
        self._lane = np.zeros(1, dtype=np.int32)
        # Patched on the instance: RoboCasa's own goes through all contacts in Python.
        self._env.check_contact = functools.partial(check_contact, self._env)
        self._running, self._elapsed = False, 0
        self._episode: _Episode | None = None
        self._film_camera: FilmCamera | None = None

    @property
    def scene_id(self) -> str:
        """Hash of the model in full precision: states of equal ids are interchangeable. "" before the first reset."""
        return "" if self._episode is None else self._episode.scene_id

    @property
    def instruction(self) -> str:
        """What the robot is asked to do in this scene."""
        return "" if self._episode is None else self._episode.instruction

    @property
    def official(self) -> Any:
        """RoboCasa's own env underneath, the same one for all episodes, to read what observations do not tell:
        fixtures, objects, poses. Whoever changes or steps it breaks snapshots.
        """
        return self._env

    @property
    def snapshot_name(self) -> str:
        """The env with its arguments; snapshots and scenes are exchanged between envs of equal names."""
        options = replace(self.options, horizon=self.horizon, assets=None)
        return f"RoboCasaEnv({self._ready.task}, {self._ready.version.name}, {options})"

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Starts the episode that `seed` decides (None: drawn from `np_random`): scene, objects, the robot's place.

        A scene in which the task is done already is drawn again. options={"scene": scene} starts in that scene of
        `get_scene` instead. Raises ValueError for other options, SnapshotError for a scene that cannot be held here.
        """
        options = options or {}
        if set(options) - {"scene"}:
            raise ValueError(f"RoboCasa's envs take the reset option 'scene', got {sorted(options)}")
        seed = checked_seed(seed)
        if "scene" in options:
            check_scene(options["scene"], self.snapshot_name)
        super().reset(seed=seed)
        self._end()
        if "scene" in options:
            self._episode = self._held(options["scene"])
        else:
            self._episode = self._drawn(int(self.np_random.integers(_SEED_LIMIT)) if seed is None else seed)
        self._running, self._elapsed = True, 0
        return self._observation(self._episode.simulation), self._info(success=False)

    def step(self, action: Any):
        """One control step of 50 ms under `action` [12] in [-1, 1].

        Raises ActionError for another shape, NaN or entries out of range, ResetNeeded after the end.
        """
        if np.shape(action) != self.action_space.shape:
            raise ActionError(
                f"the action must have the shape {self.action_space.shape}, got {np.shape(action)}: step a chunk one "
                "action at a time, or wrap the env in z1_envs.wrappers.ActionChunk"
            )
        return self.step_chunk(np.asarray(action)[None])

    def step_chunk(self, chunk: NDArray):
        """Steps through `chunk` [H, 12] until the episode ends, and looks only then: it is images that take long.

        Returns and raises as `step`; the reward is the sum. Where the simulation diverges, the episode is truncated in
        the state before that step, as in the embedded kitchen.
        """
        if not self._running or self._episode is None:
            raise gym.error.ResetNeeded("the episode is over or has not begun: call reset() or restore a snapshot")
        actions = self._action_check.chunks(chunk[None], self._lane)[0]
        simulation, access, success = self._episode.simulation, self._episode.access, False
        for action in actions.astype(np.float64):
            before = access.get_state()
            is_finite = simulation.step(action)
            self._elapsed += 1
            if not is_finite:
                _go_back(self._episode, before)
                self._running = False
                break
            success = simulation.is_done()
            self._running = not success and self._elapsed < self.horizon
            if not self._running:
                break
        truncated = not success and not self._running
        return self._observation(simulation), float(success), success, truncated, self._info(success=success)

    def get_state(self) -> EnvState:
        """This moment, picklable, sharing no memory. Raises SnapshotError before the first reset."""
        if self._episode is None:
            raise SnapshotError("there is nothing to save yet: call reset() first")
        return EnvState(
            simulation=self._episode.access.get_state(),
            elapsed=self._elapsed,
            running=self._running,
            stream=self.np_random.bit_generator.state,
        )

    def set_state(self, state: Any, /) -> None:
        """Continues from `state`, exactly; raises SnapshotError, with nothing changed, where it cannot."""
        if self._episode is None:
            raise SnapshotError("there is no scene yet to continue in: call reset() first")
        if not isinstance(state, EnvState):
            raise SnapshotError(f"expected what get_state() returned, got {type(state).__name__}")
        check_stream(self.np_random, state.stream)
        self._episode.access.set_state(state.simulation)
        self.np_random.bit_generator.state = state.stream
        self._elapsed, self._running = state.elapsed, state.running

    def get_scene(self) -> Scene:
        """This scene and its start, for `reset(options={"scene": …})` of an env built alike, in any process.

        Raises SnapshotError before the first reset.
        """
        if self._episode is None:
            raise SnapshotError("there is no scene yet: call reset() first")
        return Scene(
            scene_id=self.scene_id,
            name=self.snapshot_name,
            seed=self._episode.seed,
            draw=self._episode.draw,
            text=compressed(self._episode.text),
            instruction=self._episode.instruction,
            sizes=model_sizes(self._episode.simulation.model),
            start=self._episode.start,
        )

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """As `film`; None where the env was made without a render_mode."""
        return None if self.render_mode is None else self.film()

    def film(self) -> NDArray[np.uint8]:
        """A picture of this moment for people, upright, uint8 [360, 480, 3]; with any `obs` and render_mode.

        OpenGL starts with an episode's first. Raises RenderError where it cannot, ResetNeeded before the first reset.
        """
        if self._episode is None:
            raise gym.error.ResetNeeded("there is nothing to show yet: call reset() first")
        simulation = self._episode.simulation
        if self._film_camera is None:
            self._film_camera = FilmCamera(simulation, self._episode.start.physics)
        return self._film_camera.film(simulation.data)

    def close(self) -> None:
        """Frees the simulation and its OpenGL contexts."""
        self._end()
        make_current(self._env)
        self._env.close()

    def _end(self) -> None:
        """Leaves the episode; its film camera holds its meshes and textures."""
        self._running, self._episode = False, None
        if self._film_camera is not None:
            self._film_camera.close()
            self._film_camera = None

    def _drawn(self, seed: int) -> _Episode:
        """The first of the scenes of `seed` in which there is something left to do."""
        for draw in range(_MAX_DRAWS):
            self._build(seed, draw)
            if not self._env._check_success():
                break
        else:
            raise RuntimeError(f"{self._ready.task}: seed {seed} gave {_MAX_DRAWS} scenes in which all was done")
        simulation, text, instruction = Simulation(self._env), model_text(self._env), self._told()
        access = StateAccess(simulation)
        return _Episode(
            scene_id=scene_hash(text, instruction),
            instruction=instruction,
            seed=seed,
            draw=draw,
            text=text,
            start=access.get_state(),
            simulation=simulation,
            access=access,
        )

    def _held(self, scene: Scene) -> _Episode:
        """`scene` at its start."""
        text = hold(self._env, scene, self._build)
        if self._told() != scene.instruction:
            raise SnapshotError(
                f"scene {scene.scene_id!r} is to {self._told()!r} here, to {scene.instruction!r} where it was made: "
                "use the same releases of robocasa and numpy as there, then reset"
            )
        simulation = Simulation(self._env)
        episode = _Episode(
            scene_id=scene.scene_id,
            instruction=scene.instruction,
            seed=scene.seed,
            draw=scene.draw,
            text=text,
            start=scene.start,
            simulation=simulation,
            access=StateAccess(simulation),
        )
        _go_back(episode, scene.start)
        return episode

    def _told(self) -> str:
        """What RoboCasa wants done in the scene that it has, in v0.2's words."""
        return self._ready.version.words(self._env.get_ep_meta()["lang"])

    def _build(self, seed: int, draw: int) -> None:
        """RoboCasa's scene and start number `draw` of `seed`."""
        make_current(self._env)
        self._env.rng = rng = np.random.default_rng([seed, draw])
        choose_fixture(self._env, self._ready, rng)
        with _global_stream(rng):
            self._env.reset()

    def _observation(self, simulation: Simulation) -> dict[str, NDArray]:
        simulation.refresh()
        layout = STATES[self.options.state_width]
        parts = [np.asarray(simulation.sense(_STATE_KEYS[part.name]), dtype=np.float32) for part in layout.parts]
        state = {"state": np.concatenate(parts)}
        if self._px is None:
            return state
        images = {key: simulation.image(CAMERAS[key], self._px) for key in self.options.cameras}
        return {**images, **state}

    def _info(self, *, success: bool) -> dict[str, Any]:
        return {
            "success": success,
            "elapsed": self._elapsed,
            "phase": "manipulation" if self._episode is not None and self._episode.simulation.touches() else "approach",
            "backend": self._ready.backend,
            "scene_id": self.scene_id,
            "instruction": self.instruction,
        }


def observation_space(options: RoboCasaOptions) -> spaces.Dict:
    """`state` [16] or [25], and for obs="pixels" an image [px, px, 3] for each of the chosen cameras."""
    state = spaces.Box(-np.inf, np.inf, (options.state_width,), np.float32)
    if options.obs == "state":
        return spaces.Dict({"state": state})
    image = spaces.Box(0, 255, (options.image_px, options.image_px, 3), np.uint8)
    return spaces.Dict({**dict.fromkeys(options.cameras, image), "state": state})


def _go_back(episode: _Episode, state: SimulationState) -> None:
    """`episode` is in `state`, and its contacts are those of that state."""
    episode.access.set_state(state)
    episode.simulation.find_contacts()
    episode.access.set_state(state)  # finding contacts has overwritten the warm start


@contextlib.contextmanager
def _global_stream(rng: np.random.Generator) -> Iterator[None]:
    """RoboCasa draws colours of counters from numpy's global stream (models/fixtures/counter.py:369,474)."""
    before = np.random.get_state()  # noqa: NPY002 (that stream is the one)
    np.random.seed(int(rng.integers(2**32)))  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
