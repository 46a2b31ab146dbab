"""The structure of the code in figures, and the rules that it keeps.

    python benchmarks/house.py                # files, floors, keys, sizes, comments, words a sentence, private words left
    python benchmarks/house.py --root ../old  # the same of another checkout

Rules, without lists of names: a folder of agent/ with a stage.py is a stage. A stage imports no other stage, and a folder without one imports none,
unless cli alone imports that folder: it then stands above the stages. Nothing but cli imports improve. envs and policies know neither agent nor each
other. There is no circle of modules or of folders. Imports within functions count, those under `if TYPE_CHECKING` do not.
"""

import ast
import re
import statistics
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOPS = ("agent", "envs", "policies")
PRIVATE = (  # words of the first edition (design.md section 3), as patterns; "take" and "answers" are counted as nouns alone
    r"(?:an?|the|each|every|no|of|hot|best|worst|failed|successful) takes?", "exams?", "challengers?", "practises?", "critics?", "referees?",
    "verdicts?", "opines?", "bearings", "trials?", "nearness", "lessons?", "crew", "recite", "eyes", "films?", "story", "guided", "foresight",
    "wander", "rivals?", "retold", "judged?", "told by", "word of the",
)  # fmt: skip
EXEMPT = ("agent/config/former.py", "envs/words.py", "docs/history.md")  # names that keys had; options that are gone

Graph = Mapping[str, set[str]]


