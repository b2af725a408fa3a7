"""`z1 doctor`: what this machine has and lacks."""

from collections.abc import Sequence
from dataclasses import dataclass

from z1_agent import doctor
from z1_agent.commands.work import Work, console


@dataclass(frozen=True)
class Doctor:
    """Say what this machine has, what is missing, and the command that mends it."""

    def prepare(self, _argv: Sequence[str]) -> Work:
        """Nothing to check; the work is the examination."""
        return lambda: doctor.show(doctor.examine(), console)
