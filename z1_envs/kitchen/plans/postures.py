"""Arm postures [rad] in which episodes start, each for a task on the robot's left; `on_side` for either."""

import numpy as np

FORWARD_LEFT_LOW = (1.10, 0.85, 0.03, -2.30, -1.98, 1.60, -0.85)
DRAWN_BACK_LEFT_LOW = (1.32, 0.75, 0.20, -2.40, -1.68, 1.44, -0.80)
FRONT_LEFT_HIGH = (0.17, -1.14, 0.71, -2.42, -0.74, 2.51, 0.55)
FRONT_LEFT_MIDDLE = (0.66, -0.38, 0.57, -2.50, -1.63, 1.98, 1.44)
# To grasp vertical bars: the fingers open sideways.
GRASP_LEFT_HIGH = (0.55, -0.56, 0.53, -2.23, -1.40, 2.17, -0.60)
GRASP_LEFT_MIDDLE = (0.66, -0.38, 0.57, -2.50, -1.63, 1.98, -0.13)
FORWARD_DOWN_LEFT_LOW = (0.72, 0.21, 0.09, -2.22, -1.81, 2.42, -0.04)
FORWARD_DOWN_LEFT_HIGH = (1.24, 0.03, -0.17, -2.48, -1.64, 2.26, 0.05)
DOWN = (0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785)
# The gripper leans 30 degrees forward from straight down, thin sideways.
LEANING = (0.0, -0.40, 0.0, -2.40, 0.0, 2.52, -0.785)
GRASP_LEFT_LOW = (1.15, 0.62, 0.10, -2.22, -1.91, 1.62, 0.47)
PRESS_LEFT = (0.60, -0.01, 0.62, -2.35, -1.81, 1.82, 1.58)  # thin sideways
_NOISE = 0.03  # [rad] standard deviation per joint

Arm = tuple[float, ...]


def on_side(left: Arm, side: int, rng: np.random.Generator) -> Arm:
    """The posture `left` with noise, for a task on the robot's left (`side` +1), mirrored for one on its right (-1)."""
    return noisy(left if side > 0 else mirrored(left), rng)


def mirrored(arm: Arm) -> Arm:
    """The posture reflected in the robot's x-z plane; of the gripper's two equal ways the one nearer to 0."""
    q1, q2, q3, q4, q5, q6, q7 = arm
    return (-q1, q2, -q3, q4, -q5, q6, min(np.pi / 2 - q7, -np.pi / 2 - q7, key=abs))


def noisy(arm: Arm, rng: np.random.Generator) -> Arm:
    """The posture as a robot comes to stand in it."""
    return tuple(float(q) for q in np.asarray(arm) + rng.normal(0, _NOISE, 7))
