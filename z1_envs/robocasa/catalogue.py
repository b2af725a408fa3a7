"""What RoboCasa asks its assets for: kinds of fixtures, styles, textures, and the categories of objects.

Our registry and styles take the place of the official ones, whose 970 models are not there; layouts are RoboCasa's.
Kinds that only clutter or other tasks use (kettle, blender, stand mixer, dish rack) have no stand-in.
"""

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from z1_envs.robocasa.fixture_models import (
    Kind,
    block,
    coffee_machine,
    microwave,
    oven_with_door,
    sink,
    stove,
    stovetop,
)
from z1_envs.robocasa.mjcf import DARK, STEEL, WHITE, Colour

FIXTURE_VARIANTS = 4
STYLES = range(1, 61)
REGISTRIES = ("objaverse", "lightwheel")  # those Kitchen draws from by default (environments/kitchen/kitchen.py:454)

_GREEN: Colour = (0.25, 0.45, 0.25)
_WOOD: Colour = (0.5, 0.36, 0.24)

# Sizes are the official registry's: what a layout leaves open.
KINDS: dict[str, Kind] = {
    "microwave": Kind(folder="microwaves", build=microwave),
    "sink": Kind(folder="sinks", build=sink, size=(None, 0.53, None), max_size=(0.97, None, None)),
    "stove": Kind(folder="stoves", build=stove, size=(0.76, 0.66, 0.915)),
    "stove_wide": Kind(folder="stoves_wide", build=stove, size=(0.91, 0.70, 0.915)),
    "stovetop": Kind(folder="stovetops", build=stovetop, size=(None, 0.55, None)),
    "coffee_machine": Kind(folder="coffee_machines", build=coffee_machine, size=(None, None, 0.35)),
    "toaster_oven": Kind(folder="toaster_ovens", build=oven_with_door, size=(None, 0.34, None)),
    "fridge_bottom_freezer": Kind(folder="fridges", build=block((0.78, 0.8, 1.75), STEEL), size=(0.78, 0.80, 1.75)),
    "fridge_french_door": Kind(folder="fridges_french", build=block((0.85, 0.8, 1.78), STEEL), size=(0.85, 0.80, 1.78)),
    "fridge_side_by_side": Kind(folder="fridges_side", build=block((0.85, 0.8, 1.75), STEEL), size=(0.85, 0.80, 1.75)),
    "dishwasher": Kind(folder="dishwashers", build=block((0.6, 0.6, 0.85), STEEL), size=(0.65, None, None)),
    "oven": Kind(folder="ovens", build=block((0.75, 0.6, 0.7), DARK)),
    "hood": Kind(folder="hoods", build=block((0.76, 0.45, 0.35), STEEL)),
    "window": Kind(folder="windows", build=block((1.0, 0.06, 1.0), WHITE)),
    "toaster": Kind(folder="toasters", build=block((0.28, 0.18, 0.19), STEEL), size=(None, None, 0.19)),
    "knife_block": Kind(folder="knife_blocks", build=block((0.11, 0.16, 0.2), _WOOD), size=(0.12, None, None)),
    "paper_towel": Kind(folder="paper_towels", build=block((0.13, 0.13, 0.3), WHITE), size=(None, None, 0.3)),
    "plant": Kind(folder="plants", build=block((0.12, 0.12, 0.22), _GREEN), size=(None, None, 0.2)),
    "utensil_set": Kind(folder="utensil_sets", build=block((0.14, 0.14, 0.3), _WOOD), size=(None, None, 0.3)),
    "utensil_rack": Kind(folder="utensil_racks", build=block((0.5, 0.06, 0.3), _WOOD), size=(None, None, 0.3)),
    "stool": Kind(folder="stools", build=block((0.4, 0.4, 0.9), _WOOD), size=(None, None, 0.9)),
}

_PAINT: dict[str, Colour] = {
    "white": WHITE,
    "gray": (0.5, 0.52, 0.54),
    "blue": (0.35, 0.45, 0.55),
    "oak": (0.72, 0.56, 0.38),
    "walnut": (0.4, 0.28, 0.2),
    "sand": (0.82, 0.76, 0.64),
    "slate": (0.26, 0.29, 0.32),
    "brick": (0.62, 0.36, 0.3),
}
# What RoboCasa's classes name themselves (models/fixtures/others.py:39,136,160,341, windows.py:349, handles.py:41).
_NAMED: dict[str, Colour] = {
    "flat/white": _PAINT["white"],
    "flat/light_gray": (0.75, 0.75, 0.75),
    "metals/bright_metal": STEEL,
    "wood/dark_wood_parquet": _PAINT["walnut"],
    "bricks/white_bricks": _PAINT["sand"],
    "bricks/red_bricks": _PAINT["brick"],
}


def textures() -> dict[str, Colour]:
    """File inside the folder of assets → its one colour."""
    own = {f"stand_in/{name}": colour for name, colour in _PAINT.items()}
    return {f"textures/{name}.png": colour for name, colour in (own | _NAMED).items()}


