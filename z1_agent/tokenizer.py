"""Prompts and their tokens.

The prompt follows π0.5: the normalised state in 256 bins, in words, behind the instruction; or, as some of its public
fine-tunings have it, the instruction alone. Source: arXiv 2504.16054 and the public tokenizer's output, of which tests
hold examples. `NanoTokenizer` is this
project's own small vocabulary: one token per state bin and per word of the kitchen's instructions, so that
a prompt of 16 bins takes about 30 tokens.
"""

import hashlib
import re
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

MAX_TOKENS = 200  # π0.5 was trained with prompts of at most so many
NUM_BINS = 256
_SHOWN = 80  # characters of an instruction that a refusal repeats
_BIN_EDGES = np.linspace(-1, 1, NUM_BINS + 1)[:-1]


class PromptFormat(StrEnum):
    """What a prompt says. A policy must be asked in the format it was trained with.

    STATE: instruction and binned state, of the env's width, not padded (openpi's π0.5 base model; LeRobot from 0.6 on).
    TEXT: the instruction and a line break (openpi's pi05_libero). Such a policy has no proprioception at all.
    """

    STATE = "state"
    TEXT = "text"


def state_bins(state: NDArray) -> NDArray:
    """Bins int64 [..., S] of the normalised state: 0..255 over [-1, 1], 255 above, -1 below, as π0.5
    was trained.
    """
    return np.searchsorted(_BIN_EDGES, state, side="right") - 1


def clean(instruction: str) -> str:
    """The instruction as it stands in a prompt."""
    return instruction.strip().replace("_", " ").replace("\n", " ")


def prompt(instruction: str, bins: NDArray) -> str:
    """The prompt of one observation; bins int64 [S]."""
    return f"Task: {clean(instruction)}, State: {' '.join(map(str, bins))};\nAction: "


def check_instructions(instructions: Sequence[str]) -> None:
    """Raises ValueError where one is no text or empty: a policy that is not told what to do does anything."""
    for index, text in enumerate(instructions):
        if not isinstance(text, str) or not clean(text).strip():
            raise ValueError(f"instruction {index} is {text!r}; say in words what to do")


def check_lengths(instructions: Sequence[str], lengths: Sequence[int]) -> None:
    """Raises ValueError where a prompt has more than MAX_TOKENS of its `lengths` [tokens]: cut, it would lose its end,
    where the policy is told that actions follow; as it is, it would keep all others waiting.
    """
    for text, length in zip(instructions, lengths, strict=True):
        if length > MAX_TOKENS:
            shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
            raise ValueError(
                f"the prompt of {shown!r} takes {length} tokens, at most {MAX_TOKENS} fit; shorten the text"
            )


class Tokenizer(Protocol):
    """Prompts to token ids. `name` identifies the vocabulary: equal names give equal ids.

    content: the model file, of which a checkpoint holds a copy; None where the program alone can make the tokenizer.
    """

    @property
    def name(self) -> str: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def content(self) -> bytes | None: ...
    def prompts(self, instructions: Sequence[str], bins: NDArray | None) -> tuple[NDArray, NDArray]:
        """Ids int64 [B, T] and mask bool [B, T] of B prompts, T the longest; bins int64 [B, S], None for
        `PromptFormat.TEXT`.

        Raises ValueError for instructions that are empty, and for prompts longer than MAX_TOKENS.
        """
        ...


