"""Which words the embedded model knows. Its vocabulary is a few hundred words; all others are spelt, letter by letter."""

import functools
import re
from pathlib import Path
from typing import Any


def unknown(text: str) -> list[str]:
    """Return the words of a text, in lower case, that are not one token of the embedded model, each once."""
    words = dict.fromkeys(re.findall(r"[^\W\d_]+", text.lower()))
    return [word for word in words if len(_tokenizer().encode(word, add_special_tokens=False).ids) != 1]


@functools.cache
def _tokenizer() -> Any:
    from tokenizers import Tokenizer  # not transformers, which takes seconds to import

    return Tokenizer.from_file(str(Path(__file__).parent / "tokenizer.json"))
