"""Stand-ins for the things on counters: a shape and a size for every category that RoboCasa can draw.

Placement needs a model of each category ("probabilities contain NaN" else), tasks need dishes that hold things, mugs
that fit under the coffee machine and food that fits a gripper (at most 0.08 m wide).
"""

import zlib
from collections.abc import Mapping, Sequence

from z1_envs.robocasa.mjcf import Colour, Model

VARIANTS = 3  # models per category: RoboCasa's object splits get two and one of them
_SCALES = (1.0, 0.9, 1.1)
_WALL = 0.006  # thickness of dishes [m]

Size = tuple[float, float, float]

# By type of category, in order: the first that a category has decides. Shape and full size [m].
_BY_TYPE: dict[str, tuple[str, Size]] = {
    "receptacle": ("dish", (0.14, 0.14, 0.06)),
    "lid": ("block", (0.16, 0.16, 0.03)),
    "utensil": ("block", (0.17, 0.03, 0.02)),
    "tool": ("block", (0.16, 0.05, 0.02)),
    "drink": ("can", (0.06, 0.06, 0.16)),
    "alcohol": ("can", (0.065, 0.065, 0.2)),
    "condiment": ("can", (0.055, 0.055, 0.14)),
    "spice": ("can", (0.045, 0.045, 0.1)),
    "dairy": ("block", (0.07, 0.06, 0.08)),
    "packaged_food": ("block", (0.1, 0.06, 0.13)),
    "cleaner": ("block", (0.09, 0.06, 0.05)),
    "decoration": ("can", (0.06, 0.06, 0.12)),
    "meat": ("block", (0.1, 0.06, 0.03)),
    "cooked_food": ("block", (0.1, 0.065, 0.04)),
    "bread_food": ("block", (0.09, 0.07, 0.035)),
    "pastry": ("block", (0.08, 0.06, 0.035)),
    "sweets": ("block", (0.07, 0.05, 0.03)),
    "iced_item": ("block", (0.05, 0.05, 0.05)),
    "fruit": ("ball", (0.065, 0.065, 0.06)),
    "vegetable": ("ball", (0.075, 0.06, 0.055)),
}
_WITHOUT_TYPE: tuple[str, Size] = ("block", (0.08, 0.06, 0.1))
BY_NAME: dict[str, tuple[str, Size]] = {
    "plate": ("dish", (0.2, 0.2, 0.025)),
    "bowl": ("dish", (0.15, 0.15, 0.055)),
    "pan": ("pan", (0.22, 0.22, 0.05)),
    "saucepan": ("pan", (0.16, 0.16, 0.09)),
    "saucepan_with_lid": ("pan", (0.16, 0.16, 0.09)),
    "pot": ("dish", (0.2, 0.2, 0.11)),
    "kettle_non_electric": ("can", (0.15, 0.15, 0.14)),
    "teapot": ("can", (0.12, 0.12, 0.1)),
    "mug": ("mug", (0.08, 0.08, 0.09)),
    "cup": ("dish", (0.075, 0.075, 0.1)),
    "coffee_cup": ("dish", (0.075, 0.075, 0.1)),
    "glass_cup": ("dish", (0.07, 0.07, 0.1)),
    "wine_glass": ("dish", (0.07, 0.07, 0.15)),
    "tray": ("dish", (0.3, 0.22, 0.03)),
    "oven_tray": ("dish", (0.3, 0.22, 0.02)),
    "baking_sheet": ("dish", (0.3, 0.22, 0.02)),
    "cutting_board": ("block", (0.28, 0.18, 0.015)),
    "placemat": ("block", (0.3, 0.22, 0.004)),
    "basket": ("dish", (0.26, 0.18, 0.1)),
    "jug": ("can", (0.1, 0.1, 0.2)),
    "jug_wide_opening": ("can", (0.1, 0.1, 0.2)),
    "pitcher": ("can", (0.1, 0.1, 0.2)),
    "blender_jug": ("can", (0.11, 0.11, 0.2)),
    "wine": ("can", (0.07, 0.07, 0.26)),
    "liquor": ("can", (0.07, 0.07, 0.24)),
    "can": ("can", (0.062, 0.062, 0.115)),
    "bread": ("block", (0.14, 0.08, 0.07)),
    "baguette": ("block", (0.22, 0.055, 0.05)),
    "banana": ("block", (0.16, 0.035, 0.035)),
    "carrot": ("block", (0.15, 0.03, 0.03)),
    "celery": ("block", (0.18, 0.035, 0.03)),
    "corn": ("block", (0.16, 0.045, 0.045)),
    "cucumber": ("block", (0.16, 0.04, 0.04)),
    "eggplant": ("block", (0.16, 0.06, 0.055)),
    "rolling_pin": ("block", (0.26, 0.045, 0.045)),
    "cake": ("block", (0.12, 0.08, 0.06)),
    "watermelon": ("ball", (0.16, 0.13, 0.13)),
    "cantaloupe": ("ball", (0.13, 0.13, 0.12)),
    "cabbage": ("ball", (0.12, 0.12, 0.11)),
    "egg": ("ball", (0.05, 0.045, 0.045)),
    "cherry": ("ball", (0.03, 0.03, 0.03)),
}
# v0.2's coffee machines are RoboCasa's own, with little room around a round mug. Ours are square: larger, a corner
# would be pushed away from the machine and the mug over the edge.
BY_NAME_V02: dict[str, tuple[str, Size]] = {**BY_NAME, "mug": ("mug", (0.062, 0.062, 0.085))}


