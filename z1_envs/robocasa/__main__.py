"""`python -m z1_envs.robocasa FOLDER` writes the stand-in pack of assets there."""

import sys
from pathlib import Path

from z1_envs.robocasa.assets import write_stand_in
from z1_envs.robocasa.compat import ASSETS_VARIABLE


def main(arguments: list[str]) -> int:
    """Writes the pack and says how to use it; 2 where the arguments are not one folder."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m z1_envs.robocasa FOLDER", file=sys.stderr)
        return 2
    folder = write_stand_in(Path(arguments[0]))
    print(f"wrote plain stand-ins for RoboCasa's assets; to use them: export {ASSETS_VARIABLE}={folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
