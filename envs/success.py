"""The success rule of an environment (`env.success`): a key of its `info`, or an expression.

Expressions come from configs, which may be downloaded. So they are interpreted node by node here, with limits of size, and never run by Python.
"""

import ast
import functools
import math
import operator
import reprlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from envs.faults import in_words

KEYS = ("is_success", "success", "won")  # of `info`, tried in this order if `env.success` is empty
ENDS = ("terminated", "truncated")  # allowed as the whole rule too, where `info` has no such key
LONGEST, DEEPEST, LARGEST = 2000, 100, 10_000_000  # limits: characters and levels of an expression, numbers in an array
OPPOSITE = {"false": "true", "False": "True", "FALSE": "TRUE", "no": "yes", "No": "Yes", "NO": "YES", "0": "1", "failure": "success"}
REPEATS = "only numbers and arrays are multiplied, for a list or text would be repeated."
NAMES = ("info", "observation", "reward", "total_reward", "terminated", "truncated")
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "all": np.all,
    "any": np.any,
    "len": len,
    "max": lambda *values: np.max(values[0]) if len(values) == 1 else functools.reduce(partial(_limited, np.maximum), values),
    "min": lambda *values: np.min(values[0]) if len(values) == 1 else functools.reduce(partial(_limited, np.minimum), values),
    "norm": np.linalg.norm,
    "set": set,
    "sum": np.sum,
}
SEVERAL = ("max", "min", "norm")  # may take more than one value; the second one of norm is its order
_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, many: value in many,
    ast.NotIn: lambda value, many: value not in many,
}


class Success:
    """Decides from what an environment returns whether its present state is a success.

    Args:
        rule: empty (the usual keys of `info` in order), the name of a key of `info`, or an expression over `info`, `observation`, `reward`,
            `total_reward` (of the episode so far), `terminated` and `truncated`: `info["distance"] < 0.05`, `norm(observation[-3:]) < 0.02`.
            It may index, slice, compare, calculate, and call abs, all, any, len, max, min, norm, set, sum; everything else is refused.
            All but norm take one value, max and min several too: `max(info["left"], info["right"])`, number by number.

    Raises:
        ValueError: the rule is not such an expression.
    """

    def __init__(self, rule: str) -> None:
        self._rule = rule
        self._tree = None
        if rule and not rule.isidentifier():
            self._tree = _parse(rule)

    @property
    def of_reward(self) -> bool:
        """Return whether the rewards of an episode are enough to decide it."""
        names = {node.id for node in ast.walk(self._tree) if isinstance(node, ast.Name)} if self._tree is not None else {self._rule}
        return bool(names & {"reward", "total_reward"}) and not names & {"info", "observation", "terminated", "truncated"} and self._tree is not None

    def __call__(
        self, info: Mapping[str, Any], observation: Any, reward: float, total_reward: float, terminated: bool = False, truncated: bool = False
    ) -> bool:
        """Return whether the present state is a success.

        Raises:
            ValueError: the key is missing, the expression fails, or the value is neither a truth value nor None.
        """
        values: dict[str, Any] = dict(zip(NAMES, (info, observation, reward, total_reward, terminated, truncated), strict=True))
        if self._tree is not None:
            try:
                value = _evaluate(self._tree, values)
            except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError) as error:
                if isinstance(error, ValueError) and str(error).startswith("env.success"):  # a sentence of ours
                    raise
                raise ValueError(f"env.success {self._rule!r} fails with {in_words(error)}; info holds {_names(info)}.") from error
            return _truth(value, self._rule)
        if key := reported(info, [self._rule] if self._rule else KEYS):
            return _truth(info[key], f"info[{key!r}]")
        if self._rule in ENDS:
            return _truth(values[self._rule], self._rule)
        wanted = f"the key {self._rule!r} of env.success" if self._rule else f"one of {KEYS}, or an expression in env.success,"
        late = """if only the last info of an episode has the key, use env.success '"is_success" in info and info["is_success"]'"""
        raise ValueError(f"It reports no success: {wanted} is needed, and info holds {_names(info)}; {late}.")


def reported(info: Mapping[str, Any], keys: Sequence[str] = KEYS) -> str:
    """Return the key of `info` that reports success: the first that is not None, which stands for "not yet", or the first; '' without any."""
    return min((key for key in keys if key in info), key=lambda key: _unknown(info[key]), default="")


def disputed(info: Mapping[str, Any]) -> str:
    """Return which other of the usual keys of `info` says the opposite of the one that is read, as a phrase; '' if none does."""
    read = reported(info)
    try:
        truths = {key: _truth(info[key], key) for key in KEYS if key in info and not _unknown(info[key])}
    except Exception:  # one of them is a score, or anything else
        return ""
    other = next((key for key, truth in truths.items() if truth != truths[read]), "")
    return other and f"info[{read!r}] is {truths[read]} where info[{other!r}] is {truths[other]}"