def modules(root: Path) -> dict[str, Path]:
    """Return our modules by dotted name; a package by the name of its folder."""
    files = [file for top in TOPS for file in sorted((root / top).rglob("*.py"))]
    return {".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): file for file in files}


def imports(node: ast.AST) -> Iterator[str]:
    """Yield the dotted names that a module imports, also within functions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield from imports(child)


def graph(root: Path) -> dict[str, set[str]]:
    """Return which of our modules each of our modules imports."""
    known = modules(root)

    def ours(name: str) -> str:
        while name and name not in known:
            name = name.rpartition(".")[0]
        return name

    return {name: {ours(each) for each in imports(ast.parse(file.read_text()))} - {"", name} for name, file in known.items()}


def folder(name: str) -> str:
    """Return the folder of agent/ that a module lies in, or itself where it lies in none; of envs and policies the whole package."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "agent" else parts[0]


def by_folder(edges: Graph) -> dict[str, set[str]]:
    """Return which folder imports which."""
    joined: dict[str, set[str]] = {}
    for name, known in edges.items():
        joined.setdefault(folder(name), set()).update(folder(each) for each in known if folder(each) != folder(name))
    return joined


def circles(edges: Graph) -> list[list[str]]:
    """Return the groups of nodes that import one another, directly or by others (strongly connected components; Tarjan 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        path.append(node)
        for other in sorted(edges.get(node, ())):
            if other not in number:
                visit(other)
            if other in path:
                low[node] = min(low[node], low[other])
        if low[node] == number[node]:
            circle = path[path.index(node) :]
            del path[path.index(node) :]
            found.extend([circle] * (len(circle) > 1))

    for node in sorted(edges):
        if node not in number:
            visit(node)
    return found


def breaches(root: Path) -> list[str]:
    """Return a sentence for each rule that is broken somewhere, and where."""
    edges = graph(root)
    stages = {folder(name) for name in edges if re.fullmatch(r"agent\.\w+\.stage", name)}
    above = {name for name in by_folder(edges) if {other for other, known in by_folder(edges).items() if name in known} == {"agent.cli"}} - stages
    told = [f"circle: {' -> '.join(circle)}" for circle in [*circles(edges), *circles(by_folder(edges))]]
    for name, known in sorted(edges.items()):
        inside = name.count(".") > 1
        for each in sorted(known):
            top, other = name.split(".")[0], each.split(".")[0]
            below = name == "agent.records" or (inside and folder(name) not in above)
            if top == "agent" and below and folder(each) in stages - {folder(name)}:
                told.append(f"{name} imports the stage {each}")
            elif each == "agent.improve" and name != "agent.cli":
                told.append(f"{name} imports {each}, which only cli may")
            elif top != "agent" and other not in (top, ""):
                told.append(f"{name} imports {each}; {top} must not know {other}")
    return told


def floors(edges: Graph) -> int:
    """Return how many folders stand on one another, at most; there must be no circle."""
    joined = by_folder(edges)

    def height(name: str) -> int:
        return 1 + max((height(each) for each in joined.get(name, ())), default=0)

    return max(height(name) for name in joined)


def functions(root: Path) -> list[tuple[str, int, int]]:
    """Return name, lines and local names of every function of ours."""
    found = []
    for name, file in modules(root).items():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef):
                found.append((f"{name}.{node.name}", (node.end_lineno or 0) - node.lineno + 1, len(_locals(node))))
    return found


def _locals(node: ast.FunctionDef) -> set[str]:
    """Return the names that a function binds itself, beside its arguments; those of functions and comprehensions within are their own."""
    found: set[str] = set()

    def visit(part: ast.AST) -> None:
        for child in ast.iter_child_nodes(part):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                found.add(child.name)
            elif not isinstance(child, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
                if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                    found.add(child.id)
                visit(child)

    visit(node)
    return found


def comments(file: Path) -> int:
    """Return how many lines of a file carry a comment."""
    with file.open("rb") as stream:
        return len({token.start[0] for token in tokenize.tokenize(stream.readline) if token.type == tokenize.COMMENT})


def sentences(text: str) -> list[int]:
    """Return the words of each sentence of a Markdown text; headings, tables, code and pictures are none."""
    text = re.sub(r"(?s)```.*?```|<!--.*?-->|<[^>]+>", "\n\n", text)
    lines = ["" if re.match(r"\s*(#|\||!\[|\[)", line) else re.sub(r"^\s*([*-]|\d+\.)\s+", "\n", line) for line in text.splitlines()]
    blocks = re.split(r"\n\s*\n", "\n".join(lines))
    plain = [re.sub(r"\s+", " ", re.sub(r"`[^`]*`", "code", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", block))) for block in blocks]
    parts = [part for block in plain for part in re.split(r"(?<=[.!?:;])\s+(?=[A-Z*(`\"])", block)]
    return [count for part in parts if (count := len(re.findall(r"[\w%+./'-]*\w[\w%+./'-]*", part))) > 1]


def keys(root: Path) -> int:
    """Return the number of config keys."""
    import sys

    sys.path.insert(0, str(root))
    from agent.config.config import Config
    from agent.config.read import config_keys

    return len(list(config_keys(Config)))


def main(root: Path = ROOT) -> None:
    """Print the figures.

    Args:
        root: of the checkout.
    """
    edges, sizes, files = graph(root), functions(root), modules(root)
    lines = {name: len(file.read_text().splitlines()) for name, file in files.items()}
    own = [name for name in files if name.startswith("agent")]
    lengths, texts = sorted(size for _, size, _ in sizes), [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    print(f"files {len(files)}, lines {sum(lines.values())}, longest file {max(lines.values())}")
    print(f"in agent/: files {len(own)}, folders {len(by_folder(edges))}, floors {floors(edges)}, arrows {sum(map(len, edges.values()))}")
    print(f"circles {len(circles(edges)) + len(circles(by_folder(edges)))}, breaches {len(breaches(root))}, keys {keys(root)}")
    print(
        f"functions {len(sizes)}: median {statistics.median(lengths):g} lines, 90 % at most {lengths[int(0.9 * len(lengths))]}, longest {lengths[-1]}"
    )
    print(
        "over 60 lines or 15 local names:", ", ".join(f"{name} ({size}, {local})" for name, size, local in sizes if size > 60 or local > 15) or "none"
    )
    print(f"comments in 100 lines of agent/: {100 * sum(comments(files[name]) for name in own) / sum(lines[name] for name in own):.1f}")
    for text in texts:
        counts = sentences(text.read_text())
        if counts:
            print(f"words a sentence, {text.relative_to(root)}: mean {statistics.mean(counts):.1f}, most {max(counts)}")
    everything = [*files.values(), *(text for text in texts if text.parent.name != "log")]
    plain = "\n".join(file.read_text() for file in everything if str(file.relative_to(root)) not in EXEMPT)
    left = {word: count for word in PRIVATE if (count := len(re.findall(rf"(?<![\w./-])(?:{word})(?![\w-])", plain)))}
    print(f"private words left: {sum(left.values())}:", ", ".join(f"{word} {n}" for word, n in sorted(left.items(), key=lambda each: -each[1])))
    for sentence in breaches(root):
        print(sentence)


if __name__ == "__main__":
    import tyro

    tyro.cli(main)
