"""What each part of the method is worth: one factor at a time is changed around the default, all else stays.

Of one task and seed all variants begin with the same SFT policy, that of the default's run, and GRPO meets the same
scenes in the same order: differences are the variant's. The control spends what GRPO took on more SFT (cost_control).
The default is the preset's, or the task's recipe. Variants carry no recipe, which they contradict on purpose.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from z1_agent.grpo import Baseline, Branching, GrpoConfig, RewardName, ScheduleName
from z1_agent.jobs import ControlJob, Job, TrainJob
from z1_agent.manifest import Manifest
from z1_agent.presets import TrainConfig
from z1_agent.schedules import LinearTrunk
from z1_agent.trainable import Trainable

KIND = "ablation"
DEFAULT, CONTROL, FLAT = "default", "control", "flat"

NOISE = "denoising"  # the factor that changes how noisy rollouts are, whatever the policy: curves say nothing of it

Change = Callable[[TrainConfig], TrainConfig]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One value of one factor. name: of its runs and rows. sentence: what it does, for readers."""

    name: str
    factor: str
    sentence: str
    change: Change


def _grpo(change: Callable[[GrpoConfig], GrpoConfig]) -> Change:
    return lambda config: dataclasses.replace(config, grpo=change(config.grpo))


def _branching(branching: Branching) -> Change:
    if branching == FLAT:
        return _grpo(lambda grpo: dataclasses.replace(grpo, branching=branching))
    return _grpo(lambda grpo: dataclasses.replace(_with_a_trunk(grpo), branching=branching))


def _schedule(schedule: ScheduleName) -> Change:
    return _grpo(lambda grpo: dataclasses.replace(_with_a_trunk(grpo), schedule=schedule, branching=_branched(grpo)))


def _with_a_trunk(grpo: GrpoConfig) -> GrpoConfig:
    """A recipe of flat groups has a trunk of 0 decisions, which would be flat again: then it is GrpoConfig's."""
    return dataclasses.replace(grpo, trunk=grpo.trunk if grpo.trunk.start else GrpoConfig().trunk)


def _branched(grpo: GrpoConfig) -> Branching:
    """A schedule says nothing where nothing is shared."""
    return "trunk" if grpo.branching == "flat" else grpo.branching


