"""Which tensors learn.

action_expert        the action expert with its modulations and projections; all else is frozen
all                  everything that is read
action_expert_lora   adapters in the action expert's layers
vlm_lora             the action expert, and adapters in the vision-language model's layers
all_lora             adapters in the layers of the action expert, the vision-language model and the vision tower
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import nn

from z1_agent import lora
from z1_agent.lora import Adapters, LoraConfig
from z1_agent.policy import Pi05Policy

Trainable = Literal["action_expert", "all", "action_expert_lora", "vlm_lora", "all_lora"]

# Prefixes of the network's parameter names, by what they belong to.
GROUPS: dict[str, tuple[str, ...]] = {
    "action_expert": ("expert.", "action_in.", "action_out.", "time_in.", "time_out."),
    "vlm": ("vlm.", "embedding."),
    "vision": ("vision.", "projector."),
    "scene": ("scene.",),
}

# Groups that learn whole, and parts of the network (lora.PARTS) that learn through adapters.
_WHOLE: dict[str, tuple[str, ...]] = {
    "action_expert": ("action_expert",),
    "all": ("action_expert", "vlm", "vision", "scene"),
    "action_expert_lora": (),
    "vlm_lora": ("action_expert",),
    "all_lora": (),
}
_ADAPTED: dict[str, tuple[str, ...]] = {
    "action_expert": (),
    "all": (),
    "action_expert_lora": ("expert",),
    "vlm_lora": ("vlm",),
    "all_lora": ("expert", "vlm", "vision"),
}
_FACTORS = (".lora_a", ".lora_b")


@dataclass(frozen=True)
class Selection:
    """What learns: parameter names of the network by group."""

    names: dict[str, tuple[str, ...]]

    @property
    def moves_prefix(self) -> bool:
        """Whether a prefix depends on what learns: then none may be reused."""
        return bool(self.names.keys() - {"action_expert"})

    def parameters(self, policy: Pi05Policy) -> list[nn.Parameter]:
        """The tensors themselves, in the network's order."""
        chosen = {name for names in self.names.values() for name in names}
        return [parameter for name, parameter in policy.model.named_parameters() if name in chosen]


def check_trainable(trainable: str) -> None:
    """Raises ValueError where there is no such selection, with those there are."""
    if trainable not in _WHOLE:
        raise ValueError(f"no selection {trainable!r}; choose among {', '.join(get_args(Trainable))}")


def learns_whole(name: str, trainable: Trainable) -> bool:
    """Whether the parameter `name` itself learns, rather than an adapter beside it: it wants float32 masters.

    Raises KeyError where no group claims it.
    """
    return group_of(name) in _WHOLE[trainable]


def select(policy: Pi05Policy, trainable: Trainable, config: LoraConfig | None = None, *, seed: int = 0) -> Selection:
    """Make exactly the tensors of `trainable` require gradients; those are kept in float32 from then on.

    Where it needs adapters, `policy` gets those of `config` (by default LoraConfig()), drawn from `seed`, unless it has
    them; adapters of another kind are merged first. What no computation reads (`Pi05.unread`) stays frozen: weight
    decay alone must not move it.

    Raises ValueError on an unknown selection, with the known ones.
    """
    check_trainable(trainable)
    _adapt(policy, _ADAPTED[trainable], config or LoraConfig(), seed)
    unread = set(policy.model.unread())
    names: dict[str, list[str]] = {group: [] for group in GROUPS}
    for name, parameter in policy.model.named_parameters():
        group = group_of(name)
        learns = (group in _WHOLE[trainable] or name.endswith(_FACTORS)) and name not in unread
        parameter.requires_grad_(learns)
        if learns:
            parameter.data = parameter.data.float()
            names[group].append(name)
    found = {group: tuple(members) for group, members in names.items() if members}
    return Selection(found)


def merge_adapters(policy: Pi05Policy) -> None:
    """Write the adapters of `policy`, if it has any, into its weights: what it computes stays the same to rounding."""
    lora.merge(policy.model)
    policy.config = replace(policy.config, adapters=None)


def _adapt(policy: Pi05Policy, parts: tuple[str, ...], config: LoraConfig, seed: int) -> None:
    built = tuple(part for part in parts if part != "vision" or policy.config.model.vision is not None)
    wanted = Adapters(config=config, parts=built) if built else None
    if policy.config.adapters == wanted:
        return
    merge_adapters(policy)
    if wanted is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            lora.insert(policy.model, wanted)
        policy.config = replace(policy.config, adapters=wanted)


def group_of(name: str) -> str:
    """The group of a parameter of the network.

    Raises KeyError where no group claims it: a new part of the network needs a decision.
    """
    for group, prefixes in GROUPS.items():
        if name.startswith(prefixes):
            return group
    raise KeyError(f"parameter {name!r} belongs to no group of trainable.GROUPS; add it to one")
