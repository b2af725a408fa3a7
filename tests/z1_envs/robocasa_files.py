"""Small files in the exact layouts of RoboCasa's datasets, as its own scripts write them."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import h5py
import imageio.v2 as imageio
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

PX = 32
LENGTHS = (4, 3, 5)
CAMERAS = ("robot0_agentview_left", "robot0_agentview_right", "robot0_eye_in_hand")
STATES = {
    "robot0_base_pos": 3,
    "robot0_base_quat": 4,
    "robot0_base_to_eef_pos": 3,
    "robot0_base_to_eef_quat": 4,
    "robot0_gripper_qpos": 2,
}


class Recorded:
    """Three episodes: RoboCasa's observations by key [n, …] and actions [n, 12] in the env's order, of each."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.actions: list[NDArray] = []
        self.obs: list[dict[str, NDArray]] = []
        self.pictures: list[dict[str, NDArray]] = []
        for num_steps in LENGTHS:
            actions = rng.uniform(-1, 1, (num_steps, 12))
            actions[:, 6] = rng.choice([-1.0, 1.0], num_steps)
            actions[:, 11] = -1.0
            self.actions.append(actions)
            obs = {key: rng.normal(size=(num_steps, width)) for key, width in STATES.items()}
            yaw = rng.uniform(-3, 3, num_steps)
            zero = np.zeros(num_steps)
            obs["robot0_base_quat"] = np.stack([zero, zero, np.sin(yaw / 2), np.cos(yaw / 2)], axis=1)
            obs["robot0_base_to_eef_quat"] /= np.linalg.norm(obs["robot0_base_to_eef_quat"], axis=1, keepdims=True)
            self.obs.append(obs)
            # Bright above, dark below; each step has a level of its own.
            slope = np.linspace(200, 40, PX)[:, None, None] + np.zeros((PX, PX, 3))
            levels = np.linspace(0, 40, num_steps)[:, None, None, None]
            self.pictures.append({name: (slope + levels + 4 * i).astype(np.uint8) for i, name in enumerate(CAMERAS)})

    @property
    def states(self) -> NDArray[np.float32]:
        """[N, 16] in the order base position, base quaternion, gripper in the base's frame, its quaternion, fingers."""
        return np.concatenate(
            [np.concatenate([obs[key] for key in STATES], axis=1).astype(np.float32) for obs in self.obs]
        )


def write_hdf5(
    path: Path, recorded: Recorded, *, env: str = "OpenDrawer", images: bool = True, failed: Collection[int] = ()
) -> None:
    """v0.2:scripts/dataset_states_to_obs.py, then utils/robomimic/robomimic_dataset_utils.py: extract_action_dict."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        for index, actions in enumerate(recorded.actions):
            group = data.create_group(f"demo_{index + 9}")  # demo_9, demo_10, demo_11: not in order of the alphabet
            group.create_dataset("actions", data=actions)
            group.create_dataset("states", data=np.zeros((len(actions), 7)))
            group.create_dataset("rewards", data=np.zeros(len(actions)))
            dones = np.zeros(len(actions), dtype=int)
            dones[-1] = index not in failed
            group.create_dataset("dones", data=dones)
            for key, values in recorded.obs[index].items():
                group.create_dataset(f"obs/{key}", data=values, compression="gzip")
            for camera, pictures in recorded.pictures[index].items() if images else ():
                group.create_dataset(f"obs/{camera}_image", data=pictures, compression="gzip")
            for key, part in (("rel_pos", slice(0, 3)), ("rel_rot_axis_angle", slice(3, 6)), ("gripper", slice(6, 7))):
                group.create_dataset(f"action_dict/{key}", data=actions[:, part].astype(np.float32))
            group.attrs["model_file"] = "<mujoco/>"
            group.attrs["ep_meta"] = json.dumps({"layout_id": 1, "style_id": 1, "lang": instruction(index)}, indent=4)
            group.attrs["num_samples"] = len(actions)
        data.attrs["total"] = sum(map(len, recorded.actions))
        data.attrs["env_args"] = json.dumps(env_args(env), indent=4)
        file.create_dataset("mask/2_demos", data=np.array([b"demo_9", b"demo_11"]))


def instruction(index: int) -> str:
    return f"open the {'left' if index == 1 else 'right'} drawer"


def env_args(env: str) -> dict[str, Any]:
    """v0.2:utils/robomimic/robomimic_env_wrapper.py, serialize; the controller is that of v0.1's files."""
    controller = {"type": "OSC_POSE", "input_max": 1, "input_min": -1, "control_delta": True, "kp": 150}
    kwargs = {"robots": "PandaMobile", "controller_configs": controller, "control_freq": 20, "camera_heights": PX}
    return {"env_name": env, "env_version": "1.4.1", "type": 1, "env_kwargs": kwargs}


