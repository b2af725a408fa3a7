"""All tasks at a glance: a film of many small ones with their names, and a thumbnail of each.

clips = {"OpenDrawer": film_episode(envs, agent, seed=0), …}
write_gallery(clips, Path("gallery.mp4"))
"""

from pathlib import Path

import imageio.v2 as imageio
import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from z1_envs.agents import Agent
from z1_envs.video import ALONE, Filmed, FilmedEnv, Image, film_writer, framed, half_size

NUM_COLUMNS = 6
_CAPTION_PX, _FONT_PX = 18, 13  # heights
_STRIP, _TEXT = (24, 24, 24), (240, 240, 240)  # colours of captions
_AT_WORK = 0.6  # share of an episode after which an expert's gripper is at its target


def film_episode(envs: FilmedEnv, agent: Agent, *, seed: int) -> list[Image]:
    """Pictures [height, width, 3] of an episode of lane 0, every second step, the frame of the last in the colour of
    its outcome. Raises as `record_rollout`.
    """
    filmed = Filmed.begin(envs, agent, seed=seed, chunk_len=None)
    stills = filmed.roll(np.arange(envs.num_envs) == 0)
    return [framed(still, filmed.colour(0, ALONE)) for still, *_ in stills]


def write_gallery(clips: dict[str, list[Image]], path: Path) -> None:
    """Films all `clips` side by side, in half size with their names, to the mp4 file `path`; a clip that ends earlier
    stands still. At least one clip. Where writing fails, `path` is as it was.
    """
    captions = {name: _caption(name, clip[0].shape[1] // 2) for name, clip in clips.items()}
    with film_writer(path) as append:
        for index in range(max(map(len, clips.values()))):
            tiles = [
                np.concatenate([captions[name], half_size(clip[min(index, len(clip) - 1)])])
                for name, clip in clips.items()
            ]
            append(_table(tiles))


def write_sheet(clips: dict[str, list[Image]], path: Path) -> None:
    """One picture of all `clips`, with their names, each where its gripper is at work; a PNG or JPEG file."""
    tiles = [np.concatenate([_caption(name, clip[0].shape[1] // 2), _thumbnail(clip)]) for name, clip in clips.items()]
    imageio.imwrite(path, _table(tiles))


def write_thumbnail(clip: list[Image], path: Path) -> None:
    """The picture of `clip` where its gripper is at work, in half size as a PNG or JPEG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    imageio.imwrite(path, _thumbnail(clip))


def _thumbnail(clip: list[Image]) -> Image:
    return half_size(clip[int(_AT_WORK * len(clip))])


def _table(tiles: list[Image]) -> Image:
    missing = -len(tiles) % NUM_COLUMNS if len(tiles) > NUM_COLUMNS else 0
    tiles = tiles + [np.zeros_like(tiles[0])] * missing
    rows = [tiles[i : i + NUM_COLUMNS] for i in range(0, len(tiles), NUM_COLUMNS)]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])


def _caption(text: str, width: int) -> Image:
    strip = Pillow.new("RGB", (width, _CAPTION_PX), _STRIP)
    font = ImageFont.load_default(_FONT_PX)
    ImageDraw.Draw(strip).text((width / 2, _CAPTION_PX / 2), text, fill=_TEXT, font=font, anchor="mm")
    return np.asarray(strip)
