"""What a person at the terminal sees and can do: bars with the time left, and Ctrl-C, or SIGTERM from a scheduler."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

_SECONDS_BETWEEN_LINES = 10.0  # where the output is a file
_AT_ONCE = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}

INTERRUPTED = 130  # exit code of a process that Ctrl-C has ended


class Stopped(Exception):  # noqa: N818 (nothing went wrong)
    """The person pressed Ctrl-C, or the machine wants to end, and what can be kept is on disk."""


class StopRequest:
    """Within `listen()`, the first Ctrl-C or SIGTERM sets `made`; a second one of the same aborts at once."""

    def __init__(self) -> None:
        self.made = False

    def check(self) -> None:
        """Raises Stopped where a stop is wanted: for work that is repeated rather than saved."""
        if self.made:
            raise Stopped

    @contextmanager
    def listen(self, console: Console) -> Iterator[None]:
        """Takes over SIGINT and SIGTERM; gives them back at the end."""

        def on_signal(number: int, _frame: FrameType | None) -> None:
            self.made = True
            signal.signal(number, _AT_ONCE[signal.Signals(number)])
            # Plain: rich reads its table of emoji when it first prints, and may be in the middle of that.
            console.print("Stopping after this round; Ctrl-C again aborts at once.", markup=False, emoji=False)

        previous = {number: signal.signal(number, on_signal) for number in _AT_ONCE}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


class Bar:
    """One stage's progress: a live line in a terminal, a line now and then elsewhere."""

    def __init__(self, console: Console, title: str, *, total: int, done: int) -> None:
        """done: how much of `total` an earlier process has done, which says nothing about the time left."""
        self._console, self._title, self._total = console, title, total
        self._first, self._start, self._last_line = done, time.monotonic(), 0.0
        columns = (
            TextColumn("{task.description:<13}"),
            BarColumn(10),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
        )
        self._live = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._live.add_task(title, total=total, completed=done, text="")

    def __enter__(self) -> "Bar":
        self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._live.stop()

    def update(self, done: int, text: str = "") -> None:
        """`done` of the total; `text` stands beside the bar."""
        now = time.monotonic()
        text = f"{self._time_left(done, now)}  {text}".strip()
        self._live.update(self._task, completed=done, text=text)
        if not self._console.is_terminal and (done == self._total or now - self._last_line > _SECONDS_BETWEEN_LINES):
            self._last_line = now
            self._console.print(f"{self._title} {done}/{self._total}  {text}")

    def _time_left(self, done: int, now: float) -> str:
        if done <= self._first:
            return ""
        seconds = round((now - self._start) / (done - self._first) * (self._total - done))
        return f"{seconds // 60}:{seconds % 60:02d} left" if done < self._total else f"{now - self._start:.0f} s"
