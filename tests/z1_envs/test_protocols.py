"""Published protocols: the numbers of their sources, and what the installed RoboCasa cannot do is refused."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.z1_envs.fake_env import FakeVectorEnv
from tests.z1_envs.test_evaluate import Pusher
from z1_envs import protocols
from z1_envs.evaluate import evaluate
from z1_envs.protocols import PROTOCOLS, check_can_run, get_protocol, robocasa_options
from z1_envs.robocasa.versions import V02, V101
from z1_envs.tasks import TASKS


def test_cosmos_is_what_its_script_runs() -> None:
    # run_robocasa_eval.py: num_trials_per_task 50, seeds 195 196 197, NUM_STEPS_WAIT 10, env_img_res 224, split "B",
    # layout_and_style_ids ((1,1),(2,2),(4,4),(6,9),(7,10)), TASK_MAX_STEPS.
    protocol = get_protocol("cosmos", "OpenDoubleDoor", chunk_len=16)
    assert (protocol.num_runs, protocol.num_episodes, protocol.wait_steps, protocol.image_px) == (3, 50, 10, 224)
    assert (protocol.horizon, protocol.robocasa_version, protocol.backend) == (1000, "v0.2", "robocasa")
    assert protocol.scenes == ((1, 1), (2, 2), (4, 4), (6, 9), (7, 10))
    assert V02.splits[protocol.split].objects == "B"
    assert len(protocol.differences) == 2
    horizons = {name: get_protocol("cosmos", name, chunk_len=1).horizon for name in TASKS}
    assert {name for name, horizon in horizons.items() if horizon != 500} == {
        "PnPCounterToSink", "PnPCounterToMicrowave", "OpenDoubleDoor", "CloseDoubleDoor", "CoffeeSetupMug",
        "CoffeeServeMug", "CoffeePressButton",
    }  # fmt: skip


def test_robocasa365_is_what_its_documents_say() -> None:
    target = get_protocol("robocasa365-target", "PnPCounterToCab", chunk_len=16)
    assert (target.num_runs, target.num_episodes, target.wait_steps, target.image_px) == (1, 50, 0, 256)
    assert (target.horizon, target.robocasa_version, target.split) == (750, "v1.0.1", "target")
    assert target.scenes == tuple((n, n) for n in range(1, 11))
    pretrain = get_protocol("robocasa365-pretrain", "PnPCounterToCab", chunk_len=16)
    assert (pretrain.split, pretrain.scenes) == ("pretrain", None)
    with pytest.raises(ValueError, match="its OpenCabinet draws among all cabinets, ours among CABINET_SINGLE"):
        get_protocol("robocasa365-target", "OpenSingleDoor", chunk_len=16)


def test_a_variant_has_a_name_and_lists_its_differences() -> None:
    cosmos = get_protocol("cosmos", "OpenDrawer", chunk_len=16)
    variant = get_protocol("cosmos-on-1.0.1", "OpenDrawer", chunk_len=16)
    assert (variant.robocasa_version, variant.horizon) == ("v1.0.1", 750)
    assert any("RoboCasa v1.0.1 instead of v0.2" in difference for difference in variant.differences)
    stand_in = get_protocol("cosmos-on-stand-in-assets", "OpenDrawer", chunk_len=16)
    assert stand_in.backend == "robocasa-stand-in"
    assert stand_in.differences == (*cosmos.differences, "stand-in assets instead of RoboCasa's")
    assert len({cosmos.hash, variant.hash, stand_in.hash}) == 3


@pytest.mark.parametrize("name", PROTOCOLS)
def test_options_of_an_env_follow_from_the_protocol(name: str) -> None:
    protocol = get_protocol(name, "OpenDrawer", chunk_len=16)
    version = {"v0.2": V02, "v1.0.1": V101}[str(protocol.robocasa_version)]
    options = robocasa_options(protocol)
    assert protocol.horizon is not None
    assert (options.name, options.image_px) == (protocol.split, protocol.image_px)
    assert options.horizon == protocol.wait_steps + protocol.horizon
    assert protocol.scenes in (None, version.kitchens(options))
    envs = FakeVectorEnv(1, 1)
    known = {"task": protocol.task, "split": options.name, "obs": options.obs, "horizon": options.horizon}
    vars(envs).update({**known, "image_px": options.image_px, "robocasa_version": version.name})
    vars(envs).update(scenes=version.kitchens(options))
    # All fits but the backend, which an env says of itself at the first reset.
    with pytest.raises(ValueError, match=r"the backend 'robocasa', the env runs \['push'\]"):
        evaluate(Pusher(1.0), envs, protocol)


def test_unknown_names_and_the_kitchen_s_protocols_are_refused() -> None:
    with pytest.raises(ValueError, match="there is no protocol 'cosmoss': take one of cosmos, "):
        get_protocol("cosmoss", "OpenDrawer", chunk_len=1)
    with pytest.raises(ValueError, match="unknown task"):
        get_protocol("cosmos", "OpenDraw", chunk_len=1)
    kitchen = replace(get_protocol("cosmos", "OpenDrawer", chunk_len=1), backend="kitchen")
    with pytest.raises(ValueError, match="is none of the official RoboCasa"):
        robocasa_options(kitchen)


@pytest.mark.parametrize(
    ("name", "installed", "words"),
    [
        ("cosmos", {"version": V101}, "is defined on RoboCasa v0.2, .*`cosmos-on-1.0.1` is the variant"),
        ("robocasa365-target", {"version": V02}, "is defined on RoboCasa v1.0.1"),
        ("cosmos", {"backend": "robocasa-stand-in"}, "on stand-ins the protocol is cosmos-on-stand-in-assets"),
    ],
)
def test_another_version_or_other_assets_are_refused_before_anything_is_built(
    name: str, installed: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"version": V02, "backend": "robocasa", "assets": Path("assets"), **installed}
    monkeypatch.setattr(protocols.preflight, "check", lambda *_: SimpleNamespace(**found))
    with pytest.raises(ValueError, match=words):
        check_can_run(get_protocol(name, "OpenDrawer", chunk_len=1))
