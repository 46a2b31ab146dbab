"""Pictures in any form become the same small square."""

import gymnasium
import numpy as np
import pytest

from envs.frames import lookup, picture, pictures


def test_all_forms_of_one_picture_agree() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    expected = picture(pixels, 16)
    for form in (
        pixels.transpose(2, 0, 1),
        pixels / 255.0,
        (pixels / 255).astype(np.float32),
        pixels.astype(np.int64),
        np.dstack([pixels, pixels[..., :1]]),
    ):
        np.testing.assert_array_equal(picture(form, 16), expected)
    assert (picture(np.full((32, 32), 9, np.uint8), 16) == 9).all() and (picture(np.ones((1, 32, 32), bool), 8) == 255).all()


def test_shrinking_averages_areas() -> None:
    checks = np.indices((64, 64)).sum(0)[..., None] % 2 * np.array([200, 100, 0])
    assert (picture(checks.astype(np.uint8), 16) == [100, 50, 0]).all()


def test_the_result_never_shares_memory() -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    seen = picture(pixels, 16)
    pixels[:] = 5
    assert (seen == 0).all()


@pytest.mark.parametrize(
    ("pixels", "why"),
    [
        (np.zeros(5), "not an image"),
        (np.zeros((4, 4, 3)), "not an image"),
        (np.zeros((4, 84, 84), np.uint8), "not an image"),  # four grey ones, of which the newest would be lost
        (np.full((16, 16, 3), np.nan), "NaN"),
        (np.full((16, 16, 3), 80.0), "floats must lie in"),
        (np.full((16, 16, 3), 300), "whole numbers must lie in"),
        (None, "not an image"),
    ],
)
def test_what_is_no_picture_is_named(pixels: object, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        picture(pixels, 16)


def test_pictures_of_a_space_are_found() -> None:
    box = lambda *shape: gymnasium.spaces.Box(0, 255, shape, np.uint8)  # noqa: E731
    space = gymnasium.spaces.Dict({"eye": box(3, 20, 30), "many": box(2, 24, 24, 3), "old": box(4, 84, 84), "state": box(5)})
    assert pictures(space) == ["eye", "many.0", "many.1"]
    assert pictures(box(20, 30, 4)) == ["observation"] and pictures(box(4, 24, 24, 3)) == pictures(box(4, 84, 84)) == []


def test_lookup_goes_through_dicts_arrays_and_attributes() -> None:
    assert lookup({"a": {"b": np.arange(3)}}, "a.b.2") == 2 and lookup([1, picture], "1.__name__") == "picture"
    with pytest.raises(KeyError):
        lookup({"a": 1}, "b")
