"""`gymnasium.make(..., backend="robocasa")`: options by backend, and which backend "auto" takes."""

import importlib.util
import logging
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from z1_envs import registration
from z1_envs.robocasa.assets import check_assets_begun
from z1_envs.robocasa.env import RoboCasaEnv
from z1_envs.robocasa.options import RoboCasaOptions
from z1_envs.robocasa.versions import ASSETS_VARIABLE, V02, RoboCasaError, Version, installed


def make(**options: Any) -> gym.Env:
    return gym.make("z1_envs:Z1-RoboCasa-OpenDrawer", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"num_threads": 2},
            "'robocasa' has no option 'num_threads': gymnasium.make_vec has it for backend 'kitchen'; there",
        ),
        ({"render_mode": "ansi"}, "render_mode must be None or 'rgb_array', got 'ansi'"),
        ({"layout": [1]}, "no option 'layout': did you mean 'layouts'"),
        ({"layouts": ["galley"]}, "RoboCasa's layouts are numbers, got 'galley'; names are for backend='kitchen'"),
        ({"styles": 3}, "styles takes a sequence of numbers, or None for the split's own; got 3"),
        ({"layout_styles": [1, 2]}, "layout_styles takes a sequence of pairs, or None .*got 1"),
        ({"split": "validation"}, "split must be 'train' or 'test' or 'all' or 'pretrain' or 'target'"),
        ({"cameras": "image_left"}, r"cameras takes a sequence of keys, got the text .*write \['image_left'\]"),
    ],
)
def test_bad_options_are_refused_before_robocasa_is_looked_for(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(backend="robocasa", **options)


def test_many_envs_take_the_options_of_workers() -> None:
    made = "z1_envs:Z1-RoboCasa-OpenDrawer"
    message = r"'num_threads': it is one of backend 'kitchen'; there are backend, num_envs, .*num_workers"
    with pytest.raises(ValueError, match=message):
        gym.make_vec(made, num_envs=2, backend="robocasa", num_threads=2)
    with pytest.raises(ValueError, match="num_envs must be a multiple of group_size, got 3 and 2"):
        gym.make_vec(made, num_envs=3, group_size=2, backend="robocasa", num_workers=1)


def test_without_robocasa_its_backend_is_refused_and_auto_takes_the_kitchen(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RoboCasaError, match=r'robosuite, which is not installed: pip install -e "\.\[robocasa\]"'):
        RoboCasaEnv("OpenDrawer")
    with caplog.at_level(logging.INFO, logger="z1_envs"):
        env = make()
    assert env.reset(seed=0)[1]["backend"] == "kitchen"
    env.close()
    assert [record.message for record in caplog.records] == [
        "backend 'kitchen', not 'robocasa': the official backend needs robosuite, which is not installed: "
        'pip install -e ".[robocasa]" in an environment of its own (docs/robocasa.md)'
    ]


@pytest.mark.robocasa
class TestWithRoboCasa:
    def test_make_takes_all_options(self, pack: Path, version: Version) -> None:
        env = make(
            backend="robocasa",
            obs="pixels",
            horizon=3,
            image_px=32,
            cameras=["image_wrist"],
            state_width=25,
            split="test",
            layout_styles=[(1, 2)],
            assets=str(pack),
        )
        observation, info = env.reset(seed=0)
        assert {key: value.shape for key, value in observation.items()} == {"image_wrist": (32, 32, 3), "state": (25,)}
        assert info["backend"] == "robocasa-stand-in"
        base: Any = env.unwrapped
        official = base._env
        assert (official.layout_id, official.style_id) == (1, 2)
        assert official.obj_instance_split == ("B" if version is V02 else "target")
        assert base.horizon == 3
        env.close()

    @pytest.mark.slow
    def test_make_vec_makes_lanes_on_workers(self, pack: Path) -> None:
        envs = gym.make_vec(
            "z1_envs:Z1-RoboCasa-OpenDrawer",
            num_envs=2,
            group_size=2,
            backend="robocasa",
            num_workers=1,
            assets=pack,
            layouts=[1],
        )
        observation, infos = envs.reset(seed=0)
        assert set(infos["backend"]) == {"robocasa-stand-in"}
        np.testing.assert_array_equal(observation["state"][0], observation["state"][1])
        envs.close()

    def test_horizons_are_the_version_s_own(self, pack: Path, version: Version) -> None:
        env = RoboCasaEnv("OpenDrawer", RoboCasaOptions(assets=pack))
        assert env.horizon == version.tasks["OpenDrawer"].horizon == (500 if version is V02 else 750)
        env.close()

    def test_kitchens_that_the_task_excludes_are_refused(self, pack: Path, version: Version) -> None:
        # environments/kitchen: atomic/kitchen_pick_place.py:486, v0.2's single_stage/kitchen_pnp.py:483
        layout = 8 if version is V02 else 9
        message = rf"has PnPCounterToMicrowave in none of the kitchens .* layouts \[{layout}\]"
        with pytest.raises(ValueError, match=message):
            RoboCasaEnv("PnPCounterToMicrowave", RoboCasaOptions(assets=pack, layouts=(layout,)))

    def test_auto_takes_official_assets_but_never_stand_ins(
        self, pack: Path, downloaded: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv(ASSETS_VARIABLE, str(pack))
        with caplog.at_level(logging.INFO, logger="z1_envs"):
            assert registration._choose("auto") == "kitchen"
            monkeypatch.setenv(ASSETS_VARIABLE, str(downloaded))
            assert registration._choose("auto") == "robocasa"
        stand_in, there = (record.message for record in caplog.records)
        assert "plain stand-ins; they are used where backend='robocasa' asks for them" in stand_in
        assert there == "backend 'robocasa': RoboCasa and its official assets are both there"

    def test_auto_takes_the_kitchen_where_a_download_was_interrupted(
        self, official: Path, version: Version, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv(ASSETS_VARIABLE, str(official))
        for place in ("textures/wood", "generative_textures/wall", "objects/objaverse/apple", "objects/lightwheel/jar"):
            (official / place).mkdir(parents=True)
        first = "standard/visuals" if version is V02 else "Microwave011"
        (official / "fixtures" / "microwaves" / first).mkdir(parents=True)
        with caplog.at_level(logging.INFO, logger="z1_envs"):
            assert registration._choose("auto") == "kitchen"
        assert all(f"{pack.name} (" in caplog.text for pack in version.packs)
        # Whoever asks for it gets it, with a warning: what lacks may be what no task reads.
        caplog.clear()
        check_assets_begun("OpenDrawer", official, installed())
        assert f"{official} has a part of {version.packs[0]}" in caplog.text
