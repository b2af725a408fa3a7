"""Low-rank adapters: beside a frozen weight W [out, in] learns B·A of rank r; the layer computes W + (alpha / r)·B·A.

A linear layer is replaced by `LoraLinear`, which keeps the name and the place of its weight: selections and tensor
names stay what they are, and W + B·A, as large as W, is neither built nor kept for the backward pass, as it would be
by a parametrisation of the weight. B starts at zero, so the policy starts where it was. `merge` writes the sum into the
weights and leaves plain layers.

Source: "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from z1_agent.pi05 import Pi05
from z1_agent.precision import Linear
from z1_envs.arguments import check_positive, check_whole

TARGETS = ("q", "k", "v", "out", "gate", "up", "down", "modulation")
PARTS = ("expert", "vlm", "vision")


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """rank: of every adapter. alpha: B·A is scaled by alpha / rank. targets: which linear layers get one, of those that
    are the default and "modulation"; the vision tower has no "gate", and only the action expert has "modulation".

    Raises ValueError where a value makes no sense.
    """

    rank: int = 16
    alpha: float = 16.0
    targets: tuple[str, ...] = ("q", "k", "v", "out", "gate", "up", "down")

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(self.targets))  # JSON brings lists
        check_whole("rank", self.rank, least=1)
        check_positive("alpha", self.alpha)
        unknown = [target for target in self.targets if target not in TARGETS]
        if unknown or not self.targets:
            raise ValueError(f"targets is {self.targets}; choose among {', '.join(TARGETS)}")


@dataclass(frozen=True, kw_only=True)
class Adapters:
    """Which adapters a policy has: those of `config` in the layers of `parts`, of PARTS."""

    config: LoraConfig
    parts: tuple[str, ...]


class LoraLinear(Linear):
    """A linear layer with an adapter; its factors are float32, whatever the weight is stored in."""

    def __init__(self, linear: Linear, config: LoraConfig) -> None:
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.scale = config.alpha / config.rank
        first = torch.empty(config.rank, linear.in_features, dtype=torch.float32)
        nn.init.normal_(first, std=linear.in_features**-0.5)
        self.lora_a = nn.Parameter(first.to(linear.weight.device))
        self.lora_b = nn.Parameter(torch.zeros(linear.out_features, config.rank, device=linear.weight.device))

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] → [..., out], same dtype."""
        inner = nn.functional.linear(x, self.lora_a.to(x.dtype))
        return super().forward(x) + self.scale * nn.functional.linear(inner, self.lora_b.to(x.dtype))

    @torch.no_grad()
    def merged(self) -> Linear:
        """A plain layer that computes the same. Its weight is float32: bfloat16 would swallow small changes."""
        linear = Linear(self.in_features, self.out_features, self.bias is not None, device="meta")
        linear.weight = nn.Parameter(self.weight.float() + self.scale * self.lora_b @ self.lora_a)
        linear.bias = self.bias
        return linear


def insert(model: Pi05, adapters: Adapters) -> None:
    """Put fresh adapters into `model`, drawn by torch's global generator as all fresh weights are.

    Layers that nothing reads (`Pi05.unread`) get none.

    Raises ValueError where a part has none of the targets.
    """
    unread = set(model.unread())
    for part in adapters.parts:
        chosen = [
            (name, module)
            for name, module in _layers_of(model, (part,))
            if isinstance(module, Linear)
            and name.rpartition(".")[2] in adapters.config.targets
            and f"{name}.weight" not in unread
        ]
        if not chosen:
            raise ValueError(f"{part} has no layer among targets {adapters.config.targets}; add another of its layers")
        for name, module in chosen:
            _replace(model, name, LoraLinear(module, adapters.config))


def merge(model: Pi05) -> None:
    """Write all adapters of `model` into its weights; only plain layers are left. See `LoraLinear.merged`."""
    for name, module in _layers_of(model, PARTS):
        if isinstance(module, LoraLinear):
            _replace(model, name, module.merged())


def _layers_of(model: Pi05, parts: tuple[str, ...]) -> list[tuple[str, nn.Module]]:
    begins = tuple(f"{part}.layers." for part in parts)
    return [(name, module) for name, module in model.named_modules() if name.startswith(begins)]


def _replace(model: Pi05, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, module)
