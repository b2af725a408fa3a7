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


def clipped_surrogate(
    logprob: Tensor, old_logprob: Tensor, advantage: Tensor, clip: float, num_chunks: float | None = None
) -> Surrogate:
    """-Σ min(ρA, clip(ρ, 1 - clip, 1 + clip)·A) / num_chunks with ρ = exp(logprob - old_logprob). All inputs [B].

    num_chunks: by default B. A node that stands for the chunks of several leaves brings the sum of their advantages and
    counts as that many: at ρ = 1 the gradient is that of the copies.
    """
    log_ratio = logprob - old_logprob
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    loss = -torch.min(ratio * advantage, clipped * advantage).sum() / (num_chunks or len(advantage))
    with torch.no_grad():
        fraction = ((ratio - 1).abs() > clip).float().mean().item()
        kl = -log_ratio.mean().item()
    return Surrogate(loss, ratio.detach().mean().item(), fraction, kl)
