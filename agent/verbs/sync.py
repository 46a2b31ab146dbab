"""`etude sync`: what W&B has not received of a run yet."""

from agent.verbs.usage import run_folder


def sync(arguments: list[str]) -> None:
    """Run the verb."""
    folder = run_folder(arguments, "sync")
    from agent.run.files import alone
    from agent.run.folder import Run
    from agent.run.tracking import Track
    from agent.run.variables import mode as given

    mode = given() or "online"
    with alone(folder):  # a run that works sends its figures itself
        run = Run(folder)
        track = Track(folder, run.config, mode)  # whatever `track.mode` says: a sync is meant to send
        track.log(run.metrics())
        sent = track.online  # False where W&B failed on the way
        track.close()
    if not sent:
        raise ValueError(f"W&B has not received all of {folder}; log in (wandb login), and the same command sends the rest.")
    where = "W&B has received" if mode != "offline" else "WANDB_MODE is offline, so W&B's files in the run hold"
    print(f"{where} all of {folder}.")
