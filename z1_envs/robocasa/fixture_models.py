"""Stand-ins for the fixtures that RoboCasa loads from files: what its classes look up by name, of plain boxes.

Fronts face -y. RoboCasa scales each model to the size that layouts and the registry ask for. `variant` counts the
models of a kind: they differ in proportions, colours, and where handles and buttons sit.
"""

from collections.abc import Callable
from dataclasses import dataclass

from z1_envs.robocasa.mjcf import DARK, HINT, STEEL, WHITE, Body, Colour, Model, Vec

_COLOURS: tuple[Colour, ...] = (STEEL, WHITE, (0.3, 0.32, 0.36), (0.55, 0.42, 0.33))
_WALL = 0.02  # thickness of cases [m]
_RIGHT_ANGLE = 1.5708


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of fixture: its folder of models, who builds one, and what the registry says of its size."""

    folder: str
    build: Callable[[str, int], Model]
    size: tuple[float | None, float | None, float | None] | None = None
    max_size: tuple[float | None, float | None, float | None] | None = None


def microwave(name: str, variant: int) -> Model:
    """Door hinged at the left, buttons on a panel at the right (RoboCasa: models/fixtures/microwave.py)."""
    width, depth, height = 0.5, 0.36 + 0.02 * (variant % 2), 0.28
    model, colour = Model(name, (width, depth, height)), _COLOURS[variant % len(_COLOURS)]
    body, panel = model.body, 0.12  # width of the panel [m]
    inner_x = -panel / 2  # centre of the cavity
    inner = (width - panel - 2 * _WALL, depth - 2 * _WALL, height - 2 * _WALL)
    for sign in (-1, 1):
        body.box((0, 0, sign * (height - _WALL) / 2), (width, depth - 2 * _WALL, _WALL), colour)
    body.box((-(width - _WALL) / 2, 0, 0), (_WALL, depth - 2 * _WALL, height - 2 * _WALL), colour)
    body.box(((width - panel) / 2, 0, 0), (panel, depth - 2 * _WALL, height - 2 * _WALL), colour)
    body.box((0, (depth - _WALL) / 2, 0), (width, _WALL, height), colour)
    body.box((inner_x, 0, -inner[2] / 2 + 0.005), (0.24, 0.24, 0.01), WHITE, name="tray")
    body.region("int", (inner_x, 0, 0), inner)
    body.region("tray", (inner_x, 0, 0.005), (0.24, 0.24, inner[2] - 0.01))
    front = -depth / 2 + _WALL
    first, second = (-0.05, -0.1) if variant % 2 == 0 else (-0.1, -0.05)
    body.box(((width - panel) / 2, front - 0.006, first), (0.06, 0.012, 0.03), (0.2, 0.6, 0.25), name="start_button")
    body.box(((width - panel) / 2, front - 0.006, second), (0.06, 0.012, 0.03), HINT, name="stop_button")
    door = body.child("door", (-width / 2, front, 0))
    door.hinge("microjoint", (0, 0, 1), (-1.57, 0), friction=0.1)
    door_width = width - panel
    door.box((door_width / 2, -_WALL / 2, 0), (door_width, _WALL, height), DARK, name="door_main")
    bar_x = door_width - 0.03
    for z in (-0.08, 0.08):
        door.box((bar_x, -0.035, z), (0.02, 0.03, 0.02), STEEL)
    door.box((bar_x, -0.055, 0), (0.02, 0.02, 0.2), STEEL, name="door_handle_main")
    return model


def sink(name: str, variant: int) -> Model:
    """One basin, a tap with a lever and a spout that swings (models/fixtures/sink.py)."""
    width, depth, height = 0.66 + 0.06 * (variant % 3), 0.53, 0.22
    model, colour = Model(name, (width, depth, height)), _COLOURS[variant % 3]
    body, rim = model.body, 0.08  # the rim at the back carries the tap [m]
    basin = (width - 2 * _WALL, depth - _WALL - rim, height - _WALL)
    basin_y = (_WALL - rim) / 2
    body.box((0, basin_y, -(height - _WALL) / 2), (basin[0], basin[1], _WALL), colour)
    for sign in (-1, 1):
        body.box((sign * (width - _WALL) / 2, 0, 0), (_WALL, depth, height), colour)
    body.box((0, -(depth - _WALL) / 2, 0), (basin[0], _WALL, height), colour)
    body.box((0, (depth - rim) / 2, 0), (basin[0], rim, height), colour)
    body.region("int", (0, basin_y, _WALL / 2), basin)
    body.region("basin", (0, basin_y, _WALL / 2), basin)
    tap_y, top = (depth - rim) / 2, height / 2
    body.cylinder((0, tap_y, top + 0.06), 0.05, 0.12, STEEL)
    spout = body.child("spout", (0, tap_y, top + 0.12))
    spout.hinge("spout_joint", (0, 0, 1), (-_RIGHT_ANGLE, _RIGHT_ANGLE), friction=0.1)
    spout.cylinder((0, 0, 0.08), 0.03, 0.16, STEEL)
    spout.box((0, -0.1, 0.15), (0.03, 0.2, 0.025), STEEL)
    spout.site("water", (0, -0.19, -0.06), diameter=0.02, height=0.4, colour=(0.5, 0.7, 0.9))
    side = 1 if variant % 2 == 0 else -1
    handle = body.child("handle", (side * 0.12, tap_y, top + 0.03))
    handle.hinge("handle_temp_joint", (0, 0, 1), (-0.6, 0.6), friction=0.1)
    handle.hinge("handle_joint", (-1, 0, 0), (0, 0.6), friction=0.1)
    body.cylinder((side * 0.12, tap_y, top + 0.01), 0.05, 0.02, STEEL)
    handle.cylinder((0, 0, 0.02), 0.04, 0.03, STEEL)
    handle.box((0, -0.05, 0.04), (0.025, 0.1, 0.015), STEEL)
    return model


def stove(name: str, variant: int) -> Model:
    """A range of four burners with knobs at the front (models/fixtures/stove.py)."""
    model = Model(name, (0.76, 0.66, 0.915))
    body, colour = model.body, _COLOURS[variant % len(_COLOURS)]
    body.box((0, 0, -0.01), (0.76, 0.66, 0.895), colour)
    body.box((0, 0, 0.4475), (0.76, 0.66, 0.02), DARK)
    _burners(body, 0.4575, spread=(0.19, 0.15))
    for index, place in enumerate(_ring(variant)):
        knob = body.child(f"knob_{place}", (-0.27 + 0.18 * index, -0.33, 0.36))
        knob.hinge(f"knob_{place}_joint", (0, -1, 0), (0, 3.1), friction=0.03)
        knob.cylinder((0, -0.015, 0), 0.044, 0.03, DARK, euler=(_RIGHT_ANGLE, 0, 0))
        knob.box((0, -0.036, 0.004), (0.01, 0.014, 0.04), HINT)
    return model


def stovetop(name: str, variant: int) -> Model:
    """A plate of four burners with knobs that stand upright at its front edge."""
    model = Model(name, (0.76, 0.55, 0.05))
    model.body.box((0, 0, 0), (0.76, 0.55, 0.05), DARK)
    _burners(model.body, 0.025, spread=(0.19, 0.11), y=0.05)
    for index, place in enumerate(_ring(variant)):
        knob = model.body.child(f"knob_{place}", (-0.18 + 0.12 * index, -0.22, 0.025))
        knob.hinge(f"knob_{place}_joint", (0, 0, 1), (0, 3.1), friction=0.03)
        knob.cylinder((0, 0, 0.015), 0.044, 0.03, STEEL)
        knob.box((0, 0.004, 0.036), (0.01, 0.04, 0.014), HINT)
    return model


def _ring(variant: int) -> tuple[str, ...]:
    places = ("front_left", "rear_left", "rear_right", "front_right")
    return places if variant % 2 == 0 else tuple(reversed(places))


def _burners(body: Body, top: float, *, spread: tuple[float, float], y: float = 0.0) -> None:
    """Four burners on a plate whose surface is at `top`, `spread` to the sides and in depth."""
    for row, dy in (("front", -spread[1]), ("rear", spread[1])):
        for side, dx in (("left", -spread[0]), ("right", spread[0])):
            body.cylinder((dx, y + dy, top + 0.004), 0.17, 0.008, STEEL)
            body.site(f"burner_on_{row}_{side}", (dx, y + dy, top + 0.01), diameter=0.14, height=0.01)
            body.site(f"burner_{row}_{side}_place_site", (dx, y + dy, top + 0.008))


def coffee_machine(name: str, variant: int) -> Model:
    """A column with a head over the place for a mug, and a button on the head (models/fixtures/coffee_machine.py)."""
    width, depth, height = 0.22 + 0.02 * (variant % 3), 0.32, 0.36
    model, colour = Model(name, (width, depth, height)), _COLOURS[(variant + 2) % len(_COLOURS)]
    body = model.body
    body.box((0, 0, -height / 2 + 0.015), (width, depth, 0.03), colour)
    body.box((0, 0.09, 0.015), (width, depth - 0.18, height - 0.03), colour)
    body.box((0, -0.07, height / 2 - 0.06), (width, 0.18, 0.12), colour)
    body.cylinder((0, -0.07, height / 2 - 0.13), 0.04, 0.02, DARK)
    x = 0.04 * (variant % 3 - 1)
    body.box((x, -depth / 2 - 0.006, height / 2 - 0.06), (0.05, 0.012, 0.05), HINT, name="start_button")
    body.site("receptacle_place_site", (0, -0.07, -height / 2 + 0.031))
    body.site("coffee_liquid", (0, -0.07, 0.0), diameter=0.01, height=0.12, colour=(0.3, 0.18, 0.1))
    body.region("int", (0, -0.07, -0.03), (width, 0.18, 0.18))
    return model


def block(size: Vec, colour: Colour) -> Callable[[str, int], Model]:
    """Who builds plain boxes of about `size`: furniture that no task uses."""

    def build(name: str, variant: int) -> Model:
        model = Model(name, size)
        shade = 1.0 - 0.12 * (variant % 3)
        model.body.box((0, 0, 0), size, (colour[0] * shade, colour[1] * shade, colour[2] * shade))
        model.body.region("int", (0, 0, 0), [0.9 * length for length in size])
        return model

    return build


def oven_with_door(name: str, variant: int) -> Model:
    """A toaster oven: RoboCasa reads its door's hinge in every step (models/fixtures/toaster_oven.py:240)."""
    size = (0.46, 0.36, 0.26)
    model, colour = Model(name, size), _COLOURS[variant % len(_COLOURS)]
    model.body.box((0, 0.01, 0), (size[0], size[1] - 0.02, size[2]), colour)
    model.body.region("rack0", (0, 0, 0), (0.3, 0.24, 0.15))
    door = model.body.child("door", (0, -size[1] / 2 + 0.02, -size[2] / 2))
    door.hinge("door_joint", (1, 0, 0), (0, _RIGHT_ANGLE), friction=1.0)
    door.box((0, -0.01, size[2] / 2), (size[0] - 0.1, 0.02, size[2]), DARK)
    return model
