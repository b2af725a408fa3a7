"""The policy that a training begins with: a fresh one, public weights, or a checkpoint of this program.

A source is what `--policy` names. Public weights know nothing of this robot: statistics of a dataset, cameras and the
form of the prompt come from the training. A checkpoint brings all of them, and what does not fit it is refused.
"""

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from z1_agent import checkpoint
from z1_agent.checkpoint import CheckpointError, DataFormat
from z1_agent.flow import FlowSDE
from z1_agent.observation import PUBLISHED_CAMERAS, Normalizer
from z1_agent.openpi_names import float32_dtype, from_lerobot, openpi_dtype
from z1_agent.paligemma_tokenizer import PaliGemmaTokenizer, hub_tokenizer
from z1_agent.pi05 import NANO_PATCH, Pi05Config, octaves, pi05, pi05_nano
from z1_agent.policy import Pi05Policy, PolicyConfig
from z1_agent.presets import FineTuneConfig, TrainConfig, cpu, seeing
from z1_agent.pretrained import PretrainedError, find_tensors, load_pretrained, locate
from z1_agent.tensor_file import Stored
from z1_agent.tokenizer import NanoTokenizer, PromptFormat
from z1_agent.trainable import learns_whole
from z1_envs.demos import Demonstrations, DemosError
from z1_envs.layout import CAMERAS, SCENE
from z1_envs.whole_files import sha256_of

_PUBLISHED_STEPS, _PUBLISHED_EXECUTED = 10, 10  # denoising steps; chunk steps carried out before the next decision
_PUBLISHED_RATE = 5e-6  # of GRPO, in the Z-1 paper, for 3.3 B parameters
_IN_MEMORY = 1_000_000  # steps whose exact quantiles are taken at once
_BLOCK = 1 << 16  # steps of larger datasets that statistics take in at a time


@dataclass(frozen=True)
class Source:
    """What a `--policy` has turned out to be. files: what says all that is read of it."""

    path: Path
    is_checkpoint: bool
    files: tuple[Path, ...]

    def digest(self) -> str:
        """Of all that is read of it. Public weights are read whole for it."""
        return _sha256(self.files)


def find_source(text: str) -> Source:
    """What `text`, a path or a name on the hub, is.

    Raises PretrainedError where there is nothing that a policy could be made of, CheckpointError for a run's directory.
    """
    path = locate(text).resolve()
    manifest = path / checkpoint.MANIFEST_FILE
    if manifest.is_file():
        return Source(path, True, (manifest,))  # it holds the hashes of all other files
    checkpoint.check_is_no_run(path)
    return Source(path, False, tuple(sorted({stored.file for stored in find_tensors(path).values()})))


