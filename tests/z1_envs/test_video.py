"""Films: what a tile shows, which frame it has, and that nothing half written stays."""

import subprocess
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe
from numpy.typing import NDArray

from tests.z1_envs.fake_env import FakeEnv, FakeVectorEnv
from z1_envs import opengl
from z1_envs.evaluate import EvalProtocol, evaluate
from z1_envs.gallery import film_episode
from z1_envs.kitchen.env import KitchenVectorEnv
from z1_envs.video import ALONE, FAILURE, FPS, SUCCESS, TRUNK, record_rollout, record_tree

HORIZON = 12
PICTURE_PX, TILE_PX = 128, 64


class FilmedEnv(FakeVectorEnv):
    """A lane's picture is 20 brighter per step. Action 1 succeeds in 3 steps, action -1 fails at the horizon."""

    def _step_lanes(self, actions: NDArray, lanes: NDArray[np.int64]) -> Any:
        observation, rewards, done, _, infos = super()._step_lanes(actions, lanes)
        return observation, rewards, done, ~done & (self.state[lanes, 2] >= HORIZON), infos

    def film(self, lane: int) -> NDArray[np.uint8]:
        return np.full((PICTURE_PX, PICTURE_PX, 3), 20 * self.state[lane, 2], dtype=np.uint8)


class Script:
    """Chunks of two steps: the same direction for every lane, then each lane's own."""

    def __init__(self, first: list[float], then: list[float]) -> None:
        self.first, self.then = first, then
        self.asked = 0

    def act(self, observation: dict[str, NDArray], /) -> NDArray:
        lanes = observation["lane"]
        assert len(observation["instruction"]) == len(observation["state"]) == len(lanes)
        chunks = np.zeros((len(lanes), 2, 2))
        chunks[:, :, 0] = np.array(self.first if self.asked == 0 else self.then)[lanes, None]
        self.asked += 1
        return chunks


class Wanderer:
    """Random chunks of 3 steps from a stream of its own, one draw per row that it is asked about."""

    def __init__(self) -> None:
        self.seeds: list[int] = []
        self.asked: list[list[list[int]]] = []

    def reset(self, seed: int) -> None:
        self.seeds.append(seed)
        self.rng = np.random.default_rng(seed)

    def act(self, observation: dict[str, NDArray], /) -> NDArray:
        self.asked.append([observation["lane"].tolist(), observation["episode"].tolist()])
        return self.rng.uniform(-1.0, 1.0, (len(observation["state"]), 3, 2))


def frames(path: Path) -> list[NDArray]:
    """The pictures of a film: a binary header of "P6 width height 255" and the pixels for each."""
    decode = [get_ffmpeg_exe(), "-loglevel", "error", "-i", str(path), "-f", "image2pipe", "-c:v", "ppm", "pipe:1"]
    stream = subprocess.run(decode, capture_output=True, check=True).stdout
    found = []
    while stream:
        _, size, _, rest = stream.split(b"\n", 3)
        width, height = map(int, size.split())
        pixels, stream = rest[: 3 * width * height], rest[3 * width * height :]
        found.append(np.frombuffer(pixels, np.uint8).reshape(height, width, 3).astype(float))
    return found


def tile(frame: NDArray, index: int, columns: int = 2) -> NDArray:
    row, column = divmod(index, columns)
    return frame[row * TILE_PX : (row + 1) * TILE_PX, column * TILE_PX : (column + 1) * TILE_PX]


def shade(picture: NDArray) -> float:
    return float(picture[20:-20, 20:-20].mean())


def frame_colour(picture: NDArray) -> tuple[int, int, int]:
    """The palette's colour that is nearest to the left border's."""
    border = picture[20:-20, :2].mean(axis=(0, 1))
    return min((TRUNK, ALONE, SUCCESS, FAILURE), key=lambda colour: float(np.abs(border - colour).sum()))


