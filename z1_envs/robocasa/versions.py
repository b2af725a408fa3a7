"""One table per version of RoboCasa: what our 24 tasks, splits and kitchens are called in it, and which is installed.

Tasks are v0.2's. v1.0 merged the door tasks: one class opens all cabinets, another the microwave. They keep their v0.2
meaning by the fixture that is chosen for them: a start draws one of a row's `fixtures`, with equal chances.

What v1.0.1 means by the same task, and the table does not hide (files of `models/fixtures`, v1.0.1):
- A door is closed at 0.005 of its range or less (fixture.py:723), in v0.2 at 0.05. Open is 0.90 in both; drawers are
  open at 0.95 and closed at 0.05 in both (environments/kitchen/atomic/kitchen_drawer.py:184-188).
- An open door turns the microwave off only from 0.90 of its range on (microwave.py:83), in v0.2 from 0.005 on.
- The robot's start deviates by up to 0.15 m sideways and 0.05 m forward, in v0.2 not at all (kitchen.py:411).
- Horizons are its own, 0.6 to 2.1 times v0.2's. A single door may be the microwave's; its horizon is the cabinet's.

Splits. `train` are the kitchens and objects to learn from, `test` those held out, `all` both.
v1.0.1: `train` = its "pretrain" (layouts and styles 11 to 60, all combinations), `test` = its "target" (layout n with
style n for n = 1 to 10); these own words are understood too. Objects are split alike (utils/env_utils.py:86-99).
v0.2 splits objects only, into "A" and "B". Its evaluation takes "B" in five kitchens (utils/eval_utils.py:28-32): that
is `test`. `train` is "A" in all kitchens but these five.
"""

import ast
import importlib.util
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from z1_envs.robocasa.options import RoboCasaOptions
from z1_envs.tasks import TASKS

# It takes mujoco and numpy back to older releases.
COMMAND = 'pip install -e ".[robocasa]" in an environment of its own (docs/robocasa.md)'

ASSETS_VARIABLE = "ROBOCASA_ASSETS_PATH"

Pairs = tuple[tuple[int, int], ...]


class RoboCasaError(ImportError):
    """RoboCasa cannot be used here; the message ends with what mends it."""


@dataclass(frozen=True, kw_only=True)
class TaskRow:
    """A task in one version. horizon [steps]; fixtures: names of its FixtureType, none where the class chooses."""

    class_name: str
    horizon: int
    fixtures: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SplitRow:
    """objects: RoboCasa's name of the object split, None for all. kitchens: pairs of layout and style."""

    objects: str | None
    kitchens: Pairs


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Assets that are downloaded as one archive.

    download: size [MB], None where nobody publishes it. folder: what it is unpacked to, inside the folder of assets.
    only: a pattern of what nothing but this pack puts into that. model: what each of its models' folders gets from it.
    """

    name: str
    download: int | None
    folder: str
    only: str = "*"
    model: str = "model.xml"

    def __str__(self) -> str:
        size = "size not published" if self.download is None else f"{self.download} MB"
        return f"{self.name} ({size})"


@dataclass(frozen=True, kw_only=True)
class Version:
    """What is particular to one version of RoboCasa.

    layouts, styles: the numbers there are. writes_sentences: whether its instructions begin with a capital letter and
    end with a full stop. robosuite: the releases that it runs on, from the first to below the second. install: the
    command that brings all that it needs. packs: all tasks need all of them, since every scene has textures and
    appliances and objects are drawn from every pack. download: the command for them, and about how large all are [GB].
    """

    name: str
    layouts: range
    styles: range
    splits: Mapping[str, SplitRow]
    tasks: Mapping[str, TaskRow]
    writes_sentences: bool
    robosuite: tuple[str, str]
    install: str
    packs: tuple[Pack, ...]
    download: tuple[str, int]

    def kitchens(self, options: RoboCasaOptions) -> Pairs:
        """The pairs of layout and style that a start draws among.

        Of chosen layouts and styles the split "train" leaves out the pairs of "test"; chosen pairs are taken as given.
        Raises ValueError for splits and numbers that this version lacks, and where no pair is left.
        """
        split = self._split(options)
        if options.layout_styles is not None:
            pairs = options.layout_styles
        elif options.layouts is None and options.styles is None:
            pairs = split.kitchens
        else:
            layouts = options.layouts or tuple(sorted({layout for layout, _ in split.kitchens}))
            styles = options.styles or tuple(sorted({style for _, style in split.kitchens}))
            pairs = tuple((layout, style) for layout in layouts for style in styles)
            if options.split == "train":
                held_out = self.splits["test"].kitchens
                pairs = tuple(pair for pair in pairs if pair not in held_out)
        if not pairs:
            raise ValueError(
                f"the split 'train' leaves out all of layouts {options.layouts}, styles {options.styles}: they are the "
                "split 'test'; choose others, or name the pairs with layout_styles"
            )
        for what, known, numbers in (
            ("layouts", self.layouts, [layout for layout, _ in pairs]),
            ("styles", self.styles, [style for _, style in pairs]),
        ):
            unknown = next((number for number in numbers if number not in known), None)
            if unknown is not None:
                span = f"[{known[0]}, {known[-1]}]"
                raise ValueError(f"RoboCasa {self.name} has {what} {span}, not {unknown}: choose numbers in {span}")
        return pairs

    def object_split(self, options: RoboCasaOptions) -> str | None:
        """RoboCasa's name of the object split. Raises ValueError for splits that this version lacks."""
        return self._split(options).objects

    def words(self, instruction: str) -> str:
        """An instruction of this version as v0.2 writes it: lower case at the start, no full stop."""
        if not self.writes_sentences:
            return instruction
        words = instruction.removesuffix(".")
        return words[:1].lower() + words[1:]

    def _split(self, options: RoboCasaOptions) -> SplitRow:
        if options.split not in self.splits:
            known = ", ".join(map(repr, self.splits))
            raise ValueError(f"RoboCasa {self.name} has no split {options.split!r}: choose among {known}")
        return self.splits[options.split]


