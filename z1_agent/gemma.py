"""The pieces of a Gemma transformer: norms, rotary positions, multi-query attention, gated MLP.

B samples, S tokens, W entries of width. Source of structure and constants: "Gemma: Open Models Based on
Gemini Research and Technology", arXiv 2403.08295; adaptive RMSNorm as in π0.5, arXiv 2504.16054.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from z1_agent.precision import Linear

NORM_EPS = 1e-6
ROPE_BASE = 1e4


@dataclass(frozen=True, kw_only=True)
class GemmaConfig:
    """One Gemma transformer: widths in entries, `depth` in layers; `head_width` entries per attention
    head.
    """

    width: int
    depth: int
    mlp_width: int
    num_heads: int
    num_kv_heads: int
    head_width: int


def rope_table(positions: Tensor, head_width: int) -> Tensor:
    """Cosines and signed sines float32 [2, B, 1, S, head_width] of integer `positions` [B, S], for
    `rotate`.
    """
    exponent = torch.arange(0, head_width, 2, device=positions.device, dtype=torch.float32) / head_width
    angle = positions[:, None, :, None] * (1.0 / ROPE_BASE**exponent)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)])


def rotate(x: Tensor, rope: Tensor) -> Tensor:
    """Rotary embedding of x [B, heads, S, head_width]; entry i pairs with entry i + head_width / 2."""
    cos, sin = rope.to(x.dtype)
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin)


class RMSNorm(nn.Module):
    """Gemma's norm: x / rms(x) · (1 + weight), computed in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.rms_norm(x.float(), x.shape[-1:], 1 + self.weight.float(), NORM_EPS).to(x.dtype)


class AdaRMSNorm(nn.Module):
    """RMSNorm whose scale and shift, and the gate of the block behind it, are linear in the time
    condition; all of it in float32.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulation = Linear(width, 3 * width)

    def forward(self, x: Tensor, modulation: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, H, W], modulation [B or 1, 3 W] of the time condition → normed [B, H, W], gate [B or 1, 1, W], both
        as x. The modulation is made apart, so that several times can share one product.
        """
        scale, shift, gate = modulation.unsqueeze(1).chunk(3, dim=-1)
        normed = nn.functional.rms_norm(x.float(), x.shape[-1:], eps=NORM_EPS)
        return torch.addcmul(shift.float(), normed, 1 + scale.float()).to(x.dtype), gate.to(x.dtype)


class Attention(nn.Module):
    """Multi-query attention with rotary positions. Keys and values are made apart, so that a cache can
    hold them.
    """

    def __init__(self, config: GemmaConfig) -> None:
        super().__init__()
        self.head_width = config.head_width
        self.q = Linear(config.width, config.num_heads * config.head_width, bias=False)
        self.k = Linear(config.width, config.num_kv_heads * config.head_width, bias=False)
        self.v = Linear(config.width, config.num_kv_heads * config.head_width, bias=False)
        self.out = Linear(config.num_heads * config.head_width, config.width, bias=False)

    def keys_values(self, x: Tensor, rope: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, S, W] → rotated keys and values [B, kv_heads, S, head_width]."""
        return rotate(self._heads(self.k(x)), rope), self._heads(self.v(x))

    def forward(self, x: Tensor, rope: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
        """x [B, S, W] attends to keys and values [B, kv_heads, T, head_width] where `mask` [B, 1, 1, T] is True;
        without one to all of them, which flash kernels can do.
        """
        queries = rotate(self._heads(self.q(x)), rope)
        B, num_heads, S, D = queries.shape
        # The mask is the same for every query, so the heads that share a key can stand in one row of queries:
        # nothing is expanded, and one matrix product per sample replaces one per head.
        folded = queries.reshape(B, keys.shape[1], -1, D)
        attended = nn.functional.scaled_dot_product_attention(folded, keys, values, attn_mask=mask)
        return self.out(attended.view(B, num_heads, S, D).transpose(1, 2).reshape(B, S, num_heads * D))

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], -1, self.head_width).transpose(1, 2)


class GatedMLP(nn.Module):
    """GeGLU with the tanh approximation."""

    def __init__(self, config: GemmaConfig) -> None:
        super().__init__()
        self.gate = Linear(config.width, config.mlp_width, bias=False)
        self.up = Linear(config.width, config.mlp_width, bias=False)
        self.down = Linear(config.mlp_width, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(nn.functional.gelu(self.gate(x), approximate="tanh") * self.up(x))
