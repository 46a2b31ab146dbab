"""Whether a model can work here: the findings of `etude check-model`, and the cheap part of it that every run begins with."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from policies import families
from policies.memory import estimate
from policies.policy import Situation
from policies.precision import half
from policies.scoring import choice_probabilities, localise
from policies.sharing import can_share

AGREEMENT = 1e-3  # nats: rounding of large logits in float32 stays far below
ROUGH = 0.1  # the same where weights are bfloat16, whose numbers have three digits
INSTRUCTION, QUESTION = "touch the red ball", "is it done: touch the red ball ?"


@dataclass
class Findings:
    """The findings about a model."""

    lines: dict[str, str] = field(default_factory=dict)
    """Rows of a table: topic and finding."""
    faults: list[str] = field(default_factory=list)
    """A sentence each; a run cannot start before they are corrected."""


def cheap_faults(policy: Any, frames: tuple[int, ...]) -> list[str]:
    """Return a sentence for each fault that one decision shows: in the codec, or in the log-probabilities of learning.

    Args:
        policy: a `Vlm`, or a class of the user's.
        frames: shape of what it sees, (F, h, w, 3).
    """
    faults, unseen = [], 0.0
    try:
        if hasattr(policy, "base") and (too_long := _too_long(policy, frames)):
            return too_long  # what follows would take hours
        if lost := lost_bins(policy.codec):
            faults.append(f"{lost} bins of an action do not come back from the codec; choose another policy.codec or policy.num_bins.")
        if hasattr(policy, "base"):
            unseen = whole_gap(policy, frames)
        gap = agreement(policy, frames) if unseen < torch.inf else torch.nan
    except Exception as error:  # of code of a family that nobody tried
        if not hasattr(policy, "base"):
            raise  # of the user's own class
        return [*faults, f"A first decision of {policy.config.model!r} fails ({_cause(error)}); choose another policy.model (docs/families.md)."]
    if not unseen < torch.inf:
        return [*faults, f"The numbers that {policy.config.model!r} computes are not finite; its weights are damaged, or float32 cannot hold them."]
    if not unseen <= tolerance(policy):
        faults.append(
            f"Frames that are encoded apart mean something else to this model than frames within it: log-probabilities differ by {unseen:.2g} nats; "
            f"choose another policy.model (docs/families.md)."
        )
    if not gap <= tolerance(policy):  # also where it is NaN
        faults.append(
            f"Acting and learning give log-probabilities that differ by {gap:.2g} nats a token, so ratios and losses would be wrong; "
            f"choose another policy.model."
        )
    return faults


def _too_long(policy: Any, frames: tuple[int, ...]) -> list[str]:
    """Return a sentence if a prompt and its reply have more tokens than the model was made for."""
    most = getattr(policy.base.config.get_text_config(), "max_position_embeddings", None)
    chat = policy.prompts.chat(policy.config.ask(INSTRUCTION), frames[0])
    length = policy.prompts.tokenised(chat, np.zeros(frames, np.uint8))["input_ids"].shape[1] + policy.reply_length
    if not most or length <= most:
        return []
    return [
        f"A prompt with its reply has {length} tokens, and this model was made for {most}; show fewer or smaller frames, "
        "lower policy.chunk_size, or shorten policy.prompt."
    ]


def lost_bins(codec: Any) -> int:
    """Return how many bins, each in all action dimensions at once, do not decode and encode to themselves; those outside the box have no way back."""
    lost, thought = 0, np.zeros(codec.thought_length, np.int64)
    for i in range(codec.num_bins):
        bins_A = np.minimum(i, codec.sizes_A - 1)
        tokens = np.tile(codec.numerals_NK[bins_A].reshape(-1), codec.chunk)
        actions_HA = codec.decode(np.concatenate([thought, tokens]))
        again = codec.encode(actions_HA)
        outside_A = ((actions_HA <= codec.low) | (actions_HA >= codec.high)).all(0)
        same = (again == tokens).reshape(codec.chunk, len(bins_A), codec.width).all((0, 2))
        lost += not (same | outside_A).all() or not np.allclose(codec.decode(np.concatenate([thought, again])), actions_HA)
    return lost


def tolerance(policy: Any) -> float:
    """Return the largest difference, nats, that is rounding."""
    return ROUGH if any(parameter.dtype == torch.bfloat16 for parameter in policy.model.parameters()) else AGREEMENT


def agreement(policy: Any, frames: tuple[int, ...]) -> float:
    """Return the largest difference, nats, between a token's log-probability when acting and when learning, over three sampled replies.

    Two of them are to one situation: in learning they share its prompt, where the family can.
    """
    rng = np.random.default_rng(0)
    state = np.zeros(1 + max(policy.config.state, default=0), np.float32)
    one, other = (Situation(INSTRUCTION, rng.integers(0, 255, frames, dtype=np.uint8), state) for _ in range(2))
    seen = [one, one, other]
    decisions = policy.act(seen, rng.random((len(seen), policy.reply_length)))
    tokens = np.stack([each.tokens for each in decisions])
    with torch.no_grad():
        distribution = policy.distribution(seen, tokens)
    learnt = distribution.gather(-1, torch.as_tensor(policy.codec.columns(tokens), device=distribution.device)[..., None])[..., 0]
    return float(np.abs(learnt.cpu().numpy() - np.stack([each.logprobs for each in decisions])).max())


def whole_gap(policy: Any, frames: tuple[int, ...]) -> float:
    """Return the largest difference, nats, of a reply's first token from that of the plain whole model, as its processor and pixels make it.

    It shows an input of the model that is not handed on. It is 0 where numbers of bfloat16 would hide that.
    """
    if half(policy.config.precision, policy.config.device) or tolerance(policy) == ROUGH:
        return 0.0
    seen, text = np.random.default_rng(2).integers(0, 255, frames, dtype=np.uint8), policy.config.ask(INSTRUCTION)
    inputs = policy.prompts.whole(policy.prompts.chat(text, len(seen)), seen).to(policy.config.device)
    with torch.no_grad():
        logits_2V = torch.stack([policy.model(**inputs, logits_to_keep=1).logits[0, -1], policy.first_logits(text, seen)])
    one_U, other_U = logits_2V[:, policy.codec.vocabulary_U].float().log_softmax(-1)
    return float((one_U - other_U).abs().max())


def question_faults(policy: Any, frames: tuple[int, ...]) -> list[str]:
    """Return a sentence if questions about frames cannot be asked, or are answered otherwise together than alone; arguments as of `cheap_faults`."""
    yes, no = (policy.processor.tokenizer.encode(word, add_special_tokens=False)[0] for word in ("yes", "no"))
    if yes == no:
        return ["Its tokenizer begins 'yes' and 'no' with the same token, so no answer can be read; set label.by env, and ground.steps 0."]
    try:
        gap = question_gap(policy, frames)
    except Exception as error:
        return [f"Questions about frames cannot be asked of this model ({_cause(error)}); set label.by env, curate.credit progress, ground.steps 0."]
    if gap <= tolerance(policy):
        return []
    return [
        f"Questions asked together are answered otherwise than alone (by {gap:.2g}); set label.by env, curate.credit progress, and ground.steps 0."
    ]


def question_gap(policy: Any, frames: tuple[int, ...]) -> float:
    """Return the largest difference of P(yes) between questions that are asked together and each alone."""
    seen = _seen(frames)
    together, alone = choice_probabilities(policy, seen, [QUESTION] * 2)[:, 0], [policy.probability(QUESTION, each) for each in seen]
    return float(np.abs(together - alone).max())


def sharing_gap(policy: Any, frames: tuple[int, ...]) -> float | None:
    """Return the largest difference, nats, of two replies to one situation that are scored in one pass from each scored alone.

    None: the family's replies are always scored alone (`policies.sharing`). Arguments as of `agreement`.
    """
    rng = np.random.default_rng(3)
    one = Situation(INSTRUCTION, rng.integers(0, 255, frames, dtype=np.uint8), np.zeros(1 + max(policy.config.state, default=0), np.float32))
    if not can_share(policy.base, policy.prompts.of(one)):
        return None
    tokens = np.stack([each.tokens for each in policy.act([one, one], rng.random((2, policy.reply_length)))])
    with torch.no_grad():  # one object is one situation, and equal copies are two
        together, alone = (policy.distribution(seen, tokens) for seen in ([one, one], [replace(one), replace(one)]))
    allowed = alone > -torch.inf
    return float((together[allowed] - alone[allowed]).abs().max())


def _seen(frames: tuple[int, ...]) -> list[np.ndarray]:
    return [np.random.default_rng(i).integers(0, 255, frames, dtype=np.uint8) for i in range(2)]


def _cause(error: Exception) -> str:
    """Return the first line of an error, with its type where the line alone would say little."""
    first = str(error).strip().split("\n")[0].rstrip(".")[:200]
    return first if isinstance(error, ValueError) and first else f"{type(error).__name__}: {first}"


def examine(policy: Any, frames: tuple[int, ...], micro_batch_tokens: int = 32768) -> Findings:
    """Return the findings about a loaded model.

    Args:
        policy: a `Vlm`.
        frames: shape of what it sees, (F, h, w, 3).
        micro_batch_tokens: `tune.micro_batch_tokens`, for the memory of training.
    """
    faults = cheap_faults(policy, frames)
    if faults:
        return Findings(faults=faults)
    seen = _seen(frames)
    findings = Findings(_sizes(policy, seen, micro_batch_tokens), question_faults(policy, frames))
    lines, bins = findings.lines, policy.codec.num_bins
    lines["codec"] = f"{bins - lost_bins(policy.codec)} of {bins} bins come back"
    lines["acting = learning"] = f"largest difference {agreement(policy, frames):.0e} nats"
    lines["whole model"] = f"largest difference {whole_gap(policy, frames):.0e} nats from the plain whole model with its own processor"
    if findings.faults:
        return findings
    lines["detector"] = f"P(yes) of questions asked together is that of each alone; largest difference {question_gap(policy, frames):.0e}"
    shared = sharing_gap(policy, frames)
    lines["shared prompts"] = (
        "each reply is scored alone" if shared is None else f"replies to one situation are scored in one pass; largest difference {shared:.0e} nats"
    )
    near, phrase = localise(policy, policy.features(seen), [0], ["red ball"])
    lines["grounding"] = f"a phrase is compared with {near.shape[1]} image tokens of width {phrase.shape[1]}"
    return findings


def _sizes(policy: Any, seen: list[np.ndarray], micro_batch_tokens: int) -> dict[str, str]:
    """Return rows about how large the model is: in parameters, in tokens and in memory."""
    base, codec, (views, height, width, _) = policy.base, policy.codec, seen[0].shape
    text, count = base.config.get_text_config(), base.num_parameters()  # it counts weights of four bits rightly
    prompt = policy.prompts.tokenised(policy.prompts.chat(policy.config.ask(INSTRUCTION), views), seen[0])["input_ids"].shape[1]
    each, numbers, targets = (
        policy.features(seen).shape[1] / views,
        codec.chunk * len(codec.low),
        families.lora_targets(base, policy.config.lora.get("target_modules", "all-linear")),
    )
    return {
        "family": f"{base.config.model_type}: {type(base).__name__}, {count / 1e6:,.1f} M parameters, {text.num_hidden_layers} text layers",
        "image tokens": f"{each:g} for a frame of {height} x {width} pixels; {prompt} tokens in a prompt of {views} frames",
        "frames": "prepared in batches on the device"
        if policy.pixels.recipe((height, width))
        else "prepared one by one by the model's own processor",
        "actions": f"{policy.config.codec}: {codec.num_bins} bins, {codec.width} tokens a number; {codec.length} tokens for {numbers} numbers",
        "LoRA targets": f"{', '.join(dict.fromkeys(name.split('.')[-1] for name in targets))}: {len(targets)} layers",
        "memory": _memory(policy, prompt, seen[0], micro_batch_tokens),
    }


def _memory(policy: Any, prompt: int, frames: np.ndarray, micro_batch_tokens: int) -> str:
    """Return the estimated memory at `policy.batch_size`, in words."""
    rows, in_bfloat16 = policy.config.batch_size, half(policy.config.precision, policy.config.device)
    try:
        memory = estimate(policy, rows, prompt + policy.reply_length, patches(policy, frames), in_bfloat16, micro_batch_tokens)
    except (AttributeError, TypeError):  # a vision tower without patches (Gemma 3n, FastVLM), layers of different widths
        return "not estimated, as the model's config gives its sizes in a form of its own"
    weights, acting, training, least = (f"{each / 2**20:,.0f} MiB" for each in (memory.weights, memory.acting, memory.training, memory.least))
    return (
        f"weights {weights}; acting {acting}, training ({policy.config.train}) {training}, with {rows} replies, or {micro_batch_tokens} tokens in "
        f"training; training needs at least {least}"
    )


def patches(policy: Any, frames: np.ndarray) -> int:
    """Return how many patches the vision tower reads for uint8[F, h, w, 3] frames."""
    pixels, eye = policy.pixels([frames])["pixel_values"], policy.base.config.vision_config
    side = eye.patch_size if isinstance(eye.patch_size, int) else eye.patch_size[0]
    return pixels.numel() // (3 * side * side * (getattr(eye, "temporal_patch_size", None) or 1))