def _product(layouts: range, styles: range) -> Pairs:
    return tuple((layout, style) for layout in layouts for style in styles)


_V02_TEST: Pairs = ((1, 1), (2, 2), (4, 4), (6, 9), (7, 10))

V02 = Version(
    name="v0.2",
    layouts=range(10),
    styles=range(12),
    splits={
        "train": SplitRow(
            objects="A", kitchens=tuple(pair for pair in _product(range(10), range(12)) if pair not in _V02_TEST)
        ),
        "test": SplitRow(objects="B", kitchens=_V02_TEST),
        "all": SplitRow(objects=None, kitchens=_product(range(10), range(12))),
    },
    # Horizons of `tasks` are v0.2's (utils/dataset_registry.py), and its classes know their fixtures.
    tasks={task.name: TaskRow(class_name=task.name, horizon=task.horizon) for task in TASKS.values()},
    writes_sentences=False,
    robosuite=("1.5.0", "1.5.2"),
    install="pip install robosuite==1.5.1 mujoco==3.2.6 numpy==1.23.5 pyyaml lxml",
    packs=(
        Pack(name="textures", download=None, folder="textures"),
        Pack(  # the models themselves come with the package
            name="fixtures", download=None, folder="fixtures", only="microwaves/*/visuals", model="visuals"
        ),
        Pack(name="objaverse", download=None, folder="objects/objaverse"),
    ),
    download=("python -m robocasa.scripts.download_kitchen_assets", 5),
)


# Of the classes that serve v0.2's tasks (utils/dataset_registry.py) [steps].
_HORIZONS = {
    "PnPCounterToCab": 750,
    "PnPCabToCounter": 450,
    "PnPCounterToSink": 600,
    "PnPSinkToCounter": 900,
    "PnPCounterToMicrowave": 1050,
    "PnPMicrowaveToCounter": 750,
    "PnPCounterToStove": 600,
    "PnPStoveToCounter": 450,
    "OpenSingleDoor": 1050,
    "CloseSingleDoor": 750,
    "OpenDoubleDoor": 1050,
    "CloseDoubleDoor": 750,
    "OpenDrawer": 750,
    "CloseDrawer": 450,
    "TurnOnStove": 450,
    "TurnOffStove": 750,
    "TurnOnSinkFaucet": 600,
    "TurnOffSinkFaucet": 300,
    "TurnSinkSpout": 300,
    "CoffeePressButton": 300,
    "TurnOnMicrowave": 450,
    "TurnOffMicrowave": 300,
    "CoffeeServeMug": 450,
    "CoffeeSetupMug": 600,
}
_FIXTURES = {
    "OpenSingleDoor": ("CABINET_SINGLE_DOOR", "MICROWAVE"),
    "CloseSingleDoor": ("CABINET_SINGLE_DOOR", "MICROWAVE"),
    "OpenDoubleDoor": ("CABINET_DOUBLE_DOOR",),
    "CloseDoubleDoor": ("CABINET_DOUBLE_DOOR",),
}
_TRAIN = SplitRow(objects="pretrain", kitchens=_product(range(11, 61), range(11, 61)))
_TEST = SplitRow(objects="target", kitchens=tuple((number, number) for number in range(1, 11)))

