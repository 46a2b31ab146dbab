"""Success rules: what they may say, and that nothing else is run."""

import re
from typing import Any

import numpy as np
import pytest

from envs.success import Success, disputed, reported

INFO = {"distance": 0.04, "done": ["kettle", "burner"], "is_success": np.float32(0), "proximity": np.array([True])}


def ask(rule: str, info: dict[str, Any] | None = None, **more: Any) -> bool:
    given = {"observation": np.arange(6.0), "reward": 0.5, "total_reward": 7.0} | more
    return Success(rule)(INFO if info is None else info, **given)


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        ("", False),
        ("proximity", True),
        ("info['distance'] < 0.05", True),
        ("0 < info['distance'] <= 0.04 and not info['is_success']", True),
        ("reward >= 1 or total_reward > 6", True),
        ("norm(observation[-3:]) < 1", False),
        ("abs(observation[0] - observation[5]) == 5", True),
        ("set(info['done']) == set(['burner', 'kettle'])", True),
        ("'kettle' in info['done']", True),
        ("'sink' not in info['done']", True),
        ("len(info['done']) == 2", True),
        ("observation[::2][1] == 2", True),
        ("-reward + 2 * 0.25 == 0", True),
    ],
)
def test_rules(rule: str, word: bool) -> None:
    assert ask(rule) is word


def test_the_usual_keys_are_tried_in_order() -> None:
    assert ask("", {"won": 1, "success": 0}) is False and ask("", {"won": 1}) is True


@pytest.mark.parametrize(
    "rule",
    [
        "__import__('os').system('true')",
        "info.__class__",
        "open('x')",
        "(lambda: 1)()",
        "[x for x in info]",
        "2 ** 99",
        "info is reward",
        "max(info, key=len)",
    ],
)
def test_nothing_else_is_run(rule: str) -> None:
    with pytest.raises(ValueError, match=r"env\.success may"):
        ask(rule)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("sum([1] * 100000000)", "only numbers and arrays are multiplied"),
        ("100000000 * (1, 2) == info['near']", "only numbers and arrays are multiplied"),
        ("len('a' * 100000000) > 5", "only numbers and arrays are multiplied"),
        ("len(([1] + [2]) * 100000000) > 5", "only numbers and arrays are multiplied"),
        ("len(info['done'] * 100000000) > 5", "only numbers and arrays are multiplied"),
        ("sum(observation[:, None] * observation[None, :]) > 5", "an array of 36000000 numbers, and at most 10000000"),
        ("any(observation[:, None] < observation[None, :])", "an array of 36000000 numbers, and at most 10000000"),
        (" + ".join(["reward"] * 180) + " > 5", "nested more than 100 deep"),
        ("not " * 400 + "reward", "nested more than 100 deep"),
        ("(" * 900 + "reward" + ")" * 900, "is not an expression"),
        ("reward > " + "9" * 2000, "has 2009 characters, and at most 2000 are read"),
        ("reward > 0\0", "is not an expression"),
    ],
)
def test_a_rule_has_limits_of_size(rule: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ask(rule, observation=np.arange(6000.0))


def test_a_long_rule_over_large_pictures_is_no_mistake() -> None:
    picture = np.full((480, 640, 3), 0.5)
    assert ask(" or ".join(["reward > 2"] * 50) + " or sum(observation * 2) > 900000", observation=picture)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="fails with ZeroDivisionError"):
        ask("1 / len(info['none']) > 2", {"none": []})
    with pytest.raises(ValueError, match="is not an expression"):
        Success("info['distance'] <")
    for rule in ("not observation", "observation[::0] > 0", "max(observation, [1, 2]) > 0", "reward > 0 and observation < 1"):
        with pytest.raises(ValueError, match=rf"^env\.success '{re.escape(rule)}' fails with ValueError: "):
            ask(rule)
    with pytest.raises(ValueError, match=r"fails with KeyError: 'gap'; info holds 'distance'"):
        ask("info['gap'] < 1")
    with pytest.raises(ValueError, match=r"key 'gap' of env.success is needed, and info holds 'distance'"):
        ask("gap")
    for value in (float("nan"), "yes", np.zeros(2), -1, 0.31, 2, np.float32(0.999), "False", [], np.array([], str)):
        with pytest.raises(ValueError, match=r"success must be true or false, 0 or 1\. (Compare|Of several|Name) .* as in .*info\['success'\]"):
            ask("", {"success": value})


