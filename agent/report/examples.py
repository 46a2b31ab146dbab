"""Some preference pairs and look-ahead decisions of each cycle, kept for the report: both replies, what came of them, and the frame.

`examples/pairs.json` of a cycle's folder holds all that the page shows of them, for training data themselves are not stored.
"""

import base64
import io
import time
from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from PIL import Image

from agent.records import Episode, PreferencePair, TrainingData
from agent.report.arrows import tool_moves
from agent.rollout.session import Session
from agent.run.files import save
from agent.run.folder import Cycle
from agent.run.labels import credible, labelled
from agent.run.layout import EXAMPLES, LOOKAHEAD
from agent.run.tracking import Track
from envs.faults import in_words

COUNT = 24  # examples of a cycle, at most
SECONDS = 20  # of a cycle, after which no further decision is executed again for its arrows: some simulators are slow
PIXELS = 128  # largest height and width of a stored frame; the embedded model sees 64


def of_cycle(session: Session, cycle: Cycle, training_data: TrainingData, track: Track) -> None:
    """Store the examples of a cycle, unless an earlier start has done so; an error costs the examples, not the run.

    Args:
        session: of the run.
        cycle: the present one.
        training_data: what it trains on.
        track: for a note about an error.
    """
    file = cycle.folder / EXAMPLES
    if file.exists():
        return
    try:
        lookahead = [episode for episode in session.run.episodes(cycle.folder / LOOKAHEAD) if not episode.faults]
        pairs = [*training_data.pairs, *(() if any(pair.kind == "lookahead" for pair in training_data.pairs) else decided(lookahead))]
        if not pairs:
            return
        codec = session.policy.codec
        episodes = _episodes(session, cycle, [pair for pair in pairs if pair.kind != "lookahead"]) + lookahead
        cameras = len(session.config.envs[0].sources)  # the environments of a run share their frames
        examples = [example(pair, episodes, codec, cameras) for pair in spread(pairs, COUNT)]
        if session.config.track.videos:
            _add_arrows(session, examples)
        # Of all pairs, not of the few that are shown.
        content = {"counts": Counter(pair.kind for pair in training_data.pairs), "low": codec.low.tolist(), "high": codec.high.tolist()}
        save(file, content | {"examples": [{key: value for key, value in each.items() if key != "replayed"} for each in examples]})
    except Exception as error:  # pairs of a user's own rule may be anything, and replies may be those of a user's own policy
        track.note(f"cycle {cycle.number}: no examples for the report: {in_words(error)}")


def decided(lookahead: Sequence[Episode]) -> list[PreferencePair]:
    """Return the decisions at which look-ahead found a better reply, where they are imitated and not paired (`curate.lookahead_pairs` of 0)."""
    return [
        PreferencePair.of(episode.situation(t), episode.tokens[t], episode.policy_tokens[t], "lookahead", (episode.id, episode.id, t))
        for episode in lookahead
        if episode.policy_tokens is not None
        for t in np.flatnonzero(episode.lookahead_gains if episode.lookahead_gains is not None else []).tolist()
    ]


