"""The clipped surrogate, by hand."""

import math

import pytest
import torch

from z1_agent.loss import clipped_surrogate


def test_surrogate_by_hand():
    # Ratios 1.5, 0.5, 1.5, 0.5 with advantages 1, 1, -1, -1 and clip 0.2:
    # min(1.5, 1.2) = 1.2; min(0.5, 0.8) = 0.5; min(-1.5, -1.2) = -1.5; min(-0.5, -0.8) = -0.8. Mean -0.15.
    logprob = torch.log(torch.tensor([1.5, 0.5, 1.5, 0.5]))
    surrogate = clipped_surrogate(logprob, torch.zeros(4), torch.tensor([1.0, 1.0, -1.0, -1.0]), 0.2)
    assert surrogate.loss.item() == pytest.approx(0.15)
    assert surrogate.ratio == pytest.approx(1.0)
    assert surrogate.clip_fraction == 1.0
    assert surrogate.kl == pytest.approx(-math.log(0.75) / 2)


def test_gradient_stops_where_the_clip_binds():
    logprob = torch.log(torch.tensor([1.5, 0.9])).requires_grad_()
    clipped_surrogate(logprob, torch.zeros(2), torch.ones(2), 0.2).loss.backward()
    assert logprob.grad is not None
    torch.testing.assert_close(logprob.grad, torch.tensor([0.0, -0.45]))  # -ρ·A / 2


def test_at_ratio_one_the_gradient_is_that_of_the_log_likelihood():
    logprob = torch.tensor([0.3, -2.0, 5.0], requires_grad=True)
    advantage = torch.tensor([0.5, -1.0, 2.0])
    surrogate = clipped_surrogate(logprob, logprob.detach(), advantage, 0.2)
    surrogate.loss.backward()
    torch.testing.assert_close(logprob.grad, -advantage / 3)
    assert surrogate.clip_fraction == 0.0


def test_shared_chunks_count_once_per_leaf_by_hand():
    # A chunk that leaves with advantages 1 and -0.5 share, and one chunk of each alone: four chunks of leaves.
    # (0.5 + 1 - 0.5) / 4 stored once, (1 - 0.5 + 1 - 0.5) / 4 as copies.
    once = torch.zeros(3, requires_grad=True)
    stored = clipped_surrogate(once, torch.zeros(3), torch.tensor([0.5, 1.0, -0.5]), 0.2, num_chunks=4)
    assert stored.loss.item() == pytest.approx(-0.25)
    stored.loss.backward()
    copies = torch.zeros(4, requires_grad=True)
    apart = clipped_surrogate(copies, torch.zeros(4), torch.tensor([1.0, -0.5, 1.0, -0.5]), 0.2)
    assert apart.loss.item() == pytest.approx(-0.25)
    apart.loss.backward()
    assert once.grad is not None
    assert copies.grad is not None
    torch.testing.assert_close(once.grad, torch.stack([copies.grad[:2].sum(), *copies.grad[2:]]))
