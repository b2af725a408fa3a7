"""What a moment of an official env consists of: physics, controllers, fixtures' latches, streams.

Everything else follows from these: lists by class say what is in, and a class that is in no list is refused by name.
Not restored by `mj_forward`: it would overwrite the solver's warm start, which belongs to the moment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from z1_envs.robocasa.simulation import Simulation
from z1_envs.snapshot import SnapshotError, copied

# What a step reads before it writes it, by class. All other attributes of controllers are parameters, or computed
# afresh from the physics in each substep (robosuite/controllers/parts/controller.py:199).
CONTROLLERS: Mapping[str, tuple[str, ...]] = {
    "OperationalSpaceController": (
        "origin_pos", "origin_ori", "goal_pos", "goal_ori", "_goal_update_mode", "initial_joint", "new_update",
    ),
    "JointPositionController": ("goal_qpos", "new_update"),
    "MobileBaseJointVelocityController": ("goal_qvel", "init_pos", "init_ori", "new_update"),
    "SimpleGripController": ("goal_qvel", "new_update"),
}  # fmt: skip

# By the class that defines `update_state`, which each step calls (robocasa/models/fixtures).
FIXTURES: Mapping[str, tuple[str, ...]] = {
    "Microwave": ("_turned_on",),
    "CoffeeMachine": ("_turned_on",),
    "ElectricKettle": (
        "_lid", "_lid_button", "_switch", "_lid_speed", "_target_lid_angle", "_last_lid_update", "_turned_on",
        "_num_steps_on", "_cooldown_time",
    ),
    "Toaster": ("_state", "_turned_on", "_num_steps_on", "_cooldown"),
    "ToasterOven": (
        "_door", "_doneness", "_function", "_temperature", "_time", "_rack", "_tray", "_last_time_update",
    ),
    "Oven": ("_door", "_timer", "_temperature", "_rack"),
    "Dishwasher": ("_door", "_rack"),
    "StandMixer": ("_button_head_lock", "_speed_dial_knob_value", "_head_value"),
    "Blender": ("_lid_on_blender", "_turned_on", "_button_contact_prev_timestep"),
    # These move boxes with their drawers, kept apart below; the others write to the model at most.
    **dict.fromkeys(("Drawer", "Fridge"), ()),
    **dict.fromkeys(("Fixture", "Sink", "Stove", "Box", "Wall", "Accessory", "WindowProcBase", "Window"), ()),
}  # fmt: skip
_CORNERS = ("p0", "px", "py", "pz")  # of a region of a fixture (robocasa/models/fixtures/fixture.py:505)
_PHYSICS = mujoco.mjtState.mjSTATE_INTEGRATION


@dataclass(frozen=True, kw_only=True, eq=False)
class SimulationState:
    """One moment; it shares no memory with the env.

    names: what `latches` are of. physics: mjSTATE_INTEGRATION, warm start included. site_rgba, site_size [nsite, …]:
    the parts of the model that fixtures write (water, flames, coffee). regions: corners [m] of boxes that move with
    drawers, in the fixture's frame; v0.2 keeps them as text. clock: steps and seconds since the start. stream: of
    `official.rng`.
    """

    names: tuple[str, ...]
    latches: tuple[Any, ...]
    physics: NDArray[np.float64]
    site_rgba: NDArray[np.float32]
    site_size: NDArray[np.float64]
    regions: tuple[NDArray[np.float64] | str, ...]
    clock: tuple[int, float]
    stream: Mapping[str, Any]


class StateAccess:
    """Reads and writes the moment of one scene; what is in it is looked up once."""

    def __init__(self, simulation: Simulation):
        """Raises SnapshotError for controllers and fixtures that this module does not know."""
        self._simulation = simulation
        official = simulation.official
        self._latches = [*_controller_latches(official.robots[0]), *_fixture_latches(official.fixtures.values())]
        self._names = tuple(name for name, _, _ in self._latches)
        self._regions = _moving_regions(official.fixtures.values())
        self._size = mujoco.mj_stateSize(simulation.model, _PHYSICS)

    def get_state(self) -> SimulationState:
        """This moment."""
        model, official = self._simulation.model, self._simulation.official
        physics = np.empty(self._size)
        mujoco.mj_getState(model, self._simulation.data, physics, _PHYSICS)
        return SimulationState(
            names=self._names,
            latches=tuple([copied(getattr(owner, attribute)) for _, owner, attribute in self._latches]),
            physics=physics,
            site_rgba=model.site_rgba.copy(),
            site_size=model.site_size.copy(),
            regions=tuple([copied(region[corner]) for region, corner in self._regions]),
            clock=(official.timestep, official.cur_time),
            stream=official.rng.bit_generator.state,
        )

    def check(self, state: Any) -> None:
        """Raises SnapshotError where `state` is not a moment of this scene."""
        if not isinstance(state, SimulationState):
            raise SnapshotError(f"expected a SimulationState that get_state() returned, got {type(state).__name__}")
        if state.names != self._names:
            unlike = sorted(set(state.names) ^ set(self._names))
            raise SnapshotError(f"the state is of another scene or release of RoboCasa, they differ in {unlike[:5]}")
        for what, got, here in (
            ("physics", state.physics.shape, (self._size,)),
            ("sites", state.site_rgba.shape, self._simulation.model.site_rgba.shape),
            ("regions", (len(state.regions),), (len(self._regions),)),
        ):
            if got != here:
                raise SnapshotError(f"the state's {what} have the shape {got}, this scene's {here}: it is another's")
        check_stream(self._simulation.official.rng, state.stream)

    def set_state(self, state: SimulationState) -> None:
        """Continues from `state`; raises SnapshotError, with nothing changed, for one of another scene."""
        self.check(state)
        model, official = self._simulation.model, self._simulation.official
        mujoco.mj_setState(model, self._simulation.data, state.physics, _PHYSICS)
        for (_, owner, attribute), value in zip(self._latches, state.latches, strict=True):
            setattr(owner, attribute, copied(value))
        model.site_rgba[:], model.site_size[:] = state.site_rgba, state.site_size
        for (region, corner), value in zip(self._regions, state.regions, strict=True):
            region[corner] = copied(value)
        official.timestep, official.cur_time = state.clock
        # The stream of this very object: fixtures draw from it too.
        official.rng.bit_generator.state = state.stream
        self._simulation.refresh()


def check_stream(generator: np.random.Generator, stream: Any) -> None:
    """Raises SnapshotError where `generator` could not go on from `stream`; it is left as it is."""
    kind = type(generator.bit_generator)
    try:
        kind(0).state = stream
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise SnapshotError(
            f"the state's random stream is none of {kind.__name__}, as this env's is ({error}): it is another's"
        ) from error


def _controller_latches(robot: Any) -> list[tuple[str, Any, str]]:
    """(name, object, attribute) of what controllers and grippers remember.

    Grippers integrate what they are told (robosuite/models/grippers/panda_gripper.py:55).
    """
    latches: list[tuple[str, Any, str]] = []
    for part, controller in robot.composite_controller.part_controllers.items():
        kind = type(controller).__name__
        if kind not in CONTROLLERS:
            raise SnapshotError(f"the controller {kind} of {part} is unknown to z1_envs.robocasa: add what it keeps")
        for interpolator in ("interpolator", "interpolator_pos", "interpolator_ori"):
            if getattr(controller, interpolator, None) is not None:
                raise SnapshotError(f"the {interpolator} of {part} has a state that is unknown to z1_envs.robocasa")
        latches += [(f"{part}.{attribute}", controller, attribute) for attribute in CONTROLLERS[kind]]
    return latches + [(f"gripper.{arm}", gripper, "current_action") for arm, gripper in robot.gripper.items()]


def _fixture_latches(fixtures: Any) -> list[tuple[str, Any, str]]:
    """The same of fixtures; they have what they have after a first `update_state`, which a reset ends with."""
    latches: list[tuple[str, Any, str]] = []
    for fixture in fixtures:
        kind = _updating_class(fixture)
        if kind not in FIXTURES:
            raise SnapshotError(f"{kind}, the fixture {fixture.name}, is unknown to z1_envs.robocasa: add its latches")
        attributes = [attribute for attribute in FIXTURES[kind] if hasattr(fixture, attribute)]
        latches += [(f"{fixture.name}.{attribute}", fixture, attribute) for attribute in attributes]
    return latches


def _moving_regions(fixtures: Any) -> list[tuple[dict[str, Any], str]]:
    """(holder, key) of each corner of drawers' boxes, which predicates read one step old.

    v1.0.1: fixtures/cabinets.py:1008, fridge.py:406. v0.2: cabinets.py:813, attributes of the model's own text.
    """
    corners: list[tuple[dict[str, Any], str]] = []
    for fixture in fixtures:
        kind = _updating_class(fixture)
        if kind == "Drawer" and hasattr(fixture, "_regions"):
            corners += [(fixture._regions["int"], corner) for corner in _CORNERS]
        elif kind == "Drawer":
            corners += [(fixture._bounds_sites[f"int_{corner}"].attrib, "pos") for corner in _CORNERS]
        elif kind == "Fridge":
            moving = [region for name, region in fixture._regions.items() if "drawer" in name]
            corners += [(region, corner) for region in moving for corner in _CORNERS]
    return corners


def _updating_class(fixture: Any) -> str:
    return next(kind.__name__ for kind in type(fixture).__mro__ if "update_state" in vars(kind))
