"""The help text as a terminal shows it: whole, or the part about one verb, at the width of the terminal."""

import re
import shutil
import textwrap


def whole(text: str) -> str:
    """Return the help text with no line wider than the terminal; 80 columns where there is no terminal."""
    width = shutil.get_terminal_size((80, 24)).columns
    return "".join(f"{_wrapped(line, width)}\n" for line in text.splitlines())


def part(text: str, verb: str) -> str:
    """Return the lines about a verb: those of its usages, and what is indented below them."""
    usages = [usage.split("\n\n")[0] for usage in text.split("\n  etude ")[1:] if usage.split()[0] == verb]
    return whole("\n".join(f"etude {usage}" for usage in usages))


def _wrapped(line: str, width: int) -> str:
    """Return a line of a usage, or another one, in lines of this width; the explanation stays in its column."""
    found = re.match(r"(.*\S\s{2,})\S", line)
    column = len(found[1]) if found and len(found[1]) <= width - 30 else 8
    return textwrap.fill(line, width, subsequent_indent=" " * column if line.startswith((" ", "etude ")) and found else "", break_on_hyphens=False)