def test_a_tree_shows_its_trunk_everywhere_and_then_every_lane_alone(tmp_path: Path) -> None:
    # Trunk: one decision of 2 steps at 0. Then lanes 0 and 3 go to success in 3 steps, 1 and 2 to the horizon.
    won = record_tree(FilmedEnv(4, 4), Script([0.0] * 4, [1, -1, -1, 1]), tmp_path / "tree.mp4", seed=0, decision=1)
    assert won.tolist() == [True, False, False, True]
    shot = frames(tmp_path / "tree.mp4")
    # Trunk: start and after 2 steps. Branches: start, then one per 2 of the remaining 10 steps. The end: a second.
    assert len(shot) == 2 + 1 + 5 + FPS
    assert shot[0].shape == (2 * TILE_PX, 2 * TILE_PX, 3)
    for i in range(4):
        assert [frame_colour(tile(frame, i)) for frame in shot[:3]] == [TRUNK, TRUNK, ALONE]
        # 2 steps of 20: also the followers, which have not moved, show where the trunk is.
        assert [shade(tile(frame, i)) for frame in shot[:3]] == pytest.approx([0, 40, 40], abs=4)
    assert [frame_colour(tile(shot[-1], i)) for i in range(4)] == [SUCCESS, FAILURE, FAILURE, SUCCESS]
    # A success after 2 + 3 steps falls between two pictures, and is filmed all the same.
    assert [shade(tile(shot[-1], i)) for i in range(4)] == pytest.approx([100, 240, 240, 100], abs=4)


def test_a_finished_tile_stands_still_while_others_go_on(tmp_path: Path) -> None:
    record_rollout(FilmedEnv(2, 1), Script([1, -1], [1, -1]), tmp_path / "two.mp4", seed=0)
    shot = frames(tmp_path / "two.mp4")
    assert len(shot) == 1 + HORIZON // 2 + FPS
    assert [frame_colour(tile(frame, 0)) for frame in shot[:4]] == [ALONE, ALONE, SUCCESS, SUCCESS]
    assert [shade(tile(frame, 0)) for frame in shot[:4]] == pytest.approx([0, 40, 60, 60], abs=4)
    assert [frame_colour(tile(frame, 1)) for frame in shot[5:8]] == [ALONE, FAILURE, FAILURE]


def test_one_episode_has_full_size(tmp_path: Path) -> None:
    record_rollout(FilmedEnv(1, 1), Script([1], [1]), tmp_path / "one.mp4", seed=0)
    assert frames(tmp_path / "one.mp4")[0].shape == (PICTURE_PX, PICTURE_PX, 3)


def test_an_episode_in_pictures_is_that_of_lane_0() -> None:
    envs = FilmedEnv(2, 1)
    pictures = film_episode(envs, Script([1, -1], [1, -1]), seed=0)
    # At the start, after 2 steps, and at the success after 3; lane 1 has not moved.
    assert [shade(picture) for picture in pictures] == [0, 40, 60]
    assert [tuple(picture[0, 0].tolist()) for picture in pictures] == [ALONE, ALONE, SUCCESS]
    assert envs.state[1, 2] == 0


def test_a_film_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_text("an older film")
    agent = Script([1, 1], [np.nan, np.nan])
    with pytest.raises(ValueError, match="finite"):
        record_rollout(FilmedEnv(2, 1), agent, path, seed=0)
    assert path.read_text() == "an older film"
    assert list(tmp_path.iterdir()) == [path]


def test_a_tree_is_one_group_and_a_trunk_has_a_length(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="build envs with group_size=4, not 2"):
        record_tree(FilmedEnv(4, 2), Script([0.0] * 4, [0.0] * 4), tmp_path / "x.mp4", seed=0, decision=1)
    for decision in (-1, 2.5):
        bad: Any = decision
        with pytest.raises(ValueError, match=f"decision must be a whole number of at least 0, got {decision}"):
            record_tree(FilmedEnv(2, 2), Script([0.0] * 2, [0.0] * 2), tmp_path / "x.mp4", seed=0, decision=bad)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("chunk_len", [1, 2, 3])
