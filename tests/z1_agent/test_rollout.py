"""Plans, trees and how lanes become them."""

import math
from typing import get_args

import numpy as np
import pytest
import torch

from tests.z1_agent.reach_env import HORIZON, ReachEnv
from z1_agent import rollout
from z1_agent.grpo import Baseline, decision_weights
from z1_agent.loss import clipped_surrogate
from z1_agent.policy import Pi05Policy
from z1_agent.rollout import grow
from z1_agent.schedules import BranchPlan, LinearTrunk, binary_tree, flat, shared_trunk
from z1_agent.tree import RolloutTree, Seen
from z1_envs.lanes import LaneVectorEnv

CHUNK = 3


OUT_OF_REACH = (90.0, 100.0)  # no episode ends before its horizon


def grow_reach(nano_policy, plan: BranchPlan, *, groups: int = 3, seed: int = 0, lines=(0.5, 2.0)) -> RolloutTree:
    envs = LaneVectorEnv(lambda: ReachEnv(lines), num_envs=groups * plan.group_size, group_size=plan.group_size)
    policy = nano_policy(executed_len=CHUNK)
    return grow(envs, policy, plan, seed=seed, generator=torch.Generator().manual_seed(seed))


def test_binary_tree_splits_where_the_paper_says():
    # P = 12, k = 3: floor(12/4), floor(12/2), floor(12/1).
    assert binary_tree(12, 3).splits == ((3, 2), (6, 2), (12, 2))
    # P = 1, k = 2: floor(1/2) = 0 and 1. P = 0: all at the start, which is flat.
    assert binary_tree(1, 2).splits == ((0, 2), (1, 2))
    assert binary_tree(0, 3) == flat(8)


def test_linear_schedule_by_hand():
    schedule = LinearTrunk(start=4, until=0.5)
    decisions = [schedule.plan(progress, 8).splits[0][0] for progress in (0.0, 0.125, 0.25, 0.5, 1.0)]
    assert decisions == [4, 3, 2, 0, 0]


@pytest.mark.parametrize(
    ("splits", "words"), [(((3, 2), (3, 2)), "rising decisions"), (((0, 1),), "at least 2"), (((-1, 2),), "from 0 on")]
)
def test_impossible_plans_are_refused(splits, words):
    with pytest.raises(ValueError, match=words):
        BranchPlan(splits)


def test_plan_of_another_group_size_is_refused(nano_policy):
    envs = LaneVectorEnv(ReachEnv, num_envs=8, group_size=4)
    with pytest.raises(ValueError, match="groups of 8, the envs have groups of 4"):
        grow(envs, nano_policy(), flat(8), seed=0, generator=torch.Generator())


def test_flat_plan_is_one_path_per_lane(nano_policy):
    tree = grow_reach(nano_policy, flat(4))
    assert len(tree.leaf) == 12
    assert (tree.weight == 1).all()
    assert tree.trainable.all()
    assert (tree.parent < 0).sum() == 12
    np.testing.assert_array_equal(tree.depth[tree.leaf] + 1, np.ceil(tree.elapsed / CHUNK))


def test_trunk_is_shared_and_not_trained(nano_policy):
    tree = grow_reach(nano_policy, shared_trunk(2, 4))
    assert (tree.parent < 0).sum() == 3  # one root per group
    np.testing.assert_array_equal(tree.trainable, tree.depth >= 2)
    for group in range(3):
        paths = {tuple(path_to(tree, leaf)[:2]) for leaf in tree.leaf[tree.leaf_group == group]}
        assert len(paths) == 1


def test_every_level_of_a_tree_splits_in_two(nano_policy):
    tree = grow_reach(nano_policy, binary_tree(2, 2), lines=OUT_OF_REACH)  # splits before decisions 1 and 2
    np.testing.assert_array_equal(np.bincount(tree.depth), [3, 6, 12])
    np.testing.assert_array_equal(tree.trainable, tree.depth >= 1)


