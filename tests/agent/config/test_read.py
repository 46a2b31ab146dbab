"""Config: strict, and errors that a person can act on."""

import itertools
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import Phase as HypothesisPhase
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.config.config import Config
from agent.config.differences import differences
from agent.config.former import FORMER, REMOVED
from agent.config.keys import EvaluateConfig, Phase
from agent.config.read import config_keys, override, parse, read, write
from agent.run.folder import Run
from envs import EnvConfig
from envs.tasks.base import STEP
from policies.codec import NUMBERS, REACH


@pytest.mark.parametrize(
    "file", sorted([*set(Path("configs").glob("*.yaml")) - {Path("configs/sweep.yaml")}, *Path("configs/smol").glob("*.yaml")]), ids=lambda f: f.stem
)
def test_every_config_reads(file: Path) -> None:
    assert isinstance(read(file), Config)


@pytest.mark.parametrize("name", ["slide", "turn", "lift", "smol/reach", "smol/slide", "smol/lift"])
def test_a_scaled_action_says_how_far_to_go_as_an_answer_does(name: str) -> None:
    config = read(Path(f"configs/{name}.yaml"))
    assert config.policy.codec == "digits" or config.policy.num_bins == NUMBERS
    assert config.policy.scale * config.envs[0].action_repeat * STEP == pytest.approx(REACH)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sead: 1", "did you mean 'seed'"),
        ("collect: {episode_per_seed: 4}", "did you mean 'episodes_per_seed'"),
        ("collect: {episodes_per_seed: many}", "collect.episodes_per_seed is 'many'"),
        ("collect: {episodes_per_seed: 0}", "greater than or equal to 1"),
        ("track: {mode: loud}", "track.mode is 'loud'"),
        ("seed: [", "is not YAML"),
        ("- 1", "holds a list"),
        ("on: true", "YAML reads the key 'on' as true; put it into quotes"),
        ("cycles: 010", "line 1: YAML reads 010 as 8; write that, or put it into quotes"),
        ("max_minutes: 1:30", "line 1: YAML reads 1:30 as 90; write that, or put it into quotes"),
        ("threads: 100000", "threads is 100000; input should be less than or equal to 1024"),
        ("processes: 1000000", "processes is 1000000; input should be less than or equal to 1024"),
        ("env: {history: 1000000000}", "env.history is 1000000000; input should be less than or equal to 256"),
        ("env: {action_repeat: 100000000000}", "env.action_repeat is 100000000000; input should be less than or equal to 10000"),
        ("env: {timeout: 1e9}", "env.timeout is 1000000000.0; input should be less than or equal to 1000000"),
        ("tune: {learning_rate: 1e300}", "tune.learning_rate is 1e+300; input should be less than or equal to 1"),
        ("demonstrate: {learning_rate: 1e30}", "demonstrate.learning_rate is 1e+30; input should be less than or equal to 1"),
        ("tune: {pg_coef: 1e300}", "tune.pg_coef is 1e+300; input should be less than or equal to 1000000"),
        ("evaluate: {variations: {" + 61 * "v" + ": {}}}", "should have at most 60 characters"),
        ("zzz: 1", "allowed are seed"),
        ("collect: {forks: 2}", "unknown key 'collect.forks'"),
        ("guard: {entropy: 0}", "unknown key 'guard'"),
        ("tune: {kl_coef: .inf}", "tune.kl_coef is inf; input should be a finite number"),
        ("demonstrate: {noise: .nan}", "demonstrate.noise is nan; input should be a finite number"),
        ("env: {timeout: .inf}", "env.timeout is inf; input should be a finite number"),
        ("policy: {temperature: .inf}", "policy.temperature is inf; input should be a finite number"),
        ("policy: {prompt: '{state}', state: {8: [0, .inf]}}", "policy.state.8.1 is inf; input should be a finite number"),
        ("phases: [{first: 2, tune: {learning_rate: .inf}}]", "phase from cycle 2: tune.learning_rate is inf"),
        ("tune: {pg_coef: 0, bc_coef: 0, dpo_coef: 0, kl_coef: 1}", "a cycle learns nothing where"),
        ("phases: [{first: 2, tune: {pg_coef: 0, bc_coef: 0, dpo_coef: 0}}]", "phase from cycle 2: a cycle learns nothing where"),
        ("cycles: true", "cycles is true; give a number"),
        ("env: {history: true}", "env.history is true"),
        ("env: [{id: a, action_repeat: true}]", "env.0.action_repeat is true"),
        ("tune: {clip_range: [true, 0.2]}", "tune.clip_range.0 is true"),
        ("policy: {num_bins: 33, temperature: true}", "policy.temperature is true"),
        ("phases: [{first: 2, collect: {num_seeds: true}}]", "phase from cycle 2: collect.num_seeds is true"),
        ("env: etude/Reach-v0", "env is 'etude/Reach-v0'; input should be keys with values."),
        ("env: {cameras: front}", "env.cameras is 'front'; input should be a list."),
        ("env: {instruction: 3}", "env.instruction is 3; input should be a valid string, or input should be a list."),
        ("evaluate: {variations: {a/b: {}}}", "evaluate.variations.a/b is 'a/b'; string should match"),
        ("policy: {lora: {r: [1]}}", "policy.lora.r is "),
        ("tune: {clip_range: [1, 2, 3]}", "tune.clip_range is [1, 2, 3]; it should be a list of at most 2 items, not 3"),
        ("policy: {prompt: 'now {instruktion}'}", "policy.prompt is 'now {instruktion}'; nothing replaces {instruktion}; the placeholders here are"),
        ("policy: {prompt: '{instruction!r}'}", "nothing replaces {instruction!r}"),
        ("label: {question: 'is {state} it ?'}", "nothing replaces {state}; the placeholders here are {instruction}"),
        ("collect: {num_seeds: 1000000000}", "collect.num_seeds is 1000000000; input should be less than or equal to 50000."),
        ("evaluate: {extra_rounds: 1000000000}", "evaluate.extra_rounds is 1000000000; input should be less than or equal to 100."),
        ("env: {size: 100000}", "env.size is 100000; input should be less than or equal to 4096."),
        ("policy: {temperature: 1.0e-300}", "policy.temperature is 1e-300; input should be greater than or equal to 0.001."),
        ("env: {free_cameras: {side: {lookat: [0, 0, 0], fovy: 45}}}", "unknown key 'env.free_cameras.side.fovy'; allowed are lookat, distance"),
        ("env: {free_cameras: {side: 3}}", "env.free_cameras.side is 3; input should be keys with values."),
        ("env: {cameras: [a, a]}", "gives the name 'a' to two frames"),
        ("env: {cameras: [a, a_1], history: 2}", "gives the name 'a_1' to two frames"),
        ("env: {cameras: [a/b, a_b]}", "gives the name 'a_b' to two frames"),
        ("env: {sise: 32}", "unknown key 'env.sise'; did you mean 'size'"),
        ("env: [{id: A}, {id: B, sise: 32}]", "unknown key 'env.1.sise'; did you mean 'size'"),
        ("env: [{id: A}, {id: A}]", "two environments have one name"),
        ("env: [{id: A}, {id: B, size: 32}]", "the same cameras, history, size and action_repeat"),
        ("env: []", "env is"),
        ("label: {by: detector}\ncollect: {lookahead_episodes: 2}", "need the environment's reward, and label.by is detector"),
        ("curate: {conditioned_weight: 1}", "put {advantage} into policy.prompt"),
        ("label: {distance_question: far}", "needs label.by detector"),
        (
            "label: {by: detector}\ndemonstrate: {episodes: 0}",
            "label.by detector calibrates the detector on demonstrations; give demonstrate.episodes more than 0",
        ),
        ("label: {by: detector, detector: base}\ndemonstrate: {episodes: 0}", "give demonstrate.episodes more than 0"),
        ("curate: {credit: steps_to_go}\ndemonstrate: {episodes: 0}", "give demonstrate.episodes more than 0"),
        ("label: {detector: base}", "label.detector base needs label.by detector"),
        ("collect: {lookahead_episodes: 2}\ntune: {bc_coef: 0}", "collect.lookahead_episodes teaches nothing"),
        ("curate: {lookahead_pairs: 64}", "give tune.dpo_coef and collect.lookahead_episodes more than 0"),
        ("phases: [{first: 3, lr: 1}]", "unknown key 'phases.0.lr'; allowed are first, collect, curate, tune"),
        ("phases: [{first: 3, tune: {learnin_rate: 1}}]", "phase from cycle 3: unknown key 'tune.learnin_rate'; did you mean 'learning_rate'"),
        ("phases: [{first: 3}, {first: 2}]", "phases begin with cycles 3, 2; put each later than the one before"),
        ("phases: [{first: 3, collect: {num_envs: 2}}]", "of a whole run, and no phase can change them"),
        ("phases: [{tune: {learning_rate: 1}}]", "phases.0.first is missing"),
        (
            "collect: {lookahead_episodes: 2}\ncurate: {lookahead_pairs: 9}\nphases: [{first: 3, collect: {lookahead_episodes: 0}}]",
            "phase from cycle 3: curate.lookahead_pairs needs",
        ),
        (
            "env: {timeout: 5}\ncollect: {lookahead_episodes: 2}",
            "collect.lookahead_episodes copies the simulator, and etude/Reach-v0 runs in another process; set env.timeout to 0",
        ),
    ],
)
def test_a_wrong_file_is_one_sentence(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ValueError, match=re.escape(says)) as error:
        read(tmp_path / "c.yaml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed: 1\ncycles: 2\nseed: 3", "line 3: key 'seed' stands there and in line 1; keep one"),
        ("env:\n  size: 32\ncycles: 2\nenv: {}", "line 4: key 'env' stands there and in line 1"),
        ("env:\n  size: 32\n  size: 64", "line 3: key 'size' stands there and in line 2"),
        ("env:\n- id: A\n- kwargs:\n    a: [{b: 1,\n      b: 2}]", "line 5: key 'b' stands there and in line 4"),
        ("phases:\n- first: 3\n  tune: {learning_rate: 1}\n  tune: {epochs: 1}", "line 4: key 'tune' stands there and in line 3"),
        ("env: {kwargs: {true: 1, True: 2}}", "line 1: key True stands there and in line 1"),
        ("env: {kwargs: {<<: {a: 1}, <<: {a: 2}}}", "key '<<' stands there"),
        (
            "a: &a [1, 1]\n" + "".join(f"{x}: &{x} [*{y}, *{y}]\n" for y, x in itertools.pairwise("abcdefghijklmnopqrstuvwxyz")),
            "characters or 50 levels",
        ),
        ("env: {kwargs: {a: &a [*a]}}", "line 1: it holds itself"),
        ("env: {kwargs: {a: " + "[" * 2000 + "]" * 2000 + "}}", "levels"),
        ("env: {kwargs: {a: " + "[" * 60 + "]" * 60 + "}}", "line 1: it has more than 200000 characters or 50 levels"),
        (f"seed: {'9' * 5000}", "line 1: Exceeds the limit"),
        (f"seed: 0x{'f' * 5000}", "line 1: a whole number has more than 1024 bits"),
        ("cycles: 1\nenv: {kwargs: {day: 2024-13-45}}", "line 2: month must be in"),
        ("# " + "x" * 200_000, "more than 200000 bytes"),
        ("seed: " + "x" * 20_000, "seed is 'xxx.*input should be a valid integer"),
        ("{? " + "x" * 20_000 + " : 1}", "unknown key 'xxx"),
        ("".join(f"key_{i}: 1\n" for i in range(1000)), "And 995 more"),
    ],
)
def test_what_stands_twice_or_is_beyond_measure_is_a_short_sentence_with_its_line(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ValueError, match=says) as error:
        read(tmp_path / "c.yaml")
    assert "\n" not in str(error.value) and len(str(error.value)) < 3000


