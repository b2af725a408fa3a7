"""The 12-dim action → servo targets, for many lanes at once.

The arm follows operational-space deltas: one damped-least-squares step of differential inverse kinematics per
control step, integrated in the servo *targets*, which may lead the joints by at most `MAX_LEAD` (this bounds
contact forces). The null space pulls towards the episode's home posture.

Arithmetic is elementwise over lanes, with no BLAS and no reductions: the same bits for any number of lanes or
threads. Arrays are therefore [..., L], lanes last.

Differences from RoboCasa's controller (operational-space torques at 500 Hz): joint servos at 200 Hz; the delta
always continues from the desired pose (RoboCasa's base mode 1), whatever the sign of `base_mode`, since from
the achieved pose the arm sags under a held object.
"""

import numpy as np
from numpy.typing import NDArray

from z1_envs.kitchen import robot
from z1_envs.layout import ACTION

FloatArray = NDArray[np.float64]

CONTROL_DT = 0.05  # [s], 20 Hz
EEF_POSITION_SCALE = 0.05  # [m] per control step at action 1
EEF_ROTATION_SCALE = 0.5  # [rad]
BASE_SCALE = np.array([1.0, 1.0, 1.5]) * CONTROL_DT  # [m, m, rad]
TORSO_SCALE = 0.05  # [m]
GRIPPER_SPEED = 0.2  # of the half range per control step, as RoboCasa's Panda gripper
MAX_LEAD = 0.25  # [rad] between an arm servo's target and its joint
MAX_BASE_LEAD = np.array([0.15, 0.15, 0.2])  # [m, m, rad]; at full speed the base lags its target by 0.1 s

_BASE_LEAD = MAX_BASE_LEAD[:, None]
_DAMPING = 0.05  # of the least squares, in metres and radians
_TINY = 1e-8  # the same for the null space, only to keep the factorisation alive at a singularity
_HOME_GAIN = 0.05  # share of the distance to home that the null space closes per control step
_GRIPPER_MIDDLE, _GRIPPER_HALF_RANGE = 0.0175, 0.0225  # [m] servo targets from -5 mm (closed) to 40 mm (open)


def servo_targets(
    action: FloatArray,
    qpos: FloatArray,
    targets: FloatArray,
    home: FloatArray,
    jacobian: FloatArray,
    base_rotation: FloatArray,
) -> FloatArray:
    """Servo targets [13, L] for the next control step.

    action: [12, L] in [-1, 1]. qpos: robot joints [13, L] [rad, m]. targets: the current servo targets [13, L].
    home: arm posture [7, L] [rad] that the null space pulls to. jacobian: of the grip site by the arm joints
    [6, 7, L], world frame. base_rotation: base frame in the world [3, 3, L].
    """
    new = targets.copy()
    delta = np.concatenate(
        [
            _rotate(base_rotation, action[ACTION["eef_position"]]) * EEF_POSITION_SCALE,
            _rotate(base_rotation, action[ACTION["eef_rotation"]]) * EEF_ROTATION_SCALE,
        ]
    )
    q = qpos[robot.ARM]
    lead = targets[robot.ARM] + _arm_step(jacobian, delta, home - q) - q
    new[robot.ARM] = np.clip(q + np.clip(lead, -MAX_LEAD, MAX_LEAD), robot.ARM_LOW[:, None], robot.ARM_HIGH[:, None])
    base_delta = action[ACTION["base"]] * BASE_SCALE[:, None]
    base_delta[:2] = _rotate(base_rotation[:2, :2], base_delta[:2])
    q = qpos[robot.BASE]
    new[robot.BASE] = q + np.clip(targets[robot.BASE] + base_delta - q, -_BASE_LEAD, _BASE_LEAD)
    new[robot.TORSO] = np.clip(targets[robot.TORSO] + action[ACTION["torso"]] * TORSO_SCALE, *robot.TORSO_RANGE)
    new[robot.FINGERS] = _finger_targets(targets[robot.FINGERS][0], action[ACTION["gripper"]][0])
    return new


