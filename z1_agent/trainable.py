"""Which tensors learn."""

from dataclasses import dataclass

from z1_agent.policy import Pi05Policy

# Prefixes of the network's parameter names, by what they belong to.
GROUPS: dict[str, tuple[str, ...]] = {
    "action_expert": ("expert.", "action_in.", "action_out.", "time_in.", "time_out."),
    "vlm": ("vlm.", "embedding."),
    "vision": ("vision.", "projector."),
    "scene": ("scene.",),
}

SELECTIONS: dict[str, tuple[str, ...]] = {
    "action_expert": ("action_expert",),
    "all": ("action_expert", "vlm", "vision", "scene"),
}


@dataclass(frozen=True)
class Selection:
    """What learns: parameter names of the network by group, and how many numbers that is of how many."""

    names: dict[str, tuple[str, ...]]
    num_trainable: int
    num_total: int


def select(policy: Pi05Policy, selection: str) -> Selection:
    """Make exactly the tensors of `selection` require gradients.

    What no computation reads (`Pi05.unread`) stays frozen: weight decay alone must not move it.

    Raises ValueError on an unknown selection, with the known ones.
    """
    if selection not in SELECTIONS:
        raise ValueError(f"no selection {selection!r}; choose among {', '.join(SELECTIONS)}")
    unread = set(policy.model.unread())
    names: dict[str, list[str]] = {group: [] for group in SELECTIONS[selection]}
    num_trainable = num_total = 0
    for name, parameter in policy.model.named_parameters():
        group = group_of(name)
        learns = group in names and name not in unread
        parameter.requires_grad_(learns)
        num_total += parameter.numel()
        if learns:
            parameter.data = parameter.data.float()
            names[group].append(name)
            num_trainable += parameter.numel()
    found = {group: tuple(members) for group, members in names.items() if members}
    return Selection(found, num_trainable, num_total)


def group_of(name: str) -> str:
    """The group of a parameter of the network.

    Raises KeyError where no group claims it: a new part of the network needs a decision.
    """
    for group, prefixes in GROUPS.items():
        if name.startswith(prefixes):
            return group
    raise KeyError(f"parameter {name!r} belongs to no group of trainable.GROUPS; add it to one")
