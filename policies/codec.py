"""Converts actions to tokens and back. Every reply that the codec allows can be decoded, and every bin within the box decodes and encodes to itself.

| kind | how a bin is written | which models |
|---|---|---|
| `bins` | one special token `<n0>`, `<n1>`, ... (uniform bins over the action box) | those whose tokenizer has such tokens, as `etude-nano` has |
| `digits` | a number of fixed width in plain text, ' 07' (VLA-0, arXiv 2510.13054) | any off-the-shelf model |

A reply is a thought (an optional chain of thought) followed by H actions. A thought holds T numbers, and fixed words between them. The fixed words
are not part of the reply's tokens: `fixed_tokens` returns them, and the model inserts them.
"""

from typing import Any

import numpy as np

DIGITS = 2  # width of a number in plain text: 100 bins
NUMBERS = 65  # number tokens of the embedded model; its answers to questions about frames use them too
REACH = 0.4  # metres: in its answers an offset of this length fills half of the number range
LEAD = " 00"  # a number, behind which `digits` and all that follows numbers is tokenised
NUMBER = "#"  # placeholder for a number in the template of a thought (`policy.thought`)


class Codec:
    """Converts float32[H, A] actions to int64[L] tokens and back: L = (T + H x A) x K, T numbers in a thought, K tokens for one number.

    Shape suffixes: N bins, M numbers that a thought may hold, K tokens of a number, U distinct tokens of the codec, L tokens of a reply, B replies,
    J tokens written so far, A action dimensions, H actions of a reply.

    Args:
        numerals_NK: int64[N, K], the tokens of each bin; all numbers have the same length.
        low: float[A], finite lower bound of each action dimension.
        high: float[A], finite upper bound.
        chunk: H, actions in a reply.
        counts: int[A], number of values of each discrete dimension (low, low + 1, ...), 0 where it is continuous; None: all are continuous.
        thought: T, numbers before the actions.
        thoughts_MK: int64[M, K], the tokens of each number that a thought may hold; None: the same as the bins.
        scale: width of the range that the bins cover, as a multiple of the action box, about its middle; bins outside the box decode to its border.

    Raises:
        ValueError: a discrete dimension has more values than there are bins.
    """

    def __init__(
        self,
        numerals_NK: np.ndarray,
        low: np.ndarray,
        high: np.ndarray,
        chunk: int,
        counts: np.ndarray | None = None,
        thought: int = 0,
        thoughts_MK: np.ndarray | None = None,
        scale: float = 1.0,
    ) -> None:
        assert len(np.unique(numerals_NK, axis=0)) == len(numerals_NK), "two bins have the same tokens"
        self.numerals_NK = numerals_NK.astype(np.int64)
        self.low, self.high = np.asarray(low, np.float64), np.asarray(high, np.float64)
        self.chunk, self.num_bins, self.width = chunk, *numerals_NK.shape
        self.thought, self._thoughts_MK = thought, self.numerals_NK if thoughts_MK is None or not thought else thoughts_MK.astype(np.int64)
        self.thought_length = thought * self.width
        self.length = self.thought_length + chunk * len(self.low) * self.width
        self.vocabulary_U = np.union1d(self.numerals_NK, self._thoughts_MK)
        """int64[U], ascending: all token ids that a reply may hold. Log-probabilities of replies are normalised over these only."""
        counts = np.zeros(len(self.low), np.int64) if counts is None else counts
        if (counts > self.num_bins).any():
            most = int(counts.max())
            digits = f"use policy.codec digits, which writes {10**DIGITS}, " if most <= 10**DIGITS else ""
            raise ValueError(
                f"An action has {most} values, and policy.codec writes {self.num_bins} numbers; raise policy.num_bins, if the model has more number "
                f"tokens, {digits}or wrap the environment so that an action is several smaller numbers."
            )
        self.sizes_A = np.where(counts > 0, counts, self.num_bins)
        """int[A], bins in use: a discrete dimension uses only the first ones."""
        self._span_A = np.where(counts > 0, 1, scale) * (self.high - self.low)  # from the first bin's value to the last one's
        self._first_A = (self.low + self.high - self._span_A) / 2  # the first bin's value
        self._bins = {tuple(row): i for i, row in enumerate(self.numerals_NK.tolist())}

    def encode(self, actions_HA: np.ndarray) -> np.ndarray:
        """Return int64[H x A x K]: the bins that decode to the nearest actions, without a thought. Actions outside the box are clipped."""
        return self.numerals_NK[self._bins_of(actions_HA).reshape(-1)].reshape(-1)

    def nearest(self, actions: np.ndarray) -> np.ndarray:
        """Return float64[..., A]: for float[..., A] actions, those that come back when they are encoded and decoded."""
        return self._values(self._bins_of(actions))

    def shares(self, actions: np.ndarray) -> np.ndarray:
        """Return float64[..., A]: the numbers that write float[..., A] actions, as shares of all numbers; `write_numbers` makes text of them."""
        return self._bins_of(actions) / (self.num_bins - 1)

    def _bins_of(self, actions: np.ndarray) -> np.ndarray:
        """Return int64[..., A]: the bins that decode to the nearest actions."""
        within = np.clip(np.asarray(actions, np.float64), self.low, self.high)
        share = (within - self._first_A) / np.maximum(self._span_A, 1e-12)  # a dimension whose low equals its high has span 0
        place = share * (self.sizes_A - 1)
        bins = np.rint(place).astype(np.int64)
        # With a scale above 1 the first bin outside the box decodes to its border, which can be nearer than the bin at the nearest place.
        other = np.clip(bins + np.sign(place - bins).astype(np.int64), 0, self.sizes_A - 1)
        nearer = np.abs(self._values(other) - within) < np.abs(self._values(bins) - within) - 1e-9 * self._span_A
        return np.where(nearer, other, bins)

    def decode(self, tokens_L: np.ndarray) -> np.ndarray:
        """Return the float32[H, A] actions of a reply; the thought is skipped.

        Raises:
            ValueError: the tokens are not a reply of this codec.
        """
        try:
            bins = [self._bins[tuple(row)] for row in np.asarray(tokens_L)[self.thought_length :].reshape(-1, self.width).tolist()]
        except (KeyError, ValueError) as error:
            raise ValueError(f"These {len(tokens_L)} tokens are not an action reply of {self.length} tokens.") from error
        bins_HA = np.asarray(bins).reshape(self.chunk, len(self.low))
        if (bins_HA >= self.sizes_A).any():
            raise ValueError("A discrete action of this reply has a value that the environment does not have.")
        return self._values(bins_HA).astype(np.float32)

    def _values(self, bins_HA: np.ndarray) -> np.ndarray:
        """Return the float64[H, A] actions of int64[H, A] bins, within the box."""
        share = bins_HA / np.maximum(self.sizes_A - 1, 1)  # a discrete dimension with one value has size 1
        return np.clip(self._first_A + share * self._span_A, self.low, self.high)

    def description(self) -> dict[str, Any]:
        """Return all that turns a reply into actions, as JSON: value = clip(first + bin x step, low, high), bin by bin of `numbers`."""
        step_A = self._span_A / np.maximum(self.sizes_A - 1, 1)
        arrays = {"low": self.low, "high": self.high, "first": self._first_A, "step": step_A, "bins": self.sizes_A}
        tokens = {"numbers": self.numerals_NK, "thought_numbers": self._thoughts_MK}
        return {
            "chunk_size": self.chunk,
            "tokens_per_number": self.width,
            "numbers_in_thought": self.thought,
            **{name: value.tolist() for name, value in (arrays | tokens).items()},
        }

    def columns(self, tokens: np.ndarray) -> np.ndarray:
        """Return each token's index in `vocabulary_U`; same shape as `tokens`."""
        return np.searchsorted(self.vocabulary_U, tokens)

    def allowed(self, written_BJ: np.ndarray) -> np.ndarray:
        """Return bool[B, U]: which tokens may follow the int64[B, J] tokens written so far."""
        begun, usable_NK = self._place(written_BJ.shape[1])
        number_B1J = written_BJ[:, None, written_BJ.shape[1] - begun :]  # tokens of the number that is being written, `begun` so far
        possible_BN = (usable_NK[None, :, :begun] == number_B1J).all(-1)  # numbers whose first tokens are those written
        allowed_BU = np.zeros((len(written_BJ), len(self.vocabulary_U)), bool)
        rows, bins = np.nonzero(possible_BN)
        allowed_BU[rows, self.columns(usable_NK[bins, begun])] = True
        return allowed_BU

    def forced(self, place: int) -> bool:
        """Return whether the token at a place of a reply follows from the tokens before it, whatever these are: the space before digits does."""
        begun, usable_NK = self._place(place)
        beginnings = [{tuple(number) for number in usable_NK[:, :count].tolist()} for count in (begun, begun + 1)]
        return len(beginnings[0]) == len(beginnings[1])

    def _place(self, place: int) -> tuple[int, np.ndarray]:
        """Return how many tokens of its number stand before a place of a reply, and int64[N, K], the numbers that it may be a token of."""
        number, begun = divmod(place, self.width)
        action = number - self.thought  # index of the action number; negative within the thought
        return begun, self._thoughts_MK if action < 0 else self.numerals_NK[: self.sizes_A[action % len(self.low)]]

    def masks(self, tokens_BL: np.ndarray) -> np.ndarray | None:
        """Return bool[B, L, U]: which tokens were allowed at each position of complete replies; None where every token always is."""
        if self.width == 1 and (self.sizes_A == self.num_bins).all() and len(self.vocabulary_U) == self.num_bins:
            return None
        return np.stack([self.allowed(tokens_BL[:, :j]) for j in range(tokens_BL.shape[1])], axis=1)


