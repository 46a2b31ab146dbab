"""Actions as tokens, both ways. Every reply that the codec allows parses, and every action id within the box decodes and encodes to itself.

`bins` gives each action dimension one special token out of N (uniform bins over the action box). `digits` writes the bin as a
number of fixed width in plain text, so it suits any off-the-shelf model (VLA-0, arXiv 2510.13054).
"""

from typing import Any

import numpy as np

DIGITS = 2  # width of a number in plain text: 100 bins
NUMBERS = 65  # number tokens of the embedded model, in which it also answers questions
REACH = 0.4  # metres: in its answers a distance of this length fills half of the number range
NUMBER = "#"  # stands for a number in the template of a thought


class Codec:
    """Translates between float32[H, A] actions and int64[L] tokens, L = (T + H x A) x K, T = numbers of a thought, K = tokens of one number.

    Args:
        numerals_NK: int64[N, K], the tokens of each of the N bins; all of one length.
        low, high: float[A], finite bounds of an action.
        chunk: H, actions in a reply.
        counts: int[A], how many values a discrete dimension has (low, low + 1, ...); 0 or None where it is continuous.
        thought: T, numbers that stand before the actions.
        thoughts_MK: int64[M, K], the tokens of each number that a thought may hold; None: the same as the bins.
        scale: the bins cover the action box so many times about its middle; what lies beyond the box is its border.

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
        assert len(np.unique(numerals_NK, axis=0)) == len(numerals_NK), "two bins share their tokens"
        self.numerals_NK = numerals_NK.astype(np.int64)
        self.low, self.high = np.asarray(low, np.float64), np.asarray(high, np.float64)
        self.chunk, self.num_bins, self.width = chunk, *numerals_NK.shape
        self.thought, self._thoughts_MK = thought, self.numerals_NK if thoughts_MK is None or not thought else thoughts_MK.astype(np.int64)
        self.thought_length = thought * self.width
        self.length = self.thought_length + chunk * len(self.low) * self.width
        self.vocabulary_U = np.union1d(self.numerals_NK, self._thoughts_MK)
        """int64[U], ascending: the only token ids that a reply may hold."""
        counts = np.zeros(len(self.low), np.int64) if counts is None else counts
        if (counts > self.num_bins).any():
            raise ValueError(f"An action has {counts.max()} values and policy.num_bins is {self.num_bins}; set it to {counts.max()} or use 'digits'.")
        self._sizes_A = np.where(counts > 0, counts, self.num_bins)  # bins in use
        self._span_A = np.where(counts > 0, 1, scale) * (self.high - self.low)
        self._first_A = (self.low + self.high - self._span_A) / 2  # the first bin's number
        self._bins = {tuple(row): i for i, row in enumerate(self.numerals_NK.tolist())}

    def encode(self, actions_HA: np.ndarray) -> np.ndarray:
        """Return the tokens whose bins lie nearest to the actions, without a thought; actions outside the box are clipped."""
        within = np.clip(np.asarray(actions_HA, np.float64), self.low, self.high)
        share = (within - self._first_A) / np.maximum(self._span_A, 1e-12)
        bins = np.rint(share * (self._sizes_A - 1)).astype(np.int64)
        return self.numerals_NK[bins.reshape(-1)].reshape(-1)

    def decode(self, tokens_L: np.ndarray) -> np.ndarray:
        """Return the float32[H, A] actions of a reply.

        Raises:
            ValueError: the tokens are not a reply of this codec.
        """
        try:
            bins = [self._bins[tuple(row)] for row in np.asarray(tokens_L)[self.thought_length :].reshape(-1, self.width).tolist()]
        except (KeyError, ValueError) as error:
            raise ValueError(f"These {len(tokens_L)} tokens are no action reply of {self.length} tokens.") from error
        bins_HA = np.asarray(bins).reshape(self.chunk, len(self.low))
        if (bins_HA >= self._sizes_A).any():
            raise ValueError("A discrete action of this reply has a value that the environment does not know.")
        share = bins_HA / np.maximum(self._sizes_A - 1, 1)
        return np.clip(self._first_A + share * self._span_A, self.low, self.high).astype(np.float32)

    def columns(self, tokens: np.ndarray) -> np.ndarray:
        """Return each token's place in `vocabulary_U`; same shape as `tokens`."""
        return np.searchsorted(self.vocabulary_U, tokens)

    def allowed(self, written_BJ: np.ndarray) -> np.ndarray:
        """Return bool[B, U]: which tokens may follow the first J tokens of each reply."""
        number, begun = divmod(written_BJ.shape[1], self.width)
        number_B1J = written_BJ[:, None, written_BJ.shape[1] - begun :]
        action = number - self.thought
        usable_NK = self._thoughts_MK if action < 0 else self.numerals_NK[: self._sizes_A[action % len(self.low)]]
        possible_BN = (usable_NK[None, :, :begun] == number_B1J).all(-1)
        allowed_BU = np.zeros((len(written_BJ), len(self.vocabulary_U)), bool)
        rows, bins = np.nonzero(possible_BN)
        allowed_BU[rows, self.columns(usable_NK[bins, begun])] = True
        return allowed_BU

    def masks(self, tokens_BL: np.ndarray) -> np.ndarray | None:
        """Return bool[B, L, U]: what was allowed at each token of whole replies; None where that is always everything."""
        if self.width == 1 and (self._sizes_A == self.num_bins).all() and len(self.vocabulary_U) == self.num_bins:
            return None
        return np.stack([self.allowed(tokens_BL[:, :j]) for j in range(tokens_BL.shape[1])], axis=1)


