"""Acts with an exported policy by transformers (and peft) alone. `etude export` copies this file, `act.py`, into the folder of the policy.

    from act import Policy

    policy = Policy()
    actions = policy.act([front, wrist], "open the red drawer")  # pictures [h, w, 3], in the order of `images` in action_codec.json

Pictures are those of the environment: `act` scales their numbers, crops, resizes and turns them over as training did (`pictures`, `image_size`).

It imports nothing of etude.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

FOLDER = Path(__file__).resolve().parent


class Policy:
    """An exported policy: a vision-language model whose reply is a row of numbers, which are actions.

    Args:
        folder: of the export.
        device: torch device.
    """

    def __init__(self, folder: Path = FOLDER, device: str = "cpu") -> None:
        self.codec = json.loads((folder / "action_codec.json").read_text())
        # Not the whole processor: those of many families also want to read videos, by torchvision.
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.image_processor = AutoImageProcessor.from_pretrained(folder, backend="pil")  # torchvision would resize otherwise than training
        adapter = folder / "adapter_config.json"
        base = json.loads(adapter.read_text())["base_model_name_or_path"] if adapter.exists() else str(folder)
        source = folder / base if (folder / base).is_dir() else base  # an adapter's base model lies beside it, or is on the hub
        model: Any = AutoModelForImageTextToText.from_pretrained(source, dtype=torch.float32)
        if hasattr(model.config, "image_grid_pinpoints"):  # LLaVA-NeXT: a picture is one piece, as in training
            model.config.image_grid_pinpoints = [[0, 0]]
        if adapter.exists():
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, folder)
        self.model = model.to(device).eval()

    def act(self, images: list[np.ndarray], instruction: str, state: str = "") -> np.ndarray:
        """Return float32[H, A]: the actions of one decision, each to be held for `action_repeat` environment steps; greedy."""
        return self.actions(self.reply(images, instruction, state)[0])

    @torch.inference_mode()
    def reply(self, images: list[np.ndarray], instruction: str, state: str = "") -> tuple[list[int], list[torch.Tensor]]:
        """Return the tokens of the reply, and the logits of the whole vocabulary, float32[V], before each.

        Args:
            images: [h, w, 3] each, RGB, one for each name in `images` of action_codec.json.
            instruction: what to do.
            state: proprioception as text, where the prompt has any ("state" in action_codec.json).
        """
        codec, inputs = self.codec, {name: value.to(self.model.device) for name, value in self.prompt(images, instruction, state).items()}
        reply, logits = [], []
        for place, fixed in enumerate(codec["before"]):  # the fixed words of a chain of thought, between its numbers
            self._extend(inputs, fixed)
            logits.append(self.model(**inputs).logits[0, -1].float())
            allowed = self._allowed(reply, place)
            reply.append(allowed[int(logits[-1][allowed].argmax())])
            self._extend(inputs, reply[-1:])
        return reply, logits

    def prompt(self, images: list[np.ndarray], instruction: str, state: str = "") -> dict[str, torch.Tensor]:
        """Return the model's inputs before the reply; arguments as of `reply`."""
        codec = self.codec
        words = instruction.lower() if codec["lower_case"] else instruction
        text = codec["chat"].replace("{state}", state).replace("{instruction}", words)
        if len(images) != len(codec["pictures"]):
            raise ValueError(f"there are {len(images)} pictures, and the policy sees {len(codec['pictures'])}: {', '.join(codec['images'])}")
        pictures = [Image.fromarray(frame(image, codec["image_size"], **spec)) for image, spec in zip(images, codec["pictures"], strict=True)]
        settings = {**codec["image_settings"], "return_tensors": "pt"}
        seen = self.image_processor(images=[pictures] if codec["images_nested"] else pictures, **settings)
        tokens = self.tokenizer([text], add_special_tokens=codec["add_special_tokens"], return_tensors="pt")["input_ids"]
        inputs = {"input_ids": tokens, **{name: seen[name] for name in codec["image_inputs"]}}
        for name, values in codec["per_token"].items():
            kinds = [values["at"].get(str(token), values["prompt"]) for token in tokens[0].tolist()]
            inputs[name] = torch.tensor([kinds], dtype=tokens.dtype)
        return inputs

    def actions(self, reply: list[int]) -> np.ndarray:
        """Return the float32[H, A] actions of a reply."""
        codec, width = self.codec, self.codec["tokens_per_number"]
        tokens = reply[width * codec["numbers_in_thought"] :]
        bins = [codec["numbers"].index(tokens[i : i + width]) for i in range(0, len(tokens), width)]
        values = codec["first"] + np.reshape(bins, (codec["chunk_size"], -1)) * codec["step"]
        return np.clip(values, codec["low"], codec["high"]).astype(np.float32)

    def _allowed(self, reply: list[int], place: int) -> list[int]:
        """Return the tokens that may stand at a place of the reply, ascending."""
        codec, (number, begun) = self.codec, divmod(place, self.codec["tokens_per_number"])
        action, written = number - codec["numbers_in_thought"], reply[place - begun : place]
        usable = codec["thought_numbers"] if action < 0 else codec["numbers"][: codec["bins"][action % len(codec["bins"])]]
        return sorted({each[begun] for each in usable if each[:begun] == written})

    def _extend(self, inputs: Any, tokens: list[int]) -> None:
        """Append tokens to the inputs; families differ in which other inputs have one entry a token."""
        for name, values in ({"input_ids": {}} | self.codec["per_token"]).items():
            more = torch.tensor([[values.get("reply", token) for token in tokens]], dtype=inputs[name].dtype, device=inputs[name].device)
            inputs[name] = torch.cat([inputs[name], more], dim=1)