def has_numbers(tokenizer: Any) -> bool:
    """Return whether a tokenizer has number tokens, as that of the embedded model and of models made from it."""
    return tokenizer.convert_tokens_to_ids("<n0>") not in (None, tokenizer.unk_token_id)


def bins(tokenizer: Any, num_bins: int = 0) -> np.ndarray:
    """Return int64[num_bins, 1]: number tokens `<n0>`, `<n1>`, ... of the tokenizer, spread evenly over those it has; `num_bins` 0: all of them.

    Raises:
        ValueError: the tokenizer has too few number tokens.
    """
    have = 0
    while f"<n{have}>" in tokenizer.get_vocab():
        have += 1
    if have < num_bins:
        raise ValueError(f"policy.codec 'bins' needs {num_bins} number tokens and the tokenizer has {have}; use 'digits' for this model.")
    chosen = np.rint(np.linspace(0, have - 1, num_bins or have)).astype(int)
    return np.array([[tokenizer.convert_tokens_to_ids(f"<n{i}>")] for i in chosen])


def digits(tokenizer: Any) -> np.ndarray:
    """Return int64[100, K]: the tokens of ' 00' .. ' 99', verified to stay the same when numbers are written in a row.

    Raises:
        ValueError: the tokenizer splits these numbers into different lengths, merges neighbours, or writes two of them alike.
    """
    numbers = [f" {i:0{DIGITS}d}" for i in range(10**DIGITS)]
    rows = [continued(tokenizer, number) for number in numbers]
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        raise ValueError("policy.codec 'digits' needs a tokenizer that writes all of ' 00' .. ' 99' with equally many tokens; this one does not.")
    if len(set(map(tuple, rows))) != len(rows):
        raise ValueError("policy.codec 'digits' needs a tokenizer that tells all of ' 00' .. ' 99' apart; in this one some have the same tokens.")
    if continued(tokenizer, "".join(numbers[1:])) != [token for row in rows[1:] for token in row]:
        raise ValueError("policy.codec 'digits' needs numbers that keep their tokens when written in a row; this tokenizer merges them.")
    return np.array(rows)


