"""Run by test_pretrained in a process of its own, whose memory nobody else moves: what loading takes at its peak.

Prints two numbers, as shares of the weights' size: streaming them, and, to show that the measure would notice, the
plain way of a whole file beside a whole network.
"""

import dataclasses
import gc
import re
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from z1_agent.gemma import GemmaConfig
from z1_agent.openpi_names import float32_dtype, from_openpi, to_openpi
from z1_agent.pi05 import Pi05, pi05
from z1_agent.pretrained import load_weights
from z1_agent.tensor_file import write_tensors


def resident(name: str) -> int:
    """Bytes of this process in memory: "VmRSS" now, "VmHWM" at most."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


file = Path(sys.argv[1])
heads = {"depth": 3, "num_heads": 4, "num_kv_heads": 1, "head_width": 64}
config = dataclasses.replace(
    pi05(),
    vlm=GemmaConfig(width=512, mlp_width=4096, **heads),
    expert=GemmaConfig(width=256, mlp_width=1024, **heads),
    vision=None,
    vocab_size=100_000,
)
with torch.device("meta"):
    models = [Pi05(config), Pi05(config)]
sizes = {name: tensor.shape for name, tensor in models[0].state_dict().items()}
num_bytes = sum(4 * shape.numel() for shape in sizes.values())
assert num_bytes > 2.5e8  # what Python itself takes on the way is little beside it
half = torch.tensor(0.5)
write_tensors(file, {to_openpi(name): half.expand(shape) for name, shape in sizes.items()})


def stream(model: Pi05) -> None:
    load_weights(model, file, dtypes=float32_dtype)


def whole(model: Pi05) -> None:
    model.to_empty(device="cpu")
    model.load_state_dict({from_openpi(name): tensor for name, tensor in load_file(file).items()})


for model, load in zip(models, (stream, whole), strict=True):
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = resident("VmRSS")
    load(model)
    print((resident("VmHWM") - before) / num_bytes)
