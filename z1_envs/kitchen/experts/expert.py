"""Scripted experts, through the same 12-dim action that a policy has.

An expert is a function of the present geometry alone: it keeps no phase and no counter, so it recovers from
any perturbation and needs nothing that a snapshot does not hold. All arithmetic is over n lanes.

    actions = expert_actions("OpenDrawer", lanes.geometry(ids))     # [n, 12]
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from z1_envs.kitchen.control import EEF_POSITION_SCALE, EEF_ROTATION_SCALE
from z1_envs.kitchen.experts import buttons, doors, drawers, from_above, from_front, levers
from z1_envs.kitchen.experts.intent import Expert
from z1_envs.kitchen.geometry import Geometry, to_frame
from z1_envs.layout import ACTION
from z1_envs.tasks import get_task

_GAIN = 0.6  # share of the error that one action closes: the arm lags by a step, so 1 would overshoot
_MAX_TURN = 0.4  # largest component of the rotation action

EXPERTS: dict[str, Expert] = {
    **drawers.EXPERTS,
    **doors.EXPERTS,
    **from_above.EXPERTS,
    **from_front.EXPERTS,
    **buttons.EXPERTS,
    **levers.EXPERTS,
}


def expert_actions(task: str, g: Geometry) -> NDArray[np.float32]:
    """The expert's actions [n, 12] for lanes with geometry `g`. Raises ValueError for an unknown task."""
    intent = EXPERTS[get_task(task).name](g)
    move = _GAIN * to_frame(g.base_rotation, intent.position - g.eef_position) / EEF_POSITION_SCALE
    move /= np.maximum(1.0, np.abs(move).max(axis=1) / intent.speed)[:, None]
    error = Rotation.from_matrix(intent.rotation @ g.eef_rotation.transpose(0, 2, 1)).as_rotvec()
    turn = _GAIN * to_frame(g.base_rotation, error) / EEF_ROTATION_SCALE
    turn /= np.maximum(1.0, np.abs(turn).max(axis=1) / _MAX_TURN)[:, None]
    n = len(move)
    action = {
        "eef_position": move,
        "eef_rotation": turn,
        "gripper": intent.gripper[:, None],
        "base": np.zeros((n, 3)),
        "torso": np.zeros((n, 1)),
        "base_mode": np.full((n, 1), -1.0),
    }
    return ACTION.join(action).astype(np.float32)
