"""Loads the processor of a model, the same one where torchvision is installed and where it is not.

Processors of families that also accept videos (SmolVLM, Qwen-VL, InternVL) do not load without torchvision. Frames need only the rest of them:
tokenizer, image processor, chat template, and the code that counts image tokens. With torchvision transformers would resize frames by other rules,
and a policy would see other numbers than on the machine where it was trained.
"""

import re
from datetime import datetime
from typing import Any

from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, Idefics3Processor, ProcessorMixin, SmolVLMProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from policies import families

TODAY = datetime(2025, 1, 1, 12)  # what chat templates write as the date


def load(source: str, **kwargs: Any) -> Any:
    """Return the model's own processor, without its video part where that needs torchvision.

    Args:
        source: hub id or folder.
        kwargs: passed to `from_pretrained`.

    Raises:
        OSError, ValueError: there is no processor, it takes no images, or it has no chat template or no end of text.
    """
    try:
        processor = AutoProcessor.from_pretrained(source, **kwargs)
    except Exception as error:  # without torchvision transformers 5 raises anything, by family, RecursionError too
        try:
            processor = _without_video(source, **kwargs)
        except Exception:
            raise ValueError(f"its processor cannot be loaded: {str(error).strip()}") from error
    if not (hasattr(processor, "tokenizer") and hasattr(processor, "image_processor")):
        raise ValueError("it takes no images.")
    if processor.tokenizer.eos_token_id is None:
        raise ValueError("its tokenizer has no token that ends a text; set eos_token in its tokenizer_config.json.")
    spread = getattr(processor.image_processor, "image_std", None)
    if isinstance(spread, list | tuple) and 0 in spread:
        raise ValueError(f"its image processor divides by image_std, which is {list(spread)}; give numbers above 0.")
    _resize_with_pillow(processor, source, **kwargs)
    own = families.family_of(AutoConfig.from_pretrained(source, **kwargs)).template
    processor.chat_template = processor.chat_template or processor.tokenizer.chat_template or own  # older models keep it with the tokenizer
    if not processor.chat_template:
        raise ValueError("it has no chat template: use an instruction-tuned model, or put a chat_template.jinja into its folder.")
    processor.chat_template = _on_one_day(processor.chat_template)
    for limit in ("max_length", "truncation", "truncation_strategy"):  # those of its training, which tokenizer.json may hold, would cut prompts
        processor.tokenizer.init_kwargs.pop(limit, None)
    families.keep_frames_whole(processor)
    families.keep_whole_prompts(processor)
    return processor


def _on_one_day(template: Any) -> Any:
    """Return a chat template, or a dictionary of several, that writes the same date on every day: prompts must not depend on the clock.

    Raises:
        ValueError: it writes the time in a form that is no plain text.
    """
    if isinstance(template, dict):
        return {name: _on_one_day(each) for name, each in template.items()}
    fixed = re.sub(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""", lambda call: repr(TODAY.strftime(call[2])), template)
    if "strftime_now(" in fixed:
        raise ValueError("its chat template writes the time in a form that is not known here; write a date into its chat_template.jinja.")
    return fixed


def _resize_with_pillow(processor: Any, source: str, **kwargs: Any) -> None:
    """Replace an image processor of torchvision by that of Pillow, where the family has one (LFM2-VL has none)."""
    if getattr(processor.image_processor, "backend", "") == "torchvision":
        processor.image_processor = AutoImageProcessor.from_pretrained(source, backend="pil", **kwargs)


def _without_video(source: str, **kwargs: Any) -> Any:
    """Return the processor without its video part, which frames do not need.

    Raises:
        ValueError: its class has no video part, so something else is missing.
    """
    config = AutoConfig.from_pretrained(source, **kwargs)
    whole: Any = PROCESSOR_MAPPING[type(config)]
    if whole is SmolVLMProcessor:  # it also needs num2words, for videos; for images its prompts equal those of Idefics3
        return Idefics3Processor.from_pretrained(source, **kwargs)
    own = whole.get_attributes()
    if "video_processor" not in own:
        raise ValueError("it needs a library that is not installed")
    place, load = own.index("video_processor"), whole._get_arguments_from_pretrained.__func__

    def parts(cls: Any, *args: Any, **more: Any) -> list[Any]:
        found = load(cls, *args, **more)
        return [*found[:place], None, *found[place:]]  # constructors differ in where the video part stands

    methods = {"get_attributes": lambda cls: [each for each in own if each != "video_processor"], "_get_arguments_from_pretrained": parts}
    half = type(whole.__name__, (whole, _WithoutVideo), {name: classmethod(each) for name, each in methods.items()})
    return half.from_pretrained(source, **kwargs)


class _WithoutVideo(ProcessorMixin):
    """Stands between a family's processor and transformers' own base class, which accepts no missing part."""

    def __init__(self, *parts: Any, **named: Any) -> None:
        super().__init__(*(each for each in parts if each is not None), **{key: each for key, each in named.items() if key != "video_processor"})
