"""Loads the processor of a model, also where torchvision is not installed.

Processors of families that also accept videos (SmolVLM, Qwen-VL, InternVL) do not load without torchvision. Frames need only the rest of them:
tokenizer, image processor, chat template, and the code that counts image tokens.
"""

from typing import Any

from transformers import AutoConfig, AutoProcessor, Idefics3Processor, SmolVLMProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from policies import families


def load(source: str, **kwargs: Any) -> Any:
    """Return the model's own processor, without its video part where that needs torchvision.

    Args:
        source: hub id or folder.
        kwargs: passed to `from_pretrained`.

    Raises:
        OSError, ValueError: there is no processor, it takes no images, or it has no chat template.
    """
    try:
        processor = AutoProcessor.from_pretrained(source, **kwargs)
    except (ImportError, AttributeError, OSError, ValueError) as error:  # transformers 5 raises any of these without torchvision, by family
        try:
            processor = _without_video(source, **kwargs)
        except (ImportError, AttributeError, KeyError, OSError, ValueError):
            raise ValueError(f"its processor cannot be loaded: {str(error).strip()}") from error
    if not (hasattr(processor, "tokenizer") and hasattr(processor, "image_processor")):
        raise ValueError("it takes no images.")
    own = families.family_of(AutoConfig.from_pretrained(source, **kwargs)).template
    processor.chat_template = processor.chat_template or processor.tokenizer.chat_template or own  # older models keep it with the tokenizer
    if not processor.chat_template:
        raise ValueError("it has no chat template: use an instruction-tuned model, or put a chat_template.jinja into its folder.")
    families.keep_frames_whole(processor)
    families.keep_whole_prompts(processor)
    return processor


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
    half = type(whole.__name__, (whole,), {"get_attributes": classmethod(lambda cls: [each for each in own if each != "video_processor"])})
    return half.from_pretrained(source, **kwargs)
