"""A SentencePiece model as small as can be, trained here: PaliGemma's own is not ours to ship.

Its special tokens are numbered as PaliGemma's: padding 0, end 1, beginning 2, unknown 3; bytes stand for what it does
not know.
"""

import io
import random
from pathlib import Path

import sentencepiece

WORDS = "open close the left right drawer cabinet door pick place apple from counter sink and it in to turn on off"


def train_sentencepiece(file: Path, vocab_size: int = 400, seed: int = 0) -> Path:
    """Writes a model of `vocab_size` tokens to `file`; another `seed` gives another one."""
    rng = random.Random(seed)
    words = WORDS.split()
    lines = [
        f"Task: {' '.join(rng.choices(words, k=6))}, State: {' '.join(str(rng.randrange(-1, 256)) for _ in range(16))};"
        for _ in range(200)
    ]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=vocab_size,
        model_type="bpe",
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        byte_fallback=True,
        split_digits=True,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        user_defined_symbols=["\n"],
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
    )
    file.write_bytes(model.getvalue())
    return file
