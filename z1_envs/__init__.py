"""The 24 atomic RoboCasa tasks as Gymnasium envs with exact snapshots and branching.

    import gymnasium as gym
    import z1_envs

    env = gym.make("Z1-RoboCasa-OpenDrawer")
    envs = gym.make_vec("Z1-RoboCasa-OpenDrawer", num_envs=64, group_size=8)

Where things are:
    tasks, layout          the 24 rows; the order of every flat vector
    registration           the 24 ids that `gym.make` and `gym.make_vec` know
    snapshot, conformance  exact snapshots of any env with all its wrappers, and the test for yours
    branch                 the branching vector env
    actions, lane_rows     what it accepts; what every lane returned last
    arguments              what users give, checked
    lanes                  the same over any env
    worker, shared_memory  its lanes, in process or in worker processes; how observations come back from these
    pool                   the same over an env that is heavy: many lanes on few envs
    pool_jobs              who does which of its jobs, and what happens when a worker dies
    pool_worker            a process that does them
    processes              what every worker process needs: one thread, errors that travel
    wrappers               ActionChunk, SuccessDecay, SuccessPenalty
    agents                 what an agent is shown, what of its answer is carried out
    evaluate               protocols, success rates with intervals, paired comparisons
    protocols              published ones on the official RoboCasa, by name
    video, gallery         rollouts and trees as mp4; all tasks side by side
    demos                  demonstrations in memory: what an expert saw and wanted
    lerobot                the same on disk, as LeRobot datasets v3.0, and reading it
    lerobot_writer         writing it
    lerobot_statistics     what LeRobot wants to know of every feature
    datasets               demonstrations on disk, whoever wrote them; `validate` says what is wrong with them
    episodes               what a dataset of recorded episodes offers
    robomimic, lerobot_v2  RoboCasa's own: v0.2's HDF5 files, v1.0's LeRobot folders
    whole_files            files that are whole or not there, and their digest
    picture_room           where pictures lie once they are read
    dataset_check          the faults that are looked for
    opengl, canvas         which OpenGL backend MuJoCo can load here; drawing with it
    kitchen/               the embedded simulator, with scripted experts and their demonstrations
    robocasa/              the official one: its envs, adapters between its releases, assets
"""

import os
import sys

from z1_envs.opengl import usable_backend

# MuJoCo reads MUJOCO_GL when it is first imported.
if sys.platform == "linux":
    os.environ["MUJOCO_GL"] = usable_backend(os.environ)

from z1_envs.registration import register_tasks

register_tasks()
