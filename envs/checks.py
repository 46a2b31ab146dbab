"""Checks of an environment, each of some of its episodes: words, frames, ends, rewards, seeds and beginnings."""

import contextlib
import hashlib
from collections.abc import Callable

import numpy as np

from envs.adapt import Adapter
from envs.diagnosis import SEEDS, Diagnosis, Episode, Late
from envs.limits import LONGEST, endless
from envs.pictures import odd_stack, odd_values
from envs.simulate.objects import find

DARK = 12  # of 255: frames whose brightest value is below this show nothing
STILL = 0.05  # mean difference of two frames, of 255: less is hardly a pixel
RESETS = 64  # whose beginnings are compared
LOOKS = 5  # decisions of an episode whose frames are compared when it is played again
JUMP = 4.0  # a last frame that changes so many times more than any before it looks like that of another episode
Check = Callable[[Adapter, list[Episode], Diagnosis], None]


def instructions(adapter: Adapter, episodes: list[Episode], diagnosis: Diagnosis, over: Late = lambda: False) -> None:
    """Check that there are words, that they belong to the episode, are known at its reset, and stay; the last until the time for it is over."""
    distinct = list(dict.fromkeys(episode.instruction for episode in episodes))
    others = len(distinct) - 1
    diagnosis.line("instruction", f"{distinct[0]!r}" + (f" and {others} other{'s' if others > 1 else ''}" if others else ""))
    without = sum(not episode.instruction for episode in episodes)
    if without == len(episodes):
        diagnosis.fault("No instruction: set env.instruction to words, or to '{task}' for the words that info has under the key task.")
        return
    if without:
        diagnosis.fault(f"No instruction in {without} of {len(episodes)} episodes: the environment has to give one at each reset.")
    late, other = _words_again(adapter, episodes)
    if other:
        seed, words, again = other
        diagnosis.fault(
            f"The instruction of seed {seed} was {words!r}, and {again!r} after other episodes: words of another episode, or drawn without the seed; "
            "set them in reset, from the seed."
        )
    elif late:
        report = diagnosis.note if "{" in str(adapter.config.instruction) else diagnosis.fault  # a placeholder may hold a number that changes
        report(
            f"The instruction is {late[0]!r} at the reset and {late[1]!r} after the first step; the policy gets that of the reset, so set it there."
        )
    elif then := _words_later(adapter, max(episodes, key=lambda episode: len(episode.actions)), over):
        decision, at_reset, words = then
        diagnosis.note(
            f"The instruction changes within an episode, from {at_reset!r} at the reset to {words!r} after decision {decision}; "
            "the policy gets that of the reset."
        )


def _words_again(adapter: Adapter, episodes: list[Episode]) -> tuple[tuple[str, str] | None, tuple[int, str, str] | None]:
    """Return words at a reset and other ones after its first step; and a seed, its words, and other words of the same seed after other episodes."""
    late = other = None
    for i in reversed(range(len(episodes))):  # in another order than before
        adapter.reset(SEEDS + i, look=False)
        at_reset = adapter.instruction
        if at_reset != episodes[i].instruction:
            other = SEEDS + i, episodes[i].instruction, at_reset
        adapter.step(adapter.actions.sample(np.random.default_rng(i))[None], look=False)
        try:
            stepped = adapter.words()
        except ValueError:  # a placeholder that only the info of a reset fills
            stepped = ""
        if stepped not in ("", at_reset):
            late = at_reset, stepped
    return late, other


def _words_later(adapter: Adapter, episode: Episode, over: Late) -> tuple[int, str, str] | None:
    """Return a decision of an episode that is played again, the words at the reset, and other words after the decision; None if they stay."""
    adapter.reset(episode.seed, look=False)
    at_reset = adapter.instruction
    for decision, action in enumerate(episode.actions, 1):
        outcome = adapter.step(action[None], look=False)
        with contextlib.suppress(ValueError):  # a placeholder that only the info of a reset fills
            if (words := adapter.words()) not in ("", at_reset):
                return decision, at_reset, words
        if outcome.terminated or outcome.truncated or over():
            break
    return None


