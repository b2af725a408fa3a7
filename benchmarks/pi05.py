"""What the structure of the network saves: each figure a ratio of two ways to the same numbers, from one run.

    python benchmarks/pi05.py --out runs/pi05                               # a CPU
    python benchmarks/pi05.py --out runs/pi05 --device cuda --size full     # a GPU: full size, random weights

First the nano policy as training uses it, on one CPU core. Then the network alone, at the size and on the device that
were asked for, against the arithmetic limits of one H200 (788 TFLOP/s bf16, 4.3 TB/s). Both ways of a figure run in
turn, so that they meet the machine in the same state; figures are ratios of medians, on a CPU of CPU time. Prints
Markdown tables; the directory gets pi05.md and pi05.json.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from z1_agent import flow
from z1_agent.flow import NO_STEP, FlowSDE
from z1_agent.loss import clipped_surrogate
from z1_agent.observation import Normalizer
from z1_agent.openpi_names import openpi_dtype
from z1_agent.pi05 import Pi05, pi05, pi05_nano
from z1_agent.policy import Pi05Policy, PolicyConfig
from z1_agent.prefix import Prefix
from z1_agent.sampler import Graphs, walk
from z1_agent.tokenizer import NanoTokenizer
from z1_agent.trainable import GROUPS, select
from z1_envs.layout import CAMERAS, SCENE
from z1_envs.processes import machine

FOLLOWERS = 8
SEES = {"scene state (the default)": 0, "3 cameras of 64 px": 64, "3 cameras of 128 px": 128}  # [px]
LIMIT_MS, LIMIT_CHUNKS = 7.1, 164.0  # one chunk; chunks/s in batches of 32: both of one H200, by arithmetic
Times = dict[str, float]


@dataclass(frozen=True)
class Row:
    """One figure. wanted: at most, or at least where `at_least`."""

    name: str
    figure: float
    unit: str
    wanted: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        if self.wanted is None:
            return None
        return self.figure >= self.wanted if self.at_least else self.figure <= self.wanted

    def line(self) -> str:
        sign = "≥" if self.at_least else "≤"
        wanted = "" if self.wanted is None else f"{sign} {self.wanted:g}{'' if self.met else ' (missed)'}"
        return f"| {self.name} | {f'{self.figure:.3g} {self.unit}'.strip()} | {wanted} |"


def in_turn(ways: dict[str, Callable[[], Any]], repeats: int, device: str = "cpu") -> Times:
    """Median seconds of each way, all of them run once before and then in turn. CPU time on a CPU, which other
    processes do not change much; on a GPU the time until it is done.
    """
    clock = time.perf_counter if device == "cuda" else time.process_time
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, way in ways.items():
            wait()
            begun = clock()
            way()
            wait()
            if repeat > 0:
                seconds[name].append(clock() - begun)
    return {name: float(np.median(times)) for name, times in seconds.items()}


# --- The nano policy as training uses it ---


def nano_policy(image_px: int) -> Pi05Policy:
    """As `z1 train` makes it, without the statistics: for three cameras of `image_px` [px], for scene state where 0."""
    width = 0 if image_px else SCENE.width
    normalizer = Normalizer(
        state_q01=-np.ones(16),
        state_q99=np.ones(16),
        action_q01=-np.ones(12),
        action_q99=np.ones(12),
        scene_mean=np.zeros(width),
        scene_std=np.ones(width),
    )
    config = PolicyConfig(
        model=pi05_nano(scene_width=width, vision=image_px > 0, image_px=image_px or 64),
        sde=FlowSDE(),
        executed_len=10,
        cameras=tuple(CAMERAS) if image_px else (),
    )
    torch.manual_seed(0)
    policy = Pi05Policy(config, normalizer, NanoTokenizer())
    select(policy, "action_expert")
    return policy


def observation(batch: int, image_px: int) -> dict[str, Any]:
    """What `batch` lanes may see."""
    rng = np.random.default_rng(0)
    seen: dict[str, Any] = {
        "state": rng.uniform(-1, 1, (batch, 16)).astype(np.float32),
        "instruction": ["open the left drawer"] * batch,
    }
    if image_px:
        shape = (batch, image_px, image_px, 3)
        return seen | {camera: rng.integers(0, 256, shape, dtype=np.uint8) for camera in CAMERAS}
    return seen | {"scene": rng.normal(size=(batch, SCENE.width)).astype(np.float32)}


def training_rows(image_px: int, minibatch: int, groups: int, repeats: int) -> tuple[list[Row], Times]:
    """An update of the action expert, and a decision of groups of followers."""
    policy = nano_policy(image_px)
    optimizer = torch.optim.AdamW([p for p in policy.model.parameters() if p.requires_grad], lr=1e-6)
    seen = observation(minibatch, image_px)
    with torch.no_grad():
        kept = policy.encode(seen)
    sample = policy.sample(kept, torch.Generator().manual_seed(0))
    nodes = torch.randperm(minibatch)

    def update(prefix_or_observation: Any) -> None:
        optimizer.zero_grad()
        logprob = policy.log_prob(prefix_or_observation, sample.path, sample.index)
        clipped_surrogate(logprob, sample.logprob, torch.ones(minibatch), 0.2).loss.backward()
        optimizer.step()

    trunks, lanes = observation(groups, image_px), observation(groups * FOLLOWERS, image_px)
    source = torch.arange(groups).repeat_interleave(FOLLOWERS)

    @torch.no_grad()
    def decide(prefix: Prefix) -> None:
        policy.sample(prefix, torch.Generator().manual_seed(0))

    @torch.no_grad()
    def one_by_one() -> Prefix:
        rows = ({k: v[i : i + 1] for k, v in lanes.items()} for i in range(groups * FOLLOWERS))
        return Prefix.cat([policy.encode(row) for row in rows])

    encode = torch.no_grad()(policy.encode)
    ways = {
        "update, kept": lambda: update(kept.repeat(nodes)),
        "update, again": lambda: update(seen),
        "decide, shared": lambda: decide(encode(trunks).repeat(source)),
        "decide, apart": lambda: decide(encode(lanes)),
        "decide, one by one": lambda: decide(one_by_one()),
        "encode, shared": lambda: encode(trunks).repeat(source),
        "encode, apart": lambda: encode(lanes),
    }
    took = in_turn(ways, repeats)
    rows = [
        Row("update with kept K/V / encoding again", took["update, kept"] / took["update, again"], "", 0.4),
        Row(
            f"decision of {groups} × {FOLLOWERS} lanes, one prefix per group / one per lane, in one batch",
            took["decide, shared"] / took["decide, apart"],
            "",
            0.5,
        ),
        Row("the same / encoding lane by lane", took["decide, shared"] / took["decide, one by one"], "", 0.5),
        Row("its encoding alone, in one batch", took["encode, shared"] / took["encode, apart"], ""),
    ]
    return rows, took


def loop_rows(image_px: int, batch: int, repeats: int) -> tuple[list[Row], Times]:
    """The denoising loop, and what is left out of the prefix."""
    policy = nano_policy(image_px)
    model, sde = policy.model, policy.config.sde
    encode = torch.no_grad()(policy.encode)
    prefix = encode(observation(batch, image_px))
    noise = torch.randn(batch, 10, 12)
    given = (noise, torch.zeros(batch, dtype=torch.long), torch.randn(1, *noise.shape))

    @torch.no_grad()
    def step_by_step() -> Tensor:
        return flow.walk(sde, lambda x, t: model.velocity(prefix, x, t), *given)

    ways: dict[str, Callable[[], Any]] = {
        "loop, at once": lambda: torch.no_grad()(walk)(model, sde, prefix, *given),
        "loop, step by step": step_by_step,
    }
    if image_px:
        images = {camera: torch.rand(batch, 3, image_px, image_px) for camera in CAMERAS}
        there = torch.ones(batch, dtype=torch.bool)
        masks = dict(zip(CAMERAS, (there, ~there, there), strict=True))
        tokens = torch.ones(batch, 48, dtype=torch.long)  # of which 24 are padding
        parts = (tokens, torch.arange(48).expand(batch, -1) < 24, images, masks, None)

        def masked() -> None:
            with (
                mock.patch("z1_agent.pi05.pack", lambda x, mask: (x, mask, False)),
                mock.patch("z1_agent.pi05._present", lambda images, _: (torch.cat(list(images.values())), None)),
            ):
                torch.no_grad()(model.encode)(*parts)

        ways |= {"masked, dropped": lambda: torch.no_grad()(model.encode)(*parts), "masked, kept": masked}
    took = in_turn(ways, repeats)
    name = f"loop of {batch}, modulations of the grid at once / step by step"
    rows = [Row(name, took["loop, at once"] / took["loop, step by step"], "")]
    if image_px:
        ratio = took["masked, dropped"] / took["masked, kept"]
        rows.append(Row("encoding without / with masked tokens (a camera of 3 and half the prompt absent)", ratio, ""))
    return rows, took


# --- The network alone, at any size, on any device ---


@dataclass(frozen=True)
class Network:
    """A network with random weights, and inputs of `batch` rows made on demand."""

    model: Pi05
    sde: FlowSDE
    num_tokens: int
    device: str

    @staticmethod
    def make(size: str, device: str) -> "Network":
        torch.manual_seed(0)
        full = size == "full"
        with torch.device(device):
            model = Pi05(pi05() if full else pi05_nano(scene_width=0, vision=True))
        model.requires_grad_(False)
        if full:
            model.compute_dtype = torch.bfloat16
            for name, parameter in model.named_parameters():
                parameter.data = parameter.data.to(openpi_dtype(name))
        return Network(model, FlowSDE(num_steps=10), 200 if full else 24, device)

    def inputs(self, batch: int) -> tuple[Any, ...]:
        """Arguments of `Pi05.encode`: three cameras and a prompt."""
        assert self.model.config.vision is not None
        px = self.model.config.vision.image_px
        tokens = torch.randint(0, 700, (batch, self.num_tokens), device=self.device)
        images = {camera: torch.rand(batch, 3, px, px, device=self.device) * 2 - 1 for camera in CAMERAS}
        return tokens, torch.ones_like(tokens, dtype=torch.bool), images, None, None

    def noise(self, batch: int) -> Tensor:
        return torch.randn(batch, self.model.config.chunk_len, self.model.config.action_width, device=self.device)

    @torch.no_grad()
    def chunks(self, batch: int, graphs: Graphs | None) -> Callable[[], Tensor]:
        """A function that makes `batch` chunks from observations by the ordinary flow."""
        inputs, noise = self.inputs(batch), self.noise(batch)
        index = torch.full((batch,), NO_STEP, device=self.device)
        draws = torch.zeros_like(noise)[None]

        @torch.no_grad()
        def run() -> Tensor:
            prefix = self.model.encode(*inputs, runner=graphs)
            if graphs is not None:
                return graphs.walk(prefix, noise, index, draws)[:, -1]
            return walk(self.model, self.sde, prefix, noise, index, draws)[:, -1]

        return run


def network_rows(size: str, device: str, batch: int, repeats: int) -> tuple[list[Row], Times]:
    """Chunks and updates against the arithmetic limits, which are those of the full size on an H200."""
    network = Network.make(size, device)
    graphs = Graphs(network.model, network.sde) if device == "cuda" else None
    name = "by CUDA graphs" if graphs is not None else "without CUDA graphs"
    ways: dict[str, Callable[[], Any]] = {
        "one chunk": network.chunks(1, graphs),
        "batch": network.chunks(batch, graphs),
    }
    if graphs is not None:
        ways |= {"one chunk, eager": network.chunks(1, None), "batch, eager": network.chunks(batch, None)}
    _forget_peak(device)
    took = in_turn(ways, repeats, device)
    limits = size == "full" and device == "cuda"
    rows = [
        Row(f"one chunk {name}", took["one chunk"] * 1e3, "ms", 2 * LIMIT_MS if limits else None),
        Row(f"batch of {batch} {name}", batch / took["batch"], "chunks/s", 90.0 if limits else None, at_least=True),
    ]
    if graphs is not None:
        rows.append(Row("one chunk, with graphs / without", took["one chunk"] / took["one chunk, eager"], ""))
        rows.append(Row("chunks/s, with graphs / without", took["batch, eager"] / took["batch"], ""))
    if limits:
        rows.append(Row("one chunk / arithmetic limit", took["one chunk"] * 1e3 / LIMIT_MS, "", 2.0))
        rows.append(Row("batch / arithmetic limit", batch / took["batch"] / LIMIT_CHUNKS, ""))
    rows += _peak(device, "sampling")
    _forget_peak(device)
    updates = in_turn(_updates(network, batch), repeats, device)
    gain = updates["update, again"] / updates["update, kept"]
    rows += [
        Row("update of the action expert, kept K/V", batch / updates["update, kept"], "samples/s"),
        Row("the same / encoding again", gain, "", 10.0 if limits else None, at_least=True),
        *_peak(device, "updates"),
    ]
    return rows, took | updates


def _updates(network: Network, batch: int) -> dict[str, Callable[[], None]]:
    model, sde = network.model, network.sde
    learns = [p for name, p in model.named_parameters() if name.startswith(GROUPS["action_expert"])]
    for parameter in learns:
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(learns, lr=5e-6, fused=network.device == "cuda")
    inputs, noise = network.inputs(batch), network.noise(batch)
    with torch.no_grad():
        kept = model.encode(*inputs)
        index = torch.arange(batch, device=network.device) % sde.num_steps
        path = walk(model, sde, kept, noise, index, torch.randn_like(noise)[None])
    executed = torch.ones(noise.shape[1:], dtype=torch.bool, device=network.device)

    def update(prefix: Prefix) -> None:
        optimizer.zero_grad()
        logprob = flow.log_prob(sde, lambda x, t: model.velocity(prefix, x, t), path, index, executed=executed)
        logprob.mean().backward()
        optimizer.step()

    return {"update, kept": lambda: update(kept), "update, again": lambda: update(_encoded(model, inputs))}


@torch.no_grad()
def _encoded(model: Pi05, inputs: tuple[Any, ...]) -> Prefix:
    return model.encode(*inputs)


def _forget_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()


def _peak(device: str, what: str) -> list[Row]:
    return [Row(f"peak memory, {what}", torch.cuda.max_memory_allocated() / 2**30, "GiB")] if device == "cuda" else []


# --- The report ---


def provenance() -> str:
    """Where the numbers come from."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{machine()} (one used){gpu}, torch {torch.__version__}"