def _whole_training(config: TrainConfig) -> TrainConfig:
    """The paper's schedule, from half of an episode's decisions: its 15 chunks are of longer episodes."""
    trunk = LinearTrunk(start=config.horizon // config.executed_len // 2, until=1.0)
    grpo = dataclasses.replace(config.grpo, schedule="linear", trunk=trunk, branching=_branched(config.grpo))
    return dataclasses.replace(config, grpo=grpo)


def _reward(reward: RewardName) -> Change:
    return _grpo(lambda grpo: dataclasses.replace(grpo, reward=reward))


def _baseline(baseline: Baseline) -> Change:
    return _grpo(lambda grpo: dataclasses.replace(grpo, baseline=baseline))


def _trainable(trainable: Trainable) -> Change:
    return _grpo(lambda grpo: dataclasses.replace(grpo, trainable=trainable))


def _stochastic(stochastic: Literal["one", "all"]) -> Change:
    return lambda config: dataclasses.replace(config, sde=dataclasses.replace(config.sde, stochastic=stochastic))


def _spread_noise(config: TrainConfig) -> TrainConfig:
    """As much variance as a single random step brings, from all K of them: each has 1/K of its own."""
    noise = config.sde.noise / math.sqrt(config.sde.num_steps)
    return dataclasses.replace(config, sde=dataclasses.replace(config.sde, stochastic="all", noise=noise))


def _variant(factor: str, name: str, sentence: str, change: Change) -> Variant:
    return Variant(name=name, factor=factor, sentence=sentence, change=change)


VARIANTS: tuple[Variant, ...] = (
    _variant("branching", FLAT, "every rollout of a group runs alone from the start", _branching("flat")),
    _variant("branching", "trunk", "a group shares a trunk, then parts at once", _branching("trunk")),
    _variant("branching", "tree", "a group shares a trunk, then halves at branch points", _branching("tree")),
    _variant("schedule", "linear", "the trunk shrinks to 0 early in training", _schedule("linear")),
    _variant("schedule", "paper", "the trunk shrinks from half an episode to 0 over all of training", _whole_training),
    _variant("schedule", "constant", "the trunk keeps its length", _schedule("constant")),
    _variant("schedule", "phase", "each trunk ends where manipulation begins", _schedule("phase")),
    _variant("schedule", "uncertainty", "each trunk ends where sampled chunks spread most", _schedule("uncertainty")),
    _variant("reward", "plain", "1 for a success, however late", _reward("plain")),
    _variant("reward", "decay", "late successes earn less; no success is pushed down", _reward("decay")),
    _variant("reward", "penalty", "late successes earn less, and slow ones are pushed down", _reward("penalty")),
    _variant("baseline", "group", "every decision is compared with the whole group", _baseline("group")),
    _variant(
        "baseline", "running", "every decision is compared with what still runs of its group", _baseline("running")
    ),
    _variant("trainable", "expert", "the action expert learns alone", _trainable("action_expert")),
    _variant("trainable", "joint", "all of the network learns", _trainable("all")),
    _variant(NOISE, "one", "one denoising step per chunk is random", _stochastic("one")),
    _variant(NOISE, "all", "every denoising step is random", _stochastic("all")),
    _variant(NOISE, "spread", "every denoising step is random, and all bring what one brings", _spread_noise),
)
FACTORS = (*dict.fromkeys(variant.factor for variant in VARIANTS), CONTROL)
CONTROL_SENTENCE = "GRPO's CPU time goes into more SFT instead; of its rounds the one with the best held-out success"


def variants_of(config: TrainConfig, factors: Sequence[str]) -> dict[str, TrainConfig]:
    """The configurations to train: the default `config`, and the values of `factors` that differ from it, without its
    recipe. Those that say the same, such as "trunk" and "linear" around flat groups, are one, under the first's name.

    Raises ValueError for an unknown factor.
    """
    unknown = [factor for factor in factors if factor not in FACTORS]
    if unknown:
        raise ValueError(f"unknown factor {unknown[0]!r}; choose among {', '.join(FACTORS)}")
    free = dataclasses.replace(config, recipe=None, recipe_digest=None)
    names = {repr(free): DEFAULT}
    found = {DEFAULT: config}
    for variant in VARIANTS:
        changed = variant.change(free)
        name = names.setdefault(repr(changed), variant.name)
        if variant.factor in factors and name != DEFAULT:
            found[name] = changed
    return found


def name_of(task: str, variant: str) -> str:
    """What the manifest calls `variant` of `task`."""
    return f"{task}-{variant}"


def ablation_jobs(
    manifest: Manifest,
    configs: Mapping[str, TrainConfig],
    *,
    with_control: bool,
    command: Sequence[str],
    threads: int | None,
    sft_folder: Path | None = None,
) -> list[Job]:
    """The trainings of `configs` (by name in the manifest) in order, and their controls.

    Of each task and seed the default comes first, and the others wait for it. None is filmed, which would take a
    quarter of their time. sft_folder: runs whose SFT the defaults may take over.
    """
    jobs: list[Job] = []
    for name, seed in manifest.in_order():
        if name not in configs:
            continue
        task, _, variant = name.partition("-")
        default = manifest.run_path(name_of(task, DEFAULT), seed)
        jobs.append(
            TrainJob(
                path=manifest.run_path(name, seed),
                config=dataclasses.replace(configs[name], seed=seed),
                preset=manifest.preset,
                command=tuple(command),
                threads=threads,
                after=None if variant == DEFAULT else default,
                sft_folder=sft_folder if variant == DEFAULT else None,
                films=False,
            )
        )
        if variant == DEFAULT and with_control:
            jobs.append(ControlJob(run=default, threads=threads))
    return jobs
