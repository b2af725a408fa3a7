"""`z1 assets`: what the official RoboCasa draws its kitchens from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.table import Table
from rich.text import Text
from tyro.conf import Positional, arg, subcommand

from z1_agent.commands.at_the_door import make_directory
from z1_agent.commands.work import Work, console
from z1_envs.robocasa.assets import check_assets, check_place, is_stand_in, missing_packs, write_stand_in
from z1_envs.robocasa.compat import assets_folder
from z1_envs.robocasa.versions import ASSETS_VARIABLE, Installed, installed
from z1_envs.tasks import get_task


@dataclass(frozen=True, kw_only=True)
class StandIn:
    """Write plain stand-ins for RoboCasa's assets to FOLDER, in seconds and 7 MB, to try and to test all tasks on.

    folder: a new or empty one. What is measured on stand-ins is no result on RoboCasa, and says so.
    """

    folder: Positional[Path]

    def prepare(self) -> Work:
        """Checks the folder; the work is the writing."""
        try:
            check_place(self.folder)
        except FileExistsError as error:
            raise ValueError(str(error)) from error
        make_directory(self.folder)

        def work() -> int:
            folder = write_stand_in(self.folder)
            _say(f"Wrote stand-ins for RoboCasa's assets. To use them: export {ASSETS_VARIABLE}={folder}")
            return 0

        return work


@dataclass(frozen=True, kw_only=True)
class Check:
    """Say which packs of assets are there and which are missing, with the command for these; exit code 1 then.

    task: that needs them, by default any. folder: by default the one that RoboCasa would use.
    """

    task: Positional[str | None] = None
    folder: Path | None = None

    def prepare(self) -> Work:
        """Looks for RoboCasa; the work is the looking into the folder."""
        task = "RoboCasa" if self.task is None else get_task(self.task).name
        found = installed()
        folder = assets_folder(self.folder, found)
        return lambda: _report(task, folder, found)


@dataclass(frozen=True)
class Assets:
    """The assets of the official RoboCasa: write stand-ins, or check what is there."""

    do: Annotated[
        Annotated[StandIn, subcommand("stand-in")] | Annotated[Check, subcommand("check")],
        arg(name=""),
    ]

    def prepare(self, _argv: Sequence[str]) -> Work:
        """Raises RoboCasaError where RoboCasa is not installed."""
        return self.do.prepare()


def _report(task: str, folder: Path, found: Installed) -> int:
    _say(f"RoboCasa {found.version.name}, assets in {folder}")
    if is_stand_in(folder):
        _say("Plain stand-ins, for all tasks; infos and reports say robocasa-stand-in.")
    elif folder.is_dir():
        missing = missing_packs(folder, found)
        table = Table(box=None, pad_edge=False, show_header=False)
        for pack in found.version.packs:
            table.add_row(Text("missing", "red") if pack in missing else Text("ok", "green"), str(pack))
        console.print(table)
    try:
        check_assets(task, folder, found)
    except (FileNotFoundError, ValueError) as error:
        _say(str(error))
        return 1
    return 0


def _say(text: str) -> None:
    console.print(text, markup=False)  # folders and commands have brackets
