"""Statistics, held to numbers worked by hand."""

import math

import numpy as np
import pytest

from z1_agent.statistics import (
    PairedCounts,
    cost_to_reach,
    holm,
    improvement,
    improvement_of_task,
    mean_over_tasks,
    mean_until,
    median_over_runs,
    pooled_mcnemar,
    smoothed,
    value_at,
)
from z1_envs.evaluate import wilson


def counts(both: int = 0, gained: int = 0, lost: int = 0, neither: int = 0) -> PairedCounts:
    return PairedCounts(both=both, gained=gained, lost=lost, neither=neither)


def test_wilson() -> None:
    # 8 of 10, z = 1.96: centre (0.8 + z²/20) / (1 + z²/10) = 0.99207 / 1.38415 = 0.71674;
    # half width z·√(0.8·0.2/10 + z²/400) / (1 + z²/10) = 1.96 · √0.025604 / 1.38415 = 0.22658.
    assert wilson(8, 10) == pytest.approx((0.49016, 0.94332), abs=2e-5)
    assert wilson(0, 0) == (0.0, 1.0)


def test_holm() -> None:
    # In order 0.01·4 = 0.04, 0.02·3 = 0.06, 0.03·2 = 0.06, 0.5·1 = 0.5; none below the one before it.
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    # 0.04·2 = 0.08 holds 0.05·1 up; nothing exceeds 1.
    assert holm([0.05, 0.04]) == pytest.approx([0.08, 0.08])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_pooled_mcnemar_adds_up_what_changed() -> None:
    # 5 + 3 gained, 0 + 0 lost: all heads in 8 throws or none, 2 / 2^8.
    runs = [counts(both=3, gained=5, neither=2), counts(both=1, gained=3, neither=6)]
    assert pooled_mcnemar(runs) == pytest.approx(2 / 256)
    # 4 against 1: (C(5,4) + C(5,5)) · 2 / 2^5 = 12 / 32.
    assert pooled_mcnemar([counts(gained=4), counts(lost=1)]) == pytest.approx(12 / 32)
    assert pooled_mcnemar([counts(both=7, neither=3)]) == 1.0


def test_counts_give_rates() -> None:
    run = counts(both=3, gained=4, lost=1, neither=2)
    assert (run.trials, run.before, run.after) == (10, 0.4, 0.7)
    for bad in ({"both": -1, "gained": 2}, {}):
        with pytest.raises(ValueError, match="must not be negative, nor all be 0"):
            counts(**bad)


def test_the_bootstrap_of_one_run_is_a_binomial() -> None:
    # 50 of 100 episodes gained, none lost: the gain is Binomial(100, 1/2) / 100, whose 2.5 % and 97.5 % quantiles
    # are 0.40 and 0.60.
    found = improvement([[counts(gained=50, neither=50)]], draw_tasks=False)
    assert found.gain.mean == 0.5
    assert found.gain.interval == pytest.approx((0.40, 0.60), abs=0.011)
    assert found.before.interval == (0.0, 0.0)
    assert found == improvement([[counts(gained=50, neither=50)]], draw_tasks=False)


def test_episodes_are_drawn_in_pairs() -> None:
    # 30 of 100 won by both, 70 by neither: the rates vary, the gain cannot.
    found = improvement([[counts(both=30, neither=70)]], draw_tasks=False)
    assert found.gain.interval == (0.0, 0.0)
    assert found.after.interval[0] < 0.25 < 0.35 < found.after.interval[1]


def test_of_one_task_no_interval_has_width_0() -> None:
    # As above, and Wilson's for 0 gained of 100, at most 3.7 %, less the 0 that were lost; and the reverse.
    most = wilson(0, 100)[1]
    found = improvement_of_task([counts(both=30, neither=70)])
    assert found.gain.interval == pytest.approx((-most, most))
    # The bootstrap's stay where they are the wider ones.
    runs = [counts(gained=100), counts(neither=100)]
    assert improvement_of_task(runs).gain == improvement([runs], draw_tasks=False).gain


def test_seeds_are_drawn_within_tasks_and_tasks_only_where_asked() -> None:
    won, same = counts(gained=100), counts(neither=100)
    # Two seeds, gains 1 and 0: both drawn the same with chance 1/4 each, so the interval is all of [0, 1], and no more.
    assert improvement([[won, same]], draw_tasks=False).gain.interval == (0.0, 1.0)
    # Two tasks without any spread: the mean of these is certain, that of a sample of two such tasks is not.
    assert improvement([[won], [same]], draw_tasks=False).gain.interval == (0.5, 0.5)
    assert improvement([[won], [same]], draw_tasks=True).gain.interval == (0.0, 1.0)
    # Tasks count the same, however many seeds they have: (1 + 0) / 2.
    assert improvement([[won, won, won], [same]], draw_tasks=False).gain.mean == 0.5
    with pytest.raises(ValueError, match="one run of each"):
        improvement([[won], []], draw_tasks=False)


def test_the_interval_covers_as_often_as_it_says() -> None:
    # Single runs of 200 episodes with gain 0.3 - 0.1 = 0.2: 95 % of 400 intervals, ± 3 · √(0.95·0.05/400) = 3.3 %.
    rng = np.random.default_rng(0)
    covered = 0
    for both, gained, lost, neither in rng.multinomial(200, [0.2, 0.3, 0.1, 0.4], size=400).tolist():
        run = counts(both=both, gained=gained, lost=lost, neither=neither)
        low, high = improvement([[run]], draw_tasks=False).gain.interval
        covered += low <= 0.2 <= high
    assert 0.917 <= covered / 400 <= 0.983


