"""From what was measured of a task to the modules that its training uses: a pure function, with a reason for each.

Source: arXiv 2606.31846 (Z-1), per-task recipes and selective joint training. It says which signals decide; it
publishes no thresholds and no rule. Rules and numbers here are ours.
"""

import math
from dataclasses import dataclass

from z1_agent.grpo import Branching, GrpoConfig, RewardName, ScheduleName
from z1_agent.recipe import Modules
from z1_agent.signals import EarlyProgress, Signals
from z1_agent.trainable import Trainable


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Where the rules of `choose` change their mind. The paper publishes none.

    shared_reach: groups share their approach where at least this share of episodes reaches. tree_decisions: trees need
    a trunk of so many, for eight leaves to part at three different decisions; tree_late: and at least this share of
    failures after reaching.
    phase_reach, phase_spread: each group parts where its own manipulation begins, where this share of episodes reaches
    and earliest and latest quarter of the approaches are so far apart [decisions]. until: share of training after which
    a linear trunk is gone; until_sure: the same where phase_reach is reached.
    decay_groups: rewards decay where this share of groups succeeds as a whole; elsewhere that adds nothing.
    joint_success, joint_slope, joint_never_reached: all of the network learns where SFT success and early gain per
    1,000 env steps are below, and at least this share of failures never reaches. joint_gap: or, where the policy sees
    pixels, where success from privileged state is higher by so much, and beyond chance. joint_rate_share: rate of all
    but the action expert, then, as a share of its own.
    worse_rate_share: of the learning rate, where early GRPO has made the policy worse beyond chance.
    """

    shared_reach: float = 0.8
    tree_decisions: int = 4
    tree_late: float = 0.5
    phase_reach: float = 0.95
    phase_spread: float = 2.0
    until: float = 0.2
    until_sure: float = 0.5
    decay_groups: float = 0.1
    joint_success: float = 0.5
    joint_slope: float = 5e-4
    joint_never_reached: float = 0.5
    joint_gap: float = 0.15
    joint_rate_share: float = 0.1
    worse_rate_share: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Modules, and a sentence for each decision."""

    modules: Modules
    reasons: tuple[str, ...]


def choose(signals: Signals, grpo: GrpoConfig, thresholds: Thresholds) -> Choice:
    """The modules for a task of which `signals` were measured; rates are those of `grpo`, or shares of them."""
    branching, trunk_start, why_branching = _branching(signals, thresholds)
    schedule, until, why_schedule = _schedule(signals, branching, grpo, thresholds)
    reward, why_reward = _reward(signals.early, thresholds)
    trainable, why_trainable = _trainable(signals, thresholds)
    is_joint = trainable == "all"
    rate, why_rate = _rate(signals.early, grpo, thresholds)
    modules = Modules(
        branching=branching,
        schedule=schedule,
        trunk_start=trunk_start,
        trunk_until=until,
        reward=reward,
        trainable=trainable,
        learning_rate=rate,
        vlm_rate_share=thresholds.joint_rate_share if is_joint else grpo.vlm_rate_share,
    )
    return Choice(modules=modules, reasons=(why_branching, why_schedule, why_reward, why_trainable, why_rate))


def _branching(signals: Signals, thresholds: Thresholds) -> tuple[Branching, int, str]:
    """With the trunk's decisions: those before the earliest quarter of approaches is over."""
    approach, failures = signals.approach, signals.failures
    reached = f"{approach.reached} of episodes reach"
    if approach.early is None or not approach.reached.value >= thresholds.shared_reach:
        return "flat", 0, f"Flat groups: {reached}, below {thresholds.shared_reach:.0%}: the approach is to be learned."
    decisions = math.floor(approach.early)
    if decisions < 1:
        return "flat", 0, "Flat groups: manipulation begins within the first decision, so there is nothing to share."
    late = 1 - failures.never_reached_share if failures.total else 0.0
    shared = f"{reached}, three quarters of those after {decisions} decisions or more"
    after = f"{late:.0%} of {failures.total} failures come after reaching"
    if decisions >= thresholds.tree_decisions and late >= thresholds.tree_late:
        return "tree", decisions, f"Trees: {shared}, and {after}."
    if decisions < thresholds.tree_decisions:
        return "trunk", decisions, f"A shared trunk: {shared}, too few for a tree's branch points to differ."
    return "trunk", decisions, f"A shared trunk: {shared}, but only {after}, below {thresholds.tree_late:.0%}."


def _schedule(
    signals: Signals, branching: Branching, grpo: GrpoConfig, thresholds: Thresholds
) -> tuple[ScheduleName, float, str]:
    approach = signals.approach
    if branching == "flat" or approach.early is None or approach.late is None:
        return grpo.schedule, grpo.trunk.until, "No schedule: flat groups have no trunk."
    is_sure = approach.reached.value >= thresholds.phase_reach
    spread = approach.late - approach.early
    if is_sure and spread >= thresholds.phase_spread:
        why = f"the quarters of the approaches are {spread:.1f} decisions apart, and nearly all episodes reach"
        return "phase", grpo.trunk.until, f"Each group parts where its own manipulation begins: {why}."
    if is_sure:
        return (
            "linear",
            thresholds.until_sure,
            (
                f"The trunk shrinks to 0 over {thresholds.until_sure:.0%} of training: nearly all episodes reach, "
                f"after about as many decisions."
            ),
        )
    return (
        "linear",
        thresholds.until,
        (
            f"The trunk shrinks to 0 over {thresholds.until:.0%} of training: the approach, at which "
            f"{1 - approach.reached.value:.0%} of episodes fail, is to be learned too."
        ),
    )


def _reward(early: EarlyProgress, thresholds: Thresholds) -> tuple[RewardName, str]:
    share = f"in early GRPO {early.all_success_share:.0%} of groups succeed as a whole"
    if early.all_success_share >= thresholds.decay_groups:
        return "decay", f"Rewards decay: {share}, of which plain rewards learn nothing."
    return "plain", f"Plain rewards: {share}, below {thresholds.decay_groups:.0%}: there is little to hasten."


def _trainable(signals: Signals, thresholds: Thresholds) -> tuple[Trainable, str]:
    probe, early = signals.probe, signals.early
    if signals.sees == "pixels" and probe is not None:
        gap = f"SFT from privileged state reaches {probe.state}, from pixels {probe.pixels}"
        if probe.gap >= thresholds.joint_gap and probe.is_beyond_chance:
            return "all", f"All of the network learns: {gap}, so perception limits."
    slope = f"early gain is {early.gain:+.1%}, {early.per_1000_steps:+.3%} per 1,000 env steps"
    lost = f"{signals.failures.never_reached_share:.0%} of failures never reach"
    is_low = signals.sft.value < thresholds.joint_success
    is_slow = early.per_1000_steps < thresholds.joint_slope
    is_astray = signals.failures.never_reached_share >= thresholds.joint_never_reached
    if is_low and is_slow and is_astray:
        return "all", f"All of the network learns: SFT success is {signals.sft}, {slope}, and {lost}."
    return "action_expert", f"The action expert learns alone: SFT success is {signals.sft}, {slope}; {lost}."


def _rate(early: EarlyProgress, grpo: GrpoConfig, thresholds: Thresholds) -> tuple[float, str]:
    if not early.is_worse:
        return grpo.learning_rate, f"Learning rate {grpo.learning_rate:g}: early GRPO did not make the policy worse."
    rate = grpo.learning_rate * thresholds.worse_rate_share
    return rate, f"Learning rate {rate:g}: early GRPO at {grpo.learning_rate:g} made the policy worse beyond chance."
