"""PaliGemma's tokenizer: a SentencePiece model that the user has, or the hub gives.

The file is `paligemma_tokenizer.model` of openpi's assets, or `tokenizer.model` of google/paligemma-3b-pt-224, which
the hub gives to those who have accepted its terms. It is not shipped with this package.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from numpy.typing import NDArray
from sentencepiece import SentencePieceProcessor

from z1_agent.tokenizer import check_instructions, check_lengths, clean, padded, prompt

HUB_REPOSITORY, HUB_FILE = "google/paligemma-3b-pt-224", "tokenizer.model"
PREFIX = "paligemma-"
_PAD = 0


class TokenizerError(RuntimeError):
    """A tokenizer's file that is missing or is none."""


class PaliGemmaTokenizer:
    """The SentencePiece model in `file`. Its name holds the file's sha256, so that checkpoints know it again.

    Raises TokenizerError where the file is missing, is no SentencePiece model, or has no mark for a prompt's beginning.
    """

    def __init__(self, file: Path) -> None:
        try:
            content = Path(file).read_bytes()
            self._model = SentencePieceProcessor(model_proto=content)
        except (OSError, RuntimeError) as error:
            raise TokenizerError(
                f"{file} is not a SentencePiece model: {error}; give PaliGemma's tokenizer.model"
            ) from error
        if self._model.bos_id() < 0:
            raise TokenizerError(f"{file} has no token for a prompt's beginning; give PaliGemma's tokenizer.model")
        self.content: bytes | None = content
        self.name = PREFIX + hashlib.sha256(content).hexdigest()[:12]
        self.vocab_size: int = self._model.vocab_size()

    def prompts(self, instructions: Sequence[str], bins: NDArray | None) -> tuple[NDArray, NDArray]:
        """See `Tokenizer`.

        Raises ValueError for an instruction that is empty, and for a prompt longer than MAX_TOKENS.
        """
        check_instructions(instructions)
        if bins is None:
            # openpi encodes the line break apart from the text, which is not the same for every model.
            line_break = self._model.encode("\n")
            rows = [[*self._model.encode(clean(text), add_bos=True), *line_break] for text in instructions]
        else:
            texts = [prompt(text, row) for text, row in zip(instructions, bins, strict=True)]
            rows = self._model.encode(texts, add_bos=True)
        check_lengths(instructions, [len(row) for row in rows])
        return padded(rows, _PAD)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`."""
        return self._model.decode(list(ids))


def hub_tokenizer() -> PaliGemmaTokenizer:
    """PaliGemma's tokenizer from the Hugging Face hub, or from its cache.

    Raises TokenizerError where the hub cannot be reached or does not give it.
    """
    try:
        return PaliGemmaTokenizer(Path(huggingface_hub.hf_hub_download(HUB_REPOSITORY, HUB_FILE)))
    except (LocalEntryNotFoundError, HfHubHTTPError) as error:
        raise TokenizerError(
            f"the hub does not give {HUB_REPOSITORY}/{HUB_FILE}: {error}; accept its terms there and log in with "
            f"`hf auth login`, or give the path of the file"
        ) from error