V101 = Version(
    name="v1.0.1",
    layouts=range(1, 61),
    styles=range(1, 61),
    splits={
        "train": _TRAIN,
        "test": _TEST,
        "all": SplitRow(objects=None, kitchens=_product(range(1, 61), range(1, 61))),
        "pretrain": _TRAIN,
        "target": _TEST,
    },
    tasks={
        task.name: TaskRow(class_name=task.name_v1, horizon=_HORIZONS[task.name], fixtures=_FIXTURES.get(task.name, ()))
        for task in TASKS.values()
    },
    writes_sentences=True,
    robosuite=("1.5.2", "1.6"),
    install='pip uninstall -y robocasa && pip install -e ".[robocasa]"',
    # Sizes: the archives of May 2026, as mirrors of them list them.
    packs=(
        Pack(name="tex", download=None, folder="textures"),
        Pack(name="tex_generative", download=None, folder="generative_textures"),  # of all styles but those of "target"
        Pack(name="fixtures_lw", download=530, folder="fixtures", only="microwaves/*"),
        Pack(name="objs_objaverse", download=None, folder="objects/objaverse"),
        Pack(name="objs_lw", download=792, folder="objects/lightwheel"),
    ),
    download=("robocasa-download-assets -y --type", 10),
)

VERSIONS = {"0.2.0": V02, "1.0.1": V101}


@dataclass(frozen=True, kw_only=True)
class Installed:
    """The RoboCasa that `import robocasa` would find.

    mujoco, numpy: the releases that it asserts on import, none where it asserts nothing.
    """

    version: Version
    folder: Path
    mujoco: tuple[str, ...]
    numpy: tuple[str, ...]

    @property
    def assets(self) -> Path:
        """Its own folder of assets, incomplete until packs are downloaded into it."""
        return self.folder / "models" / "assets"


def installed() -> Installed:
    """What is installed, read off its source: importing it would fix its folder of assets.

    Raises RoboCasaError, with the command, where there is none or another version than those of the tables.
    """
    spec = importlib.util.find_spec("robocasa")
    if spec is None:
        raise RoboCasaError(f"the official backend needs robocasa, which is not installed: {COMMAND}")
    if spec.origin is None:
        raise RoboCasaError(f"robocasa is a folder without a package here: leave that folder, or {COMMAND}")
    source = Path(spec.origin)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its logo has invalid escapes
        body = ast.parse(source.read_text(encoding="utf-8")).body
    number = next(
        (ast.literal_eval(node.value) for node in body
         if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__"),
        "unknown",
    )  # fmt: skip
    if number not in VERSIONS:
        known = " and ".join(version.name for version in VERSIONS.values())
        raise RoboCasaError(f"RoboCasa {number} is installed, supported are {known}: {COMMAND}")
    return Installed(
        version=VERSIONS[number],
        folder=source.parent,
        mujoco=_asserted(body, "mujoco"),
        numpy=_asserted(body, "numpy"),
    )


def _asserted(body: list[ast.stmt], package: str) -> tuple[str, ...]:
    """The releases in `assert package.__version__ == "…"` or `in […]`."""
    for node in body:
        test = node.test if isinstance(node, ast.Assert) else None
        if isinstance(test, ast.Compare) and ast.unparse(test.left) == f"{package}.__version__":
            releases = ast.literal_eval(test.comparators[0])
            return (releases,) if isinstance(releases, str) else tuple(releases)
    return ()