def test_parents_come_first_and_depth_counts_them(nano_policy):
    tree = grow_reach(nano_policy, binary_tree(2, 2))
    nodes = np.arange(len(tree))
    assert (tree.parent < nodes).all()
    inner = tree.parent >= 0
    np.testing.assert_array_equal(tree.depth[inner], tree.depth[tree.parent[inner]] + 1)
    np.testing.assert_array_equal(tree.group[inner], tree.group[tree.parent[inner]])


def test_shared_steps_are_simulated_once(nano_policy):
    plan = shared_trunk(2, 4)
    tree = grow_reach(nano_policy, plan, lines=OUT_OF_REACH)
    alone = int((tree.elapsed * tree.weight).sum())
    shared = 3 * (plan.group_size - 1) * 2 * CHUNK  # groups · followers · trunk
    assert tree.num_steps == alone - shared


def test_what_lanes_share_is_encoded_once(nano_policy, monkeypatch):
    """At a split all new lanes see what their leader saw: one encode of it, and the same tree."""
    encoded = []
    encode = Pi05Policy.encode
    monkeypatch.setattr(
        Pi05Policy, "encode", lambda self, seen: encoded.append(len(seen["state"])) or encode(self, seen)
    )
    tree = grow_reach(nano_policy, binary_tree(2, 2), lines=OUT_OF_REACH)
    np.testing.assert_array_equal(np.bincount(tree.depth), [3, 6, 12])
    assert encoded == [3, 3, 6]  # splits before decisions 1 and 2
    encoded.clear()
    grow_reach(nano_policy, flat(4), lines=OUT_OF_REACH)
    assert encoded == [3, 12, 12]
    monkeypatch.setattr(rollout, "_encode", lambda policy, seen, source: policy.encode(seen))
    apart = grow_reach(nano_policy, binary_tree(2, 2), lines=OUT_OF_REACH)
    torch.testing.assert_close(apart.path, tree.path, atol=1e-5, rtol=1e-5)
    nodes = torch.arange(len(tree))
    ours, theirs = (grown.seen.prefixes(nodes, nano_policy().encode).keys for grown in (tree, apart))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_a_trunk_that_ends_early_counts_for_all_its_lanes(nano_policy):
    tree = grow_reach(nano_policy, shared_trunk(HORIZON, 4))  # no episode has that many decisions
    assert len(tree.leaf) == 3
    assert (tree.weight == 4).all()
    assert not tree.trainable.any()


def test_node_sums_by_hand():
    #  0 ─ 1 ─┬─ 2 ─ 4*  a = 1, weight 1
    #         └─ 3*      a = -2, weight 2
    tree = hand_made(parent=[-1, 0, 1, 1, 2], leaf=[4, 3], weight=[1, 2])
    np.testing.assert_array_equal(tree.node_sums(np.array([1.0, -2.0])), [-3.0, -3.0, 1.0, -4.0, 1.0])


def four_lanes() -> RolloutTree:
    """Two of two decisions, two of three."""
    return hand_made(parent=[-1, -1, -1, -1, 0, 1, 2, 3, 6, 7], leaf=[4, 5, 8, 9], weight=[1, 1, 1, 1])


def test_late_failures_among_failures_teach_nothing():
    # Of four lanes two succeed in two decisions, two fail in three: in the third there is nobody to be compared with.
    tree = four_lanes()
    advantages = np.array([1.0, 1.0, -1.0, -1.0])
    weights, copies = decision_weights(tree, advantages, "running")
    np.testing.assert_allclose(weights, [1, 1, -1, -1, 1, 1, -1, -1, 0, 0])
    np.testing.assert_array_equal(copies, [1, 1, 1, 1, 1, 1, 1, 1, 0, 0])
    weights, copies = decision_weights(tree, advantages, "group")
    np.testing.assert_allclose(weights, [1, 1, -1, -1, 1, 1, -1, -1, -1, -1])
    assert copies.all()


def test_a_late_success_is_compared_with_the_failure_beside_it():
    # R = 1, 1, 1, 0: mean 3/4, std √3/4. In the third decision the third and fourth lane run, their mean is -1/√3.
    advantages = np.array([1, 1, 1, -3]) / np.sqrt(3)
    weights, _ = decision_weights(four_lanes(), advantages, "running")
    np.testing.assert_allclose(weights * np.sqrt(3), [1, 1, 1, -3, 1, 1, 1, -3, 2, -2])