def test_intervals_over_three_seeds_cover_how_trainings_differ() -> None:
    # 8 tasks whose seeds differ by 8 points, single tasks' episodes being certain: 95 % of 200 intervals, ± 4.6 %.
    # Without the stretch they would be those of √(2/3) of the spread, 89 %.
    rng = np.random.default_rng(0)
    covered = {"rates": 0, "values": 0}
    for _ in range(200):
        gains = np.clip(np.rint(1000 * rng.normal(0.5, 0.08, (8, 3))), 0, 1000).astype(int).tolist()
        tasks = [[counts(gained=gain, neither=1000 - gain) for gain in of_task] for of_task in gains]
        low, high = improvement(tasks, draw_tasks=False).gain.interval
        covered["rates"] += low <= 0.5 <= high
        low, high = mean_over_tasks([[gain / 1000 for gain in of_task] for of_task in gains]).interval
        covered["values"] += low <= 0.5 <= high
    assert all(0.904 <= share / 200 <= 0.996 for share in covered.values()), covered


def test_a_single_run_varies_as_the_runs_of_other_tasks_do() -> None:
    won, same = counts(gained=100), counts(neither=100)
    # Gains 1 and 0 are ½ from their mean, √2 of that as trainings go; a task of one run with gain 1 gets 1 ± 0.707.
    # With the first task at 0 (one draw in four): (0 + 1 - 0.707) / 2.
    found = improvement([[won, same], [won]], draw_tasks=False)
    assert found.gain.mean == 0.75
    assert found.gain.interval == pytest.approx(((1 - math.sqrt(0.5)) / 2, 1.0))
    # A category of its own knows it from the tasks that it is among.
    assert improvement([[won], [won]], draw_tasks=False).gain.interval == (1.0, 1.0)
    of_table = improvement([[won], [won]], draw_tasks=False, among=[[won], [won], [won, same]])
    assert of_table.gain.interval == pytest.approx((1 - math.sqrt(0.5), 1.0))


def test_intervals_of_a_suite_with_few_seeds_cover_how_trainings_differ() -> None:
    # 8 tasks with three seeds, 16 with one, trainings 13 points apart: 95 % of 100 intervals, ± 6.5 %. Those that take
    # single runs for all there is cover 2 of 3 times.
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        tasks = []
        for num_seeds in [3] * 8 + [1] * 16:
            gains = np.clip(np.rint(256 * rng.normal(0.5, 0.13, num_seeds)), 0, 256).astype(int).tolist()
            tasks.append([counts(gained=gain, neither=256 - gain) for gain in gains])
        low, high = improvement(tasks, draw_tasks=False).gain.interval
        covered += low <= 0.5 <= high
    assert covered >= 88, covered


def test_means_and_medians_over_seeds() -> None:
    # Task means 2 and 5; seeds drawn again: 1, 2 or 3, stretched around 2 by √2; (2 ± √2 + 5) / 2.
    found = mean_over_tasks([[1.0, 3.0], [5.0, 5.0]])
    assert found.mean == 3.5
    assert found.interval == pytest.approx((3.5 - math.sqrt(0.5), 3.5 + math.sqrt(0.5)))
    # The third of five: 0.4 where three were drawn so (chance 1/27), 0.6 at most, although one run never arrived.
    found = median_over_runs([[0.4, 0.5, 0.6], [0.5, math.inf]])
    assert found.mean == 0.5
    assert found.interval == (0.4, 0.6)
    # The second of two is infinite but for the one draw in four that takes 0.5 twice.
    assert median_over_runs([[0.5, math.inf]]).interval == (0.5, math.inf)
    # A single seed says nothing about the next one.
    assert not mean_over_tasks([[1.0, 3.0], [5.0]]).has_interval
    # The upper of the two in the middle.
    assert median_over_runs([[0.2], [0.4]]).mean == 0.4


def test_the_cost_to_reach_a_level() -> None:
    # Means of two: 0.2, 0.3, 0.5, 0.7, 0.8.
    success, cost = [0.2, 0.4, 0.6, 0.8, 0.8], [10.0, 20.0, 30.0, 40.0, 50.0]
    assert smoothed(success, 2).tolist() == pytest.approx([0.2, 0.3, 0.5, 0.7, 0.8])
    assert cost_to_reach(cost, success, 0.5, window=2) == 60.0
    assert cost_to_reach(cost, success, 0.7, window=2) == 100.0
    assert cost_to_reach(cost, success, 0.81, window=2) == math.inf
    # One lucky first iteration is no mean of two.
    assert cost_to_reach([10.0, 10.0, 10.0], [1.0, 0.0, 0.0], 0.9, window=2) == math.inf


def test_values_at_a_budget() -> None:
    success, cost = [0.2, 0.4, 0.6], [10.0, 20.0, 30.0]
    assert value_at(cost, success, 30.0, window=2) == pytest.approx(0.3)  # (0.2 + 0.4) / 2
    assert value_at(cost, success, 59.9, window=1) == 0.4
    # (0.2·10 + 0.4·20 + 0.6·15) / 45 = 19 / 45.
    assert mean_until(cost, success, 45.0) == pytest.approx(19 / 45)
    assert value_at(cost, success, 9.0, window=2) == 0.2  # nothing had ended: the first iteration
    with pytest.raises(ValueError, match=r"60\.0 were spent, less than the budget of 61"):
        mean_until(cost, success, 61.0)