def table(title: str, rows: list[Row]) -> str:
    """Markdown: one line per figure."""
    return "\n".join([f"**{title}**\n", "| | measured | wanted |", "|---|---|---|", *(row.line() for row in rows)])


NOT_MEASURED = """**network, full size on cuda**

| | measured | wanted |
|---|---|---|
| one chunk (3 cameras, 200 tokens, H = 50, 10 steps) | not measured | ≤ 14.2 ms (limit 7.1) |
| batch of 32 | not measured | ≥ 90 chunks/s (limit 164) |
| update of the action expert, kept K/V / encoding again, samples/s | not measured | ≥ 10 |
| peak memory | not measured | |"""


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints the tables, writes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="directory for pi05.md and pi05.json")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of the network alone")
    parser.add_argument("--size", choices=("nano", "full"), default="nano", help="of the network alone")
    parser.add_argument("--quick", action="store_true", help="small batches, few repeats: to see that it runs")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs a CUDA device, and torch finds none here")
    torch.set_num_threads(1)
    minibatch, groups, batch, repeats = (8, 2, 2, 1) if options.quick else (256, 16, 32, 9)
    found: dict[str, tuple[list[Row], Times]] = {}
    for sees, image_px in SEES.items():
        training, loop = training_rows(image_px, minibatch, groups, repeats), loop_rows(image_px, groups, repeats)
        found[f"nano policy, {sees}"] = training[0] + loop[0], training[1] | loop[1]
    found[f"network, {options.size} size on {options.device}"] = network_rows(
        options.size, options.device, batch, repeats
    )
    tables = [table(title, rows) for title, (rows, _) in found.items()]
    if options.device == "cpu":
        tables.append(NOT_MEASURED)
    text = "\n\n".join([provenance(), *tables])
    print(text)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "pi05.md").write_text(text + "\n", encoding="utf-8")
    report = {
        "machine": provenance(),
        "options": {"device": options.device, "size": options.size, "quick": options.quick},
        "figures": {title: [{**vars(row), "met": row.met} for row in rows] for title, (rows, _) in found.items()},
        "seconds": {title: seconds for title, (_, seconds) in found.items()},
    }
    (options.out / "pi05.json").write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