def continued(tokenizer: Any, text: str) -> list[int]:
    """Return the tokens of a text that follows other text. Tokenised alone, Llama 1 would write a space before it, also before one that it has."""
    lead = tokenizer.encode(LEAD, add_special_tokens=False)
    both = tokenizer.encode(LEAD + text, add_special_tokens=False)
    return both[len(lead) :] if both[: len(lead)] == lead else tokenizer.encode(text, add_special_tokens=False)  # joined tokens cannot be cut


def begun(tokenizer: Any, text: str) -> list[int]:
    """Return the tokens of a text that begins a reply: a word may need the space that the tokenizer writes, a text with a space needs no second."""
    return continued(tokenizer, text) if text.startswith(" ") else tokenizer.encode(text, add_special_tokens=False)


def numerals(tokenizer: Any, kind: str) -> np.ndarray:
    """Return int64[N, K], the tokens of all numbers that a codec of this kind ('bins' or 'digits') can write; errors as of these."""
    return bins(tokenizer) if kind == "bins" else digits(tokenizer)


def write_numbers(shares: np.ndarray, kind: str, count: int) -> str:
    """Return numbers in [0, 1] as text for a prompt, written as a codec writes actions.

    Args:
        shares: float[S]; values outside [0, 1] are clipped.
        kind: 'bins' or 'digits'.
        count: how many numbers the codec has; each share becomes the nearest one.
    """
    indices = np.rint(np.clip(shares, 0, 1) * (count - 1)).astype(int)
    return "".join(f"<n{i}>" if kind == "bins" else f" {i:0{DIGITS}d}" for i in indices)


def fixed_tokens(tokenizer: Any, thought: str, codec: Codec) -> list[list[int]]:
    """Return, for each of a reply's L tokens, the fixed tokens before it: the words of the thought's template between its numbers.

    Args:
        tokenizer: of the model.
        thought: the template `policy.thought`, with a `#` for each number.
        codec: of the policy.
    """
    first, *others = thought.split(NUMBER)
    pieces = [begun(tokenizer, first), *(continued(tokenizer, piece) if piece else [] for piece in others)]
    starts = dict(zip(range(0, codec.length, codec.width), pieces, strict=False))  # the last piece stands before the first action
    return [starts.get(j, []) for j in range(codec.length)]