def frame(image: np.ndarray, size: int, values: list[float] | None, square: bool, flip: str) -> np.ndarray:
    """Return a picture as training saw it, uint8[size, size, 3].

    Args:
        image: [h, w, 3], RGB.
        size: height and width of the result, pixels.
        values: that stand for black and white; None: 0 and 255 of whole numbers, 0 and 1 of floats.
        square: of a wider picture the square in its middle is what training saw.
        flip: 'vertical' (top to bottom), 'horizontal' (left to right), 'both' or ''.

    Raises:
        ValueError: it is no such picture.
    """
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"a picture has the shape {pixels.shape}; [h, w, 3] is needed")
    height, width = pixels.shape[:2]
    floats = np.issubdtype(pixels.dtype, np.floating)
    low, high = values or ((0, 1) if floats else (0, 255))
    slack = 1e-3 * (high - low) if floats else 0  # interpolation may exceed the range a little
    if not low - slack <= pixels.min() <= pixels.max() <= high + slack:  # NaN fails too
        raise ValueError(f"the numbers of a picture range from {pixels.min():.4g} to {pixels.max():.4g}; they must lie in [{low:g}, {high:g}]")
    if pixels.dtype != np.uint8 or (low, high) != (0, 255):
        pixels = np.rint((pixels.clip(low, high) - low) / (high - low) * 255).astype(np.uint8)
    if square and width < height:
        raise ValueError(f"a picture of {width} x {height} pixels shows less than those of training; draw it at least as wide as high")
    if square:
        pixels, width = pixels[:, (width - height) // 2 :][:, :height], height
    rows, columns = (max(1, round(size * side / max(height, width))) for side in (height, width))  # the aspect ratio stays
    smooth = Image.Resampling.BOX if min(height, width) >= size else Image.Resampling.BICUBIC
    fitted = np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((columns, rows), smooth))
    above, left = (size - rows) // 2, (size - columns) // 2
    framed = np.pad(fitted, ((above, size - rows - above), (left, size - columns - left), (0, 0)))  # with black borders
    return np.ascontiguousarray(framed[:: -1 if flip in ("vertical", "both") else 1, :: -1 if flip in ("horizontal", "both") else 1])
