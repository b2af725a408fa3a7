"""The π0.5 network: a vision-language model encoded once, an action expert that reads its keys and values.

Data flow, with B samples, P prefix tokens, H actions per chunk and A action entries::

    images | scene | language ──► vlm ──► Prefix: keys and values per layer [B, kv_heads, P, head_width]
                                               │
    x [B, H, A], t [B] ──► action expert ──────┴──► velocity [B, H, A]

The prefix is one bidirectional block that never sees the actions, so one encoding serves every denoising
step, every follower that shares the observation, and every epoch while the vlm is frozen. t = 1 is
noise, t = 0 is the action.

Structure and constants follow the public descriptions of PaliGemma (SigLIP, Gemma) and of π0.5: "π0.5: a
Vision-Language-Action Model with Open-World Generalization", arXiv 2504.16054. Differences from the
published model exist only through the configuration: sizes, and privileged scene state as additional
prefix tokens.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from z1_agent.gemma import AdaRMSNorm, Attention, GatedMLP, GemmaConfig, RMSNorm, rope_table
from z1_agent.memory import run_layer
from z1_agent.precision import Linear
from z1_agent.prefix import Prefix, pack
from z1_agent.siglip import VisionConfig, VisionTower

# Periods of the time embedding, in units of t. The shortest makes the phase 2πt/0.004: a difference of
# 1e-7 in t, which is one float32 rounding of a time grid, is visible in the fourth decimal of a ten-step
# action.
TIME_MIN_PERIOD, TIME_MAX_PERIOD = 4e-3, 4.0
NANO_PATCH = 16  # [px]
SCENE_OCTAVES = 5


@dataclass(frozen=True, kw_only=True)
class Pi05Config:
    """The whole network. `vision=None` builds no tower, `scene_width=0` no scene projection.

    Raises ValueError where vlm and expert cannot attend jointly.
    """

    vlm: GemmaConfig
    expert: GemmaConfig
    vision: VisionConfig | None
    vocab_size: int
    action_width: int
    chunk_len: int
    scene_width: int
    num_scene_tokens: int

    def __post_init__(self) -> None:
        for name in ("depth", "num_heads", "num_kv_heads", "head_width"):
            vlm, expert = getattr(self.vlm, name), getattr(self.expert, name)
            if vlm != expert:
                raise ValueError(
                    f"vlm.{name} is {vlm}, expert.{name} is {expert}: the expert attends to the "
                    f"vlm's keys and values layer by layer, so make them equal"
                )


def pi05() -> Pi05Config:
    """The published model: 3,353,433,872 parameters, images of 224 px, chunks of 50 actions of 32 entries."""
    heads = {"num_heads": 8, "num_kv_heads": 1, "head_width": 256}
    return Pi05Config(
        vlm=GemmaConfig(width=2048, depth=18, mlp_width=16384, **heads),
        expert=GemmaConfig(width=1024, depth=18, mlp_width=4096, **heads),
        vision=VisionConfig(width=1152, depth=27, mlp_width=4304, num_heads=16, patch=14, image_px=224),
        vocab_size=257152,
        action_width=32,
        chunk_len=50,
        scene_width=0,
        num_scene_tokens=0,
    )


def pi05_nano(
    *,
    action_width: int = 12,
    chunk_len: int = 10,
    scene_width: int,
    vision: bool,
    image_px: int = 64,
    vocab_size: int = 768,
) -> Pi05Config:
    """The same network with about 2 M parameters, for one CPU core.

    `scene_width` > 0 adds four prefix tokens of privileged scene state; `vision` adds a small tower for
    square images of `image_px`, a multiple of 16 (16 tokens each at 64). `vocab_size` leaves room above
    NanoTokenizer's.
    """
    heads = {"num_heads": 4, "num_kv_heads": 1, "head_width": 32}
    tower = VisionConfig(width=96, depth=3, mlp_width=192, num_heads=4, patch=NANO_PATCH, image_px=image_px)
    return Pi05Config(
        vlm=GemmaConfig(width=64, depth=4, mlp_width=128, **heads),
        expert=GemmaConfig(width=128, depth=4, mlp_width=512, **heads),
        vision=tower if vision else None,
        vocab_size=vocab_size,
        action_width=action_width,
        chunk_len=chunk_len,
        scene_width=scene_width,
        num_scene_tokens=4 if scene_width else 0,
    )


Modulations = tuple[Tensor, ...]
"""Scale, shift and gate that the action expert's norms make of n times: float32 [n, 3 W] per norm."""


