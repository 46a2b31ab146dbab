"""A process of the process pool: it makes episodes with environments of its own, and a model of its own or that of the main process."""

import os
from multiprocessing.connection import Connection

from agent.records import Checkpoint
from agent.rollout.served import Asking
from agent.rollout.session import Session
from agent.run.folder import Run
from envs.process import portable


def serve(line_number: int) -> None:
    """Make the episodes that the connection asks for, until its other end is closed.

    Each message is a pair: the run's folder and the config of this process (None after the first message), and the arguments of `Session.rollout`.
    In place of the checkpoint they may have a `served.Told`: the main process then decides. The answers are pairs too: ('episode', an `Episode` and
    its cached features) for each job, ('asked', the arguments of `Policy.act`) where a decision is needed, or ('failed', an error) for the rest.

    Args:
        line_number: file descriptor of the connection.
    """
    line, session = Connection(line_number), None
    os.environ["TQDM_DISABLE"] = "1"  # no bars of transformers between the progress bars of the main process
    while True:
        try:
            setting, (acting, *work) = line.recv()
        except EOFError:
            os._exit(0)  # at once, without clean-up: an environment that hangs when it is closed would keep the process alive
        try:
            if session is None:  # made only now, so that an error in it is sent like any other
                run = Run(setting[0])
                run.config = setting[1]
                session = Session(run)
            make = session.rollout(acting, *work) if isinstance(acting, Checkpoint) else session.play(Asking(line, acting), *work)
            for episode in make:
                # Training needs the image tokens of practice, which are at hand where this process has a model.
                own = work[-1] and isinstance(acting, Checkpoint)  # `practice`, the last argument
                line.send(("episode", (episode, session.policy.cached_features(list(episode.frames)) if own else {})))
        except (Exception, SystemExit) as error:  # an environment may raise SystemExit, which would end the process without a word
            line.send(("failed", portable(error)))
