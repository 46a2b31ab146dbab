"""`etude compare`: finished runs in pairs, as a table, a page with charts and a JSON file."""

import json
from pathlib import Path

from agent.verbs.usage import Usage, path

SAYS = """Compare the last champions of finished runs on their common test seeds.

The table has each run's success with its 95 % interval (Wilson), and its gain over the first run: paired 95 % interval (Agresti and Min), p of the
exact McNemar test, raw and adjusted for the number of runs (Holm), seeds won and lost. The interval is about test scenes; it says nothing about
other run seeds. comparison.json has all pairs, with raw p."""


def compare(arguments: list[str]) -> None:
    """Run the verb."""
    usage = Usage("compare", SAYS, "etude compare runs/slide-0 runs/slide-1 --out slide-comparison")
    usage.add_argument_group("what").add_argument(
        "runs", metavar="RUN", nargs="+", type=path, help="two runs or more; the first one is the reference"
    )
    output = usage.add_argument_group("output")
    output.add_argument("--out", metavar="FOLDER", type=path, default=Path("comparison"), help="for comparison.json and comparison.html (comparison)")
    given, _ = usage.read(arguments)

    # After the arguments, in this verb as in the others: help and mistakes shall not wait for these imports.
    from rich.console import Console
    from rich.table import Column, Table

    from agent.evaluate.runs import compare_runs, written
    from agent.evaluate.statistics import compare as paired
    from agent.report.compare import compare as write_page
    from agent.report.compare import holm
    from agent.run.files import writable, write_text

    rows = compare_runs(given.runs)
    name = Column("run", overflow="fold")  # runs often differ at the end of their names alone
    table = Table(name, "success, %", "gain, points", "p, raw", "p, Holm", "won, lost")
    adjusted = [None, *holm([row.against and row.against.p_value for row in rows[1:]])]
    for row, p_value in zip(rows, adjusted, strict=True):
        rate, pair = row.card.success, row.against
        # The first run has no cells here, and rich leaves them empty.
        gain = [f"{100 * pair.gain:+.1f} [{100 * pair.low:+.1f}, {100 * pair.high:+.1f}]"] if pair else []
        gain += [f"{pair.p_value:.2g}", f"{p_value:.2g}", f"{pair.won}, {pair.lost}"] if pair else []
        table.add_row(row.title, f"{100 * rate.rate:.1f} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]", *gain)
    console = Console(highlight=False, emoji=False)  # rich would colour each number, and draw :door: in a name
    with writable(given.out):
        console.print(table)
        write_text(given.out / "comparison.json", json.dumps(written(rows), indent=1))
        write_page(given.runs, given.out / "comparison.html", paired)
    console.print(f"{len(rows[0].card.outcomes)} common test seeds; written: {given.out}/comparison.json, comparison.html")