def test_a_film_shows_the_episodes_that_an_evaluation_counts(chunk_len: int, tmp_path: Path) -> None:
    protocol = EvalProtocol(
        name="film", version=1, task="Push", backend="push", split="train", obs="state",
        num_episodes=6, seed=150, horizon=HORIZON, chunk_len=chunk_len,
    )  # fmt: skip
    counted, shown = Wanderer(), Wanderer()
    report = evaluate(counted, FilmedEnv(6, 1), protocol)
    won = record_rollout(FilmedEnv(6, 1), shown, tmp_path / "film.mp4", seed=150, chunk_len=chunk_len)
    assert won.tolist() == report.successes.tolist()
    assert 0 < report.rate < 1, "both outcomes, or this says little"
    assert (shown.seeds, shown.asked) == ([150], counted.asked)
    assert len(shown.asked) == HORIZON // chunk_len
    assert len(shown.asked[-1][0]) < 6, "finished lanes are not asked about"


def test_a_tree_carries_out_the_same_part_of_a_chunk(tmp_path: Path) -> None:
    agent = Wanderer()
    record_tree(FilmedEnv(2, 2), agent, tmp_path / "tree.mp4", seed=0, decision=2, chunk_len=1)
    # The trunk is lane 0's: two decisions of one step. Both lanes have the other 10 steps for themselves.
    assert agent.seeds == [0]
    assert [lanes for lanes, _ in agent.asked[:3]] == [[0], [0], [0, 1]]
    assert 2 < len(agent.asked) <= 2 + HORIZON - 2


def test_what_cannot_be_filmed_is_refused_as_evaluations_refuse_it(tmp_path: Path) -> None:
    class Short(Wanderer):
        def act(self, observation: dict[str, NDArray], /) -> NDArray:
            return super().act(observation)[:, :2]

    wrapped = gym.wrappers.vector.RecordEpisodeStatistics(FilmedEnv(2, 1))
    bad: list[tuple[Any, Any, type[Exception], str]] = [
        (FilmedEnv(2, 1), len, TypeError, r"a method act\(observation\), builtin_function_or_method has none"),
        (wrapped, Wanderer(), TypeError, r"got RecordEpisodeStatistics: pass `envs\.unwrapped`"),
        (FakeEnv(), Wanderer(), TypeError, r"got FakeEnv: that is a single env; use gymnasium\.make_vec"),
        (FakeVectorEnv(2, 1), Wanderer(), TypeError, r"FakeVectorEnv has no film\(lane\)"),
        (FilmedEnv(2, 1), Short(), ValueError, r"must return \[2, H >= 3, 2\] .*, got \(2, 2, 2\)"),
    ]
    for envs, agent, error, words in bad:
        with pytest.raises(error, match=words):
            record_rollout(envs, agent, tmp_path / "x.mp4", seed=0, chunk_len=3)
        if error is TypeError:
            with pytest.raises(error, match=words):
                film_episode(envs, agent, seed=0)
    with pytest.raises(ValueError, match="chunk_len must be a whole number of at least 1, got 0"):
        record_rollout(FilmedEnv(2, 1), Wanderer(), tmp_path / "x.mp4", seed=0, chunk_len=0)
    with pytest.raises(IsADirectoryError, match=f"{tmp_path} is a directory; give a name in it"):
        record_rollout(FilmedEnv(2, 1), Wanderer(), tmp_path, seed=0)
    kitchen = KitchenVectorEnv("OpenDrawer", num_envs=2)
    kitchen.reset(seed=0)
    with pytest.raises(ValueError, match=r"lanes run from 0 to 1, got \[7\]"):
        kitchen.film(7)
    assert not list(tmp_path.iterdir())


def test_a_backend_whose_library_is_missing_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opengl, "_loads", lambda library: library == "libOSMesa.so.6")
    assert opengl.usable_backend({}) == "off"  # EGL by default
    assert opengl.usable_backend({"MUJOCO_GL": "egl", "DISPLAY": ":0"}) == "off"
    assert opengl.usable_backend({"MUJOCO_GL": "OSMesa"}) == "osmesa"
    assert opengl.usable_backend({"MUJOCO_GL": "glfw"}) == "glfw"
    assert opengl.usable_backend({"DISPLAY": ":0"}) == ""


def test_an_empty_choice_of_a_backend_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opengl, "_loads", lambda library: True)
    for empty in ("", " "):
        assert opengl.usable_backend({"MUJOCO_GL": empty}) == "egl"
        assert opengl.usable_backend({"MUJOCO_GL": empty, "DISPLAY": ":0"}) == ""
