"""What W&B is sent of a run that ended, went on and ended again."""

from pathlib import Path
from typing import Any

from agent.run.entries import entries
from tests.agent.report.runs import finish, video, whole


def videos_sent(folder: Path) -> dict[str, Any]:
    rows = [entry.content().row for entry in list(entries(folder, []))[:-1]]  # the last one is the result
    return {name: value.name for row in rows for name, value in row.items() if isinstance(value, Path)}


def test_the_videos_of_an_end_are_of_its_last_champion(tmp_path: Path) -> None:
    run = whole(tmp_path)
    finish(run, "base", "candidate2")  # the earlier end
    video(tmp_path, "before-after-candidate2-0", "before-after-candidate2-1", "before-after-candidate2-2")
    before = {f"videos/before-after-{i}": f"before-after-candidate2-{i}.mp4" for i in range(3)}
    assert videos_sent(tmp_path) == before
    finish(run, "base", "candidate5")
    assert videos_sent(tmp_path) == {}, "its own are not made yet"
    (tmp_path / "videos" / "before-after-candidate5-0.mp4").write_bytes(b"later")
    assert videos_sent(tmp_path) == {"videos/before-after-0": "before-after-candidate5-0.mp4"}
