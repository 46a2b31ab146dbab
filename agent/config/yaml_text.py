"""YAML texts of users: limits of size and depth, no key twice; a mistake is one sentence with its line."""

import re
from typing import Any

import yaml

LARGEST = 200_000  # characters of a config, with all aliases written out; ours have 3,000
DEEPEST = 50  # levels of lists and mappings
LONGEST = 1024  # bits of a whole number
SHORT = re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$")  # 1e5 and 5e-4 are numbers to everybody but YAML 1.1, which wants 1.0e+5


class Unfit(yaml.MarkedYAMLError):
    """Sound YAML, but nothing that a config may hold."""


class _Loader(yaml.SafeLoader):
    """Refuses keys that stand twice, and what grows beyond all measure when its aliases are written out."""

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        if node is not None:
            self._measure(node, {})
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:  # a date without such a day, a number with too many digits
            raise Unfit(problem=str(error), problem_mark=node.start_mark) from error
        if isinstance(value, int) and value.bit_length() > LONGEST:
            raise Unfit(problem=f"a whole number has more than {LONGEST} bits", problem_mark=node.start_mark)
        if isinstance(value, int | float) and re.fullmatch(r"[-+]?(0[0-7_]+|[\d_.]+(:[\d_.]+)+)", node.value):  # base 8, base 60
            raise Unfit(problem=f"YAML reads {node.value} as {value}; write that, or put it into quotes", problem_mark=node.start_mark)
        return value

    def _measure(self, node: Any, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
        """Return how many characters a node has, with all aliases written out, and how many levels."""
        if id(node) not in known:
            known[id(node)] = None
            parts = [] if isinstance(node, yaml.ScalarNode) else node.value
            if isinstance(node, yaml.MappingNode):
                self._once(node)
                parts = [part for pair in node.value for part in pair]
            sizes = [self._measure(part, known) for part in parts]
            size, depth = 1 + sum(part[0] for part in sizes), 1 + max((part[1] for part in sizes), default=0)
            size += len(node.value) if isinstance(node, yaml.ScalarNode) else 0
            if size > LARGEST or depth > DEEPEST:
                raise Unfit(problem=f"it has more than {LARGEST} characters or {DEEPEST} levels", problem_mark=node.start_mark)
            known[id(node)] = size, depth
        measured = known[id(node)]
        if measured is None:
            raise Unfit(problem="it holds itself", problem_mark=node.start_mark)
        return measured

    def _once(self, node: yaml.MappingNode) -> None:
        lines: dict[Any, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                name = key.value if key.tag == "tag:yaml.org,2002:merge" else self.construct_object(key, deep=True)
                if isinstance(name, bool) and key.value.lower() not in ("true", "false"):  # on, off, yes, no
                    raise Unfit(problem=f"YAML reads the key {key.value!r} as {str(name).lower()}; put it into quotes", problem_mark=key.start_mark)
                if name in lines:
                    raise Unfit(problem=f"key {name!r} stands there and in line {lines[name]}; keep one", problem_mark=key.start_mark)
                lines[name] = key.start_mark.line + 1


class _Dumper(yaml.SafeDumper):
    """Puts texts into quotes that `_Loader` would read as numbers."""


for _each in (_Loader, _Dumper):
    _each.add_implicit_resolver("tag:yaml.org,2002:float", SHORT, list("-+.0123456789"))


def dump(content: Any) -> str:
    """Return YAML from which `load` gives back the content."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False)


def load(text: str, source: str) -> Any:
    """Return what a YAML text of a user's holds.

    Raises:
        ValueError: a key stands twice, or it is too large, too deep, or a value cannot be made; names `source` and the line.
        yaml.YAMLError: it is not YAML.
    """
    try:
        return yaml.load(text, _Loader)
    except Unfit as error:
        raise ValueError(f"{source}, {problem_of(error)}.") from error
    except RecursionError:
        raise ValueError(f"{source} has more than {DEEPEST} levels of lists and mappings.") from None


def problem_of(error: yaml.YAMLError) -> str:
    """Return what is wrong with a YAML text, and where, in a few words."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return str(error).splitlines()[0]
