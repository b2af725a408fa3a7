"""Schedules, and trees whose groups split where their own trunks say."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.z1_agent.reach_env import HORIZON, ReachEnv
from z1_agent.grpo import GrpoConfig
from z1_agent.policy import Pi05Policy, Sample
from z1_agent.presets import load_config
from z1_agent.rollout import _sample_and_spread, grow
from z1_agent.schedules import (
    BranchPlan,
    FirstManipulation,
    LargestSpread,
    LinearTrunk,
    ScoutedPlan,
    Shape,
    binary_tree,
    flat,
    halving_tree,
    shared_trunk,
)
from z1_agent.tree import RolloutTree
from z1_envs.lanes import LaneVectorEnv

CHUNK = 3  # three decisions to the horizon
GROUP_SIZE = 4


class PhasedReach(ReachEnv):
    """No line is in reach; manipulation begins before decision `seed` modulo 4, so for 3 never. Counts its steps."""

    num_steps = 0

    def __init__(self) -> None:
        super().__init__((90.0, 100.0))
        self.turn = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.turn = (seed or 0) % 4 * CHUNK
        return super().reset(seed=seed)

    def step(self, action: Any) -> Any:
        PhasedReach.num_steps += 1
        return super().step(action)

    def get_state(self) -> Any:
        return self.turn, super().get_state()

    def set_state(self, state: Any, /) -> None:
        self.turn, own = state
        super().set_state(own)

    def _info(self) -> dict[str, Any]:
        return super()._info() | {"phase": "manipulation" if self.elapsed >= self.turn else "approach"}


@dataclasses.dataclass(frozen=True)
class Always:
    """The rule that chooses `decision` whatever it sees."""

    decision: int
    num_samples: int = 1

    def stops(self, infos: Mapping[str, NDArray], lanes: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.zeros(len(lanes), dtype=bool)

    def choose(self, spreads: Sequence[float], last: int) -> int:
        return min(self.decision, last)


def grow_phased(nano_policy, plan: BranchPlan | ScoutedPlan, *, groups: int = 1, seed: int = 0) -> RolloutTree:
    """A tree that keeps observations, and whose env steps are those that were taken."""
    envs = LaneVectorEnv(PhasedReach, num_envs=groups * GROUP_SIZE, group_size=GROUP_SIZE)
    before = PhasedReach.num_steps
    policy = nano_policy(executed_len=CHUNK)
    generator = torch.Generator().manual_seed(0)
    tree = grow(envs, policy, plan, seed=seed, generator=generator, prefix_bytes=0)
    assert tree.num_steps == PhasedReach.num_steps - before
    return tree


def by_phase(longest: int, shape: Shape = shared_trunk) -> ScoutedPlan:
    return ScoutedPlan(longest, GROUP_SIZE, FirstManipulation(), shape)


def test_a_tree_halves_its_group():
    # P = 5, k = 3: floor(5/4), floor(5/2), 5.
    assert halving_tree(5, 8).splits == ((1, 2), (2, 2), (5, 2))
    assert halving_tree(3, 2) == shared_trunk(3, 2)
    for size in (1, 6):
        with pytest.raises(ValueError, match=rf"group_size must be 2, 4, 8, ..., got {size}"):
            halving_tree(3, size)


def test_what_a_config_plans():
    config = GrpoConfig(group_size=8, trunk=LinearTrunk(start=4, until=0.5))
    assert [config.plan(progress) for progress in (0.0, 0.25, 0.5)] == [shared_trunk(p, 8) for p in (4, 2, 0)]
    tree = dataclasses.replace(config, branching="tree")
    assert [tree.plan(progress) for progress in (0.0, 0.25)] == [binary_tree(4, 3), binary_tree(2, 3)]
    constant = dataclasses.replace(tree, schedule="constant")
    assert constant.plan(0.0) == constant.plan(1.0) == binary_tree(4, 3)
    assert dataclasses.replace(config, branching="flat", schedule="phase").plan(0.0) == flat(8)
    uncertain = dataclasses.replace(tree, schedule="uncertainty").plan(0.9)
    assert uncertain == ScoutedPlan(4, 8, LargestSpread(8), halving_tree)
    assert isinstance(uncertain, ScoutedPlan)
    assert uncertain.at(3) == binary_tree(3, 3)


def test_a_config_comes_back_from_json():
    config = GrpoConfig(branching="tree", schedule="uncertainty", reward="penalty", penalty=0.02, vlm_rate_share=0.1)
    saved = json.loads(json.dumps({"task": "OpenDrawer", "grpo": dataclasses.asdict(config)}))
    assert load_config(saved).grpo == config


def test_every_group_splits_where_its_manipulation_begins(nano_policy):
    tree = grow_phased(nano_policy, by_phase(3), groups=4)
    # Trunks of 0, 1 and 2 decisions. The last episode ended on its trunk of 3: its last decision is rolled again.
    shared = np.bincount(tree.group[~tree.trainable], minlength=4)
    assert shared.tolist() == [0, 1, 2, 2]
    assert np.bincount(tree.leaf_group).tolist() == [4, 4, 4, 4]
    # 4·9; 3 + 4·6; 6 + 4·3; 6 + 4·3 and the 3 that were dropped.
    assert tree.num_steps == 36 + 27 + 18 + 21
    assert (tree.elapsed == HORIZON).all()


def test_a_trunk_stops_at_its_longest(nano_policy):
    tree = grow_phased(nano_policy, by_phase(1), groups=4)
    assert np.bincount(tree.group[~tree.trainable], minlength=4).tolist() == [0, 1, 1, 1]
    assert tree.num_steps == 36 + 3 * 27
    assert grow_phased(nano_policy, by_phase(0), groups=4).trainable.all()


def test_where_all_groups_choose_the_same_the_tree_is_that_of_the_fixed_plan(nano_policy, monkeypatch):
    encoded: list[int] = []
    encode = Pi05Policy.encode
    monkeypatch.setattr(
        Pi05Policy, "encode", lambda self, seen: encoded.append(len(seen["state"])) or encode(self, seen)
    )
    fixed = grow_phased(nano_policy, shared_trunk(2, GROUP_SIZE), seed=2)
    scouted = grow_phased(nano_policy, by_phase(3), seed=2)
    assert torch.equal(fixed.path, scouted.path)
    for name in ("parent", "depth", "trainable", "leaf", "weight", "elapsed"):
        np.testing.assert_array_equal(getattr(fixed, name), getattr(scouted, name))
    assert fixed.num_steps == scouted.num_steps
    assert encoded == [1, 1, 1] * 2  # each of the trunk's decisions once, and once what all lanes see at the split


@pytest.mark.parametrize("decision", [0, 1, 2])
def test_groups_go_back_exactly_to_their_split(nano_policy, decision):
    tree = grow_phased(nano_policy, ScoutedPlan(3, GROUP_SIZE, Always(decision), shared_trunk), groups=3)
    assert np.bincount(tree.group[~tree.trainable], minlength=3).tolist() == [decision] * 3
    # 3 groups: 9 steps to look ahead, then 4 suffixes.
    assert tree.num_steps == 3 * (HORIZON + GROUP_SIZE * (HORIZON - CHUNK * decision))
    assert_states_follow(tree)


def test_a_tree_goes_back_to_its_first_split(nano_policy):
    tree = grow_phased(nano_policy, ScoutedPlan(2, GROUP_SIZE, Always(1), halving_tree), groups=2)
    # P = 1, k = 2: two clusters from the start, four from decision 1 on. Rolled ahead: two decisions.
    assert np.bincount(tree.depth).tolist() == [4, 8, 8]
    assert tree.trainable.all()
    assert tree.num_steps == 2 * (2 * CHUNK + (2 + 4 + 4) * CHUNK)
    assert_states_follow(tree)


def test_a_tree_by_phase(nano_policy):
    # Manipulation begins before decision 2: splits before 1 and 2; what was rolled between them is rolled again.
    tree = grow_phased(nano_policy, by_phase(3, halving_tree), seed=2)
    assert np.bincount(tree.depth).tolist() == [1, 2, 4]
    np.testing.assert_array_equal(tree.trainable, tree.depth >= 1)
    assert tree.num_steps == 2 * CHUNK + (2 + 4) * CHUNK
    assert_states_follow(tree)


def test_the_largest_spread_is_chosen(nano_policy):
    assert LargestSpread(4).choose([0.1, 0.3, 0.3, 0.2], 3) == 1
    assert LargestSpread(4).choose([], 0) == 0
    plan = ScoutedPlan(3, GROUP_SIZE, LargestSpread(GROUP_SIZE), shared_trunk)
    tree = grow_phased(nano_policy, plan, groups=3)
    assert np.bincount(tree.leaf_group).tolist() == [4, 4, 4]
    assert_states_follow(tree)


def test_spread_by_hand():
    class Two:
        """Two rows of a prefix."""

        def __len__(self) -> int:
            return 2

        def repeat(self, source: torch.Tensor) -> torch.Tensor:
            return source

    class Fixed:
        """Chunks [6, 1, 2] of two rows, three samples each."""

        def sample(self, prefix: torch.Tensor, generator: torch.Generator) -> Sample:
            assert prefix.tolist() == [0, 0, 0, 1, 1, 1]
            chunk = np.array([[[0, 1]], [[3, 1]], [[6, 1]], [[4, 2]], [[4, 2]], [[4, 2]]], dtype=np.float32)
            return Sample(chunk, torch.arange(6), torch.arange(6), torch.arange(6))

    sample, spread = _sample_and_spread(Fixed(), Two(), 3, torch.Generator())  # pyright: ignore[reportArgumentType]
    # 0, 3, 6 has the standard deviation √6; 1, 1, 1 has 0: mean √6 / 2. The second row's samples are equal.
    np.testing.assert_allclose(spread, [np.sqrt(6) / 2, 0], rtol=1e-6)
    assert sample.chunk.tolist() == [[[0, 1]], [[4, 2]]]
    assert sample.path.tolist() == [0, 3]


def test_an_env_without_phases_is_refused(nano_policy):
    envs = LaneVectorEnv(ReachEnv, num_envs=GROUP_SIZE, group_size=GROUP_SIZE)
    with pytest.raises(ValueError, match=r"info has no 'phase' \(it has .*take another schedule"):
        grow(envs, nano_policy(), by_phase(3), seed=0, generator=torch.Generator())


def assert_states_follow(tree: RolloutTree) -> None:
    """Every node was decided where its parent had led: at the right time, and at the place that its actions make."""
    scene = tree.seen.observations(torch.arange(len(tree)))["scene"]
    np.testing.assert_allclose(scene[:, 2] * HORIZON, tree.depth * CHUNK, atol=1e-5)
    children = np.flatnonzero(tree.parent >= 0)
    parents = tree.parent[children]
    pushed = tree.path[parents, -1, :CHUNK, 0].clamp(-1, 1).sum(1).numpy()  # statistics leave [-1, 1] as it is
    np.testing.assert_allclose(scene[children, 0], scene[parents, 0] + pushed, atol=1e-4)
