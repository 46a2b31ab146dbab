"""Pages as a reader sees them: in headless Chromium at three widths; where there is none, parsed."""

import json
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from agent.evaluate.statistics import compare as paired
from agent.records import PreferencePair
from agent.report.compare import compare
from agent.report.examples import example
from agent.report.report import report
from agent.report.videos import write
from agent.run import episodes as dataset
from agent.run.files import save, write_text
from agent.run.layout import EXAMPLES
from policies.codec import Codec
from tests.agent.made import episode
from tests.agent.report.chromium import PROGRAM, Browser, browser
from tests.agent.report.runs import whole

WIDTHS = (390, 768, 1440)
VOID = {"br", "img", "input", "link", "meta", "hr"}
INSTRUCTION = "put the rather remarkably long-named_object_without_any_place_to_break_it_anywhere into the box"
needs_chromium = pytest.mark.skipif(not PROGRAM, reason="no Chromium is installed: the page is only parsed")


def everything(folder: Path) -> Path:
    """Return the folder of a run that has every part of a report: pairs, a detector, several tasks, videos, faults, alarms."""
    run = whole(folder, INSTRUCTION, (f"seed 3: {INSTRUCTION}",))
    rng = np.random.default_rng(0)
    codec = Codec(np.arange(65)[:, None], np.full(7, -1.0), np.full(7, 1.0), 1)
    content = {"counts": {"decision": 60, "lookahead": 17}, "low": codec.low.tolist(), "high": codec.high.tolist()}
    for number in (1, 2):
        cycle = run.cycle(number).folder
        made = [episode(seed, 0, [0.1, 0.2], seed % 3 == 0) for seed in range(40)]
        dataset.append(cycle / "episodes", made, fps=2, cameras=("front",))
        scores = rng.random((40, 3)).tolist()
        save(
            cycle / "detector.json",
            {"figures": {"episodes": 40, "true_yes": 5.0, "auroc": 0.5}, "calibration": [1.0, 0.0], "scores": scores, "seconds": 1},
        )
        tokens = rng.integers(0, 65, (20, 2, 7))
        pairs = [
            PreferencePair.of(made[0].situation(0), *each, "lookahead" if i % 2 else "decision", ("t/0/0", "t/0/1", 0))
            for i, each in enumerate(tokens)
        ]
        shown = [{key: value for key, value in example(pair, [], codec, 1).items() if key != "replayed"} for pair in pairs]
        shown = [each | {"instruction": INSTRUCTION, "arrows": [[0.2, 0.2], [0.8, 0.4], [0.5, 0.9]]} for each in shown]
        save(cycle / EXAMPLES, content | {"examples": shown})
    summary = json.loads((folder / "summary.json").read_text())
    write_text(folder / "summary.json", json.dumps(summary | {"tasks": {f"task {i}": summary for i in range(3)}}))
    frames = [np.full((64, 128, 3), 12 * i, np.uint8) for i in range(20)]
    last = summary["policy"]
    for name in (f"before-after-{last}-0", "cycle-001-best", "cycle-002-worst", f"failure-{last}-0"):
        write(frames, folder / "videos" / f"{name}.mp4", "video", 20)
    return folder


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the report of one run, and a comparison."""
    folder = tmp_path_factory.mktemp("runs")
    runs = [everything(folder / name) for name in ("a", "b")]
    return {"run": report(runs[0]), "comparison": compare(runs, folder / "compare.html", paired)}


@pytest.fixture(scope="module")
def tab() -> Iterator[Browser]:
    with browser() as one:
        yield one


@pytest.mark.parametrize("kind", ["run", "comparison"])
def test_tags_are_closed_and_ids_are_unique(kind: str, pages: dict[str, Path]) -> None:
    class Tags(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.open: list[str] = []
            self.ids: Counter[str] = Counter()
            self.links: list[str] = []

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.open += [] if tag in VOID else [tag]
            values = dict(attrs)
            self.ids.update([values["id"] or ""] if "id" in values else [])
            self.links += [values["href"] or ""] if "href" in values else []

        def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            pass

        def handle_endtag(self, tag: str) -> None:
            assert self.open.pop() == tag

    page = Tags()
    page.feed(pages[kind].read_text())
    assert page.open == [] and max(page.ids.values()) == 1
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_pages_are_small(pages: dict[str, Path]) -> None:
    assert all(page.stat().st_size < 1_000_000 for page in pages.values())


@needs_chromium
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", ["run", "comparison"])
def test_a_page_fits_and_the_console_is_silent(kind: str, width: int, dark: bool, pages: dict[str, Path], tab: Browser) -> None:
    tab.complaints.clear()
    tab.show(pages[kind], width, dark=dark)
    assert tab.ask("document.documentElement.scrollWidth") == width
    # Nothing sticks out of what holds it but within the tables and texts that scroll.
    outside = (
        "[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, pre, svg') && e.getBoundingClientRect().right > innerWidth + 1)"
    )
    assert tab.ask(f"{outside}.map(e => e.outerHTML.slice(0, 80))") == []
    sizes = "[...document.querySelectorAll('svg.chart text')].map(e => e.getBoundingClientRect().height).filter(h => h > 0)"
    assert min(tab.ask(sizes)) >= 9, "text of charts can be read"
    bright = tab.ask("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, bright[4:-1].split(","))) < 200) == dark
    assert tab.complaints == []


@needs_chromium
def test_videos_play(pages: dict[str, Path], tab: Browser) -> None:
    tab.show(pages["run"], 1440, height=12000)  # all are in view
    played = """Promise.all([...document.querySelectorAll('video')].map(video => new Promise(done => {
        setTimeout(() => done(video.error ? video.error.message : 'still'), 30000);
        video.addEventListener('timeupdate', () => video.currentTime > 0.1 && done('plays'));
    })))"""
    assert tab.ask(played) == ["plays"] * 4


@needs_chromium
def test_the_browser_of_pairs_filters(pages: dict[str, Path], tab: Browser) -> None:
    tab.show(pages["run"], 1440)
    shown = "[...document.querySelectorAll('.card')].filter(card => !card.hidden).map(card => card.dataset.cycle + card.dataset.kind)"
    assert len(tab.ask(shown)) == 9
    tab.ask("document.querySelector('.browser button').click()")
    assert len(tab.ask(shown)) == 18
    choose = (
        "for (const [name, value] of [['cycle', 'cycle 2'], ['kind', 'look-ahead']]) { const choice = document.querySelector(`select[name=${name}]`);"
    )
    tab.ask(choose + "choice.value = value; choice.dispatchEvent(new Event('change')); }")
    assert set(tab.ask(shown)) == {"cycle 2look-ahead"} and tab.ask("document.querySelector('output').textContent") == "9 of 10"


@needs_chromium
def test_a_table_that_is_too_wide_scrolls_inside_itself(pages: dict[str, Path], tab: Browser) -> None:
    tab.show(pages["run"], 390)
    widths = tab.ask("[...document.querySelectorAll('#cycles .scroll')].map(e => [e.scrollWidth, e.clientWidth])[0]")
    assert widths[0] > widths[1]
