"""Sampling without gradients, made fast: a denoising loop that compiles, and CUDA graphs of it and of the prefix.

    sampler = Graphs(policy.model, sde)             # on a GPU; see Pi05Policy.use_graphs
    prefix = policy.model.encode(..., runner=sampler)
    path = sampler.walk(prefix, noise, index, draws)

At full size a denoising step is some hundred small kernels whose launches take longer than they do. A graph records
them once per shape and launches them all at a time. Its inputs lie in buffers of fixed shapes, so batch sizes are
rounded up to powers of two and prefix lengths to multiples of 8; what is added is masked or cut off again.

Nothing derived from weights is kept: the modulations of the time grid are made anew for every path, inside the graph.
A graph reads the weights where they lay when it was recorded: it sees an optimiser's changes in place, and is
recorded again where a tensor has been replaced. Every recording holds its buffers and what the function needs while it
runs: one of the trunk at full size and 32 rows some gigabytes.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from z1_agent import flow
from z1_agent.flow import FlowSDE
from z1_agent.pi05 import Pi05
from z1_agent.prefix import Prefix

LENGTH_STEP = 8  # prefix lengths are rounded up to multiples of it [tokens]
NUM_WARM_UPS = 3  # runs before a recording, in which libraries pick kernels and allocate; torch's documentation has 3

Function = Callable[..., tuple[Tensor, ...]]
Replay = Callable[[Sequence[Tensor]], tuple[Tensor, ...]]
Recorder = Callable[[Function, Sequence[Tensor]], Replay]


def walk(model: Pi05, sde: FlowSDE, prefix: Prefix, noise: Tensor, index: Tensor, draws: Tensor) -> Tensor:
    """As `flow.walk` on the network's velocity, with the modulations of all K times made by one product per norm
    before the loop. Compiles as one graph.
    """
    field = model.field(prefix)
    times = flow.time_grid(sde.num_steps, noise.device)[:-1]
    made = model.modulations(times)

    def at(step: int) -> Callable[[Tensor], Tensor]:
        own = tuple(rows[step : step + 1] for rows in made)
        return lambda x: field(x, own)

    return flow.walk_along(sde, [at(step) for step in range(sde.num_steps)], noise, index, draws)


def rounded(batch: int, length: int) -> tuple[int, int]:
    """The next power of two of a batch size, and the next multiple of LENGTH_STEP of a prefix length."""
    return 1 << (batch - 1).bit_length(), -(-length // LENGTH_STEP) * LENGTH_STEP


def with_rows(tensor: Tensor, batch: int, dim: int = 0) -> Tensor:
    """`tensor` with `batch` rows along `dim`: the last one repeated, so that every row is a valid input."""
    missing = batch - tensor.shape[dim]
    if missing == 0:
        return tensor
    return torch.cat([tensor, tensor.narrow(dim, -1, 1).repeat_interleave(missing, dim)], dim)


def with_tokens(tensor: Tensor, length: int, dim: int) -> Tensor:
    """`tensor` with `length` tokens along `dim`: zeros behind, False in a mask."""
    missing = length - tensor.shape[dim]
    return nn.functional.pad(tensor, (0, 0) * (tensor.ndim - 1 - dim) + (0, missing)) if missing else tensor


def padded_prefix(prefix: Prefix, batch: int, length: int) -> Prefix:
    """`prefix` with `batch` rows and `length` tokens."""

    def pad(layer: Tensor) -> Tensor:
        return with_tokens(with_rows(layer, batch), length, 2)

    return Prefix(
        keys=tuple(map(pad, prefix.keys)),
        values=tuple(map(pad, prefix.values)),
        mask=with_tokens(with_rows(prefix.mask, batch), length, 1),
        full=prefix.full and length == prefix.mask.shape[1],
    )


def record(function: Function, inputs: Sequence[Tensor]) -> Replay:
    """A CUDA graph of `function` at the shapes of `inputs`: called with others of these shapes, it copies them into
    its buffers, replays, and returns copies of what came out.
    """
    buffers = [tensor.clone() for tensor in inputs]
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(NUM_WARM_UPS):
            function(*buffers)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = function(*buffers)

    def replay(given: Sequence[Tensor]) -> tuple[Tensor, ...]:
        for buffer, tensor in zip(buffers, given, strict=True):
            buffer.copy_(tensor)
        graph.replay()
        return tuple(output.clone() for output in outputs)

    return replay


class Recordings:
    """At most `most` recordings of functions of `parts` of a network, the longest unused one dropped first, and all of
    them where a tensor of `parts` is no longer where it was.
    """

    def __init__(self, parts: Sequence[nn.Module], most: int, record: Recorder) -> None:
        self._parts, self._most, self._record = parts, most, record
        self._replays: OrderedDict[object, Replay] = OrderedDict()
        self._weights: list[Tensor] = []  # held, so that no other tensor can take the place of one that was read

    def __len__(self) -> int:
        return len(self._replays)

    def run(self, static: object, function: Function, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """`function(*inputs)`, which is given for the same `static` and shapes by a recording of an earlier one."""
        self._forget_replaced_weights()
        key = (static, *((tensor.shape, tensor.dtype) for tensor in inputs))
        if key not in self._replays:
            self._replays[key] = self._record(function, inputs)
        self._replays.move_to_end(key)
        made = self._replays[key](inputs)
        while len(self._replays) > self._most:
            self._replays.popitem(last=False)
        return made

    def _forget_replaced_weights(self) -> None:
        now = [parameter for part in self._parts for parameter in part.parameters()]
        if [tensor.data_ptr() for tensor in now] != [tensor.data_ptr() for tensor in self._weights]:
            self._replays.clear()
            self._weights = [parameter.detach() for parameter in now]


class Graphs:
    """A network whose vision tower, trunk and denoising loop are replayed from recordings; see the module.

    A `Runner` for `Pi05.encode`. Only for use without gradients. most: recordings per part. record: how one is made;
    tests without a GPU give one that records nothing.
    """

    def __init__(
        self,
        model: Pi05,
        sde: FlowSDE,
        *,
        most: int = 32,
        record: Recorder = record,
    ) -> None:
        self._model, self._sde = model, sde
        vision = [] if model.config.vision is None else [model.vision, model.projector]
        denoising = [model.expert, model.action_in, model.action_out, model.time_in, model.time_out]
        self.vision = Recordings(vision, most, record)
        self.prefixes = Recordings([model.vlm], most, record)
        self.paths = Recordings(denoising, most, record)

    @torch.no_grad()
    def see(self, images: Tensor) -> Tensor:
        """As `Pi05.see`."""
        batch, _ = rounded(len(images), 0)
        dtype = self._model.compute_dtype
        [tokens] = self.vision.run(dtype, lambda x: (self._model.see(x),), [with_rows(images, batch)])
        return tokens[: len(images)]

    @torch.no_grad()
    def trunk(self, x: Tensor, mask: Tensor, full: bool) -> Prefix:
        """As `Pi05.trunk`."""
        batch, length = rounded(*mask.shape)
        fills = full and length == mask.shape[1]

        def function(x: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
            prefix = self._model.trunk(x, mask, fills)
            return (*prefix.keys, *prefix.values)

        inputs = [with_tokens(with_rows(tensor, batch), length, 1) for tensor in (x, mask)]
        made = self.prefixes.run(fills, function, inputs)
        made = tuple(layer[: len(mask), :, : mask.shape[1]] for layer in made)
        depth = len(made) // 2
        return Prefix(keys=made[:depth], values=made[depth:], mask=mask, full=full)

    @torch.no_grad()
    def walk(self, prefix: Prefix, noise: Tensor, index: Tensor, draws: Tensor) -> Tensor:
        """As `walk` with this network."""
        batch, length = rounded(*prefix.mask.shape)
        given = padded_prefix(prefix, batch, length)
        depth = len(given.keys)

        def function(noise: Tensor, index: Tensor, draws: Tensor, mask: Tensor, *layers: Tensor) -> tuple[Tensor, ...]:
            own = Prefix(keys=layers[:depth], values=layers[depth:], mask=mask, full=given.full)
            return (walk(self._model, self._sde, own, noise, index, draws),)

        inputs = [with_rows(noise, batch), with_rows(index, batch), with_rows(draws, batch, 1), given.mask]
        static = (given.full, self._model.compute_dtype)
        [path] = self.paths.run(static, function, [*inputs, *given.keys, *given.values])
        return path[: len(noise)]
