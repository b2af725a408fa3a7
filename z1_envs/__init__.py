"""The 24 atomic RoboCasa tasks as Gymnasium envs with exact snapshots and branching.

    import gymnasium as gym
    import z1_envs

    env = gym.make("Z1-RoboCasa-OpenDrawer")
    envs = gym.make_vec("Z1-RoboCasa-OpenDrawer", num_envs=64, group_size=8)

Where things are:
    tasks, layout          the 24 rows; the order of every flat vector
    snapshot, conformance  exact snapshots of any env with all its wrappers, and the test for yours
    branch, lanes, worker  the branching vector env; lanes of any env, in process or in worker processes
    wrappers               ActionChunk, SuccessDecay
    evaluate               protocols, success rates with intervals, paired comparisons
    demos, video           scripted demonstrations; rollouts and trees as mp4
    opengl                 which OpenGL backend MuJoCo can load here
    kitchen/               the embedded simulator
"""

import os
import sys

from z1_envs.opengl import usable_backend

# MuJoCo reads MUJOCO_GL when it is first imported.
if sys.platform == "linux":
    os.environ["MUJOCO_GL"] = usable_backend(os.environ)

from z1_envs.registration import register_tasks

register_tasks()