def shape_of(category: str, types: Sequence[str], by_name: Mapping[str, tuple[str, Size]]) -> tuple[str, Size]:
    """The shape and full size [m] of `category`, whose `types` RoboCasa gives; it gives some none."""
    if category in by_name:
        return by_name[category]
    for kind, shape in _BY_TYPE.items():
        if kind in types:
            return shape
    return _WITHOUT_TYPE


def build_object(
    category: str, types: Sequence[str], variant: int, *, shrink: Size, by_name: Mapping[str, tuple[str, Size]]
) -> Model:
    """A model of `category`; RoboCasa will enlarge it by `shrink`, so that the size above is what it ends with."""
    shape, size = shape_of(category, types, by_name)
    factor = _SCALES[variant % len(_SCALES)]
    x, y, z = (factor * length / scale for length, scale in zip(size, shrink, strict=True))
    model = Model(f"{category}_{variant}", (x, y, z), region="bbox")
    colour, body = _colour(category, variant), model.body
    if shape == "block":
        body.box((0, 0, 0), (x, y, z), colour)
    elif shape == "can":
        body.cylinder((0, 0, 0), min(x, y), z, colour)
    elif shape == "ball":
        body.ellipsoid((0, 0, 0), (x, y, z), colour)
    else:
        _dish(model, (x, y, z), colour, [_WALL / scale for scale in shrink])
    if shape == "mug":
        body.box((x / 2 + 0.15 * x, 0, 0), (0.3 * x, 0.012 / shrink[1], 0.5 * z), colour)
    if shape == "pan":
        body.box((0, -0.9 * y, 0.3 * z), (0.1 * x, 0.8 * y, 0.016 / shrink[2]), colour)
    return model


def _dish(model: Model, size: Size, colour: Colour, wall: Sequence[float]) -> None:
    """A floor and four walls of thickness `wall` [m], inside a region that RoboCasa calls the inside."""
    x, y, z = size
    body = model.body
    body.box((0, 0, (wall[2] - z) / 2), (x, y, wall[2]), colour)
    for sign in (-1, 1):
        body.box((sign * (x - wall[0]) / 2, 0, wall[2] / 2), (wall[0], y, z - wall[2]), colour)
        body.box((0, sign * (y - wall[1]) / 2, wall[2] / 2), (x - 2 * wall[0], wall[1], z - wall[2]), colour)
    body.region("int", (0, 0, wall[2] / 2), (x - 2 * wall[0], y - 2 * wall[1], z - wall[2]))


def _colour(category: str, variant: int) -> Colour:
    """A colour that depends on nothing but the names."""
    code = zlib.crc32(f"{category}/{variant}".encode())
    red, green, blue = ((code >> shift & 0xFF) / 255 for shift in (0, 8, 16))
    return (0.25 + 0.65 * red, 0.25 + 0.65 * green, 0.25 + 0.65 * blue)