def camera_frames(adapter: Adapter, episodes: list[Episode], diagnosis: Diagnosis) -> None:
    """Check that cameras show something, that it changes with the actions, and that it differs from episode to episode."""
    for view, name in enumerate(adapter.config.sources):
        frames = [[images[view].astype(np.int16) for images in episode.frames] for episode in episodes]  # int16: differences of uint8 wrap around
        moving = float(np.mean([np.abs(episode[-1] - episode[0]).mean() for episode in frames]))
        starts = float(np.mean([np.abs(episode[0] - frames[0][0]).mean() for episode in frames[1:]])) if len(episodes) > 1 else np.nan
        between = f", {starts:.1f} between episodes" if len(episodes) > 1 else ""
        diagnosis.line(f"camera {name}", f"changes by {moving:.1f} of 255 in an episode{between}")
        if said := odd_stack(adapter, name):
            diagnosis.note(said)
        said, black = odd_values(adapter, name), max(int(image.max()) for episode in frames for image in episode) < DARK
        if said and not black:
            diagnosis.note(f"Camera {name!r} uses a part of its range: {said}.")
        if black:
            diagnosis.fault(f"Camera {name!r} is black: {said or 'the environment draws nothing there'}.")
        elif moving < 0.02:  # mean absolute difference of 0..255 values
            diagnosis.fault(f"Camera {name!r} does not change while the robot moves: the policy could not see the effect of its actions.")
        elif starts < STILL and len({episode.instruction for episode in episodes}) == 1:
            diagnosis.note(f"Camera {name!r} shows the same at the beginning of all episodes: the goal may not be visible there.")


def objects(adapter: Adapter, episodes: list[Episode], diagnosis: Diagnosis) -> None:
    """Name the visible objects of the first episode, by which a prompt and the questions of stage `ground` can call them."""
    if adapter.drawn_by_mujoco:
        adapter.reset(SEEDS, look=False)
        config = adapter.config
        flips = tuple(map(config.flip_of, config.sources))
        found = find(adapter.model, adapter.data, adapter.mujoco_cameras, flips=flips, groups=config.geom_groups)
        names = [each.name for each in found if any(pixel is not None for pixel in each.pixels)]
        diagnosis.line("objects", ", ".join(names) or "none with a name of its own")


def collision_shapes(adapter: Adapter, episodes: list[Episode], diagnosis: Diagnosis) -> None:
    """Check that MuJoCo cameras do not draw collision shapes over what an object looks like."""
    model = adapter.model
    if model is None or not any(adapter.mujoco_cameras):
        return
    groups, drawn = adapter.config.geom_groups or (0, 1, 2), model.geom_rgba[:, 3] > 0
    touching = (model.geom_contype | model.geom_conaffinity) > 0
    bodies = {
        (group, kind): set(model.geom_bodyid[(model.geom_group == group) & drawn & (touching == kind)].tolist())
        for group in groups
        for kind in (False, True)
    }
    # Of a body, shapes of one group touch and shapes of another group, which do not, show how it looks.
    for shapes in groups:
        covered = {looks: len(bodies[shapes, True] & bodies[looks, False]) for looks in groups if looks != shapes and bodies[looks, False]}
        if covered and (count := max(covered.values())):
            rest = [group for group in groups if group != shapes]
            diagnosis.note(
                f"Geom groups {shapes} and {max(covered, key=lambda looks: covered[looks])} overlap on {count} bodies: group {shapes} looks like "
                f"collision shapes, drawn over the robot; look at the contact sheet, and try env.geom_groups {rest}."
            )
            return


