"""Run by test_lerobot_policy in an environment that has lerobot: loads an export with lerobot's own code and acts.

lerobot builds two sizes only, and fixes those of the vision tower and the vocabulary in its code. They are shrunk here
to those of the export: the arithmetic is lerobot's. PaliGemma's tokenizer, which comes from the hub, is replaced by the
SentencePiece model of the test. Arguments: folder of the export, sizes.json, tokenizer.model, inputs, outputs.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import sentencepiece
import torch
from lerobot.policies.pi05 import modeling_pi05
from lerobot.policies.pi05.modeling_pi05 import PI05Policy
from lerobot.processor import PolicyProcessorPipeline, tokenizer_processor
from lerobot.processor.converters import policy_action_to_transition, transition_to_policy_action
from safetensors.torch import load_file, save_file

export, sizes_file, tokenizer_file, inputs_file, outputs_file = map(Path, sys.argv[1:])
sizes = json.loads(sizes_file.read_text())


def shrink_paligemma(config):
    config.text_config.vocab_size = sizes["vocab_size"]
    config.image_token_index = config.image_token_id = sizes["vocab_size"]
    vision = config.vision_config
    vision.hidden_size, vision.num_hidden_layers = sizes["vision"]["width"], sizes["vision"]["depth"]
    vision.num_attention_heads, vision.intermediate_size = sizes["vision"]["num_heads"], sizes["vision"]["mlp_width"]
    vision.patch_size, vision.projection_dim = sizes["vision"]["patch"], sizes["vlm"]["width"]
    return config


def shrink_expert(config):
    config.vocab_size = sizes["vocab_size"]
    return config


def variant(name):
    size = sizes["vlm" if name == "gemma_2b" else "expert"]
    return modeling_pi05.GemmaConfig(
        width=size["width"],
        depth=size["depth"],
        mlp_dim=size["mlp_width"],
        num_heads=size["num_heads"],
        num_kv_heads=size["num_kv_heads"],
        head_dim=size["head_width"],
    )


class Tokenizer:
    def __init__(self):
        self.model = sentencepiece.SentencePieceProcessor(model_file=str(tokenizer_file))

    def __call__(self, texts, *, max_length, truncation, padding, padding_side, return_tensors):
        assert (padding, padding_side, truncation, return_tensors) == ("max_length", "right", True, "pt")
        rows = [self.model.encode(text, add_bos=True)[:max_length] for text in texts]
        ids = torch.tensor([row + [0] * (max_length - len(row)) for row in rows])
        return {
            "input_ids": ids,
            "attention_mask": torch.tensor([[i < len(r) for i in range(max_length)] for r in rows]),
        }


paligemma, expert = modeling_pi05.PaliGemmaForConditionalGenerationWithPiGemma, modeling_pi05.PiGemmaForCausalLM
modeling_pi05.PaliGemmaForConditionalGenerationWithPiGemma = lambda config: paligemma(config=shrink_paligemma(config))
modeling_pi05.PiGemmaForCausalLM = lambda config: expert(config=shrink_expert(config))
modeling_pi05.get_gemma_config = variant
tokenizer_processor.AutoTokenizer = SimpleNamespace(from_pretrained=lambda name: Tokenizer())

policy = PI05Policy.from_pretrained(export)
preprocess = PolicyProcessorPipeline.from_pretrained(export, config_filename="policy_preprocessor.json")
postprocess = PolicyProcessorPipeline.from_pretrained(
    export,
    config_filename="policy_postprocessor.json",
    to_transition=policy_action_to_transition,
    to_output=transition_to_policy_action,
)
inputs = load_file(inputs_file)
noise = inputs.pop("noise")
batch = preprocess(inputs | {"task": json.loads(Path(sizes_file).read_text())["instructions"]})
images, masks = policy._preprocess_images(batch)
tokens, token_mask = batch["observation.language.tokens"], batch["observation.language.attention_mask"]
with torch.no_grad():
    chunk = policy.model.sample_actions(images, masks, tokens, token_mask, noise=noise)
actions = postprocess(chunk[:, : policy.config.n_action_steps, : policy.config.output_features["action"].shape[0]])
save_file({"chunk": chunk.contiguous(), "actions": actions.contiguous(), "tokens": tokens}, outputs_file)
np.testing.assert_equal(policy.config.num_inference_steps, sizes["num_steps"])