def _parse(rule: str) -> ast.expr:
    """Return the syntax tree of an expression.

    Raises:
        ValueError: it is too long, nested too deeply, not an expression, or multiplies a list or text.
    """
    if len(rule) > LONGEST:
        raise ValueError(f"env.success has {len(rule)} characters, and at most {LONGEST} are read; let the environment compute it, as a key of info.")
    try:
        tree = ast.parse(rule, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # the parser's own limits are among them
        why = getattr(error, "msg", None) or in_words(error)
        raise ValueError(f"env.success {rule!r} is not an expression ({why}); an example: info['distance'] < 0.05.") from error
    level, depth = [tree], 0  # level by level, not recursively: a deep tree would exceed Python's recursion limit
    while level := [child for node in level for child in ast.iter_child_nodes(node)]:
        if (depth := depth + 1) > DEEPEST:
            raise ValueError(f"env.success {reprlib.repr(rule)} is nested more than {DEEPEST} deep; write it more simply.")
    # Refused here as early as possible; `_limited` refuses values that only evaluation shows to be lists or texts.
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            for side in (node.left, node.right):
                if isinstance(side, ast.List | ast.Tuple) or (isinstance(side, ast.Constant) and isinstance(side.value, str | bytes)):
                    raise ValueError(f"env.success {rule!r}: {REPEATS}")
    return tree


def _limited(operation: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    """Return the result of an operation; raise ValueError where it would need much more memory than an observation."""
    if operation is operator.mul and any(isinstance(side, str | bytes | list | tuple) for side in (left, right)):
        raise ValueError(f"env.success: {REPEATS}")
    # Broadcasting may multiply sizes: [n, 1] < [1, n] has n x n numbers.
    size = math.prod(np.broadcast_shapes(*(side.shape for side in (left, right) if isinstance(side, np.ndarray))))
    if size > LARGEST:
        raise ValueError(f"env.success would make an array of {size} numbers, and at most {LARGEST} are made; compare less.")
    return operation(left, right)


def _truth(value: Any, source: str) -> bool:
    """Return the truth of true, false, 0, 1, or None, which stands for "not yet"; a text such as 'False' would be true."""
    if _unknown(value):
        return False
    number = np.asarray(value)
    if number.size != 1 or number.dtype.kind not in "biuf" or number.item() not in (0, 1):
        compare = f"Compare a score in env.success, as in {source} > 0.9"
        if number.dtype.kind in "US" and number.size:
            compare = f"Compare it with the text of a success in env.success, as in {source} == {_of_success(number.flat[0])!r}"
        elif number.dtype.kind in "biuf" and number.size != 1:
            compare = f"Of several numbers env.success needs all(...) or any(...), as in all({source})"
        elif isinstance(value, Mapping):
            compare = f"Name one of its keys in env.success, as in {source}[{next(iter(value), '')!r}]"
        raise ValueError(f"{source} is {reprlib.repr(value)}; success must be true or false, 0 or 1. {compare}.")
    return bool(number.item())


def _of_success(text: str | bytes) -> str | bytes:
    """Return the text that means success beside this one: 'True' for 'False', b'1' for b'0'; others mean it, or what they mean is not known."""
    if isinstance(text, bytes):
        return str(_of_success(text.decode("latin-1"))).encode("latin-1")
    return OPPOSITE.get(str(text), str(text))


def _unknown(value: Any) -> bool:
    """Return whether a value is None, or an array of it."""
    return value is None or (isinstance(value, np.ndarray) and value.dtype == object and value.size == 1 and value.item() is None)


def _names(info: Mapping[str, Any]) -> str:
    return ", ".join(map(repr, info)) or "nothing"


def _evaluate(node: ast.AST, names: dict[str, Any]) -> Any:
    """Return the value of a node. Only these kinds are allowed: no attributes, comprehensions, lambdas or powers, and calls of `FUNCTIONS` only."""
    match node:
        case ast.Constant():
            return node.value
        case ast.Name() if node.id in names:
            return names[node.id]
        case ast.Subscript():
            return _evaluate(node.value, names)[_evaluate(node.slice, names)]
        case ast.Slice():
            return slice(*(None if part is None else _evaluate(part, names) for part in (node.lower, node.upper, node.step)))
        case ast.Tuple() | ast.List():
            return tuple(_evaluate(part, names) for part in node.elts)
        case ast.UnaryOp() if type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](_evaluate(node.operand, names))
        case ast.BinOp() if type(node.op) in _OPERATORS:
            return _limited(_OPERATORS[type(node.op)], _evaluate(node.left, names), _evaluate(node.right, names))
        case ast.BoolOp():
            combine = all if isinstance(node.op, ast.And) else any  # lazy, as in Python: `"x" in info and info["x"]`
            return combine(_evaluate(part, names) for part in node.values)
        case ast.Compare():
            left, truths = _evaluate(node.left, names), []  # a < b < c is two comparisons
            for compare, part in zip(node.ops, node.comparators, strict=True):
                right = _evaluate(part, names)
                truths.append(_limited(_comparison(compare), left, right))
                left = right
            return truths[0] if len(truths) == 1 else all(truths)
        case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS and not node.keywords:
            if len(node.args) > 1 and name not in SEVERAL:
                raise ValueError(f"env.success has {ast.unparse(node)!r}, and {name} takes one value.")
            return FUNCTIONS[name](*(_evaluate(part, names) for part in node.args))
    raise ValueError(f"env.success may not hold {ast.unparse(node)!r}; it knows {', '.join(NAMES)} and {', '.join(FUNCTIONS)}.")


def _comparison(operation: ast.cmpop) -> Callable[[Any, Any], Any]:
    """Return the function of a comparison; `is` and `is not` have none."""
    if type(operation) not in _OPERATORS:
        raise ValueError("env.success may compare with ==, !=, <, <=, >, >=, in and not in.")
    return _OPERATORS[type(operation)]