class Runner(Protocol):
    """Who runs the heavy parts of `Pi05.encode`: the network itself, or something that recorded them."""

    def see(self, images: Tensor) -> Tensor: ...
    def trunk(self, x: Tensor, mask: Tensor, full: bool) -> Prefix: ...


class VlmLayer(nn.Module):
    """One layer of the vision-language model. Where `is_last`, only its keys and values are computed."""

    def __init__(self, config: GemmaConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width)
        self.attention = Attention(config)
        self.mlp_norm = RMSNorm(config.width)
        self.mlp = GatedMLP(config)

    def forward(self, x: Tensor, rope: Tensor, mask: Tensor | None, is_last: bool) -> tuple[Tensor, Tensor, Tensor]:
        """x [B, P, W], mask bool [B, 1, 1, P] or None → x of the next layer, and this one's keys and values."""
        normed = self.attention_norm(x)
        keys, values = self.attention.keys_values(normed, rope)
        if not is_last:
            x = x + self.attention(normed, rope, keys, values, mask)
            x = x + self.mlp(self.mlp_norm(x))
        return x, keys, values


class Vlm(nn.Module):
    """The vision-language model. Only its keys and values leave it.

    The published weights hold the last layer's queries, output and MLP and a final norm, which nothing
    here reads. They are kept (see `Pi05.unread`) so that a checkpoint loads and saves whole, but never
    computed.
    """

    def __init__(self, config: GemmaConfig) -> None:
        super().__init__()
        self.recompute = False
        self.layers = nn.ModuleList(VlmLayer(config) for _ in range(config.depth))
        self.norm = RMSNorm(config.width)

    def forward(self, x: Tensor, rope: Tensor, mask: Tensor | None) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """x [B, P, W], mask bool [B, 1, 1, P], None where nothing is masked → keys and values per layer."""
        cache = []
        for index, layer in enumerate(self.layers):
            x, *made = run_layer(self.recompute, layer, x, rope, mask, index + 1 == len(self.layers))
            cache.append(made)
        keys, values = zip(*cache, strict=True)
        return keys, values


class ExpertLayer(nn.Module):
    """One layer of the action expert: attends to the prefix of the same depth and to its own tokens."""

    def __init__(self, config: GemmaConfig) -> None:
        super().__init__()
        self.attention_norm = AdaRMSNorm(config.width)
        self.attention = Attention(config)
        self.mlp_norm = AdaRMSNorm(config.width)
        self.mlp = GatedMLP(config)

    def forward(
        self, x: Tensor, modulations: Modulations, rope: Tensor, prefix: tuple[Tensor, Tensor], mask: Tensor | None
    ) -> Tensor:
        """x [B, H, W], modulations of the two norms, prefix: keys and values [B, kv_heads, P, head_width] of this
        depth, mask [B, 1, 1, P + H] or None → [B, H, W].
        """
        normed, gate = self.attention_norm(x, modulations[0])
        keys, values = self.attention.keys_values(normed, rope)
        keys, values = torch.cat([prefix[0], keys], dim=2), torch.cat([prefix[1], values], dim=2)
        x = torch.addcmul(x, gate, self.attention(normed, rope, keys, values, mask))
        normed, gate = self.mlp_norm(x, modulations[1])
        return torch.addcmul(x, gate, self.mlp(normed))


class Expert(nn.Module):
    """The action expert's layers and final norm (which uses scale and shift only)."""

    def __init__(self, config: GemmaConfig) -> None:
        super().__init__()
        self.recompute = False
        self.layers = nn.ModuleList(ExpertLayer(config) for _ in range(config.depth))
        self.norm = AdaRMSNorm(config.width)

    def modulations(self, condition: Tensor) -> Modulations:
        """condition float32 [n, W] → what each norm makes of it, in the order of use: two per layer, the final one."""
        norms = [module for module in self.modules() if isinstance(module, AdaRMSNorm)]
        return tuple(norm.modulation(condition) for norm in norms)

    def forward(self, x: Tensor, modulations: Modulations, rope: Tensor, prefix: Prefix) -> Tensor:
        """x [B, H, W], modulations [B or 1, 3 W] → [B, H, W]."""
        mask = None if prefix.full else nn.functional.pad(prefix.mask, (0, x.shape[1]), value=True)[:, None, None]
        for index, layer in enumerate(self.layers):
            own = modulations[2 * index : 2 * index + 2]
            x = run_layer(self.recompute, layer, x, own, rope, (prefix.keys[index], prefix.values[index]), mask)
        return self.norm(x, modulations[-1])[0]


