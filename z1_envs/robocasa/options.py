"""All that decides an official env beside its task, as one record; it travels to worker processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from z1_envs.arguments import check_whole
from z1_envs.canvas import MAX_PX, MIN_PX
from z1_envs.layout import CAMERAS, STATES

ObsMode = Literal["state", "pixels"]
Split = Literal["train", "test", "all", "pretrain", "target"]

SPLITS: tuple[Split, ...] = ("train", "test", "all", "pretrain", "target")


@dataclass(frozen=True, kw_only=True)
class RoboCasaOptions:
    """Hashable and picklable; two envs of one task with equal options draw the same episode from the same seed.

    obs: "state" without images, "pixels" with them. horizon: of an episode [steps], None for the installed version's
    own. image_px: width and height of an image [px]. cameras: which images, by our keys of `layout.CAMERAS`.
    state_width: 16 for `layout.STATE`, 25 for `layout.STATE_25`.

    split: objects and scenes, "train" | "test" | "all" as in the kitchen, or RoboCasa's own "pretrain" | "target";
    `versions` says what each means. layouts, styles: only these, by number, instead of the split's, all combinations
    of them. layout_styles: exactly these pairs instead. assets: folder, None for what RoboCasa itself would use.

    Raises ValueError for values that no version of RoboCasa knows.
    """

    obs: ObsMode = "state"
    horizon: int | None = None
    image_px: int = 128
    cameras: tuple[str, ...] = tuple(CAMERAS)
    state_width: int = 16
    split: Split = "train"
    layouts: tuple[int, ...] | None = None
    styles: tuple[int, ...] | None = None
    layout_styles: tuple[tuple[int, int], ...] | None = None
    assets: Path | None = None

    def __post_init__(self) -> None:
        _check_choice("obs", self.obs, ("state", "pixels"))
        _check_choice("split", self.split, SPLITS)
        _check_choice("state_width", self.state_width, tuple(STATES))
        if self.horizon is not None:
            check_whole("horizon", self.horizon, least=1)
        check_whole("image_px", self.image_px, least=1)
        if not MIN_PX <= self.image_px <= MAX_PX:
            raise ValueError(f"image_px must lie in [{MIN_PX}, {MAX_PX}], got {self.image_px}")
        _check_cameras(self.cameras)
        for what, numbers in (("layouts", self.layouts), ("styles", self.styles)):
            if numbers is not None:
                _check_numbers(what, numbers)
        if self.layout_styles is not None:
            if self.layouts is not None or self.styles is not None:
                raise ValueError("layout_styles names whole pairs: leave out layouts and styles, or layout_styles")
            if not self.layout_styles:
                raise ValueError("layout_styles takes pairs of numbers, as ((1, 1), (2, 2)), or None; got none")
            for pair in self.layout_styles:
                if not isinstance(pair, tuple) or len(pair) != 2:
                    raise ValueError(f"layout_styles takes pairs of numbers, as ((1, 1), (2, 2)); got {pair!r}")
                _check_numbers("layout_styles", pair)

    @property
    def name(self) -> str:
        """The split, with what was chosen by number: what a protocol calls its split."""
        pairs = (
            None if self.layout_styles is None else tuple(f"{layout}+{style}" for layout, style in self.layout_styles)
        )
        chosen = (("layouts", self.layouts), ("styles", self.styles), ("kitchens", pairs))
        words = [f"{what} {' '.join(map(str, numbers))}" for what, numbers in chosen if numbers is not None]
        return ", ".join([self.split, *words])


def _check_choice(name: str, value: object, known: Sequence[object]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be {' or '.join(map(repr, known))}, got {value!r}")


def _check_cameras(cameras: object) -> None:
    known = ", ".join(CAMERAS)
    if not isinstance(cameras, tuple) or not cameras or len(set(cameras)) < len(cameras):
        raise ValueError(f"cameras takes different keys out of {known}; got {cameras!r}")
    for key in cameras:
        if key not in CAMERAS:
            raise ValueError(f"cameras has no {key!r}; it takes keys out of {known}")


def _check_numbers(what: str, numbers: object) -> None:
    if not isinstance(numbers, tuple) or not numbers:
        raise ValueError(f"{what} takes numbers of RoboCasa's, as (1, 2), or None for the split's; got {numbers!r}")
    for number in numbers:
        if isinstance(number, str):
            raise ValueError(f"RoboCasa's {what} are numbers, got {number!r}; names are for backend='kitchen'")
        check_whole(what, number, least=0)