def test_what_a_cluster_shares_is_compared_lane_by_lane():
    #  0 ─┬─ 1*       a = 1, weight 2
    #     └─ 2 ─ 3*   a = -1, weight 2
    tree = hand_made(parent=[-1, 0, 0, 2], leaf=[1, 3], weight=[2, 2])
    weights, copies = decision_weights(tree, np.array([1.0, -1.0]), "running")
    np.testing.assert_allclose(weights, [0, 2, -2, 0])
    np.testing.assert_array_equal(copies, [0, 2, 2, 0])


def test_what_all_of_a_group_share_is_not_trained():
    tree = hand_made(parent=[-1, 0, 0], leaf=[1, 2], weight=[1, 1])
    tree.trainable[0] = False
    for baseline in get_args(Baseline):
        _, copies = decision_weights(tree, np.array([0.5, 0.0]), baseline)  # as where all have succeeded
        np.testing.assert_array_equal(copies, [0, 1, 0])


def test_all_success_groups_push_nobody_down():
    advantages = np.array([0.2, 0.1, 0.0, 0.1])
    weights, _ = decision_weights(four_lanes(), advantages, "running")
    np.testing.assert_allclose(weights, [0.2, 0.1, 0, 0.1, 0.2, 0.1, 0, 0.1, 0, 0.1])


def test_leaves_count_by_weight_where_clusters_end_early(nano_policy):
    tree = grow_reach(nano_policy, binary_tree(2, 2), groups=8, seed=2, lines=(0.2, 1.0))
    assert len(set(tree.depth[tree.leaf])) > 1  # unequal depths
    assert set(tree.weight) == {1, 2, 4}  # some ended before a split, or before both
    np.testing.assert_array_equal(np.bincount(tree.leaf_group, weights=tree.weight), np.full(8, 4))
    # The root of a group stands for all of its leaves.
    counts = tree.node_sums(np.ones(len(tree.leaf)))
    np.testing.assert_array_equal(counts[tree.parent < 0], np.full(8, 4))


def test_stored_once_is_the_update_of_stored_copies(nano_policy):
    """At the ratio 1 a segment that leaves share, stored once, moves the policy as a copy per leaf does."""
    policy = nano_policy(executed_len=CHUNK)
    torch.nn.init.normal_(policy.model.action_out.weight, std=0.1)
    # Leaves at unequal depths, some of which ended before their split and count for several; with a masked trunk
    # and without one; splits at decisions 1 and 2, and at 0 and 1.
    for plan, seed in ((binary_tree(2, 2), 1), (binary_tree(1, 2), 4)):
        tree = grow_reach(nano_policy, plan, groups=6, seed=seed, lines=(0.2, 1.0))
        assert len(set(tree.weight)) > 1
        advantages = np.random.default_rng(0).normal(size=len(tree.leaf))
        advantages[0] = 0.0  # a leaf that teaches nothing is no copy
        once, copies = update_stored_once(policy, tree, advantages), update_of_copies(policy, tree, advantages)
        assert copies.abs().max() > 0.1
        torch.testing.assert_close(once, copies, rtol=1e-4, atol=1e-4)


def test_a_flat_plan_is_ordinary_grpo(nano_policy):
    policy = nano_policy(executed_len=CHUNK)
    tree = grow_reach(nano_policy, flat(4))
    advantages = np.random.default_rng(0).normal(size=len(tree.leaf))
    assert tree.node_sums(np.ones(len(tree.leaf))).tolist() == [1] * len(tree)
    # One advantage for every chunk of a trajectory.
    leaf_of = {node: leaf for leaf, last in enumerate(tree.leaf) for node in path_to(tree, last)}
    np.testing.assert_array_equal(tree.node_sums(advantages), [advantages[leaf_of[n]] for n in range(len(tree))])
    once, copies = update_stored_once(policy, tree, advantages), update_of_copies(policy, tree, advantages)
    torch.testing.assert_close(once, copies, rtol=1e-4, atol=1e-4)