def fresh_policy(config: PolicyConfig, normalizer: Normalizer, *, seed: int) -> Pi05Policy:
    """A policy that has learned nothing, with the weights that `seed` draws and this program's own tokenizer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = Pi05Policy(config, normalizer, NanoTokenizer())
        if config.model.scene_width == 0:  # where there is a scene, it has the robot's state as numbers
            _put_in_order(policy.model.embedding.weight.data[NanoTokenizer.bins])
    return policy


def _put_in_order(embeddings: Tensor) -> None:
    """Makes neighbours among `embeddings` [N, W] alike, as numbers are in a vocabulary that has been trained. Of 257
    that were drawn one by one, a few demonstrations would show most hardly ever.
    """
    numbers = octaves(torch.linspace(-1, 1, len(embeddings))[:, None])
    ordered = numbers @ torch.randn(numbers.shape[1], embeddings.shape[1])
    embeddings.copy_(ordered * (embeddings.std() / ordered.std()))


def statistics(demos: Demonstrations, *, with_scene: bool) -> Normalizer:
    """Statistics of `demos`; of those that are large a block at a time."""
    states, actions = demos.observation["state"], demos.actions
    if with_scene or len(actions) <= _IN_MEMORY:
        return Normalizer.fit(states, actions, demos.observation["scene"] if with_scene else None)
    starts = range(0, len(actions), _BLOCK)
    return Normalizer.fit_stream((states[i : i + _BLOCK], actions[i : i + _BLOCK]) for i in starts)


def begin_fine_tuning(config: FineTuneConfig, demos: Demonstrations, *, seed: int) -> Pi05Policy:
    """The policy that `config` starts from, on the CPU, normalised as it says.

    Raises PretrainedError, TokenizerError, CheckpointError or ValueError where source, dataset and what was asked for
    do not fit each other.
    """
    if config.policy is None:
        return _fresh(config, demos, seed)
    source = find_source(config.policy)
    return _from_checkpoint(config, source, demos) if source.is_checkpoint else _from_weights(config, source, demos)


def begin_trying(config: TrainConfig) -> Pi05Policy:
    """The policy of the checkpoint `config.policy`, on the CPU, with the settings of `config`.

    Raises CheckpointError or PretrainedError where there is none that fits.
    """
    assert config.policy is not None
    policy = checkpoint.load_policy(_checkpoint_source(config.policy).path)
    settings = {"sde": config.sde, "executed_len": config.executed_len, "compute_dtype": config.compute_dtype}
    return _changed(policy, dataclasses.replace(policy.config, **settings))


def with_policy(config: TrainConfig) -> TrainConfig:
    """`config` with full path and digest of its policy, once that has been found to fit. Reads no weights.

    Raises CheckpointError or PretrainedError where there is none that fits.
    """
    if config.policy is None:
        return config
    source = _checkpoint_source(config.policy)
    path, found, task = source.path, checkpoint.read_config(source.path), checkpoint.read_task(source.path)
    find_tensors(path / checkpoint.MODEL_FILE)  # a copy that was cut short is found before the run
    sees = "pixels" if found.cameras else "state"
    if task != config.task:
        raise CheckpointError(f"{path} was trained on {task}, this is {config.task}; give a policy for that")
    if sees != config.obs:
        raise CheckpointError(f"{path} sees {sees}, the envs are to give {config.obs}; add --obs {sees}")
    if found.model.chunk_len != config.chunk_len:
        length = found.model.chunk_len
        raise CheckpointError(
            f"{path} predicts chunks of {length} actions, chunk_len is {config.chunk_len}; add --chunk-len {length}"
        )
    px = config.image_px if found.model.vision is None else found.model.vision.image_px
    if px != config.image_px:
        raise CheckpointError(
            f"{path} reads images of {px} px, image_px is {config.image_px}; add --image-px {px}, or leave it out"
        )
    if config.demos is not None:
        raise CheckpointError("--policy takes the place of demonstrations and SFT: leave out --demos, or run z1 sft")
    return dataclasses.replace(config, policy=str(path), policy_digest=source.digest())


def policy_defaults(config: TrainConfig, policy: str) -> TrainConfig:
    """`config` with what the checkpoint `policy` decides, where nothing else is asked for.

    Raises CheckpointError or PretrainedError where there is none.
    """
    found = checkpoint.read_config(_checkpoint_source(policy).path)
    vision = found.model.vision
    if vision is None:
        config = dataclasses.replace(config, obs="state")
    else:
        config = dataclasses.replace(seeing(config), image_px=vision.image_px)
    return dataclasses.replace(
        config,
        policy=policy,
        chunk_len=found.model.chunk_len,
        executed_len=found.executed_len,
        sde=found.sde,
        compute_dtype=found.compute_dtype,
        grpo=dataclasses.replace(config.grpo, learning_rate=_PUBLISHED_RATE) if is_full(found.model) else config.grpo,
    )


def is_full(model: Pi05Config) -> bool:
    """Whether `model` has the published size, not the nano's."""
    return model.vlm == pi05().vlm


def _checkpoint_source(policy: str) -> Source:
    source = find_source(policy)
    if not source.is_checkpoint:
        raise PretrainedError(
            f"{policy} holds weights alone, without the statistics of this robot's data; make a policy of them first: "
            f"z1 sft --policy {policy} --data DATASET"
        )
    return source


def _fresh(config: FineTuneConfig, demos: Demonstrations, seed: int) -> Pi05Policy:
    sees = _image_px(demos) > 0
    chunk_len = config.chunk_len or 10
    if sees and _image_px(demos) % NANO_PATCH:
        raise DemosError(
            f"{config.data} has images of {_image_px(demos)} px, a fresh network's patches tile multiples of "
            f"{NANO_PATCH}; take a dataset of such images"
        )
    model = pi05_nano(
        chunk_len=chunk_len,
        scene_width=0 if sees else SCENE.width,
        vision=sees,
        image_px=_image_px(demos) or NANO_PATCH,
    )
    if not sees:
        _check_scene(config, demos)
    cameras = (tuple(CAMERAS) if sees else ()) if config.cameras is None else config.cameras
    sde = cpu(demos.task).sde  # its noise is for GRPO, which may follow
    parts = PolicyConfig(
        model=model,
        sde=dataclasses.replace(sde, num_steps=config.denoising_steps or sde.num_steps),
        executed_len=config.executed_len or chunk_len,
        cameras=cameras,
        prompt_format=PromptFormat(config.prompt_format or PromptFormat.STATE),
        compute_dtype=config.compute_dtype or "float32",
    )
    return fresh_policy(parts, statistics(demos, with_scene=not sees), seed=seed)


def _from_weights(config: FineTuneConfig, source: Source, demos: Demonstrations) -> Pi05Policy:
    if config.statistics == "policy":
        raise PretrainedError(f"{source.path} brings no statistics of this robot; leave out --statistics policy")
    if not _image_px(demos):
        raise DemosError(f"{config.data} has no images, which π0.5's public weights read; take a dataset with images")
    model = network_of(find_tensors(source.path), config.chunk_len)
    tokenizer = hub_tokenizer() if config.tokenizer is None else PaliGemmaTokenizer(Path(config.tokenizer))
    parts = PolicyConfig(
        model=model,
        sde=FlowSDE(num_steps=config.denoising_steps or _PUBLISHED_STEPS),
        executed_len=config.executed_len or min(_PUBLISHED_EXECUTED, model.chunk_len),
        cameras=tuple(PUBLISHED_CAMERAS.values()) if config.cameras is None else config.cameras,
        prompt_format=PromptFormat(config.prompt_format or PromptFormat.STATE),
        compute_dtype=config.compute_dtype or ("bfloat16" if is_full(model) else "float32"),
    )

    def dtype(name: str) -> torch.dtype:
        # What learns keeps all the digits that the file has.
        whole = not is_full(model) or learns_whole(name, config.sft.trainable)
        return float32_dtype(name) if whole else openpi_dtype(name)

    return load_pretrained(source.path, parts, statistics(demos, with_scene=False), tokenizer, dtypes=dtype)


