"""Model files of boxes and cylinders, in the form that RoboCasa reads.

Frames are RoboCasa's: x to the right, y away from who stands in front, z up; lengths in [m], sizes are full lengths.
Every solid is written twice, as robosuite wants: group 0 touches and has mass, group 1 is seen.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement

Vec = Sequence[float]
Colour = tuple[float, float, float]

WHITE: Colour = (0.9, 0.9, 0.88)
STEEL: Colour = (0.62, 0.64, 0.66)
DARK: Colour = (0.16, 0.16, 0.18)
HINT: Colour = (0.75, 0.2, 0.15)
# A stiff contact; RoboCasa overwrites these of objects with those of their category.
_TOUCH = {"group": "0", "solimp": "0.998 0.998 0.001", "solref": "0.001 1", "friction": "0.95 0.3 0.1"}
_UNTOUCHED = {"group": "1", "contype": "0", "conaffinity": "0"}


class Body:
    """A body of a model; what is added hangs on it, in its frame."""

    def __init__(self, element: Element):
        self.element = element

    def box(self, pos: Vec, size: Vec, colour: Colour, *, name: str | None = None, density: float = 100.0) -> None:
        """A solid box of `density` [kg/m³]. RoboCasa finds buttons and handles by `name`."""
        self._solid("box", pos, [length / 2 for length in size], colour, name, density)

    def cylinder(
        self, pos: Vec, diameter: float, height: float, colour: Colour, *, euler: Vec = (), density: float = 100.0
    ) -> None:
        """A solid cylinder, upright or turned by `euler` [rad]."""
        self._solid("cylinder", pos, [diameter / 2, height / 2], colour, None, density, euler)

    def ellipsoid(self, pos: Vec, size: Vec, colour: Colour) -> None:
        """A solid ellipsoid; balls too, since RoboCasa scales geoms of two or three sizes, never of one."""
        self._solid("ellipsoid", pos, [length / 2 for length in size], colour, None, 100.0)

    def region(self, name: str, pos: Vec, size: Vec) -> None:
        """A box that nothing touches: RoboCasa reads sizes and places from `reg_main`, `reg_int` and others."""
        shape = {"name": f"reg_{name}", "type": "box", "pos": _text(pos), "size": _text([part / 2 for part in size])}
        SubElement(self.element, "geom", shape | _UNTOUCHED | {"rgba": "0 1 0 0"})

    def site(self, name: str, pos: Vec, *, diameter: float = 0.01, height: float = 0.01, colour: Colour = HINT) -> None:
        """An upright cylinder that marks a place, unseen; RoboCasa shows water, flames and coffee by its alpha."""
        half = _text((diameter / 2, height / 2))
        rgba = _text((*colour, 0.0))
        SubElement(self.element, "site", name=name, type="cylinder", pos=_text(pos), size=half, rgba=rgba)

    def hinge(self, name: str, axis: Vec, joint_range: tuple[float, float], *, friction: float) -> None:
        """A hinge at the body's origin, range [rad]; `friction` [N m] holds it where it is left."""
        motion = {"name": name, "type": "hinge", "axis": _text(axis), "range": _text(joint_range), "limited": "true"}
        damping = {"damping": "0.1", "frictionloss": f"{friction:g}", "armature": "0.001"}
        SubElement(self.element, "joint", motion | damping)

    def child(self, name: str, pos: Vec) -> "Body":
        """A body that hangs on this one at `pos`."""
        return Body(SubElement(self.element, "body", name=name, pos=_text(pos)))

    def _solid(
        self, kind: str, pos: Vec, half: Vec, colour: Colour, name: str | None, density: float, euler: Vec = ()
    ) -> None:
        shape = {"type": kind, "pos": _text(pos), "size": _text(half), "rgba": _text((*colour, 1.0))}
        if euler:
            shape["euler"] = _text(euler)
        touched, seen = shape | _TOUCH | {"density": f"{density:g}"}, shape | _UNTOUCHED | {"mass": "1e-8"}
        if name is not None:
            touched["name"], seen["name"] = name, f"{name}_visual"
        SubElement(self.element, "geom", touched)
        SubElement(self.element, "geom", seen)


class Model:
    """A model of full `size` [m], centred at its origin: `body` is what RoboCasa calls "object"."""

    def __init__(self, name: str, size: Vec, *, region: str = "main"):
        self._root = Element("mujoco", model=name)
        SubElement(self._root, "compiler", angle="radian")
        SubElement(self._root, "asset")  # RoboCasa looks for meshes there
        outer = SubElement(SubElement(self._root, "worldbody"), "body")
        self.size = tuple(size)
        self.body = Body(SubElement(outer, "body", name="object"))
        self.body.region(region, (0.0, 0.0, 0.0), size)
        x, y, z = (length / 2 for length in size)
        for site, pos in (("bottom", (0, 0, -z)), ("top", (0, 0, z)), ("horizontal_radius", (x, y, 0))):
            Body(outer).site(f"{site}_site", pos)

    def text(self) -> str:
        """The file's text, the same for the same calls."""
        ElementTree.indent(self._root)
        return ElementTree.tostring(self._root, encoding="unicode") + "\n"


def _text(numbers: Vec) -> str:
    return " ".join(f"{round(number, 5):g}" for number in numbers)
