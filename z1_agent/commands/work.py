"""What a command hands back once its checks have passed, and where it speaks."""

from collections.abc import Callable

from rich.console import Console

Work = Callable[[], int]  # does what was asked, and returns the exit code
console = Console(highlight=False, soft_wrap=True)