def test_what_stands_twice_on_the_command_line_is_a_sentence_too() -> None:
    with pytest.raises(ValueError, match=r"'--env\.kwargs', line 1: key 'a' stands there"):
        override(Config(), ["--env.kwargs", "{a: 1, a: 2}"])


def test_a_file_that_is_no_text_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"seed: \xff")
    with pytest.raises(ValueError, match="not a text in UTF-8"):
        read(tmp_path / "c.yaml")


def test_aliases_and_merges_are_read(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("env: [&a {id: A, size: 32, kwargs: &k {x: 1}}, {<<: *a, id: B, kwargs: *k}, {<<: *a, name: C}]")
    assert [(env.title, env.size, env.kwargs) for env in read(tmp_path / "c.yaml").envs] == [(t, 32, {"x": 1}) for t in "ABC"]


YAML_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats()
    | st.text()
    | st.binary()
    | st.dates()
    | st.datetimes().map(lambda each: each.replace(fold=0)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers() | st.none(), inner, max_size=3) | st.sets(st.text()),
    max_leaves=8,
)


@settings(deadline=None, max_examples=30, phases=[HypothesisPhase.generate])
@given(st.dictionaries(st.text(), YAML_VALUES, max_size=3), st.floats(min_value=1.5, exclude_min=True, allow_infinity=False))
def test_a_config_is_read_as_it_was_written(values: dict, bound: float) -> None:
    phase = {"first": 2, "tune": {"dpo_beta": bound}}
    content = {"env": {"kwargs": values, "attributes": values}, "evaluate": {"variations": {"odd": values}}, "phases": [phase]}
    config = parse({**content, "tune": {"dpo_beta": 1e300}, "policy": {"prompt": "{state}", "state": {8: (0, 1)}}}, "test")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(write(config), "utf-8")
        again = read(file)
    normal = parse(config.model_dump(), "test")  # a default 0 is a 0.0 where it is read
    assert yaml.safe_dump(again.model_dump()) == yaml.safe_dump(normal.model_dump()), "of the same types, too"
    assert not differences(config, again), "a NaN is no difference"
    assert differences(config, again.model_copy(update={"seed": 1})) == {"seed": (config.seed, 1)}