def episode_end(adapter: Adapter, episodes: list[Episode], diagnosis: Diagnosis, late: Late = lambda: False) -> None:
    """Check that episodes end, within how many steps, and that none begins within the step that ends one."""
    lengths, broken = [len(episode.rewards) for episode in episodes], sum(not episode.ended for episode in episodes)
    length = f"{min(lengths)} to {max(lengths)} environment steps" + (f", {broken} broken off" if broken else "")
    ended = max((len(episode.rewards) for episode in episodes if episode.ended), default=0)
    if adapter.limit is not None and ended > adapter.limit:
        diagnosis.note(
            f"An episode had {ended} steps, and the environment states {adapter.limit} as its time limit (max_episode_steps, max_steps or the like), "
            "so that is taken for none; set env.max_episode_steps."
        )
        adapter.limit = None
    if adapter.limit is not None:
        diagnosis.line("episode", f"{length}; the time limit is {adapter.limit}")
        if broken and max(len(episode.rewards) for episode in episodes if not episode.ended) > adapter.limit:
            diagnosis.fault(f"The time limit of {adapter.limit} steps is declared, and longer episodes do not end; set env.max_episode_steps.")
    elif why := endless(adapter, SEEDS, late):
        diagnosis.line("episode", length)
        (diagnosis.note if late() else diagnosis.fault)(f"No time limit: {why}.")
    else:
        diagnosis.line("episode", f"{length}; no time limit is declared, so one that lasts longer than {LONGEST} counts as faulty")
    if adapter.resets_itself:
        diagnosis.note("The environment resets itself in the step that ends an episode; the last frames are drawn before it does.")
    elif any(episode.ran_back and episode.ended for episode in episodes):
        diagnosis.fault("Time runs back in the step that ends an episode: the environment resets itself there, so the last frame is of the next one.")
    elif _jumps([episode for episode in episodes if episode.ended]):
        diagnosis.note("The last frame of an episode differs much from the one before: does the environment reset itself in the step that ends it?")


def _jumps(episodes: list[Episode]) -> bool:
    """Return whether all episodes end in a frame that differs far more from the one before than any other two that follow each other."""
    changes = [[np.abs(a.astype(np.int16) - b).mean() for a, b in zip(each.frames[:-1], each.frames[1:], strict=True)] for each in episodes]
    return len(changes) > 1 and all(len(change) > 3 and change[-1] > 1 + JUMP * max(change[:-1]) for change in changes)


def successes(adapter: Adapter, episodes: list[Episode], diagnosis: Diagnosis) -> None:
    """Check whether random actions succeed."""
    won = sum(episode.success for episode in episodes)
    diagnosis.line("success", f"{adapter.config.success or f'info[{adapter.success_key!r}]'}; random actions meet it in {won} of {len(episodes)}")
    if won > len(episodes) / 2:
        diagnosis.note("Random actions succeed in most episodes: there may be little to learn.")
    disputes(episodes, diagnosis)


def disputes(episodes: list[Episode], diagnosis: Diagnosis) -> None:
    """Note, once, that keys of `info` contradict each other about success."""
    found, head = next((episode.disputed for episode in episodes if episode.disputed), ""), "Two keys report success, and disagree: "
    if found and not any(each.startswith(head) for each in diagnosis.warnings):
        diagnosis.note(f"{head}{found}, and the first of them is read; name the right one in env.success.")


def rewards(adapter: Adapter, episodes: list[Episode], diagnosis: Diagnosis) -> None:
    """Check whether the reward changes."""
    numbers = np.concatenate([episode.rewards for episode in episodes])
    diagnosis.line("reward", f"{numbers.min():.3g} to {numbers.max():.3g}")
    if np.ptp(numbers) == 0:
        diagnosis.note("The reward never changed under random actions: episodes can differ in success only.")


