"""What the action expert reads of an observation: keys and values of the vision-language model, per layer.

A prefix is computed once and serves every denoising step, every follower that shares the observation, and every epoch
while what makes it is frozen.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """B observations of at most P tokens.

    keys, values: one tensor per layer [B, kv_heads, P, head_width], keys after the rotary embedding.
    mask: bool [B, P], False where a token is padding.
    full: whether no token is masked, as far as known without looking at `mask` (which may be on another device):
    attention then needs no mask, and faster kernels do it.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    mask: Tensor
    full: bool

    def __len__(self) -> int:
        return len(self.mask)

    @property
    def num_bytes(self) -> int:
        """The memory that its tensors take."""
        return sum(tensor.nbytes for tensor in (*self.keys, *self.values, self.mask))

    def repeat(self, source: Tensor) -> "Prefix":
        """Row i of the result is row `source[i]` (int64 [B']) of this prefix."""
        return self._map(lambda tensor: tensor[source])

    def _map(self, function: Callable[[Tensor], Tensor]) -> "Prefix":
        keys, values = tuple(map(function, self.keys)), tuple(map(function, self.values))
        return replace(self, keys=keys, values=values, mask=function(self.mask))

    @staticmethod
    def cat(prefixes: "list[Prefix]") -> "Prefix":
        """The rows of all `prefixes` in order, padded to the longest with masked tokens.

        Raises ValueError on an empty list.
        """
        if not prefixes:
            raise ValueError("Prefix.cat got an empty list; it needs at least one prefix")
        lengths = [prefix.mask.shape[1] for prefix in prefixes]
        longest = max(lengths)

        def join(layers: list[Tensor]) -> Tensor:
            return torch.cat([nn.functional.pad(layer, (0, 0, 0, longest - layer.shape[2])) for layer in layers])

        return Prefix(
            keys=tuple(join(list(layers)) for layers in zip(*(p.keys for p in prefixes), strict=True)),
            values=tuple(join(list(layers)) for layers in zip(*(p.values for p in prefixes), strict=True)),
            mask=torch.cat([nn.functional.pad(p.mask, (0, longest - p.mask.shape[1])) for p in prefixes]),
            full=min(lengths) == longest and all(prefix.full for prefix in prefixes),
        )


def pack(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, bool]:
    """Tokens x [B, P, W] and mask bool [B, P] with P cut to the longest row's count of unmasked tokens: they stand in
    front then, in order. As they came where there is nothing to cut. Also whether no token is masked any more.

    Masked tokens take no position and nobody attends to them, so the others do not notice.
    """
    counts = mask.sum(1)
    least, longest = (int(count) for count in torch.stack([counts.min(), counts.max()]).tolist())
    if longest < mask.shape[1]:
        order = torch.argsort(mask.logical_not().to(torch.uint8), dim=1, stable=True)[:, :longest]
        x = x.gather(1, order[:, :, None].expand(-1, -1, x.shape[2]))
        mask = mask.gather(1, order)
    return x, mask, least == longest
