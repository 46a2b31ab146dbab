"""What each of several processes does: it acts in environments of its own, with a model of its own, as it is told."""

import os
from multiprocessing.connection import Connection

from agent.rollout.session import Session
from agent.run.folder import Run
from envs.process import portable


def serve(line_number: int) -> None:
    """Do what comes over the line until nobody is there any more; what a member's process does.

    Args:
        line_number: file descriptor of the connection.
    """
    line, session = Connection(line_number), None
    os.environ["TQDM_DISABLE"] = "1"  # the run's own bars are enough
    while True:
        try:
            folder, work = line.recv()
        except EOFError:
            os._exit(0)  # at once: the environments may refuse to be closed
        try:
            if session is None:
                run = Run(folder)
                run.config = run.config.model_copy(update={"threads": 1, "processes": 1})
                session = Session(run)
            for episode in session.perform(*work):
                line.send(("episode", episode))
        except (Exception, SystemExit) as error:
            line.send(("failed", portable(error)))
