"""Published protocols by name: how success rates on the official RoboCasa are measured elsewhere.

    protocol = PROTOCOLS["cosmos"]("OpenDrawer", chunk_len=16)
    envs = RoboCasaVectorEnv("OpenDrawer", num_envs=8, options=robocasa_options(protocol))
    evaluate(agent, envs, protocol)

What cannot hold is refused by `evaluate`, which compares with what the env says of itself; a variant that can be run
has a name of its own, and lists its `differences`.

Sources. cosmos: github.com/NVlabs/cosmos-policy, experiments/robot/robocasa/run_robocasa_eval.py (seeds 195 to 197,
50 episodes, 10 waiting steps, 224 px, horizons of v0.2's registry), on RoboCasa 0.2.0 (moojink/robocasa-cosmos-policy);
objects and kitchens are those of v0.2:utils/eval_utils.py. robocasa365: RoboCasa 1.0.1, docs/benchmarking
(50 scenarios, the splits pretrain and target), utils/dataset_registry.py (horizons), wrappers/gym_wrapper.py (256 px).
"""

import dataclasses
from collections.abc import Callable
from typing import Literal

from z1_envs.evaluate import EvalProtocol
from z1_envs.robocasa import preflight
from z1_envs.robocasa.assets import BACKEND, STAND_IN_BACKEND
from z1_envs.robocasa.options import RoboCasaOptions
from z1_envs.robocasa.versions import V02, V101, Version
from z1_envs.tasks import get_task

_ON_STAND_INS = "-on-stand-in-assets"
_OUR_SEEDS = "this program's seeds draw the episodes: they are not the very ones that others have run"
_DRAWN = "each episode draws one of the five kitchens with equal chances; published are 10 episodes of a run in each"


def cosmos(task: str, *, chunk_len: int) -> EvalProtocol:
    """Cosmos Policy's 24 tasks, 3 × 50 episodes on RoboCasa v0.2; success rates are the mean of the runs."""
    return _cosmos_on(V02, "cosmos", task, chunk_len, (_OUR_SEEDS, _DRAWN))


def cosmos_on_v101(task: str, *, chunk_len: int) -> EvalProtocol:
    """The same counts on RoboCasa v1.0.1, which has neither v0.2's kitchens nor its object split "B"."""
    differences = (
        _OUR_SEEDS,
        "RoboCasa v1.0.1 instead of v0.2: its kitchens, objects, horizons, and what it counts as closed",
        'objects of the split "target" instead of "B"; ten kitchens of v1.0.1 instead of five of v0.2',
    )
    return _cosmos_on(V101, "cosmos-on-1.0.1", task, chunk_len, differences)


def robocasa365(task: str, *, chunk_len: int, split: Literal["pretrain", "target"]) -> EvalProtocol:
    """RoboCasa 1.0.1's own benchmark, 50 episodes in its kitchens for pretraining or its held-out ones.

    Raises ValueError for door tasks: v1.0's cover other fixtures than those of v0.2, which ours are.
    """
    name = get_task(task).name
    row = V101.tasks[name]
    if row.fixtures:
        raise ValueError(
            f"robocasa365 has no {name}: its {row.class_name} draws among all cabinets, ours among "
            f"{' and '.join(row.fixtures)}; use cosmos-on-1.0.1, or another task"
        )
    return EvalProtocol(
        name=f"robocasa365-{split}",
        version=1,
        task=name,
        backend=BACKEND,
        split=split,
        obs="pixels",
        num_episodes=50,
        seed=0,
        horizon=row.horizon,
        chunk_len=chunk_len,
        image_px=256,
        robocasa_version=V101.name,
        scenes=V101.splits["target"].kitchens if split == "target" else None,  # of "pretrain" there are 2500
        differences=(_OUR_SEEDS,),
    )