def registry() -> dict[str, dict[str, Any]]:
    """File of the fixture registry → configurations by name. Kinds of one class need not look alike."""
    files: dict[str, dict[str, Any]] = {}
    for kind, entry in KINDS.items():
        configs = {model_name(kind, i): {"xml": model_folder(kind, i)} for i in range(FIXTURE_VARIANTS)}
        default: dict[str, Any] = dict(next(iter(configs.values())))
        for key, size in (("size", entry.size), ("max_size", entry.max_size)):
            if size is not None:
                default[key] = list(size)
        if kind.startswith("stove_") or kind == "stove":
            default["stove_type"] = "wide" if kind == "stove_wide" else "standard"
        files[kind] = {"default": default, **configs}
    paints = {name: f"textures/stand_in/{name}.png" for name in _PAINT}
    metal = {"handle_type": "bar", "handle_config": {"texture": "textures/metals/bright_metal.png"}}
    files["cabinet"] = {
        "default": {"texture": paints["white"], **metal},
        **{name: {"texture": path} for name, path in paints.items()},
        **{shape: {"panel_type": shape} for shape in ("slab", "raised", "shaker")},
        **{handle: {"handle_type": handle} for handle in ("bar", "boxed", "knob")},
    }
    tops = {name: {"top_texture": path, "base_texture": paints["gray"]} for name, path in paints.items()}
    # Where sinks sit and how far the top hangs over: the official defaults.
    files["counter"] = {
        "default": {**tops["oak"], "obj_x_percent": 0.5, "obj_y_percent": 0.5, "overhang": 0.05},
        **tops,
    }
    upright = {"quat": [-0.7071068, 0.7071068, 0, 0], "texture": paints["sand"]}
    tiles = {"mat_attrib": {"texrepeat": "3 3", "texuniform": "true", "shininess": "0.01", "reflectance": "0.1"}}
    plain = {name: {"texture": path} for name, path in paints.items()}
    files["wall"] = {"default": upright | tiles, **plain}
    files["floor"] = {"default": {"texture": paints["oak"]}, **plain}
    return files


def style(number: int) -> dict[str, Any]:
    """The style of `number` in 1..60; each picks colours, handles and models by its number."""
    paints, index = list(_PAINT), number - 1
    shapes, handles = ("slab", "raised", "shaker"), ("bar", "boxed", "knob")
    cabinet = [paints[index % 8], shapes[index % 3], handles[index // 3 % 3]]
    models = {kind: model_name(kind, (index + place) % FIXTURE_VARIANTS) for place, kind in enumerate(KINDS)}
    return {
        "cabinet": {"default": cabinet, "shelves": [paints[(index + 3) % 8]]},
        "counter": {"default": paints[(index + 4) % 8], "island": paints[(index + 5) % 8]},
        "floor": paints[(index // 2 + 1) % 8],
        "wall": paints[(index // 3 + 5) % 8],
        "wall_accessory": "default",
        **models,
    }


def model_name(kind: str, variant: int) -> str:
    """The name of a stand-in, in registry and styles."""
    return f"{kind}_{variant}"


def model_folder(kind: str, variant: int) -> str:
    """Where it lies inside the folder of assets."""
    return f"fixtures/{KINDS[kind].folder}/{model_name(kind, variant)}"


@dataclass(frozen=True, kw_only=True)
class Category:
    """A category of objects in one registry. folder: inside `objects`; scale: how RoboCasa enlarges its models."""

    name: str
    types: tuple[str, ...]
    folder: str
    scale: tuple[float, float, float]
    is_lid: bool


def categories(package_assets: Path) -> list[Category]:
    """All categories that RoboCasa draws from, read off its source: importing it would fix its folder of assets."""
    source = package_assets.parent / "objects" / "kitchen_objects.py"
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "OBJ_CATEGORIES":
            assert isinstance(node.value, ast.Call)
            rows = {keyword.arg: _keywords(keyword.value) for keyword in node.value.keywords}
            return [
                _category(str(name), row, registry_name)
                for name, row in rows.items()
                for registry_name in REGISTRIES
                if registry_name in row
            ]
    raise ValueError(f"{source} does not define OBJ_CATEGORIES: this version of RoboCasa is unknown here")


def _category(name: str, row: dict[str, ast.expr], registry_name: str) -> Category:
    entry = _keywords(row[registry_name])
    types = ast.literal_eval(row["types"])
    folders = ast.literal_eval(entry["model_folders"]) if "model_folders" in entry else [f"{registry_name}/{name}"]
    scale = ast.literal_eval(entry["scale"]) if "scale" in entry else 1.0
    scales = (float(scale),) * 3 if isinstance(scale, (int, float)) else tuple(float(s) for s in scale)
    return Category(
        name=name,
        types=(types,) if isinstance(types, str) else tuple(types),
        folder=folders[0],
        scale=(scales[0], scales[1], scales[2]),
        is_lid="is_auxiliary_obj" in entry,
    )


def _keywords(call: ast.expr) -> dict[str, ast.expr]:
    assert isinstance(call, ast.Call)
    return {str(keyword.arg): keyword.value for keyword in call.keywords}
