"""The embedded kitchen as Gymnasium envs: `KitchenEnv` (one lane) and `KitchenVectorEnv` (many, branching)."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from z1_envs.actions import ActionCheck, ActionError
from z1_envs.arguments import check_render_mode, checked_seed
from z1_envs.branch import BranchVectorEnv, check_groups
from z1_envs.kitchen.lanes import KitchenLanes
from z1_envs.kitchen.scene import TRAIN, Scene, SceneOptions, SceneRecord
from z1_envs.kitchen.simulation import Simulation
from z1_envs.kitchen.spaces import ObsMode, action_space
from z1_envs.snapshot import SnapshotError

_SEED_LIMIT = 2**63  # seeds that the envs draw themselves lie below
_RENDERING: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 20}


class KitchenEnv(gym.Env):
    """One lane. `scene_id`, `get_state` and `set_state` make it Snapshottable."""

    metadata: dict[str, Any] = dict(_RENDERING)  # noqa: RUF012 (gymnasium's)

    def __init__(
        self,
        task: str,
        *,
        obs: ObsMode = "state",
        horizon: int | None = None,
        image_px: int = 128,
        scenes: SceneOptions = TRAIN,
        render_mode: str | None = None,
    ):
        """The options of gymnasium.make, which spells out scenes as split, layouts and styles.

        obs: "state", the robot's state and the privileged scene; "pixels", the state and three images. horizon: length
        of an episode [steps]; None: the task's own. image_px: width and height of the images, 32 to 640 [px]; without
        effect for obs="state". scenes: which kitchens seeds are turned into. render_mode: "rgb_array" for pictures by
        `render`, or None; it does not change what is observed.

        Raises ValueError for unknown tasks, modes and sizes.
        """
        check_render_mode(render_mode)
        self._sim = Simulation(task, 1, obs=obs, horizon=horizon, image_px=image_px, scenes=scenes, num_threads=1)
        self._lane = np.zeros(1, dtype=np.int32)
        self.observation_space, self.action_space = self._sim.space, action_space()
        self._action_check = ActionCheck(self.action_space, 1)
        self.render_mode = render_mode
        self._running = False
        self._has_begun = False

    @property
    def scene_id(self) -> str:
        """Hash of the scene's numbers and of SCENE_VERSION: states of equal ids are interchangeable. "" before there is
        one, which the first reset makes."""
        return self._sim.lanes.scenes[0].scene_id if self._has_begun else ""

    @property
    def snapshot_name(self) -> str:
        """The env with its arguments; snapshots are exchanged between envs of equal names."""
        return self._sim.layer_name("KitchenEnv")

    @property
    def instruction(self) -> str:
        """What the robot is asked to do in this scene; "" before there is one."""
        return self._sim.lanes.scenes[0].instruction if self._has_begun else ""

    @property
    def horizon(self) -> int:
        """Maximum length of an episode [steps]."""
        return self._sim.horizon

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Starts the episode that `seed` decides (None: drawn from `np_random`).

        options={"scene": scene} starts in that scene of `get_scene` instead; a seed is then the random stream's alone.
        Raises ValueError for no seed and for other options, SnapshotError for a scene that cannot be held here.
        """
        options = options or {}
        if set(options) - {"scene"}:
            raise ValueError(f"the embedded kitchen takes the reset option 'scene', got {sorted(options)}")
        seed = checked_seed(seed)
        scene = self._sim.remade(options["scene"]) if "scene" in options else None
        super().reset(seed=seed)
        if scene is not None:
            self._sim.lanes.load(self._lane, [scene])
        else:
            self._sim.lanes.start([int(self.np_random.integers(_SEED_LIMIT)) if seed is None else seed], 1)
        self._running = self._has_begun = True
        return self._observation(), self._info()

    def step(self, action: Any):
        """One control step of 50 ms under `action` [12] in [-1, 1].

        Raises ActionError for another shape, NaN or entries out of range, ResetNeeded after the end.
        """
        if not self._running:
            raise gym.error.ResetNeeded("the episode is over or has not begun: call reset() or restore a snapshot")
        if np.shape(action) != self.action_space.shape:
            raise ActionError(
                f"the action must have the shape {self.action_space.shape}, got {np.shape(action)}: step a chunk one "
                "action at a time, or wrap the env in z1_envs.wrappers.ActionChunk"
            )
        chunk = self._action_check.chunks(np.asarray(action)[None], self._lane)
        reward, terminated, truncated = self._sim.run(self._lane, chunk)
        self._running = not (terminated[0] or truncated[0])
        return self._observation(), float(reward[0]), bool(terminated[0]), bool(truncated[0]), self._info()

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A picture of the scene for people, uint8 [360, 480, 3]; None where the env was made without a render_mode.

        Raises ResetNeeded before the first reset.
        """
        if self.render_mode is None:
            return None
        if not self._has_begun:
            raise gym.error.ResetNeeded("there is nothing to show yet: call reset() first")
        return self._sim.film(0)

    def close(self) -> None:
        """Frees the OpenGL contexts."""
        self._sim.close()

    def get_state(self) -> Any:
        """The lane's row, whether the episode runs, and the random stream.

        Raises SnapshotError before the first reset.
        """
        if not self._has_begun:
            raise SnapshotError("there is nothing to save yet: call reset() first")
        return self._sim.lanes.physics.rows[0].copy(), self._running, self.np_random.bit_generator.state

    def set_state(self, state: Any, /) -> None:
        """Continues from `state`.

        Raises SnapshotError, with nothing changed, before the first reset, and for a state that is none of this env's.
        """
        if not self._has_begun:
            raise SnapshotError("there is no scene yet to continue in: call reset() first")
        if not (isinstance(state, tuple) and len(state) == 3):
            raise SnapshotError(f"expected what get_state() returned, got {type(state).__name__}")
        row, running, stream = state
        rows = self._sim.lanes.physics.rows
        if np.shape(row) != rows[0].shape:
            raise SnapshotError(f"a state row has {rows.shape[1]} numbers here, got {np.shape(row)}")
        try:
            self.np_random.bit_generator.state = stream
        except (TypeError, ValueError, KeyError) as error:
            raise SnapshotError(f"the state's random stream is another kind's than this env's ({error})") from error
        self._sim.lanes.put_rows(self._lane, row)
        self._running = running

    def get_scene(self) -> SceneRecord:
        """What this scene is made of, for `reset(options={"scene": …})` of an env of the same task and scenes.

        Raises SnapshotError before the first reset, when there is none.
        """
        if not self._has_begun:
            raise SnapshotError("there is no scene yet: call reset() first")
        return self._sim.lanes.scenes[0].record

    def _observation(self) -> dict[str, NDArray]:
        return {key: rows[0] for key, rows in self._sim.observe(self._lane).items()}

    def _info(self) -> dict[str, Any]:
        infos = self._sim.infos(self._lane)
        return {key: rows[0].item() if rows.dtype != object else rows[0] for key, rows in infos.items()}


class KitchenVectorEnv(BranchVectorEnv):
    """Many lanes, stepped together in process; the lanes of a group share scene and start.

    `restore` gives a lane the scene of its snapshot, whichever it holds (about 6 ms where it is not held by any).
    """

    metadata = BranchVectorEnv.metadata | _RENDERING
    _remakes_scenes = True

    def __init__(
        self,
        task: str,
        *,
        num_envs: int = 1,
        group_size: int = 1,
        obs: ObsMode = "state",
        horizon: int | None = None,
        image_px: int = 128,
        scenes: SceneOptions = TRAIN,
        num_threads: int | None = None,
        render_mode: str | None = None,
    ):
        """num_envs: lanes, a multiple of group_size. obs, horizon, image_px, scenes, render_mode: as `KitchenEnv`.

        num_threads: that step the physics, at most one a lane; None: all cores this process may use. Results do not
        depend on it.

        Raises ValueError for unknown tasks, modes and sizes, before anything is built.
        """
        check_groups(num_envs, group_size)
        check_render_mode(render_mode)
        self.render_mode = render_mode
        self._sim = Simulation(
            task,
            num_envs,
            obs=obs,
            horizon=horizon,
            image_px=image_px,
            scenes=scenes,
            num_threads=num_threads,
        )
        super().__init__(
            num_envs=num_envs,
            group_size=group_size,
            single_observation_space=self._sim.space,
            single_action_space=action_space(),
            # Not the single env's name: its random stream is another kind of record.
            stack=(self._sim.layer_name("KitchenLane"),),
        )
        # Where each lane's next unseeded start comes from: (seed, episodes begun since).
        self._streams: list[tuple[int, int]] = [(0, 0)] * num_envs
        self._was_reset = False

    @property
    def horizon(self) -> int:
        """Maximum length of an episode [steps]."""
        return self._sim.horizon

    @property
    def task(self) -> str:
        """The task's name."""
        return self._sim.lanes.task.name

    @property
    def split(self) -> str:
        """Which scenes are drawn: "train", "test" or "all", and what layouts and styles were chosen."""
        return self._sim.lanes.options.name

    @property
    def obs(self) -> ObsMode:
        """What the observations are made of."""
        return self._sim.obs

    @property
    def image_px(self) -> int | None:
        """Width and height of the images [px]; None where there are none."""
        return self._sim.image_px

    @property
    def lanes(self) -> KitchenLanes:
        """The simulator behind the lanes, for experts and recordings."""
        return self._sim.lanes

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """A picture of each lane for people, uint8 [360, 480, 3]."""
        return None if self.render_mode is None else tuple(self.film(lane) for lane in range(self.num_envs))

    def film(self, lane: int) -> NDArray[np.uint8]:
        """A picture of `lane` for people, uint8 [360, 480, 3]. Raises ValueError where there is no such lane, and
        ResetNeeded before the first reset."""
        self._lane_indices([lane])
        return self._sim.film(lane)

    def close_extras(self) -> None:
        """Frees the OpenGL contexts."""
        self._sim.close()

    def _reset_groups(self, groups: NDArray[np.int64], seeds: list[int | None], options: dict[str, Any] | None):
        if options:
            raise ValueError(f"the embedded kitchen takes no reset options, got {sorted(options)}")
        if not self._was_reset:
            entropy = int(self.np_random.integers(_SEED_LIMIT))
            self._streams = [(entropy + lane // self.group_size, 0) for lane in range(self.num_envs)]
            self._was_reset = True
        leaders = (groups * self.group_size).tolist()
        streams = [self._next_stream(lane, seed) for lane, seed in zip(leaders, seeds, strict=True)]
        members = np.flatnonzero(np.isin(self.group_index, groups)).astype(np.int32)
        with self._moving(members.astype(np.int64)):
            self._sim.lanes.start([_scene_seed(stream) for stream in streams], self.group_size, members)
            for leader, stream in zip(leaders, streams, strict=True):
                self._streams[leader : leader + self.group_size] = [stream] * self.group_size
            infos = self._sim.infos(members)
            return self._sim.observe(members), infos, list(infos["scene_id"])

    def _next_stream(self, lane: int, seed: int | None) -> tuple[int, int]:
        if seed is not None:
            return seed, 0
        origin, episode = self._streams[lane]
        return origin, episode + 1

    def _step_lanes(self, actions: NDArray, lanes: NDArray[np.int64]):
        ids = lanes.astype(np.int32)
        rewards, terminated, truncated = self._sim.run(ids, actions)
        return self._sim.observe(ids), rewards, terminated, truncated, self._sim.infos(ids)

    def _branch_lanes(self, lanes: NDArray[np.int64], source: NDArray[np.int64]) -> None:
        self._sim.lanes.put_rows(lanes, self._sim.lanes.physics.rows[source])
        before = list(self._streams)
        for lane, other in zip(lanes.tolist(), source.tolist(), strict=True):
            self._streams[lane] = before[other]

    def _save_lanes(self, lanes: NDArray[np.int64]) -> list[tuple[Any, ...]]:
        rows, scenes = self._sim.lanes.physics.rows, self._sim.lanes.scenes
        return [((rows[lane].copy(), self._streams[lane], scenes[lane].record),) for lane in lanes]

    def _restore_lanes(
        self, lanes: NDArray[np.int64], scene_ids: Sequence[str], records: Sequence[tuple[Any, ...]]
    ) -> None:
        rows, held = self._sim.lanes.physics.rows, self._sim.lanes.scenes
        scenes: dict[int, Scene] = {}
        for lane, scene_id, ((row, _, record),) in zip(lanes.tolist(), scene_ids, records, strict=True):
            if np.shape(row) != rows[lane].shape:
                raise SnapshotError(f"lane {lane}: a state row has {rows.shape[1]} numbers here, got {np.shape(row)}")
            if held[lane].scene_id != scene_id:
                scenes[lane] = self._sim.remade(record)
        if scenes:
            self._sim.lanes.load(np.array(list(scenes), dtype=np.int32), list(scenes.values()))
        for lane, ((row, stream, _),) in zip(lanes, records, strict=True):
            self._sim.lanes.put_rows(lane, row)
            self._streams[lane] = stream


def _scene_seed(stream: tuple[int, int]) -> int:
    """The seed itself for a seeded start, a hash of seed and episode for those that follow it."""
    seed, episode = stream
    if episode == 0:
        return seed
    low, high = np.random.SeedSequence([seed, episode]).generate_state(2)
    return (int(high) << 32 | int(low)) % _SEED_LIMIT
