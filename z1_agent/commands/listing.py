"""`z1 list`: the tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from z1_agent.commands.work import Work, console
from z1_agent.presets import cpu
from z1_envs.tasks import TASKS


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
            console.print(table)
            return 0

        return work
