"""What training keeps in memory for the backward pass: one micro-batch at a time, of every layer all or its inputs."""

import itertools
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from z1_envs.arguments import check_whole


def micro_batches(count: int, size: int | None) -> list[slice]:
    """`count` rows in as few parts as have at most `size` rows each, none much smaller than the others; None: one part.

    The gradients of the parts' losses, each times its share of the rows, add up to that of the whole.
    """
    parts = 1 if size is None else max(1, -(-count // size))
    ends = [count * part // parts for part in range(parts + 1)]
    return [slice(begin, end) for begin, end in itertools.pairwise(ends)]


def check_micro_batch_size(size: int | None) -> None:
    """Raises ValueError where `size` is no whole number of at least 1; None stands for no limit."""
    if size is not None:
        check_whole("micro_batch_size", size, least=1)


def run_layer(recompute: bool, layer: nn.Module, *inputs: Any) -> Any:
    """`layer(*inputs)`; with `recompute` only its inputs are kept, and the backward pass computes it again.

    The same bits either way: no layer draws random numbers.
    """
    if recompute and torch.is_grad_enabled():
        return checkpoint(layer, *inputs, use_reentrant=False, preserve_rng_state=False)
    return layer(*inputs)
