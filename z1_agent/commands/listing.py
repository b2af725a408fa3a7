"""`z1 list`: the tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from z1_agent.commands.work import Work, console
from z1_agent.presets import cpu
from z1_envs.tasks import TASKS

_WIDE = 200  # [characters]


@dataclass(frozen=True)
class List:
    """List the 24 tasks: horizon [steps], RoboCasa's and that of `z1 train`, and instruction, whose braces a scene
    fills."""

    def prepare(self, _argv: Sequence[str]) -> Work:
        """Nothing to check; the work is the table."""

        def work() -> int:
            table = Table(box=None, pad_edge=False)
            for column in ("task", "category", "horizon", "z1 train", "instruction"):
                table.add_column(column, no_wrap=column != "instruction")
            for task in TASKS.values():
                table.add_row(
                    task.name, task.category, str(task.horizon), str(cpu(task.name).horizon), task.instruction
                )
            # One line per task for programs that read it, however narrow they say they are.
            Console(width=None if console.is_terminal else _WIDE, highlight=False).print(table)
            return 0

        return work