MODALITY: dict[str, Any] = {
    "state": {
        "base_position": {"original_key": "observation.state", "start": 0, "end": 3},
        "base_rotation": {"original_key": "observation.state", "start": 3, "end": 7},
        "end_effector_position_relative": {"original_key": "observation.state", "start": 7, "end": 10},
        "end_effector_rotation_relative": {"original_key": "observation.state", "start": 10, "end": 14},
        "gripper_qpos": {"original_key": "observation.state", "start": 14, "end": 16},
    },
    "action": {
        "base_motion": {"original_key": "action", "start": 0, "end": 4},
        "control_mode": {"original_key": "action", "start": 4, "end": 5},
        "end_effector_position": {"original_key": "action", "start": 5, "end": 8},
        "end_effector_rotation": {"original_key": "action", "start": 8, "end": 11},
        "gripper_close": {"original_key": "action", "start": 11, "end": 12},
    },
}


def write_v2(folder: Path, recorded: Recorded, *, env: str = "OpenDrawer", zero_one: bool = False) -> None:
    """v1.0.1:scripts/dataset_scripts/convert_hdf5_lerobot.py with LeRobot 0.3.3."""
    features: dict[str, Any] = {
        f"observation.images.{camera}": {
            "dtype": "video", "shape": [PX, PX, 3], "names": ["height", "width", "channel"],
        }
        for camera in CAMERAS
    }  # fmt: skip
    features |= {
        "observation.state": {"dtype": "float64", "shape": [16]},
        "action": {"dtype": "float64", "shape": [12]},
        "next.reward": {"dtype": "float32", "shape": [1]},
        "next.done": {"dtype": "bool", "shape": [1]},
    }
    words = [f"{instruction(index).capitalize()}." for index in range(len(LENGTHS))]
    tasks = list(dict.fromkeys(words))
    write_json(folder / "meta/modality.json", MODALITY)
    write_json(folder / "extras/dataset_meta.json", {"env_args": env_args(env)})
    lines = [{"task_index": index, "task": task} for index, task in enumerate([*tasks, env])]
    (folder / "meta/tasks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = [{"episode_index": index, "tasks": [words[index]], "length": length} for index, length in enumerate(LENGTHS)]
    (folder / "meta/episodes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    info = {
        "codebase_version": "v2.1", "robot_type": "PandaOmron", "total_episodes": len(LENGTHS),
        "total_frames": sum(LENGTHS), "total_tasks": len(tasks), "chunks_size": 1000, "fps": 20,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": features,
    }  # fmt: skip
    write_json(folder / "meta/info.json", info)
    stored = [v1_order(actions, zero_one) for actions in recorded.actions]
    write_json(folder / "meta/stats.json", {"action": {"min": np.concatenate(stored).min(axis=0).tolist()}})
    start = 0
    for index, actions in enumerate(stored):
        num_steps = len(actions)
        state = np.concatenate([recorded.obs[index][key] for key in STATES], axis=1)
        table = pa.table(
            {
                "observation.state": pa.array(state.tolist(), pa.list_(pa.float64(), 16)),
                "action": pa.array(actions.tolist(), pa.list_(pa.float64(), 12)),
                "next.reward": np.zeros(num_steps, np.float32),
                "next.done": np.arange(num_steps) == num_steps - 1,
                "timestamp": (np.arange(num_steps) / 20).astype(np.float32),
                "frame_index": np.arange(num_steps),
                "episode_index": np.full(num_steps, index),
                "index": start + np.arange(num_steps),
                "task_index": np.full(num_steps, tasks.index(words[index])),
                "annotation.human.task_name": np.full(num_steps, len(tasks)),
            }
        )
        start += num_steps
        file = folder / f"data/chunk-000/episode_{index:06d}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, file)
        for camera, pictures in recorded.pictures[index].items():
            write_video(folder / f"videos/chunk-000/observation.images.{camera}/episode_{index:06d}.mp4", pictures)


def v1_order(actions: NDArray, zero_one: bool) -> NDArray:
    """base 0:4, mode 4, position 5:8, rotation 8:11, gripper 11."""
    stored = actions[:, [7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 6]]
    if zero_one:
        stored[:, [4, 11]] = (stored[:, [4, 11]] + 1) / 2
    return stored


def write_json(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=4))


def write_video(path: Path, pictures: NDArray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer: Any = imageio.get_writer(
        path, format="FFMPEG", fps=20, codec="libx264", quality=None, pixelformat="yuv420p", macro_block_size=2,
        ffmpeg_params=["-crf", "23"], ffmpeg_log_level="error",
    )  # pyright: ignore  # fmt: skip
    for picture in pictures:
        writer.append_data(picture)
    writer.close()
