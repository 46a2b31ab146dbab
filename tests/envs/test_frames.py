"""Pictures in any form become the same small square."""

import gymnasium
import numpy as np
import pytest

from envs.frames import colour_planes, flipped, likely, lookup, picture, pictures, value_range, view

BOX = gymnasium.spaces.Box(0, 255, (16, 16, 3), np.uint8)


def test_all_forms_of_one_picture_agree() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    expected = picture(pixels, 16)
    for form in (
        pixels.transpose(2, 0, 1),
        pixels / 255.0,
        (pixels / 255).astype(np.float32),
        pixels.astype(np.int64),
        np.dstack([pixels, np.full((48, 64), 255, np.uint8)]),
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


def box(*shape: int, low: float = 0, high: float = 255, dtype: type = np.uint8) -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(low, high, shape, dtype)  # type: ignore[arg-type]


def test_pictures_of_a_space_are_found() -> None:
    parts = {"eye": box(3, 20, 30), "many": box(2, 24, 24, 3), "old": box(4, 84, 84), "grey": box(84, 84), "state": box(5), "few": box(4, 4)}
    old = [f"old.{i}" for i in range(4)]
    assert sorted(pictures(gymnasium.spaces.Dict(parts))) == ["eye", "grey", "many.0", "many.1", *old]  # type: ignore[arg-type]
    assert pictures(box(20, 30, 4)) == pictures(box(20, 30)) == ["observation"]
    assert pictures(box(2, 24, 24, 3)) == pictures(box(2, 84, 84)) == ["observation.0", "observation.1"]
    stack = np.arange(2 * 9 * 9).reshape(2, 9, 9)
    assert view(stack, "observation") is stack and (view(stack, "observation.1") == stack[1]).all() and view({"a": [7]}, "a.0") == 7


@pytest.mark.parametrize(
    ("low", "high", "dtype"),
    [(0, 255, np.float32), (-1, 1, np.float32), (0, 1, np.float64), (0, 255, np.int64), (0, 1, np.uint8), (-128, 127, np.int8)],
)
def test_values_are_read_by_the_bounds_of_their_space(low: float, high: float, dtype: type) -> None:
    space = gymnasium.spaces.Dict({"eye": box(16, 16, 3, low=low, high=high, dtype=dtype)})
    values = value_range(space, "eye")
    for share, grey in ((0, 0), (1, 255)):
        assert (picture(np.full((16, 16, 3), low + share * (high - low), dtype), 16, values) == grey).all()
    middle = picture(np.full((16, 16, 3), (low + high) / 2, dtype), 16, values)
    assert (np.abs(middle.astype(int) - 127) <= 1).all() or dtype is np.uint8
    with pytest.raises(ValueError, match="as its observation space declares"):
        picture(np.full((16, 16, 3), high + 5, np.float64), 16, values)


def test_a_space_whose_bounds_say_nothing_leaves_the_usual_ranges() -> None:
    huge = float(np.finfo(np.float32).max)
    for low, high in ((-np.inf, np.inf), (-huge, huge)):
        values = value_range(box(16, 16, low=low, high=high, dtype=np.float32), "observation")
        assert values is None and (picture(np.ones((16, 16)), 16, values) == 255).all()
        with pytest.raises(ValueError, match=r"floats must lie in \[0, 1\], or its observation space has to declare others"):
            picture(np.full((16, 16), 80.0), 16, values)
    assert value_range(box(4, 84, 84), "observation.3") == (0, 255) and value_range(gymnasium.spaces.MultiBinary((16, 16)), "observation") == (0, 1)


def test_four_stacked_grey_frames_are_not_taken_for_transparency() -> None:
    stack = np.random.default_rng(0).integers(0, 256, (84, 84, 4), np.uint8)
    with pytest.raises(ValueError, match="may hold four stacked grey frames, or transparency; give RGB, or one frame alone"):
        picture(stack, 32)
    assert (picture(stack[..., 3], 84)[..., 0] == stack[..., 3]).all()


def test_the_aspect_ratio_is_kept_within_black_borders() -> None:
    wide, tall = picture(np.full((120, 160, 3), 200, np.uint8), 64), picture(np.full((30, 10), 200, np.uint8), 32)
    assert (wide[:8] == 0).all() and (wide[-8:] == 0).all() and (wide[8:-8] == 200).all()
    assert (tall[:, :10] == 0).all() and (tall[:, 21:] == 0).all() and (tall[:, 11:21] == 200).all()


def test_frames_are_turned_over() -> None:
    frame = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    expected = {"vertical": frame[::-1], "horizontal": frame[:, ::-1], "both": frame[::-1, ::-1], "": frame}
    for flip, turned in expected.items():
        assert (flipped(frame, flip) == turned).all() and flipped(frame, flip).flags.c_contiguous


def test_lookup_goes_through_dicts_arrays_and_attributes() -> None:
    assert lookup({"a": {"b": np.arange(3)}}, "a.b.2") == 2 and lookup([1, picture], "1.__name__") == "picture"
    with pytest.raises(KeyError):
        lookup({"a": 1}, "b")


def test_keys_may_hold_dots() -> None:
    space = gymnasium.spaces.Dict({"observation.images.top": gymnasium.spaces.Box(0, 1, (16, 16, 3)), "a": gymnasium.spaces.Dict({"b.c": BOX})})
    nested, top = pictures(space)
    assert (top, nested) == ("observation.images.top", "a.b.c") and value_range(space, top) == (0, 1) and value_range(space, nested) == (0, 255)
    assert lookup({"a": {"b.c": 3, "b": {"d": 4}}}, "a.b.c") == 3 and lookup({"a": {"b.c": 3, "b": {"d": 4}}}, "a.b.d") == 4
    with pytest.raises(KeyError):
        lookup({"a.b": {"c": 1}}, "a.b.d")


def test_a_tuple_of_pictures_is_read_by_number() -> None:
    space = gymnasium.spaces.Tuple([BOX, gymnasium.spaces.Dict({"eye": BOX})])
    assert pictures(space) == ["observation.0", "observation.1.eye"] and value_range(space, "observation.1.eye") == (0, 255)
    assert view((1, {"eye": 2}), "observation.1.eye") == 2


def test_colour_pictures_side_by_side_in_the_channels_are_no_stack_of_their_rows() -> None:
    for shape in ((64, 64, 12), (16, 16, 9), (12, 12, 6), (48, 64, 6)):
        assert pictures(box(*shape)) == [] and likely(shape).startswith(f"{shape[2] // 3} colour pictures side by side; give one"), shape
    assert len(pictures(gymnasium.spaces.Box(0, 255, (4, 84, 84), np.uint8))) == 4, "four grey frames"


def test_what_an_array_may_be_that_is_no_picture() -> None:
    for shape in ((12, 64, 64), (6, 64, 64), (9, 48, 64)):
        assert likely(shape).startswith(f"{shape[0] // 3} colour pictures side by side; give one") and colour_planes(shape) == shape[0] // 3
        assert len(pictures(box(*shape))) == shape[0], "they may be grey frames as well"
    assert likely((4, 64, 64)).startswith("a picture with transparency") and not colour_planes((4, 64, 64))
    for shape in ((64, 64, 3), (3, 64, 64), (5, 64, 64), (4, 64, 64, 3), (12,), (), (12, 4, 4)):
        assert not likely(shape) and not colour_planes(shape)
