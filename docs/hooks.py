"""A hook of MkDocs: links to files outside docs/, such as ../configs/slide.yaml, lead to copies of these files in the site."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
OUTSIDE = re.compile(r"\]\((?:\.\./)+([^)#]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the files that pages link to. A link to a file that is missing stays as it is, and MkDocs then reports it."""
    linked = {(_target(page, match[1])) for page in files.documentation_pages() for match in OUTSIDE.finditer(page.content_string)}
    for path in sorted(each for each in linked if each and (ROOT / each).is_file()):
        files.append(File.generated(config, _copy(path), content=(ROOT / path).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let such links lead to the copies."""

    def link(match: re.Match) -> str:
        path = _target(page.file, match[1])
        if not path or files.get_file_from_path(_copy(path)) is None:
            return match[0]
        return f"]({posixpath.relpath(_copy(path), posixpath.dirname(page.file.src_uri) or '.')})"

    return OUTSIDE.sub(link, markdown)


def _target(page: File, path: str) -> str:
    """Return the path, from the root, of a link's target outside docs/; empty where it is inside."""
    ups = page.src_uri.count("/")  # a page in docs/log/ has one more ../ to the root
    return path if (ROOT / path).is_file() and not (ROOT / "docs" / path).is_file() and ups < 2 else ""


def _copy(path: str) -> str:
    return f"files/{path}.txt" if not path.endswith(".png") else f"files/{path}"
