"""From what was measured of a task to the modules that its training uses: a pure function, with a reason for each.

Source: arXiv 2606.31846 (Z-1), per-task recipes and selective joint training. It says which signals decide; it
publishes no thresholds and no rule. Rules and numbers here are ours; docs/results.md has the trainings they rest on.
"""

from dataclasses import dataclass

from z1_agent.grpo import Branching, GrpoConfig, RewardName
from z1_agent.presets import TrainConfig
from z1_agent.recipe import Modules
from z1_agent.schedules import LinearTrunk
from z1_agent.signals import EarlyProgress, Signals
from z1_agent.trainable import Trainable
from z1_envs.arguments import check_at_least_0, check_positive, check_whole


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Where the rules of `choose` change their mind. The paper publishes none.

    shared_reach, tree_approach: groups share their start, as trees on the configuration's short trunk, where at least
    this share of episodes reaches, and manipulation begins after so many decisions or later. Where a trunk decides the
    outcome, all that part from it share it, and nothing is to be learned. So no rule chooses the paper's long trunk,
    which led to less success than flat groups on each of four tasks.
    decay_groups: rewards decay where this share of groups succeeds as a whole; elsewhere that adds nothing.
    expert_success, expert_gain, expert_demos: the action expert learns alone, which costs less, where SFT success,
    early gain or the number of demonstrations are at least so high; but where the policy sees pixels and success from
    privileged state is higher by joint_gap, and beyond chance, all of the network learns.
    worse_rate_share: of the learning rate, where early GRPO has made the policy worse beyond chance.

    Raises ValueError for shares outside of [0, 1], for no learning rate at all, and for negative numbers.
    """

    shared_reach: float = 0.8
    tree_approach: float = 3.0
    decay_groups: float = 0.1
    expert_success: float = 0.75
    expert_gain: float = 0.2
    expert_demos: int = 100
    joint_gap: float = 0.15
    worse_rate_share: float = 0.5

    def __post_init__(self) -> None:
        for name in ("shared_reach", "decay_groups", "expert_success", "expert_gain", "joint_gap", "worse_rate_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share and lies in [0, 1], got {getattr(self, name)}")
        check_positive("worse_rate_share", self.worse_rate_share)
        check_at_least_0("tree_approach", self.tree_approach)
        check_whole("expert_demos", self.expert_demos, least=0)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Modules, and a sentence for each decision."""

    modules: Modules
    reasons: tuple[str, ...]


def choose(signals: Signals, config: TrainConfig, thresholds: Thresholds) -> Choice:
    """The modules for a training with `config` of whose task `signals` were measured; learning rates are those of
    `config`, or shares of them."""
    grpo = config.grpo
    branching, trunk, why_branching = _branching(signals, config, thresholds)
    reward, why_reward = _reward(signals.early, thresholds)
    trainable, why_trainable = _trainable(signals, config, thresholds)
    rate, why_rate = _rate(signals.early, grpo, thresholds)
    modules = Modules(
        branching=branching,
        schedule="linear",
        trunk_start=trunk.start,
        trunk_until=trunk.until,
        reward=reward,
        trainable=trainable,
        learning_rate=rate,
        vlm_rate_share=grpo.vlm_rate_share,
    )
    return Choice(modules=modules, reasons=(why_branching, why_reward, why_trainable, why_rate))


def _branching(signals: Signals, config: TrainConfig, thresholds: Thresholds) -> tuple[Branching, LinearTrunk, str]:
    reached = f"{signals.approach.reached} of episodes reach"
    if signals.approach.reached.value < thresholds.shared_reach:
        why = f"{reached}, below {thresholds.shared_reach:.0%}: the approach is to be learned"
        return "flat", LinearTrunk(start=0), f"Flat groups: {why}."
    begins = signals.approach.median
    if begins is None or begins < thresholds.tree_approach:
        when = "at once" if begins is None else f"after {begins:g} decisions"
        why = f"manipulation begins {when}, and a trunk would decide it for all"
        return "flat", LinearTrunk(start=0), f"Flat groups: {why}."
    return "tree", config.grpo.trunk, f"Trees: {reached}, after {begins:g} decisions."


def _reward(early: EarlyProgress, thresholds: Thresholds) -> tuple[RewardName, str]:
    share = f"in early GRPO {early.all_success_share:.0%} of groups succeed as a whole"
    if early.all_success_share >= thresholds.decay_groups:
        return "decay", f"Rewards decay: {share}, of which plain rewards learn nothing."
    return "plain", f"Plain rewards: {share}, below {thresholds.decay_groups:.0%}: there is little to hasten."


def _trainable(signals: Signals, config: TrainConfig, thresholds: Thresholds) -> tuple[Trainable, str]:
    probe = signals.probe
    if signals.sees == "pixels" and probe is not None:
        gap = f"SFT from privileged state reaches {probe.state}, from pixels {probe.pixels}"
        if probe.gap >= thresholds.joint_gap and probe.is_beyond_chance:
            return "all", f"All of the network learns: {gap}, so perception limits."
    gain = signals.early.gain
    found = f"SFT success is {signals.sft}, the action expert's early gain {gain:+.1%}"
    if signals.sft.value >= thresholds.expert_success or gain >= thresholds.expert_gain:
        return "action_expert", f"The action expert learns alone, which costs less: {found}."
    if config.sft.num_demos >= thresholds.expert_demos:
        many = f"what it reads was learned from {config.sft.num_demos} demonstrations"
        return "action_expert", f"The action expert learns alone, which costs less: {many}."
    return "all", f"All of the network learns: {found}, so what the action expert reads has to improve too."


def _rate(early: EarlyProgress, grpo: GrpoConfig, thresholds: Thresholds) -> tuple[float, str]:
    if not early.is_worse:
        return grpo.learning_rate, f"Learning rate {grpo.learning_rate:g}: early GRPO did not make the policy worse."
    rate = grpo.learning_rate * thresholds.worse_rate_share
    return rate, f"Learning rate {rate:g}: early GRPO at {grpo.learning_rate:g} made the policy worse beyond chance."
