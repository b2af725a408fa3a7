"""The clipped surrogate of GRPO."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Surrogate:
    """loss: scalar to minimise. ratio: its mean. clip_fraction: share of samples outside of the clip range. kl: mean
    of old - new log-prob, a first-order estimate of how far the policy has moved."""

    loss: Tensor
    ratio: float
    clip_fraction: float
    kl: float


def clipped_surrogate(logprob: Tensor, old_logprob: Tensor, advantage: Tensor, clip: float) -> Surrogate:
    """-mean(min(ρA, clip(ρ, 1 - clip, 1 + clip)·A)) with ρ = exp(logprob - old_logprob). All inputs [B]."""
    log_ratio = logprob - old_logprob
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    loss = -torch.min(ratio * advantage, clipped * advantage).mean()
    with torch.no_grad():
        fraction = ((ratio - 1).abs() > clip).float().mean().item()
        kl = -log_ratio.mean().item()
    return Surrogate(loss, ratio.detach().mean().item(), fraction, kl)
