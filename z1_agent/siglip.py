"""The vision tower: SigLIP (arXiv 2303.15343) as PaliGemma uses it, without a pooling head."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from z1_agent.memory import run_layer
from z1_agent.precision import Conv2d, LayerNorm, Linear

NORM_EPS = 1e-6


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """The SigLIP tower: square images of `image_px` [px], one token per `patch` × `patch` [px]."""

    width: int
    depth: int
    mlp_width: int
    num_heads: int
    patch: int
    image_px: int

    @property
    def num_tokens(self) -> int:
        """Tokens per image."""
        return (self.image_px // self.patch) ** 2


class VisionAttention(nn.Module):
    """Full self-attention over the patches, with biases."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.q = Linear(config.width, config.width)
        self.k = Linear(config.width, config.width)
        self.v = Linear(config.width, config.width)
        self.out = Linear(config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (p(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for p in (self.q, self.k, self.v))
        return self.out(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class VisionLayer(nn.Module):
    """Pre-norm transformer layer with a GELU (tanh) MLP."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(config.width, eps=NORM_EPS)
        self.attention = VisionAttention(config)
        self.mlp_norm = LayerNorm(config.width, eps=NORM_EPS)
        self.up = Linear(config.width, config.mlp_width)
        self.down = Linear(config.mlp_width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x))
        return x + self.down(nn.functional.gelu(self.up(self.mlp_norm(x)), approximate="tanh"))


class VisionTower(nn.Module):
    """Images float32 [B, 3, px, px] in [-1, 1] → patch features [B, num_tokens, width].

    recompute: whether the backward pass computes the layers again instead of keeping what they made (gradient
    checkpointing): the same gradients for less memory and more time.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.image_px = config.image_px
        self.recompute = False
        self.patch = Conv2d(3, config.width, config.patch, stride=config.patch)
        self.position = nn.Parameter(torch.empty(config.num_tokens, config.width))
        self.layers = nn.ModuleList(VisionLayer(config) for _ in range(config.depth))
        self.norm = LayerNorm(config.width, eps=NORM_EPS)

    def forward(self, images: Tensor, dtype: torch.dtype) -> Tensor:
        """The layers compute in `dtype`, patches and positions in float32.

        Raises ValueError where the images have another size.
        """
        if images.shape[1:] != (3, self.image_px, self.image_px):
            raise ValueError(
                f"the vision tower reads images [B, 3, {self.image_px}, {self.image_px}], "
                f"got {list(images.shape)}: render at {self.image_px} px or resize"
            )
        x = (self.patch(images).flatten(2).transpose(1, 2) + self.position).to(dtype)
        for layer in self.layers:
            x = run_layer(self.recompute, layer, x)
        return self.norm(x)