def test_prefixes_beyond_the_room_are_made_again(nano_policy):
    policy = nano_policy(executed_len=CHUNK)

    def grown(room: float) -> RolloutTree:
        envs = LaneVectorEnv(lambda: ReachEnv(OUT_OF_REACH), num_envs=8, group_size=4)
        generator = torch.Generator().manual_seed(0)
        return grow(envs, policy, shared_trunk(1, 4), seed=0, generator=generator, prefix_bytes=room)

    whole = grown(math.inf)
    assert whole.seen.prefix is not None
    # One decision of 2 trunks and two of 8 lanes: room for the trunks and one more.
    mixed, none = grown(0.6 * whole.seen.prefix.num_bytes), grown(0)
    assert mixed.seen.has_prefix.tolist() == [True] * 10 + [False] * 8
    assert not none.seen.has_prefix.any()
    nodes = torch.tensor([17, 0, 9, 10, 3])
    for tree in (mixed, none):
        came, expected = tree.seen.prefixes(nodes, policy.encode), whole.seen.prefixes(nodes, policy.encode)
        assert torch.equal(came.mask, expected.mask)
        torch.testing.assert_close(came.keys, expected.keys, atol=1e-5, rtol=1e-5)
        assert not came.values[0].requires_grad
    assert len(none.seen.observations(nodes)["state"]) == 5
    with pytest.raises(ValueError, match="grow the tree with prefix_bytes=0"):
        mixed.seen.observations(nodes)


def path_to(tree: RolloutTree, leaf: int) -> list[int]:
    """Nodes from the root to `leaf`."""
    nodes = [int(leaf)]
    while tree.parent[nodes[-1]] >= 0:
        nodes.append(int(tree.parent[nodes[-1]]))
    return nodes[::-1]


def update_stored_once(policy, tree: RolloutTree, advantages: np.ndarray) -> torch.Tensor:
    """The gradient of one minibatch of all that trains, as `train_grpo` makes it."""
    weights, copies = decision_weights(tree, advantages, "group")
    nodes = np.flatnonzero(copies)
    return surrogate_gradient(policy, tree, nodes, weights[nodes], copies[nodes].sum())


def update_of_copies(policy, tree: RolloutTree, advantages: np.ndarray) -> torch.Tensor:
    """The gradient of the mean over all trainable chunks of all leaves, each with its leaf's advantage."""
    nodes, own = [], []
    for leaf, weight, advantage in zip(tree.leaf, tree.weight, advantages, strict=True):
        for _ in range(weight if advantage != 0 else 0):
            chunks = [node for node in path_to(tree, leaf) if tree.trainable[node]]
            nodes += chunks
            own += [advantage] * len(chunks)
    return surrogate_gradient(policy, tree, np.array(nodes), np.array(own), None)


def surrogate_gradient(policy, tree, nodes: np.ndarray, advantages: np.ndarray, num_chunks) -> torch.Tensor:
    rows = torch.from_numpy(nodes)
    logprob = policy.log_prob(tree.seen.prefix.repeat(rows), tree.path[rows], tree.index[rows])
    given = torch.from_numpy(advantages).float()
    return gradient(policy, clipped_surrogate(logprob, logprob.detach(), given, 0.2, num_chunks).loss)


def gradient(policy, objective: torch.Tensor) -> torch.Tensor:
    policy.zero_grad()
    objective.backward()
    return policy.model.action_out.weight.grad.clone()


def hand_made(parent, leaf, weight) -> RolloutTree:
    n, m = len(parent), len(leaf)
    depth = np.zeros(n, dtype=int)
    for node, above in enumerate(parent):
        depth[node] = depth[above] + 1 if above >= 0 else 0
    return RolloutTree(
        parent=np.array(parent),
        group=np.zeros(n, dtype=int),
        depth=depth,
        trainable=np.ones(n, dtype=bool),
        seen=Seen(has_prefix=np.ones(n, dtype=bool), prefix=None, observation=None),  # not looked at
        path=torch.zeros(n),
        index=torch.zeros(n),
        logprob=torch.zeros(n),
        leaf=np.array(leaf),
        weight=np.array(weight),
        success=np.zeros(m, dtype=bool),
        elapsed=np.zeros(m, dtype=int),
        num_steps=0,
    )
