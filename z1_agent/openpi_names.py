"""Names and precision of the tensors of public π0.5 checkpoints: openpi's and LeRobot's to ours, and back.

LeRobot's names are openpi's behind "model.". Its files may lack the tied token embedding or hold it twice, name the
time MLP as π0 did, and hold π0's state projection, which π0.5 has not. Source: the loader of lerobot 0.6.
"""

import re

import torch

DEAD = "paligemma_with_expert.gemma_expert.lm_head.weight"
TIED_HEAD = "paligemma_with_expert.paligemma.lm_head.weight"
LEROBOT_PREFIX = "model."


def _compiled(*rules: tuple[str, str]) -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(pattern), replacement) for pattern, replacement in rules]


# Checked in order; the first pattern that matches the whole name wins. A converted checkpoint holds the token
# embedding under the name of the output head it is tied to; where both are there they are the same tensor.
_RULES = _compiled(
    (r"paligemma_with_expert\.paligemma\.lm_head\.weight", r"embedding.weight"),
    (
        r"paligemma_with_expert\.paligemma\.model\.language_model\.embed_tokens\.weight",
        r"embedding.weight",
    ),
    (r"paligemma_with_expert\.paligemma\.model\.language_model\.(.+)", r"vlm.\1"),
    (r"paligemma_with_expert\.gemma_expert\.model\.(.+)", r"expert.\1"),
    (r"paligemma_with_expert\.paligemma\.model\.multi_modal_projector\.linear\.(.+)", r"projector.\1"),
    (r"paligemma_with_expert\.paligemma\.model\.vision_tower\.vision_model\.(.+)", r"vision.\1"),
    (r"((?:action_in|action_out)_proj\..+|(?:time_mlp_in|time_mlp_out)\..+)", r"\1"),
)

# What lerobot's loader renames and skips.
_LEROBOT_TIME = re.compile(r"^action_time_mlp_(in|out)\.")
_LEROBOT_SKIPPED = ("state_proj.",)

_PARTS = _compiled(
    (r"^vision\.embeddings\.patch_embedding\.", r"vision.patch."),
    (r"^vision\.embeddings\.position_embedding\.weight$", r"vision.position"),
    (r"^vision\.encoder\.layers\.", r"vision.layers."),
    (r"^vision\.post_layernorm\.", r"vision.norm."),
    (r"\.mlp\.fc1\.", r".up."),
    (r"\.mlp\.fc2\.", r".down."),
    (r"\.layer_norm1\.|\.input_layernorm\.", r".attention_norm."),
    (r"\.layer_norm2\.|\.post_attention_layernorm\.", r".mlp_norm."),
    (r"\.self_attn\.([qkv])_proj\.", r".attention.\1."),
    (r"\.self_attn\.(?:o|out)_proj\.", r".attention.out."),
    (r"\.mlp\.(gate|up|down)_proj\.", r".mlp.\1."),
    (r"\.dense\.", r".modulation."),
    (r"^action_(in|out)_proj\.", r"action_\1."),
    (r"^time_mlp_(in|out)\.", r"time_\1."),
)

_BACK_TOPS = (
    ("vlm.", "paligemma_with_expert.paligemma.model.language_model."),
    ("expert.", "paligemma_with_expert.gemma_expert.model."),
    ("projector.", "paligemma_with_expert.paligemma.model.multi_modal_projector.linear."),
    ("vision.", "paligemma_with_expert.paligemma.model.vision_tower.vision_model."),
    ("action_in.", "action_in_proj."),
    ("action_out.", "action_out_proj."),
    ("time_in.", "time_mlp_in."),
    ("time_out.", "time_mlp_out."),
)
_BACK_VISION = _compiled(
    (r"^patch\.", r"embeddings.patch_embedding."),
    (r"^position$", r"embeddings.position_embedding.weight"),
    (r"^layers\.", r"encoder.layers."),
    (r"^norm\.", r"post_layernorm."),
    (r"\.up\.", r".mlp.fc1."),
    (r"\.down\.", r".mlp.fc2."),
    (r"\.attention_norm\.", r".layer_norm1."),
    (r"\.mlp_norm\.", r".layer_norm2."),
    (r"\.attention\.out\.", r".self_attn.out_proj."),
    (r"\.attention\.([qkv])\.", r".self_attn.\1_proj."),
)
_BACK_GEMMA = _compiled(
    (r"\.attention_norm\.", r".input_layernorm."),
    (r"\.mlp_norm\.", r".post_attention_layernorm."),
    (r"\.attention\.out\.", r".self_attn.o_proj."),
    (r"\.attention\.([qkv])\.", r".self_attn.\1_proj."),
    (r"\.mlp\.(gate|up|down)\.", r".mlp.\1_proj."),
    (r"(^|\.)modulation\.", r"\1dense."),
)


def from_openpi(name: str) -> str | None:
    """Our name of an openpi tensor; None for the action expert's output head, which nothing reads.

    Raises KeyError for a name that no π0.5 checkpoint has.
    """
    if name == DEAD:
        return None
    for pattern, replacement in _RULES:
        if pattern.fullmatch(name):
            ours = pattern.sub(replacement, name)
            for part, new in _PARTS:
                ours = part.sub(new, ours)
            return ours
    raise KeyError(f"{name!r} is not a tensor of an openpi π0.5 checkpoint")


def from_lerobot(name: str) -> str | None:
    """Our name of a LeRobot tensor, with or without its prefix; None for those that π0.5 does not read.

    Raises KeyError for a name that no π0.5 checkpoint has.
    """
    plain = _LEROBOT_TIME.sub(r"time_mlp_\1.", name.removeprefix(LEROBOT_PREFIX))
    return None if plain.startswith(_LEROBOT_SKIPPED) else from_openpi(plain)


def to_openpi(name: str) -> str:
    """openpi's name of one of our tensors: the inverse of `from_openpi`, with the embedding under its tied head's name.

    Raises KeyError for a tensor that the published network does not have.
    """
    if name == "embedding.weight":
        return TIED_HEAD
    for ours, theirs in _BACK_TOPS:
        if name.startswith(ours):
            rest = name[len(ours) :]
            for pattern, replacement in _BACK_VISION if ours == "vision." else _BACK_GEMMA:
                rest = pattern.sub(replacement, rest)
            return theirs + rest
    raise KeyError(f"{name!r} is not a tensor of the published π0.5; public layouts have no place for it")


def openpi_dtype(name: str) -> torch.dtype:
    """The type of our tensor `name` in openpi's mixed layout: bfloat16, but float32 for all norms of trunk and expert
    (the expert's modulations are among them), the patch and position embeddings, and the action and time layers.
    """
    if name.startswith(("vision.patch.", "vision.position", "vlm.norm.", "expert.norm.", "action_", "time_")):
        return torch.float32
    is_norm = ".attention_norm." in name or ".mlp_norm." in name
    return torch.float32 if is_norm and name.startswith(("vlm.", "expert.")) else torch.bfloat16


def float32_dtype(name: str) -> torch.dtype:
    """Everything in float32."""
    return torch.float32
