"""Terminal output of `etude check --dataset`: what a dataset holds, and whether it suits the run of a config."""

import re
from pathlib import Path

from PIL import Image
from rich import markup
from rich.console import Console
from rich.table import Table

from agent.config.config import Config
from agent.demonstrate.doctor import examine
from agent.run.files import write


def check_dataset(source: str, config: Config | None, out: Path = Path()) -> bool:
    """Print the findings about a dataset, and return whether demonstrations can come from it.

    Args:
        source: as `demonstrate.dataset`.
        config: of the run that is to learn from it; None: the dataset alone is examined.
        out: folder of the contact sheet `check-NAME.png`. Its rows are episodes, each with its cameras; its columns are moments.
    """
    console = Console(highlight=False, emoji=False)
    with console.status(source):
        found = examine(source, config)
    table = Table(title=markup.escape(source), show_header=False, title_justify="left")
    for name, line in found.lines.items():
        table.add_row(name, markup.escape(line))
    if found.lines:  # empty if it could not even be opened
        console.print(table)
    if found.sheet is not None:
        name = re.sub(r"[^A-Za-z0-9]+", "-", Path(source).name).strip("-") or "dataset"
        file, picture = out / f"check-{name}.png", Image.fromarray(found.sheet)
        write(file, lambda partial: picture.save(partial, format="PNG"))
        console.print(f"contact sheet: {file}")
    for note in found.notes:
        console.print(f"[yellow]note[/]   {markup.escape(note)}")
    for fault in found.faults:
        console.print(f"[red]fault[/]  {markup.escape(fault)}")
    console.print("[red]No run can learn from this dataset as it is.[/]" if found.faults else "[green]Ready.[/]")
    return not found.faults