def finger_opening(opening: float) -> tuple[float, float]:
    """Servo targets [m] of both fingers for `opening` in [-1 closed, 1 open]."""
    target = _GRIPPER_MIDDLE + _GRIPPER_HALF_RANGE * opening
    return target, -target


def jacobian(site: FloatArray, anchors: FloatArray, axes: FloatArray) -> FloatArray:
    """Jacobian [6, J, L] of a point by hinge joints: velocity [m/rad] over angular velocity.

    site: the point [3, L]. anchors, axes: of the joints [3, J, L]. All in the world frame.
    """
    arm = site[:, None] - anchors
    linear = np.stack(
        [
            axes[1] * arm[2] - axes[2] * arm[1],
            axes[2] * arm[0] - axes[0] * arm[2],
            axes[0] * arm[1] - axes[1] * arm[0],
        ]
    )
    return np.concatenate([linear, axes])


def _finger_targets(current: FloatArray, command: FloatArray) -> FloatArray:
    """RoboCasa's gripper integrates the command's sign; magnitude is ignored. [2, L]."""
    closing = (_GRIPPER_MIDDLE - current) / _GRIPPER_HALF_RANGE
    closing = np.clip(closing + GRIPPER_SPEED * np.sign(command), -1.0, 1.0)
    target = _GRIPPER_MIDDLE - _GRIPPER_HALF_RANGE * closing
    return np.stack([target, -target])


def _rotate(rotation: FloatArray, vector: FloatArray) -> FloatArray:
    """rotation [n, n, L] times vector [n, L], summed in a fixed order."""
    total = rotation[:, 0] * vector[0]
    for k in range(1, len(vector)):
        total = total + rotation[:, k] * vector[k]
    return total


def _arm_step(jac: FloatArray, delta: FloatArray, to_home: FloatArray) -> FloatArray:
    """Joint step [7, L] [rad]: J⁺ delta + (I - J⁺J) · gain · to_home.

    The task part is damped, the null-space projector is not: a damped one drifts 2 cm/s at rest.
    """
    gram = jac[:, None, 0] * jac[None, :, 0]
    for k in range(1, jac.shape[1]):
        gram = gram + jac[:, None, k] * jac[None, :, k]
    pull = _HOME_GAIN * to_home
    # Both systems at once: numpy's time per call outweighs the arithmetic.
    right = np.stack([delta, _apply(jac, pull)], axis=1)
    task, null = _solve_spd(gram[:, :, None], right, np.array([[_DAMPING**2], [_TINY]])).swapaxes(0, 1)
    return pull + _apply_transposed(jac, task - null)


def _apply(jac: FloatArray, joints: FloatArray) -> FloatArray:
    total = jac[:, 0] * joints[0]
    for k in range(1, len(joints)):
        total = total + jac[:, k] * joints[k]
    return total


def _apply_transposed(jac: FloatArray, task: FloatArray) -> FloatArray:
    total = jac[0] * task[0]
    for k in range(1, len(task)):
        total = total + jac[k] * task[k]
    return total


def _solve_spd(matrix: FloatArray, right: FloatArray, ridge: FloatArray) -> FloatArray:
    """x [n, m, L] with (matrix + ridge·I) x = right, by a Cholesky factorisation for each m and lane.

    matrix: [n, n, 1, L]. right: [n, m, L]. ridge: [m, 1].
    """
    n = len(right)
    lower = np.empty((n, n, *right.shape[1:]))
    y = np.empty_like(right)
    for j in range(n):
        column = np.broadcast_to(matrix[j:, j], (n - j, *right.shape[1:])).copy()
        column[0] += ridge
        for k in range(j):
            column -= lower[j:, k] * lower[j, k]
        pivot = np.sqrt(column[0])
        lower[j:, j] = column / pivot
        residual = right[j].copy()
        for k in range(j):
            residual -= lower[j, k] * y[k]
        y[j] = residual / pivot
    x = np.empty_like(right)
    for j in reversed(range(n)):
        residual = y[j].copy()
        for k in range(j + 1, n):
            residual -= lower[k, j] * x[k]
        x[j] = residual / lower[j, j]
    return x
