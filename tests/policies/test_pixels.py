"""Frames become the vision tower's inputs as each family's image processor makes them, bit for bit, and in batches."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from policies import processor
from policies.loading import NANO
from policies.pixels import SUPPORT, Pixels, Resize, resized
from tests.families import FAMILIES

CALLED = ("gemma4", "lfm2")
"""Families whose image processor is called for every frame: it lays out patches before it knows their colours, or is torchvision's."""
SIZES = [(64, 64), (48, 64), (90, 31)]


def images(family: str, request: Any) -> Any:
    return processor.load(str(NANO) if family == "nano" else str(request.getfixturevalue("folder_of")(family))).image_processor


def frames(count: int, *shape: int) -> list[np.ndarray]:
    return list(np.random.default_rng(1).integers(0, 256, (count, *shape, 3), dtype=np.uint8))


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_gets_what_its_processor_makes(family: str, request: Any) -> None:
    own = images(family, request)
    made = Pixels(own, "cpu")
    for size in SIZES:
        seen = frames(3, 2, *size)
        expected = own(images=[image for each in seen for image in each], return_tensors="pt")
        found = made(seen)
        recipe = made.recipe(size)
        assert (recipe is None) == (family in CALLED)
        shown = torch.from_numpy(seen[0])
        for step in recipe.steps if recipe else ():
            if isinstance(step, Resize):  # as on a GPU
                assert torch.equal(resized(shown, step.height, step.width, step.resample, step.columns_first), step(shown))
            shown = step(shown)
        assert found.keys() == expected.keys()
        for name, value in found.items():
            assert value.dtype == expected[name].dtype
            assert torch.equal(value, expected[name]), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_gpu_makes_the_same(family: str, request: Any) -> None:
    own = images(family, request)
    made = Pixels(own, "cuda")
    for size in SIZES:
        seen = frames(3, 2, *size)
        expected = own(images=[image for each in seen for image in each], return_tensors="pt")
        found = made(seen)
        assert made.recipe(size) is None or all(value.device.type == "cuda" for value in found.values())
        for name, value in found.items():
            torch.testing.assert_close(value.cpu(), expected[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("resample", SUPPORT)
@pytest.mark.parametrize("before", [(64, 64), (37, 50), (90, 31)])
@pytest.mark.parametrize("after", [(28, 28), (20, 40), (64, 50), (64, 96), (131, 37), (224, 300)])
def test_resizing_on_the_device_is_pillows(resample: Image.Resampling, before: tuple[int, int], after: tuple[int, int]) -> None:
    """As on a GPU, in the precision of training too; black and white noise, which sharp filters carry out of the range."""
    noise = [*frames(2, *before), *(255 * (each > 127).astype(np.uint8) for each in frames(2, *before))]
    expected = np.stack([np.asarray(Image.fromarray(each).resize((after[1], after[0]), resample)) for each in noise])
    with torch.autocast("cpu", torch.bfloat16):
        found = [resized(torch.from_numpy(np.stack(noise)), *after, resample, first).numpy() for first in (False, True)]
    assert any(np.array_equal(each, expected) for each in found), "which of them it is, `Resize.columns_first` says"


@pytest.mark.parametrize("family", ["smolvlm", "qwen"])
def test_what_was_watched_while_acting_serves_training_too(family: str, request: Any) -> None:
    made = Pixels(images(family, request), "cpu")
    with torch.inference_mode():
        made(frames(1, 1, 64, 64))
    assert not any(value.is_inference() for value in made(frames(1, 1, 64, 64)).values())


class Odd:
    """Rolls each image by a step of its own, which nothing can watch."""

    def __init__(self, images: Any) -> None:
        self.images = images

    def __call__(self, images: Any, **more: Any) -> Any:
        return self.images(images=[np.roll(image, 1, axis=0) for image in images], **more)


def test_a_processor_that_does_something_else_is_called_itself(request: Any) -> None:
    own = images("smolvlm", request)
    kind = type(own)
    own.__class__ = type(
        kind.__name__, (kind,), {"rescale": lambda self, image, *args, **kwargs: kind.rescale(self, image[:, ::-1], *args, **kwargs)}
    )
    for strange in (own, Odd(own)):
        made, seen = Pixels(strange, "cpu"), frames(3, 2, 64, 64)
        expected = strange(images=[image for each in seen for image in each], return_tensors="pt")
        assert made.recipe((64, 64)) is None
        assert torch.equal(made(seen)["pixel_values"], expected["pixel_values"])


def test_frames_of_different_shapes_go_through_the_processor(request: Any) -> None:
    own = images("smolvlm", request)
    seen = [*frames(1, 1, 64, 64), *frames(1, 1, 48, 64)]
    assert torch.equal(Pixels(own, "cpu")(seen)["pixel_values"], own(images=[each[0] for each in seen], return_tensors="pt")["pixel_values"])


def test_the_processor_that_was_watched_is_as_before(tmp_path: Path) -> None:
    """It is saved with the model, and its class is named in its file."""
    own = processor.load(str(NANO)).image_processor
    before = type(own), own.to_dict()
    Pixels(own, "cpu")(frames(1, 1, 64, 64))
    assert (type(own), own.to_dict()) == before
