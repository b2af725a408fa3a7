"""What decides an env: the record of options, and what each version makes of it. Needs no RoboCasa."""

import dataclasses
import pickle
from typing import Any

import pytest

from z1_envs.layout import STATE, STATE_25
from z1_envs.robocasa.options import RoboCasaOptions
from z1_envs.robocasa.versions import V02, V101
from z1_envs.tasks import TASKS


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("obs", "scene", "obs must be 'state' or 'pixels', got 'scene'"),
        ("split", "tset", "split must be 'train' or 'test' .*got 'tset'"),
        ("state_width", 17, "state_width must be 16 or 25, got 17"),
        ("horizon", 0, "horizon must be a whole number of at least 1, got 0"),
        ("image_px", 8, r"image_px must lie in \[32, 640\], got 8"),
        ("image_px", 64.0, "image_px must be a whole number"),
        ("cameras", (), "cameras takes different keys out of image_left, image_right, image_wrist"),
        ("cameras", ("image_left", "image_left"), "cameras takes different keys"),
        ("cameras", ("robot0_agentview_left",), "it takes keys out of image_left"),
        ("layouts", (), "layouts takes numbers"),
        ("layouts", ("galley",), "RoboCasa's layouts are numbers, got 'galley'; names are for backend='kitchen'"),
        ("styles", (-1,), "styles must be a whole number of at least 0, got -1"),
        ("layout_styles", ((1, 2, 3),), "takes pairs of numbers"),
        ("layout_styles", (), "takes pairs of numbers"),
    ],
)
def test_wrong_values_are_refused_with_what_there_is(option: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RoboCasaOptions(**{option: value})


def test_pairs_and_lists_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="leave out layouts and styles, or layout_styles"):
        RoboCasaOptions(layouts=(1,), layout_styles=((1, 1),))


def test_options_travel_and_have_a_name() -> None:
    options = RoboCasaOptions(split="test", layouts=(1, 2), state_width=25)
    assert pickle.loads(pickle.dumps(options)) == options
    assert hash(options) == hash(dataclasses.replace(options))
    assert options.name == "test, layouts 1 2"
    assert RoboCasaOptions(layout_styles=((6, 9),)).name == "train, kitchens 6+9"


def test_the_splits_are_robocasa_s() -> None:
    # v1.0.1: utils/env_utils.py:86-99 and LAYOUT_GROUPS_TO_IDS; v0.2: utils/eval_utils.py:28-32.
    train, test = RoboCasaOptions(), RoboCasaOptions(split="test")
    assert V101.object_split(train) == "pretrain"
    assert len(V101.kitchens(train)) == 50 * 50
    assert min(V101.kitchens(train)) == (11, 11)
    assert V101.object_split(test) == "target"
    assert V101.kitchens(test) == tuple(zip(range(1, 11), range(1, 11), strict=True))
    assert V101.kitchens(RoboCasaOptions(split="target")) == V101.kitchens(test)
    assert len(V101.kitchens(RoboCasaOptions(split="all"))) == 60 * 60
    assert V101.object_split(RoboCasaOptions(split="all")) is None
    assert (V02.object_split(train), V02.object_split(test)) == ("A", "B")
    assert V02.kitchens(test) == ((1, 1), (2, 2), (4, 4), (6, 9), (7, 10))
    for version in (V02, V101):
        assert not set(version.kitchens(train)) & set(version.kitchens(test))


def test_chosen_numbers_replace_the_split_s() -> None:
    assert V101.kitchens(RoboCasaOptions(layouts=(1, 2), styles=(3,))) == ((1, 3), (2, 3))
    assert V101.kitchens(RoboCasaOptions(split="test", layouts=(60,)))[:2] == ((60, 1), (60, 2))
    assert V02.kitchens(RoboCasaOptions(split="test", styles=(0,))) == ((1, 0), (2, 0), (4, 0), (6, 0), (7, 0))
    assert V101.kitchens(RoboCasaOptions(layout_styles=((6, 9),))) == ((6, 9),)
    # Held-out kitchens stay held out: (1, 1) and (2, 2) are the test split's.
    assert V02.kitchens(RoboCasaOptions(layouts=(1, 2), styles=(1, 2))) == ((1, 2), (2, 1))
    assert V02.kitchens(RoboCasaOptions(split="all", layouts=(1,), styles=(1,))) == ((1, 1),)
    with pytest.raises(ValueError, match=r"'train' leaves out all of layouts \(1,\), styles \(1,\)"):
        V02.kitchens(RoboCasaOptions(layouts=(1,), styles=(1,)))
    with pytest.raises(ValueError, match=r"RoboCasa v1\.0\.1 has styles \[1, 60\], not 61: choose"):
        V101.kitchens(RoboCasaOptions(styles=(61,)))
    with pytest.raises(ValueError, match=r"RoboCasa v0\.2 has layouts \[0, 9\], not 10: choose"):
        V02.kitchens(RoboCasaOptions(layouts=(10,)))


def test_a_split_that_a_version_lacks_is_refused() -> None:
    for ask in (V02.kitchens, V02.object_split):
        with pytest.raises(ValueError, match=r"RoboCasa v0\.2 has no split 'target': choose among 'train', 'test'"):
            ask(RoboCasaOptions(split="target"))


def test_every_version_has_all_24_tasks() -> None:
    for version in (V02, V101):
        assert list(version.tasks) == list(TASKS)
    assert V02.tasks["OpenDoubleDoor"].horizon == 1000
    assert V101.tasks["OpenDoubleDoor"].fixtures == ("CABINET_DOUBLE_DOOR",)


def test_instructions_are_v02_s() -> None:
    assert V101.words("Open the left drawer.") == V02.words("open the left drawer") == "open the left drawer"


def test_the_wide_state_holds_the_narrow_one() -> None:
    assert STATE_25.width == 25
    names = {part.name: part for part in STATE_25.parts}
    assert all(names[part.name] == part for part in STATE.parts)
