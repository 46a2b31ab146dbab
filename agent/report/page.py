"""What all pages have in common: tables without empty columns, media as data URIs, and the templates in html/."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.run.files import write_text

NONE = "\u2013"  # of a cell: a dash
EMPTY = (NONE, "", 0, "0")  # cells that say nothing; a column with no others is not shown


@dataclass(frozen=True)
class Table:
    """A table of a page. Its template wraps it so that a wide one scrolls inside itself."""

    head: Sequence[str]
    rows: Sequence[Sequence[object]]

    def __bool__(self) -> bool:
        return bool(self.rows)

    @property
    def shown(self) -> "Table":
        """Return the table without the columns in which no row has anything; the first column stays."""
        kept = [i for i in range(len(self.head)) if i == 0 or any(row[i] not in EMPTY for row in self.rows)]
        return Table([self.head[i] for i in kept], [[row[i] for i in kept] for row in self.rows])


@dataclass(frozen=True)
class Video:
    """A video of a page."""

    uri: str
    caption: str
    wide: bool = False  # two episodes side by side

    @classmethod
    def read(cls, file: Path, caption: str, wide: bool = False) -> "Video":
        """Return the video in a file, embedded."""
        return cls(uri("video/mp4", file.read_bytes()), caption, wide)


def uri(kind: str, content: bytes) -> str:
    """Return content as a data URI of this media type, so that the page needs no other file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def write_page(template: str, content: dict[str, Any], file: Path) -> Path:
    """Write a page that needs no other file and no network, and return its path.

    Args:
        template: name of a file in html/.
        content: what it shows; everything is escaped.
        file: of the page.

    Raises:
        ValueError: the file cannot be written.
    """
    # Here, because `etude watch` imports this module for its tables, and needs no template.
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent / "html")
    # StrictUndefined: a misspelt name raises instead of leaving a gap.
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
    page = environment.get_template(template).render(content).strip() + "\n"
    write_text(file, page.encode("ascii", "xmlcharrefreplace").decode())  # the same bytes whatever the locale
    return file


def percent(share: float) -> str:
    """Return a share in [0, 1] as a percentage, which no line break divides."""
    return f"{100 * share:.1f}\u00a0%"


def minutes(seconds: float) -> str:
    """Return a duration in the unit that suits it."""
    # Up to 100 s, then up to 100 minutes, then hours.
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def grouped(number: float) -> str:
    """Return a whole number with thin spaces between groups of three digits."""
    return f"{number:,.0f}".replace(",", "\u2009")
