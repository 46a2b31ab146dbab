"""The model card of an exported policy: what it is, its results with their limits, and how to act with it."""

from pathlib import Path
from typing import Any

import yaml

from agent.records import Rate
from agent.run.files import load, read_object
from agent.run.layout import summary
from agent.source import Source

CARD = """\
# {task}

A vision-language model that drives a robot in simulation: it reads {images} and an instruction, and writes {count} as tokens.
Trained by etude from `{base}` ({train}), in `{ids}`.

## Results

{results}

## Limits

* It was trained and evaluated in simulation, in the environments above alone. Nothing is known of a real robot.
* Its instructions were those of the environment, such as {example}. Other words may have no meaning for it.
* It expects pictures of the same cameras, and holds each action for {repeat} environment steps.
{more}
## Act without etude

`act.py` needs {library}. It writes the prompt and reads the reply as `action_codec.json` says.
It brings pictures of the environment into the form of training: {form}.

```python
from act import Policy

policy = Policy()
actions = policy.act([{arguments}], "{words}")  # float32[{chunk}, {dims}]; pictures are [h, w, 3]
```

## Act with etude

```python
import etude

policy = etude.load_policy("{folder}")
action = policy.act(observation, instruction)  # one call for each environment step
```
"""


def card(source: Source, codec: dict[str, Any], library: str, folder: str) -> str:
    """Return the model card as Markdown.

    Args:
        source: a policy of a run.
        codec: content of `action_codec.json`.
        library: that loads it, `transformers` or `peft`.
        folder: name of the exported folder.
    """
    assert source.run is not None
    config, words = source.config, _example(source.run)
    # A whole line of the template, or none.
    state = "* Its prompt has proprioception; `state` in `action_codec.json` says which numbers, and their range.\n" if codec["state"] else ""
    # The hub reads these as metadata, from a YAML block at the top of the card.
    head = {"library_name": library, "pipeline_tag": "robotics", "tags": ["robotics", "etude", *(env.title for env in config.envs)]}
    text = CARD.format(
        task=config.task,
        images=f"{len(codec['images'])} camera frames ({', '.join(codec['images'])})",
        count=f"{codec['chunk_size']} action{'s' if codec['chunk_size'] > 1 else ''} of {len(codec['low'])} numbers",
        base=_named(source.run),
        train=f"policy.train: {config.policy.train}",
        ids=", ".join(env.title for env in config.envs),
        results=_results(source),
        example=repr(words),
        form=_form(codec),
        repeat=codec["action_repeat"],
        more=state,
        library="`transformers`" if library == "transformers" else "`transformers` and `peft`",
        arguments=", ".join(codec["images"]),
        words=words,
        chunk=codec["chunk_size"],
        dims=len(codec["low"]),
        folder=folder,
    )
    return f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n\n{text}"  # sort_keys: the library comes first


def _form(codec: dict[str, Any]) -> str:
    """Return what `act.py` does with pictures, as the end of a sentence."""
    size, named = codec["image_size"], dict(zip(codec["images"], codec["pictures"], strict=True))
    done = [f"{size} x {size} pixels, with black borders where they are not square"]
    done += [f"`{name}` turned over ({spec['flip']})" for name, spec in named.items() if spec["flip"]]
    ranges = {name: spec["values"] for name, spec in named.items() if spec["values"]}
    done += [f"the numbers of `{name}` from {low:g} (black) to {high:g} (white)" for name, (low, high) in ranges.items()]
    done += [f"only the square in the middle of `{name}`, if it is wider than high" for name, spec in named.items() if spec["square"]]
    return "; ".join(done)


def _named(run: Path) -> str:
    """Return the name of the base model that the run began from."""
    return load(run / "base.json")["model"] if (run / "base.json").exists() else "its base model"


def _example(run: Path) -> str:
    """Return an instruction of the run's demonstrations; 'do it' where there are none."""
    tasks = run / "start" / "episodes" / "meta" / "info.json"  # written for LeRobot, so it has no checksum of a stage file
    if not tasks.exists():
        return "do it"
    return next(iter(read_object(tasks)["etude"]["tasks"]), "do it")


def _results(source: Source) -> str:
    """Return the results of the run as a table, or why there are none."""
    assert source.run is not None
    content = summary(source.run)
    if content.get("policy") != source.name:  # `summary.json` tells of the last champion alone
        why = "its run is not finished" if not content else "it is not the last champion of its run"
        return f"None: {why}. `etude evaluate {source.title}` makes some."
    # In the order of training; `warm_start` is missing where nothing was demonstrated.
    names = {"base": "base model", "warm_start": "after behaviour cloning of demonstrations", "after": "this policy"}
    rows = [f"| {title} | {Rate.read(content[name])} |" for name, title in names.items() if name in content]
    low, high = 100 * content["gain_low"], 100 * content["gain_high"]
    gain = f"{100 * content['gain']:+.1f} points [{low:+.1f}, {high:+.1f}], p = {content['p_value']:.2g} (exact McNemar test)"
    lines = ["Success on test seeds, greedy decoding, 95 % Wilson interval. One run; the interval is about scenes, not about other runs.", ""]
    return "\n".join([*lines, "| policy | success |", "|---|---|", *rows, "", f"Gain over the {content['before_is'].replace('_', ' ')}: {gain}."])