def on_stand_in_assets(protocol: EvalProtocol) -> EvalProtocol:
    """The same on the generated pack of boxes and cylinders: to see that it runs, its rates mean nothing else."""
    return dataclasses.replace(
        protocol,
        name=protocol.name + _ON_STAND_INS,
        backend=STAND_IN_BACKEND,
        differences=(*protocol.differences, "stand-in assets instead of RoboCasa's"),
    )


def get_protocol(name: str, task: str, *, chunk_len: int) -> EvalProtocol:
    """The protocol called `name`, one of PROTOCOLS or its variant on stand-in assets, for `task`.

    Raises ValueError for unknown names and tasks.
    """
    published = name.removesuffix(_ON_STAND_INS)
    if published not in PROTOCOLS:
        raise ValueError(
            f"there is no protocol {name!r}: take one of {', '.join(PROTOCOLS)}, with {_ON_STAND_INS} for stand-ins"
        )
    protocol = PROTOCOLS[published](task, chunk_len=chunk_len)
    return protocol if name == published else on_stand_in_assets(protocol)


def check_can_run(protocol: EvalProtocol) -> None:
    """Raises ValueError where the installed RoboCasa or its assets are not the protocol's, and what `preflight.check`
    raises; nothing is built or imported for it.
    """
    ready = preflight.check(protocol.task, robocasa_options(protocol))
    if ready.version.name != protocol.robocasa_version:
        variant = "; `cosmos-on-1.0.1` is the variant for this one" if ready.version is V101 else ""
        raise ValueError(
            f"{protocol.name!r} is defined on RoboCasa {protocol.robocasa_version}, whose kitchens and objects "
            f"{ready.version.name} does not have, which is installed{variant}"
        )
    if ready.backend != protocol.backend:
        hint = f"official assets: z1 assets check; on stand-ins the protocol is {protocol.name}{_ON_STAND_INS}"
        raise ValueError(
            f"{protocol.name!r} is for the backend {protocol.backend!r}, the assets in {ready.assets} make it "
            f"{ready.backend!r} ({hint})"
        )


def robocasa_options(protocol: EvalProtocol) -> RoboCasaOptions:
    """The options of an official env that `protocol` can be run on.

    Raises ValueError for protocols of the embedded kitchen.
    """
    if protocol.backend not in (BACKEND, STAND_IN_BACKEND) or protocol.horizon is None or protocol.image_px is None:
        raise ValueError(f"{protocol.name!r} is none of the official RoboCasa: take one of {', '.join(PROTOCOLS)}")
    return RoboCasaOptions(
        obs="pixels",
        horizon=protocol.wait_steps + protocol.horizon,
        image_px=protocol.image_px,
        split=protocol.split,  # pyright: ignore[reportArgumentType] (checked there)
    )


def _cosmos_on(version: Version, name: str, task: str, chunk_len: int, differences: tuple[str, ...]) -> EvalProtocol:
    ours = get_task(task).name
    return EvalProtocol(
        name=name,
        version=1,
        task=ours,
        backend=BACKEND,
        split="test",
        obs="pixels",
        num_episodes=50,
        seed=195,
        horizon=version.tasks[ours].horizon,
        chunk_len=chunk_len,
        num_runs=3,
        wait_steps=10,
        image_px=224,
        robocasa_version=version.name,
        scenes=version.splits["test"].kitchens,
        differences=differences,
    )


def _robocasa365_pretrain(task: str, *, chunk_len: int) -> EvalProtocol:
    return robocasa365(task, chunk_len=chunk_len, split="pretrain")


def _robocasa365_target(task: str, *, chunk_len: int) -> EvalProtocol:
    return robocasa365(task, chunk_len=chunk_len, split="target")


# (task, *, chunk_len) → the protocol.
PROTOCOLS: dict[str, Callable[..., EvalProtocol]] = {
    "cosmos": cosmos,
    "cosmos-on-1.0.1": cosmos_on_v101,
    "robocasa365-pretrain": _robocasa365_pretrain,
    "robocasa365-target": _robocasa365_target,
}
