"""From the tensor names of an openpi π0.5 checkpoint to ours, one to one."""

import re

DEAD = "paligemma_with_expert.gemma_expert.lm_head.weight"

# Checked in order; the first pattern that matches the whole name wins. A converted checkpoint holds the token
# embedding under the name of the output head it is tied to; where both are there they are the same tensor.
_RULES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
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
]

_PARTS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
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
]


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
