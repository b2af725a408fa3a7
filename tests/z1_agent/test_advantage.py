"""Advantages, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from z1_agent.advantage import DecayedReward, GroupFilter, PenalisedReward, PlainReward, Reward, group_advantages

KEEP = GroupFilter()


def advantages_of(rewards, success, group=None, weight=None):
    n = len(rewards)
    group = np.zeros(n, dtype=int) if group is None else np.array(group)
    weight = np.ones(n, dtype=int) if weight is None else np.array(weight)
    return group_advantages(np.array(rewards, dtype=float), np.array(success), group, weight, KEEP)


def test_decay_counts_chunks_and_spares_failures():
    # 25 steps in chunks of 10 end in the third chunk: 0.9³; exactly 20 steps in the second: 0.9².
    rewards = DecayedReward(0.9)(np.array([True, True, False]), np.array([25, 20, 5]), 10)
    np.testing.assert_allclose(rewards, [0.729, 0.81, 0.0])


def test_plain_and_penalised_rewards_by_hand():
    # As above, three and two chunks: 1 - 0.01·3 and 1 - 0.01·2.
    outcome = np.array([True, True, False]), np.array([25, 20, 5]), 10
    np.testing.assert_array_equal(PlainReward()(*outcome), [1, 1, 0])
    np.testing.assert_allclose(PenalisedReward(0.01)(*outcome), [0.97, 0.98, 0])


@pytest.mark.parametrize(
    ("reward", "expected"),
    [
        # R = 0.9², 0.9³, 0.9⁴: less the smallest.
        (DecayedReward(0.9), [0.1539, 0.0729, 0.0]),
        (PlainReward(), [0.0, 0.0, 0.0]),
        # R = 0.8, 0.7, 0.6: mean 0.7, population std √(0.02 / 3) = 0.08165. The slowest is pushed down.
        (PenalisedReward(0.1), [1.22474, 0.0, -1.22474]),
        # R = 0.998, 0.997, 0.996: the mean is above the filter's 0.99.
        (PenalisedReward(0.001), [0.0, 0.0, 0.0]),
    ],
)
def test_what_rewards_make_of_an_all_success_group(reward: Reward, expected: list[float]):
    success = np.ones(3, dtype=bool)
    rewards = reward(success, np.array([20, 30, 40]), 10)
    zeros, ones = np.zeros(3, dtype=int), np.ones(3, dtype=int)
    advantages, counts = group_advantages(rewards, success, zeros, ones, KEEP, reward.in_all_success)
    np.testing.assert_allclose(advantages, expected, rtol=1e-4, atol=1e-9)
    assert (counts.all_success, counts.trained) == (1, int(any(expected)))


def test_equal_penalised_successes_train_nothing():
    # The mean of equal numbers may be off by a rounding, which the small std would blow up.
    rewards, success = np.full(7, 1 - 0.01 * 7), np.ones(7, dtype=bool)
    rule = PenalisedReward(0.01).in_all_success
    advantages, counts = group_advantages(rewards, success, np.zeros(7, dtype=int), np.ones(7, dtype=int), KEEP, rule)
    assert not advantages.any()
    assert counts.trained == 0


def test_mixed_group_by_hand():
    # R = 1, 1, 1, 0: mean 3/4, population std √(3/16) = 0.433013, so 0.25/0.433013 and -0.75/0.433013.
    advantages, counts = advantages_of([1, 1, 1, 0], [True, True, True, False])
    np.testing.assert_allclose(advantages, [0.57735, 0.57735, 0.57735, -1.73205], rtol=1e-4)
    assert (counts.dead, counts.mixed, counts.all_success, counts.trained) == (0, 1, 0, 1)


def test_all_success_group_pushes_nobody_down():
    advantages, counts = advantages_of([0.98, 0.95, 0.97], [True] * 3)
    np.testing.assert_allclose(advantages, [0.03, 0.0, 0.02], atol=1e-12)
    assert (counts.all_success, counts.trained) == (1, 1)


def test_equally_fast_successes_and_failures_train_nothing():
    advantages, counts = advantages_of([0.9, 0.9, 0, 0], [True, True, False, False], group=[0, 0, 1, 1])
    assert not advantages.any()
    assert (counts.dead, counts.mixed, counts.all_success, counts.trained) == (1, 0, 1, 0)


def test_filter_drops_nearly_hopeless_groups():
    # 1 of 16: mean 0.0625 < 0.1. 2 of 16: 0.125 stays.
    for wins, trains in ((1, False), (2, True)):
        success = np.arange(16) < wins
        advantages, counts = advantages_of(success.astype(float), success)
        assert advantages.any() == trains
        assert (counts.mixed, counts.trained) == (1, int(trains))


def test_a_weight_is_that_many_leaves():
    # One leaf of weight 3 with reward 1 and one of weight 1 with reward 0 are the group 1, 1, 1, 0.
    advantages, _ = advantages_of([1, 0], [True, False], weight=[3, 1])
    np.testing.assert_allclose(advantages, [0.57735, -1.73205], rtol=1e-4)


@given(st.lists(st.booleans(), min_size=4, max_size=16))
def test_mixed_advantages_have_mean_zero_and_the_sign_of_success(outcomes):
    success = np.array(outcomes)
    advantages, counts = advantages_of(success.astype(float), success)
    assert abs(advantages.mean()) < 1e-6
    if counts.mixed and counts.trained:
        assert (np.sign(advantages) == np.where(success, 1, -1)).all()


def test_groups_do_not_mix():
    together, _ = advantages_of([1, 0, 0, 1, 1, 0], np.array([1, 0, 0, 1, 1, 0]) == 1, group=[0, 0, 0, 1, 1, 1])
    alone, _ = advantages_of([1, 0, 0], np.array([True, False, False]))
    np.testing.assert_array_equal(together[:3], alone)
    assert together[3] == pytest.approx(1 / np.sqrt(2), rel=1e-4)  # 1/3 over √(2/9)
