"""An exponential moving average of the weights that learn."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from z1_agent.trainable import Selection


class MovingAverage:
    """The average of the weights that `selected` says learn, by name, in their own precision (float32).

    weights: where it stands; given to go on from there, by default the weights of now.
    """

    def __init__(self, model: nn.Module, selected: Selection, weights: Mapping[str, Tensor] | None = None) -> None:
        names = [name for group in selected.names.values() for name in group]
        current = dict(model.named_parameters())
        # From a checkpoint they come on the CPU, wherever the network is.
        given = None if weights is None else {name: value.to(current[name].device) for name, value in weights.items()}
        self.weights = weights_of(model, names) if given is None else given

    @torch.no_grad()
    def update(self, model: nn.Module, decay: float) -> None:
        """The average is `decay` of what it was and the rest of what `model` is."""
        current = dict(model.named_parameters())
        for name, value in self.weights.items():
            value.lerp_(current[name], 1 - decay)

    @contextmanager
    def in_place_in(self, model: nn.Module) -> Iterator[None]:
        """`model` with the average for its weights; afterwards it has its own again."""
        own = weights_of(model, self.weights)
        put(model, self.weights)
        try:
            yield
        finally:
            put(model, own)


def weights_of(model: nn.Module, names: Mapping[str, Tensor] | list[str]) -> dict[str, Tensor]:
    """Copies of the weights `names` of `model`."""
    current = dict(model.named_parameters())
    return {name: current[name].detach().clone() for name in names}


@torch.no_grad()
def put(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give `model` the values of `weights`, by name; it keeps its other weights.

    Raises KeyError where it has no such weight.
    """
    current = dict(model.named_parameters())
    for name, value in weights.items():
        current[name].copy_(value)
