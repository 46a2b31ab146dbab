"""Help texts at the width of the terminal."""

import re
import shutil
import textwrap


def fitted(text: str) -> str:
    """Return a help text with no line wider than the terminal; 80 columns where there is no terminal."""
    width = shutil.get_terminal_size((80, 24)).columns
    return "".join(f"{_wrapped(line, width)}\n" for line in text.splitlines())


def _wrapped(line: str, width: int) -> str:
    """Return a line of a usage, or another one, in lines of this width; the explanation stays in its column."""
    found = re.match(r"(.*\S\s{2,})\S", line)  # an option, two spaces or more, and its explanation
    column = len(found[1]) if found and len(found[1]) <= width - 30 else 8  # at least 30 columns for the explanation
    # An option such as --every-step stays whole.
    return textwrap.fill(line, width, subsequent_indent=" " * column if line.startswith(" ") and found else "", break_on_hyphens=False)
