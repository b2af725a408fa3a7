"""Published protocols on the RoboCasa that is installed: what it cannot do is refused, its own variant runs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from z1_envs.evaluate import evaluate
from z1_envs.protocols import check_can_run, get_protocol, robocasa_options
from z1_envs.robocasa.vector import RoboCasaVectorEnv
from z1_envs.robocasa.versions import V02, V101, Version

pytestmark = pytest.mark.robocasa

OWN = {"v0.2": "cosmos", "v1.0.1": "cosmos-on-1.0.1"}  # by version
OTHERS = {"v0.2": "cosmos-on-1.0.1", "v1.0.1": "cosmos"}


class Still:
    """Does nothing, and keeps what it was shown."""

    def __init__(self) -> None:
        self.seen: list[dict[str, NDArray]] = []

    def act(self, observation: dict[str, NDArray], /) -> NDArray:
        self.seen.append(observation)
        return np.zeros((len(observation["state"]), 2, 12), dtype=np.float32)


@pytest.fixture
def stand_ins(pack: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROBOCASA_ASSETS_PATH", str(pack))
    return pack


@pytest.mark.usefixtures("stand_ins")
def test_what_this_version_and_these_assets_are_not_is_refused(version: Version) -> None:
    if version is V02:
        refused = r"'cosmos-on-1\.0\.1' is defined on RoboCasa v1\.0\.1, .* v0\.2 does not have"
    else:
        refused = r"'cosmos' is defined on RoboCasa v0\.2, .*`cosmos-on-1\.0\.1` is the variant"
    with pytest.raises(ValueError, match=refused):
        check_can_run(get_protocol(OTHERS[version.name], "OpenDrawer", chunk_len=2))
    ours = OWN[version.name]
    with pytest.raises(ValueError, match=f"on stand-ins the protocol is {ours}-on-stand-in-assets"):
        check_can_run(get_protocol(ours, "OpenDrawer", chunk_len=2))
    check_can_run(get_protocol(f"{ours}-on-stand-in-assets", "OpenDrawer", chunk_len=2))


@pytest.mark.slow
@pytest.mark.usefixtures("stand_ins")
def test_the_version_s_own_runs_and_another_s_does_not(version: Version) -> None:
    full: Any = get_protocol(f"{OWN[version.name]}-on-stand-in-assets", "CloseDrawer", chunk_len=2)
    protocol = replace(full, num_episodes=1, num_runs=1, horizon=4, image_px=64)
    envs = RoboCasaVectorEnv("CloseDrawer", num_envs=1, options=robocasa_options(protocol))
    other = (V101 if version is V02 else V02).name
    try:
        with pytest.raises(ValueError, match=f"the robocasa_version '{other}', the env has '{version.name}'"):
            evaluate(Still(), envs, replace(protocol, robocasa_version=other))
        with pytest.raises(ValueError, match="prescribes the image_px 224, the env has 64"):
            evaluate(Still(), envs, full)
        agent = Still()
        report = evaluate(agent, envs, protocol)
    finally:
        envs.close()
    assert (report.rate, report.elapsed.tolist(), report.seeds.tolist()) == (0.0, [4], [195])
    assert agent.seen[0]["image_left"].shape == (1, 64, 64, 3)
