"""Several finished runs on their common test seeds: success with intervals, and each run against the first one in pairs."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.config.read import read_own
from agent.evaluate.statistics import Comparison, compare
from agent.records import Scorecard
from agent.run.files import load
from agent.run.further import finished, finished_cycles
from agent.run.layout import evaluation_name, summary


@dataclass(frozen=True)
class Row:
    """One run in a comparison."""

    title: str  # the run's folder, as it was named
    card: Scorecard  # of its last champion, on the common seeds
    against: Comparison | None  # over the first run; None for the first itself


def compare_runs(runs: list[Path]) -> list[Row]:
    """Return a row for each run.

    Raises:
        ValueError: fewer than two runs, one is not finished, or they have no common test seeds.
    """
    if len(runs) < 2:
        raise ValueError("etude compare needs two runs or more, as in: etude compare runs/slide-0 runs/slide-1")
    places = [run.resolve() for run in runs]  # a run may be named by several paths
    if twice := next((run for i, run in enumerate(runs) if places[i] in places[:i]), None):
        raise ValueError(f"{twice} is named twice; name each run once.")
    cards = [_card(run) for run in runs]
    common = [key for key in cards[0].outcomes if all(key in card.outcomes for card in cards)]  # a list, for the order of the first run
    if not common:
        tasks = [sorted({key.rsplit("/", 1)[0] for key in card.outcomes}) for card in cards]
        raise ValueError(
            f"These runs have no common test seeds ({'; '.join(', '.join(each) for each in tasks)}); compare runs of one environment, "
            "or use: etude evaluate RUN ENV --against RUN"
        )
    first, *_ = parts = [card.part(common) for card in cards]  # both names are assigned the whole list
    return [Row(str(run), part, compare(part, first) if i else None) for i, (run, part) in enumerate(zip(runs, parts, strict=True))]


def _card(run: Path) -> Scorecard:
    """Return the scorecard of a run's last champion on its test seeds."""
    if not (run / "config.yaml").is_file():
        raise ValueError(f"There is no run in {run} (no config.yaml); name the folder of a run.")
    config, content = read_own(run / "config.yaml"), summary(run)
    if not finished(run, config):
        done = f"has finished {finished_cycles(run)} of {config.cycles} cycles since it went on" if content else "is not finished"
        raise ValueError(f"The run in {run} {done}, so it has no test evaluation yet; the same etude improve goes on with it.")
    card = load(run / "evaluate" / f"{evaluation_name('test', content['policy'])}.json")
    # JSON made a list of each pair.
    return Scorecard(card["policy"], card["outcomes"], {key: (effort[0], effort[1]) for key, effort in card["effort"].items()})


def written(rows: list[Row]) -> dict[str, Any]:
    """Return the content of `comparison.json`: seeds, every run's rate, and the paired comparison of each two runs."""
    # Each two runs once, the later over the earlier.
    pairs = [
        {"run": other.title, "over": one.title, **asdict(compare(other.card, one.card))} for i, one in enumerate(rows) for other in rows[i + 1 :]
    ]
    runs = [{"run": row.title, "weights": row.card.policy, **asdict(row.card.success), "outcomes": row.card.outcomes} for row in rows]
    return {"seeds": len(rows[0].card.outcomes), "runs": runs, "pairs": pairs}