def bins(tokenizer: Any, num_bins: int = 0) -> np.ndarray:
    """Return int64[num_bins, 1]: number tokens `<n0>` .. of the tokenizer, spread evenly over those it has; 0: all of them.

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
    """Return int64[100, K]: the tokens of ' 00' .. ' 99', verified to stay themselves when written in a row.

    Raises:
        ValueError: the tokenizer splits these numbers into different lengths, or merges neighbours.
    """
    words = [f" {i:0{DIGITS}d}" for i in range(10**DIGITS)]
    # A tokenizer may treat the beginning of a text specially, so numbers are read off behind another number.
    lead = tokenizer.encode(" 00", add_special_tokens=False)
    rows = [tokenizer.encode(" 00" + word, add_special_tokens=False)[len(lead) :] for word in words]
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        raise ValueError("policy.codec 'digits' needs a tokenizer that writes all of ' 00' .. ' 99' in one length; this one does not.")
    joined = tokenizer.encode("".join(words), add_special_tokens=False)
    if joined[len(lead) :] != [token for row in rows[1:] for token in row]:
        raise ValueError("policy.codec 'digits' needs numbers that keep their tokens when written in a row; this tokenizer merges them.")
    return np.array(rows)


def told(shares: np.ndarray, kind: str, count: int) -> str:
    """Return numbers in [0, 1] as text, each the nearest of the `count` numbers that a codec of this kind writes; those outside are clipped."""
    places = np.rint(np.clip(shares, 0, 1) * (count - 1)).astype(int)
    return "".join(f"<n{i}>" if kind == "bins" else f" {i:0{DIGITS}d}" for i in places)


def words(tokenizer: Any, thought: str, codec: Codec) -> list[list[int]]:
    """Return, for each of a reply's L tokens, the fixed tokens that stand before it: the words of the thought's template between its numbers."""
    *before, last = thought.split(NUMBER)
    said = [tokenizer.encode(piece, add_special_tokens=False) if piece else [] for piece in (*before, last)]
    starts = dict(zip(range(0, codec.length, codec.width), said, strict=False))
    return [starts.get(j, []) for j in range(codec.length)]