def network_of(tensors: Mapping[str, Stored], chunk_len: int | None) -> Pi05Config:
    """The network whose weights `tensors` are, by their public names; `chunk_len` is not to be seen in them.

    Raises PretrainedError where it is none of ours.
    """
    shapes = {}
    for theirs, stored in tensors.items():
        try:
            shapes[from_lerobot(theirs)] = stored.shape
        except KeyError:
            continue  # named with all others once the network is known
    try:
        (vocab_size, width), (expert_width, action_width) = shapes["embedding.weight"], shapes["action_in.weight"]
        num_patches = shapes["vision.position"][0]
    except (KeyError, ValueError):
        raise PretrainedError(
            "the weights are no π0.5: embedding, image positions and action projection are not all there; give "
            "openpi's converted checkpoint, or LeRobot's"
        ) from None
    full = pi05()
    if (width, expert_width) == (full.vlm.width, full.expert.width):
        return dataclasses.replace(full, chunk_len=chunk_len or full.chunk_len)
    side = math.isqrt(num_patches) * NANO_PATCH
    nano = pi05_nano(
        action_width=action_width,
        chunk_len=chunk_len or 10,
        scene_width=0,
        vision=True,
        image_px=side,
        vocab_size=vocab_size,
    )
    if (width, expert_width) == (nano.vlm.width, nano.expert.width):
        return nano
    raise PretrainedError(
        f"the weights are of networks of width {width} and {expert_width}; π0.5 has {full.vlm.width} and "
        f"{full.expert.width}, the nano {nano.vlm.width} and {nano.expert.width}: take weights of one of these"
    )


def _from_checkpoint(config: FineTuneConfig, source: Source, demos: Demonstrations) -> Pi05Policy:
    loaded = checkpoint.load(source.path, data=_asked_format(config, source.path))
    policy = loaded.policy
    found = policy.config
    if found.cameras and not _image_px(demos):
        raise DemosError(f"{config.data} shows state alone, {source.path} reads {', '.join(found.cameras)}")
    if found.model.scene_width:
        _check_scene(config, demos)
    if config.chunk_len not in (None, found.model.chunk_len):
        raise CheckpointError(
            f"{source.path} predicts chunks of {found.model.chunk_len} actions, not of {config.chunk_len}; leave out "
            f"--chunk-len"
        )
    if config.tokenizer is not None:
        given = PaliGemmaTokenizer(Path(config.tokenizer)).name
        if given != policy.tokenizer.name:
            raise CheckpointError(
                f"{source.path} was trained with the tokenizer {policy.tokenizer.name}, {config.tokenizer} is {given}: "
                f"the same ids would mean other words; leave out --tokenizer"
            )
    steps = found.sde.num_steps if config.denoising_steps is None else config.denoising_steps
    settings = dataclasses.replace(
        found,
        sde=dataclasses.replace(found.sde, num_steps=steps),
        executed_len=config.executed_len or found.executed_len,
        compute_dtype=config.compute_dtype or found.compute_dtype,
    )
    normalizer = statistics(demos, with_scene=found.model.scene_width > 0) if config.statistics == "data" else None
    return _changed(policy, settings, normalizer)


def _asked_format(config: FineTuneConfig, path: Path) -> DataFormat:
    """The checkpoint's own format, but for what `config` asks for in words."""
    own = DataFormat.of(checkpoint.read_config(path))
    cameras = own.cameras if config.cameras is None else config.cameras
    prompt = own.prompt_format if config.prompt_format is None else PromptFormat(config.prompt_format)
    return dataclasses.replace(own, cameras=cameras, prompt_format=prompt)


def _changed(policy: Pi05Policy, config: PolicyConfig, normalizer: Normalizer | None = None) -> Pi05Policy:
    """`policy` with another configuration of the same network, and its weights."""
    if config == policy.config and normalizer is None:
        return policy
    with torch.device("meta"):
        changed = Pi05Policy(config, normalizer or policy.normalizer, policy.tokenizer)
    changed.model.load_state_dict(policy.model.state_dict(), assign=True)
    return changed


def _image_px(demos: Demonstrations) -> int:
    return demos.observation["image_left"].shape[1] if "image_left" in demos.observation else 0


def _check_scene(config: FineTuneConfig, demos: Demonstrations) -> None:
    if "scene" not in demos.observation:
        raise DemosError(
            f"{config.data} has neither images nor the kitchen's privileged scene: a policy would see nothing but the "
            f"robot; take a dataset with images"
        )


def _sha256(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(bytes.fromhex(sha256_of(file)))
    return digest.hexdigest()
