"""`etude dataset info|merge|export|push`: stored episodes, which are LeRobotDatasets v3.0."""

from agent.verbs.manual import fitted
from agent.verbs.usage import Usage, path

HELP = """\
usage: etude dataset info FOLDER...
       etude dataset merge FOLDER... OUT
       etude dataset export RUN OUT [--successes] [--every-step]
       etude dataset push FOLDER USER/NAME [--public]

Stored episodes: what there is, several datasets as one, and those of a run as a dataset of its own. All are LeRobotDatasets v3.0.
More: etude dataset info|merge|export|push --help
"""
INFO = "Say what datasets hold: episodes, successes, cameras, rate."
MERGE = "Write the episodes of several datasets, or of all stages of runs, into one, each once. Cameras, and the rate of an environment, must agree."
EXPORT = "Write the episodes of a run into a dataset of its own, demonstrations first; episodes with a fault of the environment are left out."
PUSH = "Upload a dataset to the Hugging Face hub, where `lerobot` finds it by its name. The token is that of `hf auth login` or HF_TOKEN."


def dataset(arguments: list[str]) -> None:
    """Run the verb."""
    verbs = {"info": _info, "merge": _merge, "export": _export, "push": _push}
    if arguments[:1] in ([], ["-h"], ["--help"]):  # further on `--help` is that of `info`, `merge`, `export` or `push`
        print(fitted(HELP), end="")
    elif arguments[0] in verbs:
        verbs[arguments[0]](arguments[1:])
    else:
        raise ValueError(f"etude dataset has no {arguments[0]!r}; allowed are {', '.join(verbs)}.")


def _info(arguments: list[str]) -> None:
    usage = Usage("dataset info", INFO, "etude dataset info runs/slide")
    usage.add_argument_group("what").add_argument("folders", metavar="FOLDER", nargs="+", type=path, help="a run, or a folder `episodes` in it")
    given, _ = usage.read(arguments)

    from agent.datasets import datasets_of, info, line

    for root in (root for folder in given.folders for root in datasets_of(folder)):
        print(line(info(root)))


def _merge(arguments: list[str]) -> None:
    usage = Usage("dataset merge", MERGE, "etude dataset merge runs/slide-0 runs/slide-1 slides")
    what = usage.add_argument_group("what")
    what.add_argument("folders", metavar="FOLDER", nargs="+", type=path, help="a run, or a folder `episodes` in it")
    what.add_argument("out", metavar="OUT", type=path, help="new folder")
    given, _ = usage.read(arguments)

    from agent.datasets import merge

    count, left = merge(given.folders, given.out)
    print(f"written: {given.out}, {count} episodes{f'; {left} were there twice' if left else ''}")


def _export(arguments: list[str]) -> None:
    usage = Usage("dataset export", EXPORT, "etude dataset export runs/slide slide-episodes --successes --every-step")
    what = usage.add_argument_group("what")
    what.add_argument("run", metavar="RUN", type=path, help="a run, or a folder in it: runs/slide/start, runs/slide/cycle-003")
    what.add_argument("out", metavar="OUT", type=path, help="new folder")
    choice = usage.add_argument_group("which episodes, and how")
    choice.add_argument("--successes", action="store_true", help="leave failures out")
    choice.add_argument("--every-step", action="store_true", help="a row for each environment step, not each decision: they are executed again")
    given, _ = usage.read(arguments)

    from agent.datasets import export

    print(f"written: {given.out}, {export(given.run, given.out, given.successes, given.every_step, print)} episodes")


def _push(arguments: list[str]) -> None:
    usage = Usage("dataset push", PUSH, "etude dataset push slide-episodes my-name/slide")
    what = usage.add_argument_group("what")
    what.add_argument("folder", metavar="FOLDER", type=path, help="a dataset")
    what.add_argument("repository", metavar="USER/NAME", help="of the hub; made if it is missing")
    usage.add_argument_group("who may read it").add_argument("--public", action="store_true", help="anyone; without it a new repository is private")
    given, _ = usage.read(arguments)

    from agent.push import push

    print(f"written: {push(given.folder, given.repository, given.public)}")