def test_a_key_that_only_the_last_info_has_can_be_asked_for() -> None:
    rule = '"is_success" in info and info["is_success"]'
    assert [Success(rule)(info, {}, 0.0, 0.0) for info in ({}, {"is_success": False}, {"is_success": True})] == [False, False, True]


def test_success_is_known_only_at_the_end() -> None:
    for late in (None, np.array(None)):
        assert ask("", {"success": late}) is False and ask("info['success']", {"success": late}) is False
    for rule in ("terminated", "terminated and not truncated", "terminated and reward > 0"):
        assert ask(rule, {}, terminated=True) is True and ask(rule, {}, terminated=False) is False
    assert ask("truncated", {}, truncated=True) and not ask("terminated", {"terminated": 0}, terminated=True), "a key of info comes first"
    with pytest.raises(ValueError, match=r"info\['score'\] is 0\.31; success must be true or false, 0 or 1"):
        ask("info['score']", {"score": 0.31})


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (0.31, "as in info['success'] > 0.9."),
        ("False", "as in info['success'] == 'True'."),
        ("no", "as in info['success'] == 'yes'."),
        (np.array("solved"), "as in info['success'] == 'solved'."),
        (b"0", "as in info['success'] == b'1'."),
        (np.zeros(2), "as in all(info['success'])."),
        ({"reach": True}, "as in info['success']['reach']."),
    ],
)
def test_the_advice_fits_the_value(value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        ask("", {"success": value})


@pytest.mark.parametrize(("won", "lost"), [("yes", "no"), (b"1", b"0"), ("True", "False"), ("solved", "stuck")])
def test_the_advice_about_a_text_holds_once_it_is_followed(won: Any, lost: Any) -> None:
    for value in (won, lost)[: 1 if won == "solved" else 2]:
        with pytest.raises(ValueError, match="with the text of a success") as error:
            ask("", {"success": value})
        rule = str(error.value).rpartition("as in ")[2].removesuffix(".")
        assert ask(rule, {"success": won}) is True and ask(rule, {"success": lost}) is False


def test_a_usual_key_that_is_none_leaves_the_word_to_the_next() -> None:
    assert ask("", {"is_success": None, "success": True}) and not ask("", {"is_success": None, "success": None})
    late = {"is_success": np.array(None), "success": np.array([[1.0]])}
    assert ask("", late) and reported(late) == "success" and not ask("", {"is_success": np.array(None)})


@pytest.mark.parametrize(
    ("info", "says"),
    [
        ({"is_success": False, "success": np.array([1.0])}, "info['is_success'] is False where info['success'] is True"),
        ({"success": True, "won": 0}, "info['success'] is True where info['won'] is False"),
        ({"is_success": None, "success": True, "won": False}, "info['success'] is True where info['won'] is False"),
        ({"is_success": True, "success": 1}, ""),
        ({"is_success": None, "success": True}, ""),
        ({"is_success": False, "success": 0.7}, ""),
        ({"success": True}, ""),
        ({}, ""),
    ],
)
def test_keys_that_contradict_each_other_are_told(info: dict[str, Any], says: str) -> None:
    assert disputed(info) == says


def test_max_and_min_compare_their_values_and_the_others_take_one() -> None:
    assert ask("max(info['gap'], 0.1) < 0.2", {"gap": 0.05}) and not ask("min(info['left'], info['right'], 9) > 1", {"left": 3, "right": 0.5})
    with pytest.raises(ValueError, match=r"Of several numbers env.success needs all\(\.\.\.\)"):
        ask("max(info['gap'], 0) > 0.5", {"gap": np.ones(3)})
    with pytest.raises(ValueError, match=r"sum takes one value"):
        ask("sum(info['gap'], 1) > 0.5", {"gap": np.ones(3)})
    with pytest.raises(ValueError, match="at most 10000000 are made"):
        ask("any(max(info['row'], info['column']) > 1)", {"row": np.ones((1, 5000)), "column": np.ones((5000, 1))})