def test_a_tuple_is_a_list_from_the_beginning() -> None:
    config = Config(env=EnvConfig(kwargs={"a": (1, (2, 3))}))
    assert config.envs[0].kwargs == {"a": [1, [2, 3]]}


@pytest.mark.parametrize(
    "value",
    [np.float64(1), np.zeros(2), Path("x"), {1: {(1, 2): 3}}, [object()], {"x": frozenset()}, {("a",)}],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("key", ["env.kwargs", "env.attributes", "evaluate.variations.odd", "phases.0.tune"])
def test_what_no_file_can_hold_is_refused_by_name_before_a_run_begins(key: str, value: object, tmp_path: Path) -> None:
    env = EnvConfig(**({key[4:]: {"x": value}} if key.startswith("env") else {}))
    config = Config(env=env, evaluate=EvaluateConfig(variations={"odd": {"x": value}} if "odd" in key else {}))
    if "phases" in key:  # its keys are checked when it is read
        phase = Phase(first=2, tune={"x": value})
        config = config.model_copy(update={"phases": (phase,)})
    with pytest.raises(ValueError, match=rf"Config key {key}.x.* (is a|holds the key) .*, which cannot be written into a file"):
        Run(tmp_path / "run", config).begin()
    assert not (tmp_path / "run").exists()


def test_a_missing_file_names_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read(tmp_path / "none.yaml")


def test_overrides() -> None:
    given = ["--seed", "3", "--collect.episodes_per_seed=2", "--env.cameras", "wrist", "--track.videos", "false", "--env.kwargs", "{size: 32}"]
    config = override(Config(), given)
    assert (config.seed, config.collect.episodes_per_seed, config.env.cameras, config.track.videos) == (3, 2, ("wrist",), False)
    assert config.env.kwargs == {"size": 32}
    assert override(Config(), ["--env.cameras", "[front, wrist]"]).env.cameras == ("front", "wrist")  # type: ignore[union-attr]


def test_an_override_holds_in_all_phases() -> None:
    config = parse({"phases": [{"first": 2, "tune": {"learning_rate": 1e-4, "epochs": 7}}, {"first": 3, "tune": {"learning_rate": 1e-5}}]}, "test")
    given = override(config, ["--tune.learning_rate", "1e-3", "--seed", "3"])
    assert [(each.tune.learning_rate, each.tune.epochs) for each in map(given.at, (1, 2, 3))] == [(1e-3, 2), (1e-3, 7), (1e-3, 7)]
    assert config.at(3).tune.learning_rate == 1e-5, "the config itself stays"
    assert override(config, ["--phases", "--seed", "3"]).phases == override(config, ["--phases", "[]"]).phases == ()
    assert override(config, ["--phases", "[{first: 4, tune: {learning_rate: 1}}]"]).at(4).tune.learning_rate == 1


def test_texts_are_taken_as_they_are() -> None:
    prompt, sides, thought = "{instruction} : how far to the first ?", "{side}", "# : #"
    given = ["--policy.prompt", prompt, "--env.instruction", sides, "--policy.thought", thought, "--env.success", "[x"]
    config = override(Config(), given)
    assert (config.policy.prompt, config.env.instruction, config.policy.thought, config.env.success) == (prompt, sides, thought, "[x")


@pytest.mark.parametrize(
    "key", ["env.instruction", "env.success", "env.state", "env.id", "policy.prompt", "policy.thought", "label.question", "demonstrate.expert"]
)
def test_a_text_without_quotes_is_one_sentence_that_says_how_to_write_it(key: str) -> None:
    with pytest.raises(ValueError, match=rf"'--{key}' takes one value and has 3; write it in quotes: --{key} 'push the block'") as error:
        override(Config(), [f"--{key}", "push", "the", "block"])
    assert ("as a list" in str(error.value)) == (key in ("env.instruction", "env.state"))
    with pytest.raises(ValueError, match="takes one value and has 0"):
        override(Config(), [f"--{key}"])


def test_an_instruction_is_one_text_and_several_are_a_list() -> None:
    def told(word: str) -> object:
        return override(Config(), ["--env.instruction", word]).envs[0].instruction

    assert told('["push the block", "open the drawer"]') == ("push the block", "open the drawer")
    for text in ("push the block", "5", "yes", "null", "2024-01-01", "push: block", ".inf"):
        assert told(text) == text
    given = override(Config(), ["--env.cameras", "front", "yes"]).envs[0]
    assert given.cameras == ("front", "yes")
    assert override(Config(), ["--env.action_bounds", "-1", "2"]).envs[0].action_bounds == (-1, 2)
    assert override(Config(), ["--env.action_bounds", "null"]).envs[0].action_bounds is None
    assert override(Config(), ["--env.action_bounds", "quantiles"]).envs[0].action_bounds == "quantiles"
    assert override(Config(), ["--env.action_bounds", "[[-1, 1], [0, 2]]"]).envs[0].action_bounds == ((-1, 1), (0, 2))


@pytest.mark.parametrize(
    "given", [["2", "1"], [".nan", "1"], ["0", ".inf"], ["1"], ["quantile"], ["1", "2", "3"], ["[]"], ["[[0, 1], 2]"], ["{a: 1}"]]
)
def test_action_bounds_are_a_pair_or_one_for_each_number(given: list[str]) -> None:
    with pytest.raises(ValueError, match=r"env\.action_bounds is .*; give \[low, high\] in finite numbers, low first, a list of such pairs"):
        override(Config(), ["--env.action_bounds", *given])


@pytest.mark.parametrize("given", [["--seed", "1", "2"], ["--env.kwargs", "{size:", "32}"], ["--track.videos"], ["--label.by", "env", "detector"]])
def test_a_key_of_one_value_takes_one(given: list[str]) -> None:
    with pytest.raises(ValueError, match=f"'{given[0]}' takes one value and has {len(given) - 1}"):
        override(Config(), given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--sed", "1"], "did you mean '--seed'"),
        (["--seed", "x"], "seed is 'x'"),
        (["seed=1"], "not an override"),
        (["--qqqq", "1"], "--help lists"),
    ],
)
def test_wrong_overrides(given: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        override(Config(), given)


def test_several_environments(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("env: [{id: A, weight: 2}, {id: A, name: other}]")
    config = read(tmp_path / "c.yaml")
    assert [env.title for env in config.envs] == ["A", "other"] and config.task == "A + other"
    assert override(config, ["--seed", "1"]).envs == config.envs
    with pytest.raises(ValueError, match="which of the 2 environments"):
        override(config, ["--env.size", "32"])
    assert Config().envs == (Config().env,)


def test_a_phase_holds_from_its_first_cycle_over_those_before() -> None:
    phases = [{"first": 3, "collect": {"lookahead_episodes": 0}, "tune": {"learning_rate": 1e-4}}, {"first": 5, "tune": {"learning_rate": 1e-5}}]
    config = parse({"collect": {"lookahead_episodes": 9, "num_seeds": 16}, "phases": phases}, "test")
    met = [(each.collect.lookahead_episodes, each.collect.num_seeds, each.tune.learning_rate) for each in map(config.at, range(1, 7))]
    assert met == [(9, 16, 5e-4)] * 2 + [(0, 16, 1e-4)] * 2 + [(0, 16, 1e-5)] * 2


def test_an_old_key_is_told_its_new_name(tmp_path: Path) -> None:
    known = dict(config_keys(Config))
    for old, new in FORMER.items():
        section, _, last = old.rpartition(".")
        full = new if "." in new else f"{section}.{new}".strip(".")
        assert old not in known and full in known
        content = {section: {last: 1}} if section else {last: 1}
        with pytest.raises(ValueError, match=f"unknown key '{old}'; did you mean '{new}'"):
            parse(content, "test")
        with pytest.raises(ValueError, match=f"Unknown override '--{old}'; did you mean '--{full}'"):
            override(Config(), [f"--{old}", "1"])
    for old in REMOVED:
        section, _, last = old.partition(".")
        with pytest.raises(ValueError, match=rf"key '{old}' is gone \(CHANGELOG.md\); remove it"):
            parse({section: {last: 1}}, "test")
        with pytest.raises(ValueError, match=rf"Key '--{old}' is gone"):
            override(Config(), [f"--{old}", "1"])
    with pytest.raises(ValueError, match=r"phase from cycle 2: unknown key 'tune.lr'; did you mean 'learning_rate'"):
        parse({"phases": [{"first": 2, "tune": {"lr": 1}}]}, "test")


def test_what_everybody_reads_as_a_number_is_one(tmp_path: Path) -> None:
    """YAML 1.1 reads 1e5 and 5e-4 as texts."""
    file = tmp_path / "config.yaml"
    file.write_text("env: {kwargs: {a: 1e5, b: -5E-4, c: .5e+3, d: '1e5', e: 1e, f: 1.e2}}")
    kwargs = read(file).envs[0].kwargs
    assert kwargs == {"a": 1e5, "b": -5e-4, "c": 500.0, "d": "1e5", "e": "1e", "f": 100.0}
    file.write_text(write(read(file)))
    assert read(file).envs[0].kwargs == kwargs, "a text that looks like a number stays a text"
    assert override(read(file), ["--env.kwargs", "{a: 2e5}"]).envs[0].kwargs == {"a": 2e5}


def test_of_an_override_that_is_given_twice_the_last_holds() -> None:
    assert override(Config(), ["--env.action-repeat", "1", "--env.action_repeat=2"]).envs[0].action_repeat == 2
