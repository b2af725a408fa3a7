"""Stand-ins for the meshes and textures that RoboCasa v0.2's package names and does not bring.

Its fixtures come with joints, sites and the boxes and cylinders that touch. Meshes are only what is seen of them: here
these boxes are seen instead. Sizes, masses and thresholds stay RoboCasa's own.
"""

import re
import xml.etree.ElementTree as ElementTree
import zlib
from pathlib import Path
from xml.etree.ElementTree import Element

from z1_envs.robocasa.mjcf import DARK, HINT, STEEL, WHITE, Colour

_SHAPE = ("type", "pos", "size", "quat", "euler", "axisangle")
_HELD = ("button", "handle", "knob")  # parts of names of what a robot takes hold of or presses
_BODIES: tuple[Colour, ...] = (STEEL, WHITE, (0.3, 0.32, 0.36), (0.55, 0.42, 0.33))
# Word in a texture's name → colour; the first that fits.
_PAINT: dict[str, Colour] = {
    "black": (0.12, 0.12, 0.13),
    "white": WHITE,
    "plaster": WHITE,
    "gray": (0.5, 0.52, 0.54),
    "concrete": (0.55, 0.55, 0.53),
    "granite": (0.42, 0.42, 0.44),
    "blue": (0.35, 0.45, 0.55),
    "green": (0.55, 0.65, 0.52),
    "orange": (0.78, 0.52, 0.33),
    "red": (0.62, 0.36, 0.3),
    "brass": (0.7, 0.58, 0.32),
    "metals": STEEL,
    "dark": DARK,
    "walnut": (0.4, 0.28, 0.2),
    "wood": (0.68, 0.52, 0.36),
    "marble": (0.82, 0.8, 0.77),
    "tiles": (0.75, 0.72, 0.66),
    "bricks": (0.7, 0.5, 0.42),
}
_OTHER: Colour = (0.8, 0.76, 0.68)
_TEXTURE = re.compile(r"textures/[\w/.]+\.png")


def replace_meshes(folder: Path) -> None:
    """Takes the meshes out of all models in `folder` that name some; what touches is seen in their place."""
    for path in sorted(folder.rglob("model.xml")):
        tree = ElementTree.parse(path)
        root = tree.getroot()
        meshes = [(asset, mesh) for asset in root.iter("asset") for mesh in asset.findall("mesh")]
        if not meshes:
            continue
        for asset, mesh in meshes:
            asset.remove(mesh)
        for parent in [*root.iter("body")]:
            for geom in parent.findall("geom"):
                if geom.get("mesh") is not None:
                    parent.remove(geom)
                elif geom.get("class") == "collision":
                    parent.append(_seen(geom, path.parent.name))
        tree.write(path, encoding="unicode")


def _seen(geom: Element, model: str) -> Element:
    """What shows `geom`, which is not drawn itself (robosuite: group 0)."""
    name = geom.get("name")
    if name is not None and any(part in name for part in _HELD):
        colour = HINT
    else:
        colour = _BODIES[zlib.crc32(model.encode()) % len(_BODIES)]
    shape = {key: geom.attrib[key] for key in _SHAPE if key in geom.attrib}
    rgba = " ".join(f"{part:g}" for part in (*colour, 1.0))
    seen = Element("geom", shape | {"class": "visual", "rgba": rgba, "mass": "1e-8"})
    if name is not None:
        seen.set("name", f"{name}_visual")
    return seen


def named_textures(package_assets: Path) -> dict[str, Colour]:
    """File inside the folder of assets → its one colour, for all textures that classes and the registry name."""
    sources = [
        *(package_assets.parent / "fixtures").glob("*.py"),
        *(package_assets / "fixtures" / "fixture_registry").glob("*.yaml"),
    ]
    names = {name for source in sources for name in _TEXTURE.findall(source.read_text(encoding="utf-8"))}
    return {name: next((_PAINT[word] for word in _PAINT if word in name), _OTHER) for name in sorted(names)}