# Words of the instructions of the 24 tasks, then the objects and receptacles they name.
_WORDS = """
a and at button close coffee counter dispenser door doors drawer faucet for from front in into it left
located machine middle of off on onto open out pick place press rear right serve sink spout start stop the
to turn under up with center bottom top back burner cabinet fridge hinge kitchen microwave navigate shelf
single double stove toaster oven

alcohol apple asparagus avocado bagel baguette banana bar barrel basket bean beer bell block bottle bottled
bowl box boxed bread broccoli cake can candle canned carrot cereal cheese chicken chips chocolate colander
condiment container corn croissant cucumber cup cupcake cutting board donut drink drumstick dates egg
eggplant fish food fork garlic ginger grapes hot dog honey ice cream jam jar jug juice ketchup kettle kiwi
knife ladle lemon lid lime liquor lollipop mango marshmallow meat milk muffin mug mushroom mustard nut nuts
oil onion orange pan pancake pastry peach peanut pear pepper pineapple pizza plate pot potato rolling pin
salsa sandwich sauce sausage scissors shaker shrimp skewers soap soda spatula sponge spoon spray squash
steak straw strawberry sugar sweet syrup tangerine tea teapot thermos tomato tofu tong tray tupperware
utensil vegetable vinegar waffle water whisk wine yogurt
"""
_SPECIAL = ("<pad>", "<bos>", "Task:", ", State:", ";\nAction: ", ".")
_BINS = tuple(f" {bin_index}" for bin_index in range(-1, NUM_BINS))


def _words() -> tuple[str, ...]:
    words = _WORDS.split()
    first = ("Open", "Close", "Pick", "Place", "Press", "Turn", "Navigate", "Start", "Stop")
    return tuple(f" {word}" for word in dict.fromkeys((*words, *first)))


_PIECES = (*_SPECIAL, *_BINS, *_words())
_IDS = {piece: index for index, piece in enumerate(_PIECES)}
_PAD, _BOS, _TASK, _STATE, _ACTION = range(5)
_FIRST_BIN = len(_SPECIAL) + 1  # the id of bin 0; bin -1 stands before it
_SPLIT = re.compile(r"Task:|, State:|;\nAction: | -?[0-9]+| [A-Za-z]+|.", re.DOTALL)


class NanoTokenizer:
    """The vocabulary above, then 256 bytes for everything else."""

    name = "nano-" + hashlib.sha256("\0".join(_PIECES).encode()).hexdigest()[:12]
    vocab_size = len(_PIECES) + 256
    content: bytes | None = None
    bins = slice(_FIRST_BIN - 1, _FIRST_BIN + NUM_BINS)  # ids of the state's bins, from -1 to 255

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, without the leading one that `prompts` adds."""
        return list(_encode(text))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; `decode(encode(text)) == text`. Padding and the leading token read as
        nothing.
        """
        pieces = (_PIECES[i].encode() if i < len(_PIECES) else bytes([i - len(_PIECES)]) for i in ids if i > _BOS)
        return b"".join(pieces).decode(errors="replace")

    def prompts(self, instructions: Sequence[str], bins: NDArray | None) -> tuple[NDArray, NDArray]:
        """See `Tokenizer`; the same ids as `encode(prompt(...))`, without writing the numbers out."""
        check_instructions(instructions)
        if bins is None:
            rows = [(_BOS, *_encode(f"{clean(text)}\n")) for text in instructions]
            check_lengths(instructions, [len(row) for row in rows])
            return padded(rows, _PAD)
        heads = [(_BOS, _TASK, *_encode(f" {clean(text)}"), _STATE) for text in instructions]
        lengths = np.array([len(head) for head in heads]) + bins.shape[1] + 1
        check_lengths(instructions, lengths.tolist())
        ids = np.full((len(heads), lengths.max()), _PAD)
        for row, head, row_bins, length in zip(ids, heads, bins + _FIRST_BIN, lengths, strict=True):
            row[: len(head)] = head
            row[len(head) : length - 1] = row_bins
            row[length - 1] = _ACTION
        return ids, np.arange(ids.shape[1]) < lengths[:, None]


def padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[NDArray, NDArray]:
    """Ids int64 [B, T] of B rows, each filled up with `pad` to the longest, and mask bool [B, T]."""
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(mask.shape, pad)
    ids[mask] = [token for row in rows for token in row]
    return ids, mask


@lru_cache(maxsize=4096)
def _encode(text: str) -> tuple[int, ...]:
    ids: list[int] = []
    for piece in _SPLIT.findall(text):
        known = _IDS.get(piece)
        ids += [known] if known is not None else [len(_PIECES) + byte for byte in piece.encode()]
    return tuple(ids)
