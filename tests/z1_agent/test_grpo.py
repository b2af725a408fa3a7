"""The GRPO loop: it learns, changes what it may, and resumes bit for bit."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.z1_agent.reach_env import ReachEnv
from z1_agent import checkpoint
from z1_agent.checkpoint import TrainerState
from z1_agent.divergence import DivergedError
from z1_agent.grpo import GrpoConfig, IterationLog, train_grpo
from z1_agent.lora import LoraConfig
from z1_agent.pi05 import Prefix
from z1_agent.schedules import LinearTrunk
from z1_envs.lanes import LaneVectorEnv

CONFIG = GrpoConfig(
    num_iterations=4, num_groups=4, group_size=4, trunk=LinearTrunk(start=1), minibatch_size=32, learning_rate=3e-4
)


class Counted(ReachEnv):
    """Counts the steps of all its lanes; manipulation begins with the second chunk."""

    num_steps = 0

    def step(self, action: Any) -> Any:
        Counted.num_steps += 1
        return super().step(action)

    def _info(self) -> dict[str, Any]:
        return super()._info() | {"phase": "manipulation" if self.elapsed >= 3 else "approach"}


def train(policy, config: GrpoConfig, *, stop_after: int | None = None, resume: TrainerState | None = None):
    """Logs, and the state after the last iteration."""
    envs = LaneVectorEnv(Counted, num_envs=config.num_groups * config.group_size, group_size=config.group_size)
    logs: list[IterationLog] = []
    states: list[TrainerState] = []

    def on_iteration(log, state) -> bool:
        logs.append(log)
        states.append(state())
        return log.iteration + 1 != stop_after

    train_grpo(policy, envs, config, seed=3, on_iteration=on_iteration, resume=resume)
    return logs, states[-1]


def weights(policy) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in policy.model.state_dict().items()}


def test_a_trivial_env_is_learned(nano_policy):
    config = replace(CONFIG, num_iterations=20, num_groups=8, group_size=8, trunk=LinearTrunk(start=0))
    logs, _ = train(nano_policy(executed_len=3), config)
    success = [log.success for log in logs]
    assert np.mean(success[:2]) < 0.55, success
    assert np.mean(success[-2:]) > 0.9, success


def test_two_and_resume_and_two_is_four(nano_policy):
    straight = nano_policy(executed_len=3)
    logs, _ = train(straight, CONFIG)
    parts = nano_policy(executed_len=3)
    first, state = train(parts, CONFIG, stop_after=2)
    second, _ = train(parts, CONFIG, resume=state)
    assert first + second == logs
    for name, tensor in weights(parts).items():
        assert torch.equal(tensor, weights(straight)[name]), name


def test_only_the_action_expert_changes(nano_policy):
    policy = nano_policy(executed_len=3)
    before = weights(policy)
    logs, _ = train(policy, replace(CONFIG, num_iterations=1))
    assert logs[0].trained_nodes > 0
    changed = {name.split(".")[0] for name, tensor in weights(policy).items() if not torch.equal(tensor, before[name])}
    assert changed <= {"expert", "action_in", "action_out", "time_in", "time_out"}
    assert {"expert", "action_out"} <= changed


def test_sampling_and_training_agree_on_the_likelihood(nano_policy):
    # A 30-term sum of float32 log-densities at std 0.14 agrees to about 1e-4 in another batch order.
    logs, _ = train(nano_policy(executed_len=3), CONFIG)
    assert max(abs(log.first_ratio - 1) for log in logs) < 1e-3


SHORT = replace(CONFIG, num_iterations=1, num_groups=2, epochs=1, minibatch_size=1000, lora=LoraConfig(rank=4))


@pytest.mark.parametrize("trainable", ["all", "action_expert_lora", "vlm_lora", "all_lora"])
def test_exactly_what_is_selected_changes(nano_policy, trainable):
    policy = nano_policy(executed_len=3)
    torch.nn.init.normal_(policy.model.action_out.weight, std=0.1)
    before = weights(policy)
    # A second step, because an adapter's first factor has no gradient until the second is off zero. Short ones, lest
    # the clip binds everywhere.
    logs, _ = train(policy, replace(SHORT, trainable=trainable, epochs=2, learning_rate=1e-5))
    assert logs[0].trained_nodes > 0
    selected = {name for name, parameter in policy.model.named_parameters() if parameter.requires_grad}
    new = {name: torch.zeros(()) for name in weights(policy).keys() - before.keys()}
    changed = {n for n, tensor in weights(policy).items() if not torch.equal(tensor, (before | new)[n])}
    # Weight decay moves what has a gradient of exactly zero, the tokens that nobody said, and nothing frozen.
    assert changed == selected


@pytest.mark.parametrize("trainable", ["action_expert", "all", "action_expert_lora", "all_lora"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_first_ratio_is_one(nano_policy, trainable, dtype):
    policy = nano_policy(executed_len=3)
    torch.nn.init.normal_(policy.model.action_out.weight, std=0.1)
    policy.compute_in(dtype)
    logs, _ = train(policy, replace(SHORT, trainable=trainable, micro_batch_size=3))
    assert logs[0].trained_nodes > 3
    if dtype == "bfloat16":
        assert logs[0].first_ratio == pytest.approx(1, abs=1e-12)
        assert logs[0].clip_fraction == 0
        assert logs[0].kl == 0
    else:  # sampled log-probs: a sum of 36 terms in another batch order
        assert logs[0].first_ratio == pytest.approx(1, abs=1e-4)


def test_in_bf16_another_layout_or_precision_leaves_the_clip_range(nano_policy, observation):
    policy, batch = nano_policy(), observation(64)
    torch.nn.init.normal_(policy.model.action_out.weight, std=0.1)
    policy.compute_in("bfloat16")
    with torch.no_grad():
        prefix = policy.encode(batch)
        sample = policy.sample(prefix, torch.Generator().manual_seed(0))
        same = policy.log_prob(batch, sample.path, sample.index) - sample.logprob
        # As in a tree with a longer prompt: nine more masked tokens.
        longer = tuple(torch.nn.functional.pad(part[:1], (0, 0, 0, 9)) for part in (*prefix.keys, *prefix.values))
        depth, mask = len(prefix.keys), torch.nn.functional.pad(prefix.mask[:1], (0, 9))
        padded = Prefix.cat([prefix, Prefix(keys=longer[:depth], values=longer[depth:], mask=mask, full=False)]).repeat(
            torch.arange(64)
        )
        other_layout = policy.log_prob(padded, sample.path, sample.index) - sample.logprob
        policy.compute_in("float32")
        other = policy.log_prob(batch, sample.path, sample.index) - sample.logprob
    assert same.abs().max() < 1e-3
    assert other_layout.abs().max() > 0.1, other_layout
    assert other.abs().max() > 0.2, other


@pytest.mark.parametrize(
    "change",
    [{"prefix_memory_gib": 0.0}, {"prefix_memory_gib": 1e-3}, {"micro_batch_size": 7}, {"recompute_layers": True}],
)
def test_memory_is_saved_without_another_update(nano_policy, change):
    def update(config: GrpoConfig):
        policy = nano_policy(executed_len=3)
        torch.nn.init.normal_(policy.model.action_out.weight, std=0.1)
        [log], _ = train(policy, config)
        return log, weights(policy)

    config = replace(SHORT, num_groups=6)
    expected, after = update(config)
    log, came = update(replace(config, **change))
    assert log.trained_nodes == expected.trained_nodes > 7
    assert log.grad_norm == pytest.approx(expected.grad_norm, rel=1e-5)
    assert log.kl == pytest.approx(expected.kl, abs=1e-5)
    # AdamW's first step is the rate times a sign: it may differ where a gradient is nearly zero.
    moved = torch.cat([(came[name] - after[name]).abs().flatten() for name in after])
    assert (moved > 1e-6).float().mean() < 0.01


def test_updates_that_diverge_are_refused_before_they_are_saved(nano_policy):
    policy = nano_policy(executed_len=3)
    with pytest.raises(DivergedError, match=r"the gradient became (nan|inf) in iteration 1; .*lower learning rate"):
        train(policy, replace(SHORT, num_groups=6, epochs=4, learning_rate=1e38))


def test_adapters_and_average_resume_bit_for_bit(nano_policy, tmp_path):
    config = replace(
        SHORT, num_iterations=4, trainable="all_lora", ema_decay=0.5, micro_batch_size=16, recompute_layers=True
    )
    straight = nano_policy(executed_len=3)
    logs, _ = train(straight, config)
    parts = nano_policy(executed_len=3)
    first, state = train(parts, config, stop_after=2)
    checkpoint.save(tmp_path / "run", parts, task="OpenDrawer", backend="kitchen", trainer=state)
    loaded = checkpoint.load_policy(tmp_path / "run")
    second, last = train(loaded, config, resume=checkpoint.load_trainer(tmp_path / "run"))
    assert first + second == logs
    for name, tensor in weights(loaded).items():
        assert torch.equal(tensor, weights(straight)[name]), name
    averaged = {name for name in last.tensors if name.startswith("average.")}
    assert averaged
    for name in averaged:  # the policy ends as its average
        assert torch.equal(last.tensors[name], weights(straight)[name.removeprefix("average.")]), name


VARIANTS = [
    *(
        {"branching": b, "schedule": s}
        for b in ("trunk", "tree")
        for s in ("linear", "constant", "phase", "uncertainty")
    ),
    {"branching": "flat"},
    {"reward": "plain"},
    {"reward": "penalty"},
]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: "-".join(variant.values()))
@pytest.mark.parametrize("stochastic", ["one", "all"])
def test_every_variant_trains_and_counts_its_steps(nano_policy, variant, stochastic):
    policy = nano_policy(executed_len=3, stochastic=stochastic)
    torch.nn.init.normal_(policy.model.action_out.weight, std=0.1)
    before, steps = weights(policy), Counted.num_steps
    [log], _ = train(policy, replace(SHORT, num_groups=6, trunk=LinearTrunk(start=1), **variant))
    assert log.env_steps == Counted.num_steps - steps
    assert log.trained_nodes > 0
    # Sums of 36 terms, for "all" four of them, in another batch order.
    assert log.first_ratio == pytest.approx(1, abs=1e-3)
    assert (log.clip_fraction, log.groups.dead + log.groups.mixed + log.groups.all_success) == (0, 6)
    assert any(not torch.equal(tensor, before[name]) for name, tensor in weights(policy).items())


def test_all_random_steps_learn_too(nano_policy):
    config = replace(CONFIG, num_iterations=20, num_groups=8, branching="tree", minibatch_size=64, learning_rate=1e-3)
    logs, _ = train(nano_policy(executed_len=3, stochastic="all"), config)
    success = [log.success for log in logs]
    assert np.mean(success[-5:]) > np.mean(success[:2]) + 0.15, success


def test_the_rest_of_the_network_learns_at_its_own_rate(nano_policy):
    policy = nano_policy(executed_len=3)
    torch.nn.init.normal_(policy.model.action_out.weight, std=0.1)
    before = weights(policy)
    config = replace(SHORT, trainable="all", vlm_rate_share=0.1, learning_rate=1e-4, weight_decay=0.0)
    train(policy, config)
    moved = {name: (tensor - before[name]).abs().max().item() for name, tensor in weights(policy).items()}
    rest = ("vlm.", "embedding.", "scene.")
    # AdamW's first step is the rate times the gradient's sign.
    assert max(v for name, v in moved.items() if not name.startswith(rest)) == pytest.approx(1e-4, rel=0.01)
    assert max(v for name, v in moved.items() if name.startswith(rest)) == pytest.approx(1e-5, rel=0.01)


def test_a_tree_with_two_rates_resumes_bit_for_bit(nano_policy):
    config = replace(
        CONFIG,
        branching="tree",
        schedule="uncertainty",
        trunk=LinearTrunk(start=2),
        trainable="all",
        vlm_rate_share=0.3,
    )
    straight, parts = nano_policy(executed_len=3), nano_policy(executed_len=3)
    logs, last = train(straight, config)
    first, state = train(parts, config, stop_after=2)
    # Rates of the iteration after which it stopped, half of the training less one iteration: 1 - 0.9/4.
    rates = [state.tensors[f"group.{index}.lr"].item() for index in range(2)]
    assert rates == pytest.approx([0.3 * 0.775 * 3e-4, 0.775 * 3e-4])
    second, resumed = train(parts, config, resume=state)
    assert first + second == logs
    assert all(torch.equal(resumed.tensors[name], last.tensors[name]) for name in last.tensors)
    for name, tensor in weights(parts).items():
        assert torch.equal(tensor, weights(straight)[name]), name
    with pytest.raises(checkpoint.CheckpointError, match="has 2 groups, this one 1"):
        train(nano_policy(executed_len=3), replace(config, vlm_rate_share=1.0), resume=state)


def test_envs_of_other_groups_are_refused(nano_policy):
    envs = LaneVectorEnv(Counted, num_envs=8, group_size=4)
    with pytest.raises(
        ValueError, match=r"has 2 groups of 4, config wants 4 of 4; make envs with num_envs=16, group_size=4"
    ):
        train_grpo(nano_policy(executed_len=3), envs, CONFIG, seed=3, on_iteration=lambda log, state: True)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="branching must be one of flat, trunk, tree, got 'bush'"):
        GrpoConfig(branching="bush")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"schedule must be one of linear, .*, got 'cosine'"):
        GrpoConfig(schedule="cosine")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"group_size must be 2, 4, 8, ..., got 6"):
        GrpoConfig(branching="tree", group_size=6)
    with pytest.raises(ValueError, match=r"penalty must be a number from 0 on, got -0.1"):
        GrpoConfig(penalty=-0.1)
    with pytest.raises(ValueError, match=r"vlm_rate_share must be a finite number above 0, got 0.0"):
        GrpoConfig(vlm_rate_share=0.0)
    with pytest.raises(ValueError, match=r"learning_rate must be a finite number above 0, got inf"):
        GrpoConfig(learning_rate=math.inf)
    with pytest.raises(ValueError, match=r"num_iterations must be a whole number of at least 1, got 2.5"):
        GrpoConfig(num_iterations=2.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"start must be a whole number of at least 0, got 2.5"):
        LinearTrunk(start=2.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="no selection 'expert'; choose among action_expert, all"):
        GrpoConfig(trainable="expert")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="micro_batch_size must be a whole number of at least 1"):
        GrpoConfig(micro_batch_size=0)
    with pytest.raises(ValueError, match="prefix_memory_gib must be a number from 0 on"):
        GrpoConfig(prefix_memory_gib=-1.0)
    with pytest.raises(ValueError, match="ema_decay must lie in"):
        GrpoConfig(ema_decay=1.0)