def time_embedding(t: Tensor, width: int) -> Tensor:
    """Sines and cosines [B, width] of t [B] at log-spaced periods; float64 inside, because the phase
    is 2πt/0.004.
    """
    exponent = torch.linspace(0, 1, width // 2, dtype=torch.float64, device=t.device)
    period = TIME_MIN_PERIOD * (TIME_MAX_PERIOD / TIME_MIN_PERIOD) ** exponent
    phase = t.double()[:, None] * (2 * math.pi / period)
    return torch.cat([phase.sin(), phase.cos()], dim=-1).float()


def octaves(scene: Tensor) -> Tensor:
    """Scene state [B, S] of unit variance → [B, 11 S]: each entry, with sines and cosines at five octaves.

    A linear layer alone hardly tells a grasp from a near miss: a centimetre is a tenth of the usual spread.
    """
    phases = torch.cat([scene * 2**octave for octave in range(SCENE_OCTAVES)], dim=-1)
    return torch.cat([scene, phases.sin(), phases.cos()], dim=-1)


class Pi05(nn.Module):
    """The network. See the module's docstring for the data flow.

    Fresh weights are made for training from scratch; see `initialise`. compute_dtype: of all large products and of
    keys and values, whatever the weights are stored in; see precision.
    """

    def __init__(self, config: Pi05Config) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype = torch.float32
        vlm, expert = config.vlm, config.expert
        if config.vision is not None:
            self.vision = VisionTower(config.vision)
            self.projector = Linear(config.vision.width, vlm.width)
        if config.scene_width > 0:
            features = config.scene_width * (1 + 2 * SCENE_OCTAVES)
            self.scene = Linear(features, config.num_scene_tokens * vlm.width)
        self.embedding = nn.Embedding(config.vocab_size, vlm.width)
        self.vlm = Vlm(vlm)
        self.expert = Expert(expert)
        self.action_in = Linear(config.action_width, expert.width)
        self.action_out = Linear(expert.width, config.action_width)
        self.time_in = Linear(expert.width, expert.width)
        self.time_out = Linear(expert.width, expert.width)
        initialise(self)

    def encode(
        self,
        tokens: Tensor,
        token_mask: Tensor,
        images: dict[str, Tensor] | None,
        image_mask: dict[str, Tensor] | None,
        scene: Tensor | None,
        runner: Runner | None = None,
    ) -> Prefix:
        """The prefix of B observations, without their masked tokens (see `pack`).

        tokens: int64 [B, T]; token_mask: bool [B, T], at least one True per row.
        images: [B, 3, px, px] in [-1, 1] by camera, in prefix order; image_mask: bool [B] by camera, False
        where the camera is missing, None where none is: observations leave a camera out for all rows, the
        published code's batches, which the reference data are, row by row. scene: [B, scene_width], given exactly
        where the config has one. runner: who runs the heavy parts, by default this module.

        Raises ValueError where the parts given are not those that the config has.
        """
        self._check(images, scene)
        runner = self if runner is None else runner
        parts, masks = [], []
        if images:
            seen, present = _present(images, image_mask)
            features = runner.see(seen)
            if present is not None:
                features = features.new_zeros(len(present), *features.shape[1:]).index_put((present,), features)
            parts += features.chunk(len(images))
            there = [token_mask.new_ones(len(tokens)) if image_mask is None else image_mask[c] for c in images]
            masks += [row[:, None].expand(part.shape[:2]) for row, part in zip(there, parts, strict=True)]
        if scene is not None:
            embedded = self.scene(octaves(scene)).view(len(scene), -1, self.config.vlm.width)
            parts.append(embedded.to(self.compute_dtype))
            masks.append(token_mask.new_ones(parts[-1].shape[:2]))
        embedded = self.embedding(tokens).float() * math.sqrt(self.config.vlm.width)
        parts.append(embedded.to(self.compute_dtype))
        masks.append(token_mask)
        return runner.trunk(*pack(torch.cat(parts, dim=1), torch.cat(masks, dim=1)))

    def see(self, images: Tensor) -> Tensor:
        """Images [N, 3, px, px] in [-1, 1] → tokens of the prefix [N, num_tokens, W]."""
        return self.projector(self.vision(images, self.compute_dtype))

    def trunk(self, x: Tensor, mask: Tensor, full: bool) -> Prefix:
        """The prefix of tokens x [B, P, W] with mask bool [B, P]; full: whether nothing is masked."""
        rope = rope_table(mask.cumsum(1) - 1, self.config.vlm.head_width)
        keys, values = self.vlm(x, rope, None if full else mask[:, None, None])
        return Prefix(keys=keys, values=values, mask=mask, full=full)

    def velocity(self, prefix: Prefix, x: Tensor, t: Tensor) -> Tensor:
        """dx/dt float32 [B, H, A] at x [B, H, A] and t [B], or [1] where all rows share it: the modulations are then
        made once.
        """
        return self.field(prefix)(x, self.modulations(t))

    def modulations(self, t: Tensor) -> Modulations:
        """What the action expert's norms make of times t [n]."""
        condition = nn.functional.silu(self.time_in(time_embedding(t, self.config.expert.width)))
        return self.expert.modulations(nn.functional.silu(self.time_out(condition)))

    def field(self, prefix: Prefix) -> Callable[[Tensor, Modulations], Tensor]:
        """`velocity` on `prefix` as a function of x and the modulations of t; what depends on neither is made here."""
        steps = torch.arange(self.config.chunk_len, device=prefix.mask.device)
        rope = rope_table(prefix.mask.sum(1, keepdim=True) + steps, self.config.expert.head_width)

        def velocity(x: Tensor, modulations: Modulations) -> Tensor:
            made = self.expert(self.action_in(x).to(self.compute_dtype), modulations, rope, prefix)
            return self.action_out(made.float())

        return velocity

    def recompute_layers(self, recompute: bool) -> None:
        """Whether training computes every layer again in the backward pass instead of keeping what it made (gradient
        checkpointing): the same gradients, less memory, about a third more time.
        """
        self.vlm.recompute = self.expert.recompute = recompute
        if self.config.vision is not None:
            self.vision.recompute = recompute

    def unread(self) -> list[str]:
        """Names of the parameters that no computation reads (see `Vlm`): they never get a gradient."""
        last = f"vlm.layers.{self.config.vlm.depth - 1}."
        read = tuple(last + part for part in ("attention_norm.", "attention.k.", "attention.v."))
        tail = [name for name, _ in self.named_parameters() if name.startswith(last)]
        return ["vlm.norm.weight", *(name for name in tail if not name.startswith(read))]

    def _check(self, images: dict[str, Tensor] | None, scene: Tensor | None) -> None:
        if images and self.config.vision is None:
            raise ValueError(f"got images {', '.join(images)}, but the config has vision=None; drop them or set vision")
        width = None if scene is None else scene.shape[-1]
        if width != (self.config.scene_width or None):
            raise ValueError(
                f"got scene state of width {width}, the config has scene_width={self.config.scene_width}; "
                f'make the env with obs="state" for a policy with scene tokens, and without them otherwise'
            )


def _present(images: dict[str, Tensor], image_mask: dict[str, Tensor] | None) -> tuple[Tensor, Tensor | None]:
    """The images that are there, camera by camera, and which of all they are (bool); None for all."""
    seen = torch.cat(list(images.values()))
    if image_mask is None:
        return seen, None
    present = torch.cat([image_mask[camera] for camera in images])
    return seen[present], present


@torch.no_grad()
def initialise(model: Pi05) -> None:
    """Weights for training from scratch.

    Every modulation starts as plain RMSNorm with an open gate. The published recipe starts with closed gates,
    for an expert beside a trained vlm; on a toy regression from scratch, open ones learn faster.
    """
    branch_scale = (2 * model.config.vlm.depth) ** -0.5
    for name, module in model.named_modules():
        if name.endswith(".modulation") and isinstance(module, nn.Linear):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
            module.bias[2 * module.in_features :] = 1.0
        elif isinstance(module, nn.Linear | nn.Conv2d):
            fan_in = module.weight[0].numel()
            ends_a_branch = name.endswith((".out", ".down"))
            nn.init.normal_(module.weight, std=fan_in**-0.5 * (branch_scale if ends_a_branch else 1.0))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
        elif isinstance(module, VisionTower):
            nn.init.normal_(module.position, std=0.02)
    # A first prediction near zero: the target's scale is set by the noise, whose variance is 1.
    nn.init.normal_(model.action_out.weight, std=0.02 * model.config.expert.width**-0.5)
