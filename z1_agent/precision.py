"""In which precision the network computes, whatever precision its weights are stored in.

A layer computes in the precision of what it is given and takes its weights along: float32 weights that train (masters)
serve a bfloat16 computation, and frozen weights may be stored in bfloat16. AdamW at 5e-6 on bfloat16 weights would
change only those below 2^-9; on float32 masters it changes all.

Small parts stay in float32, as in the published π0.5: norms, the time condition and its modulations, the projections
of actions, patches and positions. What the likelihood is made of is rounded as little as possible. On a GPU patches go
through cuDNN, which rounds more unless told otherwise: see `device.place`.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

ComputeDtype = Literal["float32", "bfloat16"]
_DTYPES: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def as_dtype(name: str) -> torch.dtype:
    """The torch type of a `ComputeDtype`. Raises ValueError on another name, with the known ones."""
    if name not in _DTYPES:
        raise ValueError(f"compute_dtype is {name!r}; choose among {', '.join(get_args(ComputeDtype))}")
    return _DTYPES[name]


class Linear(nn.Linear):
    """Computes in the precision of its input, whatever its weights are stored in."""

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] → [..., out], same dtype."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return nn.functional.linear(x, self.weight.to(x.dtype), bias)


class Conv2d(nn.Conv2d):
    """Computes in the precision of its input, whatever its weights are stored in."""

    def forward(self, x: Tensor) -> Tensor:
        """x [B, channels, height, width] → [B, out, height', width'], same dtype."""
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return self._conv_forward(x, self.weight.to(x.dtype), bias)


class LayerNorm(nn.LayerNorm):
    """Computes in float32 and answers in the precision of its input."""

    def forward(self, x: Tensor) -> Tensor:
        """x [..., width] → [..., width], same dtype."""
        weight, bias = self.weight.float(), self.bias.float()
        return nn.functional.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps).to(x.dtype)
