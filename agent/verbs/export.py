"""`etude export`: a policy as a plain Hugging Face folder."""

from agent.verbs.usage import Usage, path

SAYS = """Write a trained policy as a Hugging Face folder that transformers (and peft) load without etude, and etude.load_policy with it.

The folder holds the model, or the LoRA adapter and, where that is not on the hub, its base model; the processor; action_codec.json, which says how
a prompt is written and a reply read; act.py, which acts without etude; and a model card with the results of the run and their limits."""


def export(arguments: list[str]) -> None:
    """Run the verb."""
    usage = Usage("export", SAYS, "etude export runs/slide slide-policy")
    what = usage.add_argument_group("what")
    what.add_argument("run", metavar="RUN", help="a run, whose champion it is, or a checkpoint in a run (RUN/cycle-003)")
    what.add_argument("out", metavar="OUT", type=path, help="new folder")
    what.add_argument("--merged", action="store_true", help="add LoRA adapters to the weights, so that peft is not needed")
    given, _ = usage.read(arguments)

    from agent.export import export
    from agent.source import find

    export(find(given.run), given.out, given.merged)
    print(f"written: {given.out}, {sum(file.stat().st_size for file in given.out.rglob('*') if file.is_file()) / 2**20:.1f} MiB")
