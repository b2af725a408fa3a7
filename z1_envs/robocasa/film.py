"""Pictures of an official env for people, from beside the robot, in an OpenGL context of their own.

None of RoboCasa's cameras shows the robot with what it works on. Nothing of the simulation is written: what follows
has the same bits with and without.
"""

from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from z1_envs.canvas import Canvas, place
from z1_envs.robocasa.simulation import Simulation

WIDTH, HEIGHT = 480, 360  # [px], as the embedded kitchen's films
_MAX_GEOMS = 10_000  # that may be drawn, as robosuite's own (utils/binding_utils.py:100)
_COLLISION = 0  # group of the geoms that are there for physics alone
_PHYSICS = mujoco.mjtState.mjSTATE_INTEGRATION

_BASE, _HAND = "mobilebase0_base", "robot0_right_hand"
_REACH = 1.2  # [m] from the robot's base; what lies beyond does not count, as the far end of a counter
# Where it is looked from, relative to where the robot looks [deg]; of equally good ones the first.
_AZIMUTHS, _ELEVATION = (40.0, -40.0, 60.0, -60.0, 20.0, -20.0, 90.0, -90.0), -22.0
_NEAREST, _MARGIN = 2.0, 0.9  # [m] distance of the camera at least, and in front of all that matters
_DEPTH = 0.35  # [m] of a thing: a ray to its middle ends so much earlier


class FilmCamera:
    """A camera that stands still for an episode; where, is decided by the scene and its start alone."""

    def __init__(self, simulation: Simulation, start: NDArray[np.float64]):
        """start: mjSTATE_INTEGRATION. Raises RenderError where OpenGL cannot start."""
        self._model = simulation.model
        self._data = mujoco.MjData(self._model)
        place(self._model, self._data, start)
        self._view = _view(self._model, self._data, simulation.official)
        self._row = np.empty(len(start))
        self._canvas = Canvas(self._model, WIDTH, HEIGHT, detail=None, max_geoms=_MAX_GEOMS)
        self._canvas.option.geomgroup[_COLLISION] = 0

    def film(self, data: mujoco.MjData) -> NDArray[np.uint8]:
        """The moment `data`, upright, [HEIGHT, WIDTH, 3]."""
        mujoco.mj_getState(self._model, data, self._row, _PHYSICS)
        place(self._model, self._data, self._row)
        return self._canvas.draw(self._model, self._data, self._view)

    def close(self) -> None:
        """Frees the OpenGL context."""
        self._canvas.close()


def _view(model: mujoco.MjModel, data: mujoco.MjData, official: Any) -> mujoco.MjvCamera:
    """The camera that most of what matters is seen from: the gripper, the task's fixture, its objects."""
    base = data.body(_BASE)
    forward = base.xmat.reshape(3, 3)[:, 0]
    points = _points(data, official)
    shoulder = base.xpos + np.array([0.0, 0.0, 0.7])
    whole = np.array([*points, shoulder])
    low, high = whole.min(axis=0), whole.max(axis=0)
    camera = mujoco.MjvCamera()
    camera.lookat[:] = (low + high) / 2
    camera.distance = max(_NEAREST, _MARGIN + float(np.linalg.norm(high - low)))
    camera.elevation = _ELEVATION
    ahead = float(np.rad2deg(np.arctan2(forward[1], forward[0])))
    views = [ahead + azimuth for azimuth in _AZIMUTHS]
    seen = [_num_seen(model, data, _eye(camera, azimuth), points) for azimuth in views]
    camera.azimuth = views[int(np.argmax(seen))]
    return camera


def _points(data: mujoco.MjData, official: Any) -> list[NDArray[np.float64]]:
    """The middles of the gripper, and of the fixture and the objects within reach [m]."""
    base = data.body(_BASE).xpos
    fixture = np.array(official.init_robot_base_ref.pos, dtype=np.float64)
    objects = [data.xpos[body].copy() for body in official.obj_body_id.values()]
    near = [point for point in (fixture, *objects) if np.linalg.norm((point - base)[:2]) < _REACH]
    return [data.body(_HAND).xpos.copy(), *near]


def _eye(camera: mujoco.MjvCamera, azimuth: float) -> NDArray[np.float64]:
    """Where the camera is, turned to `azimuth` [deg]."""
    turn, rise = np.deg2rad([azimuth, camera.elevation])
    ahead = np.array([np.cos(rise) * np.cos(turn), np.cos(rise) * np.sin(turn), np.sin(rise)])
    return camera.lookat - camera.distance * ahead


def _num_seen(
    model: mujoco.MjModel, data: mujoco.MjData, eye: NDArray[np.float64], points: list[NDArray[np.float64]]
) -> int:
    """How many `points` nothing stands before that is drawn, walls that the eye is behind or in among them."""
    groups = np.ones(mujoco.mjNGROUP, dtype=np.uint8)
    groups[_COLLISION] = 0
    hit, num_seen = np.zeros(1, dtype=np.int32), 0
    for point in points:
        way = point - eye
        share = mujoco.mj_ray(model, data, eye, way, groups, 1, -1, hit)  # of `way`
        num_seen += share < 0 or share > 1 - _DEPTH / float(np.linalg.norm(way))
    return num_seen
