"""`z1 export`: a checkpoint in LeRobot's layout."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from z1_agent import checkpoint
from z1_agent.commands.at_the_door import make_directory
from z1_agent.commands.work import Work, console
from z1_agent.lerobot_policy import save_pretrained
from z1_agent.trainable import merge_adapters


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a checkpoint as a policy that LeRobot loads, to a directory that must not exist; adapters are merged."""

    checkpoint: Positional[Path]
    out: Positional[Path]

    def prepare(self, _argv: Sequence[str]) -> Work:
        """Loads the checkpoint; the work is the writing."""
        if self.out.exists():
            raise ValueError(f"{self.out} exists already; give another directory")
        policy = checkpoint.load_policy(self.checkpoint)
        make_directory(self.out.parent)

        def work() -> int:
            merge_adapters(policy)
            with warnings.catch_warnings(record=True) as notes:
                warnings.simplefilter("always")
                save_pretrained(policy, self.out)
            for note in notes:
                console.print(f"Note: {note.message}", markup=False)
            console.print(f"A policy for LeRobot is in {self.out}", markup=False)
            return 0

        return work