def spread(pairs: Sequence[PreferencePair], count: int) -> list[PreferencePair]:
    """Return up to `count` pairs: of each kind as many as there is room for, evenly spaced, and kind by kind in turn. No random number is drawn."""
    kinds = {kind: [pair for pair in pairs if pair.kind == kind] for kind in dict.fromkeys(pair.kind for pair in pairs)}
    left, chosen = count, []
    for place, own in enumerate(sorted(kinds.values(), key=len)):  # a small kind leaves its room to the others
        number = min(left // (len(kinds) - place), len(own))
        left, chosen = left - number, [*chosen, [own[round(i)] for i in np.linspace(0, len(own) - 1, number)]]
    return [pair for turn in zip_longest(*chosen) for pair in turn if pair is not None]


def example(pair: PreferencePair, episodes: Sequence[Episode], codec: Any, cameras: int) -> dict[str, Any]:
    """Return what the report shows of a pair.

    Args:
        pair: of training.
        episodes: in which to look for the two episodes of its provenance.
        codec: of the policy, translates replies.
        cameras: number of frames of one moment.
    """
    situation, (*ids, t) = pair.chosen[0].situation, pair.provenance  # two episodes, and the decision in both
    replies = [each[0].tokens for each in (pair.chosen, pair.rejected)]
    found = [_named(episodes, name, t, tokens) for tokens, name in zip(replies, ids, strict=True)]
    if pair.kind == "lookahead":
        found[1] = None  # the policy's own reply was tried for one decision alone: no episode tells how it would have ended
    sides = [_side(tokens, episode, codec, cameras) for tokens, episode in zip(replies, found, strict=True)]
    # An id is task/seed/attempt, and a task's name may hold slashes: so it is split from the right.
    (task, _, seed), episode = ids[0].rpartition("/")[0].rpartition("/"), next((e for e in episodes if e.id == ids[0]), None)
    gains = episode.lookahead_gains if episode is not None and pair.kind == "lookahead" else None
    return {
        "kind": pair.kind,
        "task": task,
        "seed": seed,
        "instruction": situation.instruction,
        "decision": t,
        "gain": None if gains is None else float(gains[t]),
        "chosen": sides[0],
        "rejected": sides[1],
        "frames": [picture(frame) for frame in situation.frames[-cameras:]],  # the newest of each camera
        "replayed": None if episode is None else (episode, t, situation.frames),  # not stored
    }


def _side(tokens: np.ndarray, episode: Episode | None, codec: Any, cameras: int) -> dict[str, Any]:
    """Return one side of a pair: the actions of its reply, and how the episode of this reply ended; None where that is not known."""
    outcome = {"success": None, "decisions": None, "attempt": None, "end": None}
    if episode is not None:
        last = picture(episode.frames[episode.end][-cameras])  # the first camera's frame after the last decision that counts
        outcome = {"success": episode.success, "decisions": episode.end, "attempt": episode.attempt, "end": last}
    return {"actions": codec.decode(tokens).tolist(), **outcome}


def _named(episodes: Sequence[Episode], name: str, t: int, tokens: np.ndarray) -> Episode | None:
    """Return the episode of this id in which the reply was made or, in a look-ahead episode, was the policy's own."""
    # The id alone may be that of several: a seed may be practised in two cycles by the same champion.
    for episode in episodes:
        replies = [each[t] for each in (episode.tokens, episode.policy_tokens) if each is not None and t < len(each)]
        if episode.id == name and any(np.array_equal(reply, tokens) for reply in replies):
            return episode
    return None


def _episodes(session: Session, cycle: Cycle, pairs: Sequence[PreferencePair]) -> list[Episode]:
    """Return the labelled episodes of this cycle and, where a pair names others, of earlier cycles."""
    found: list[Episode] = []
    for each in (cycle, *reversed(credible(session.run, cycle))) if pairs else ():  # without pairs no episode is read: that decodes every picture
        found += labelled(session.run, each)
        known = {episode.id for episode in found}
        if all(name in known for pair in pairs for name in pair.provenance[:2]):
            break
    return found


def _add_arrows(session: Session, examples: Sequence[dict[str, Any]]) -> None:
    """Add `arrows` to the examples: where the tool is, and where each reply moves it, in the frame. Where that is not known, nothing is added."""
    began = time.monotonic()
    for each, (episode, t, frames) in ((each, each["replayed"]) for each in examples if each["replayed"]):
        if time.monotonic() - began > SECONDS:
            return
        kind = session.environments.of(episode.task)
        replies = [np.array(each[side]["actions"], np.float32) for side in ("chosen", "rejected")]
        tool = session.config.ground.tool
        try:
            points = session.environments.firsts[kind].apply(tool_moves, episode.seed, list(episode.actions[:t]), frames, replies, tool)
        except (Exception, SystemExit):  # the environment may raise anything when it replays an episode
            session.environments.renew(kind)
            continue
        if points:
            each["arrows"] = points


def picture(frame: np.ndarray) -> str:
    """Return a uint8[h, w, 3] frame as a data URI of at most `PIXELS` by `PIXELS`."""
    image, stream = Image.fromarray(frame), io.BytesIO()
    image.thumbnail((PIXELS, PIXELS))  # smaller ones stay as they are
    image.save(stream, "WEBP", lossless=max(frame.shape[:2]) <= PIXELS, quality=80)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"
