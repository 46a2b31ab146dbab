"""A process of the process pool: it makes episodes with environments and a model of its own."""

import os
from multiprocessing.connection import Connection

from agent.rollout.session import Session
from agent.run.folder import Run
from envs.process import portable


def serve(line_number: int) -> None:
    """Make the episodes that the connection asks for, until its other end is closed.

    Each message is a pair: the run's folder (None after the first message), and the arguments of `Session.rollout`. The answers are pairs too:
    ('episode', an `Episode` and its cached features) for each job, or ('failed', an error) instead of the rest.

    Args:
        line_number: file descriptor of the connection.
    """
    line, session = Connection(line_number), None
    os.environ["TQDM_DISABLE"] = "1"  # no bars of transformers between the progress bars of the main process
    while True:
        try:
            folder, work = line.recv()
        except EOFError:
            os._exit(0)  # at once, without clean-up: an environment that hangs when it is closed would keep the process alive
        try:
            if session is None:  # made only now, so that an error in it is sent like any other
                run = Run(folder)
                # In this process alone: one thread beside other processes, and no process pool inside the pool.
                run.config = run.config.model_copy(update={"threads": 1, "processes": 1})
                session = Session(run)
            checkpoint, jobs, variation, practice = work
            for episode in session.rollout(checkpoint, jobs, variation, practice):
                # Training needs the image tokens of practice, which are at hand here.
                line.send(("episode", (episode, session.policy.cached_features(list(episode.frames)) if practice else {})))
        except (Exception, SystemExit) as error:  # an environment may raise SystemExit, which would end the process without a word
            line.send(("failed", portable(error)))
