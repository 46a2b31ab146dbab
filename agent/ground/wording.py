"""How questions are worded and how numbers are written in them: as the embedded model learnt both, or in plain English for any other model.

Numbers are always those of `policy.codec`, so that an answer is written as an action is.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from policies.codec import DIGITS, NUMBERS, write_numbers

EMBEDDED = {
    "where": "where is the {name} in view {view} ?",
    "offset": "how far is it from the tool to the {name} ?",
    "way": "which way is it from the tool to the {name} ?",
    "named offset": "{text} : how far to the {which} ?",
    "named where": "{text} : where is the {which} in view {view} ?",
    "between": "{text} : how far from the first to the second ?",
    "far side": "{text} : how far to the far side of the first ?",
    # The same question as for the offset alone: the thought of a policy begins with that offset, and goes on.
    "plan": "{text} : how far to the first ?",
    "relation": "is the {one} {word} the {other} ?",
    "colour": "what colour is {place} in view {view} ?",
    # "things": the shipped model was trained on these very words, so they stay.
    "count left": "how many things are left of the tool ?",
    "count": "how many {colour} things are there ?",
    "done": "is it done: {text} ?",
    # Of questions that need no simulator state; as far as possible in words that the shipped model knows.
    "action": "which way is it from view 1 to view {second} ?",
    "apart": "how far is it from view 1 to view {second} ?",
    "same": "is view {second} of view 1 ?",
    "moved": "where is it from view {first} to view {second} ?",
    "left": "{text} : how far is it to done ?",
    "position": "where is the {name} ?",
    "entry offset": "how far is it from the {one} to the {other} ?",
    "nearer": "is the {one} nearer to the {name} than the {other} is ?",
}
# A question about one object ends with its name, or with the instruction that names it: so the answer always lies as many tokens behind the name.
ENGLISH = {
    "where": "Where in view {view} is the {name}?",
    "offset": "How far is it from the tool to the {name}?",
    "way": "Which way is it from the tool to the {name}?",
    "named offset": "How far is it from the tool to the {which} object? Task: {text}.",
    "named where": "Where in view {view} is the {which} object? Task: {text}.",
    "between": "How far is it from the first object to the second? Task: {text}.",
    "far side": "How far is it from the tool to the far side of the first object? Task: {text}.",
    "plan": "Say how far the first and the second object are, then how far the far side of the first is. Task: {text}.",
    "look and move": "Say where the first object is (x y), then the move to it. Task: {text}.",
    "relation": "Is the {one} {word} the {other}?",
    "colour": "What colour is the object at{place} in view {view}?",  # a number begins with a space
    "count left": "How many coloured objects are left of the tool?",
    "count": "How many {colour} objects are there?",
    "action": "Which action was taken between view 1 and view {second}?",
    "apart": "How many decisions lie between view 1 and view {second}?",
    "same": "Are view 1 and view {second} of the same place?",
    "moved": "Where did something move between view {first} and view {second}?",
    "left": "How many decisions are left? Task: {text}.",
    "position": "What are the coordinates of the {name}?",
    "entry offset": "How far is it from the {one} to the {other}?",
    "nearer": "Is the {one} nearer to the {name} than the {other} is?",
    "done": "is it done: {text} ?",  # the default of `label.question`, which a detector is then asked
}


@dataclass(frozen=True)
class Wording:
    """Questions and numbers in the form that a model reads and writes; plain values, since environments may live in other processes."""

    english: bool = False
    """Whether questions are plain English, not the embedded model's."""
    numbers: Literal["bins", "digits"] = "bins"
    """`policy.codec`."""

    def ask(self, question: str, **words: object) -> str:
        """Return the text of a question, with `words` in its blanks."""
        return (ENGLISH if self.english else EMBEDDED)[question].format(**words)

    def write(self, *shares: float) -> str:
        """Return numbers in [0, 1] as the codec writes them; values outside are clipped, and NaN is a ValueError."""
        if np.isnan(shares).any():
            raise ValueError("the simulator's state is not a number")
        return write_numbers(np.array(shares), self.numbers, NUMBERS if self.numbers == "bins" else 10**DIGITS)


OWN = Wording()  # the embedded model's


def wording_of(policy: Any) -> Wording:
    """Return the wording for a `Vlm`: the embedded model's for it and for models made like it, which are those with number tokens."""
    return Wording(f"<n{NUMBERS - 1}>" not in policy.processor.tokenizer.get_vocab(), policy.config.codec)
