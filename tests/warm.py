"""A process that has imported all that a run needs, and forks: `python -m tests.warm`. `tests.called` speaks to it.

Each line of stdin asks for one command. The answer is two lines: the process id, and, when the process has ended, its exit code.
"""

import importlib
import json
import os
import sys

# Before the fork nothing is imported that a command does not import, no thread of torch begins, and nothing is drawn.
WARM = ("agent.ready", "agent.improve", "agent.report.report", "agent.rollout.session", "agent.settled", "policies.vlm", "torch", "transformers")


def main() -> None:
    """Fork a process for each line; only that process leaves the loop, and ends as an interpreter does."""
    for module in WARM:
        importlib.import_module(module)
    for line in sys.stdin:
        process = os.fork()
        if not process:
            return _become(**json.loads(line))
        print(process, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


def _become(arguments: list[str], cwd: str, environment: dict[str, str], out: str, err: str) -> None:
    """Run the command line in this process."""
    for descriptor, file in enumerate((os.devnull, out, err)):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT), descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["etude", *arguments]
    from agent import cli

    cli.main()


if __name__ == "__main__":
    main()