def seeding(adapter: Adapter, episodes: list[Episode], diagnosis: Diagnosis, late: Late = lambda: False) -> bool:
    """Check that a seed and the same actions give the same episode twice, with another episode between; return whether they do."""
    first = max(episodes, key=lambda episode: len(episode.outcomes))
    other = adapter.reset(first.seed + 1).frames
    adapter.step(first.actions[0][None], look=False)  # so that state left over from the last episode shows
    again = played_again(adapter, first, late)
    same = all(np.array_equal(a, b) for a, b in zip(first.frames, again.frames, strict=False))
    starts = {frame.tobytes() for frame in (other, *(episode.frames[0] for episode in episodes))}
    varied = len(starts) > 1 or len({episode.instruction for episode in episodes}) > 1
    diagnosis.line("seeding", f"same seed, same frames: {'yes' if same else 'no'}; other seeds differ: {'yes' if varied else 'no'}")
    if not same:
        diagnosis.fault("The same seed does not give the same episode: paired evaluations and resuming would not be exact.")
    elif differs := changed(first, again):
        diagnosis.fault(
            f"The same seed and actions give another {differs} after other episodes, as a running normalisation or a curriculum does: "
            "paired evaluations would not be exact."
        )
    if not varied:
        diagnosis.note("All seeds begin alike: success on evaluation seeds says nothing about new situations.")
    return same and not changed(first, again)


def played_again(adapter: Adapter, first: Episode, late: Late, between: Callable[[], None] = lambda: None) -> Episode:
    """Return an episode that is played again with its own actions, up to its end or until it is late; frames are drawn for `LOOKS` decisions.

    Args:
        adapter: the environment.
        first: the episode.
        late: whether the time for it is over.
        between: called before each decision.
    """
    start, outcomes = adapter.reset(first.seed), []
    for action in first.actions:
        between()
        outcomes.append(adapter.step(action[None], look=len(outcomes) < LOOKS))
        if outcomes[-1].terminated or outcomes[-1].truncated or (late() and len(outcomes) >= LOOKS):
            break
    frames = [start.frames, *(outcome.observation.frames for outcome in outcomes[:LOOKS])]
    return Episode(first.seed, start.instruction, first.actions, frames, outcomes, False)


def changed(first: Episode, again: Episode) -> str:
    """Return what differs between two episodes of the same actions, of which the second may be broken off; '' if nothing does."""
    for i, (a, b) in enumerate(zip(first.outcomes, again.outcomes, strict=False)):
        before, after = a.observation.state, b.observation.state
        if i < LOOKS and before is not None and after is not None and not np.allclose(before, after, rtol=1e-4, atol=1e-5):
            return "state"
        if not np.allclose(a.rewards, b.rewards, rtol=1e-4, atol=1e-6, equal_nan=True):
            return "reward"
        if (a.success, a.success_at_end) != (b.success, b.success_at_end):
            return "success"
        if (a.terminated, a.truncated) != (b.terminated, b.truncated):
            return "length"
    return ""


def beginnings(adapter: Adapter, diagnosis: Diagnosis, late: Late = lambda: False) -> None:
    """Count different beginnings over `RESETS` resets: fewer mean that evaluation repeats situations of practice."""
    found, tried, rng = set(), 0, np.random.default_rng(0)
    while tried < RESETS and not (late() and tried):
        first = adapter.reset(SEEDS + int(rng.integers(1_000_000, 10_000_000)))  # scattered: seeds in a row hide that only seed % 100 counts
        # Words that the config draws by seed make no other situation.
        words = "" if isinstance(adapter.config.instruction, tuple) else first.instruction
        found.add(hashlib.sha256(first.frames.tobytes() + words.encode()).digest())
        tried += 1
    diagnosis.line("beginnings", f"{len(found)} different ones in {tried} resets")
    if tried >= 16 and 1 < len(found) < 0.9 * tried:  # one alone is said by `seeding`
        diagnosis.note(f"Only {len(found)} different beginnings in {tried} resets: evaluation seeds repeat situations of practice.")
