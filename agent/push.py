"""`etude dataset push`: a dataset on the Hugging Face hub, where `lerobot` finds it by its name."""

import contextlib
from pathlib import Path

from agent.datasets import datasets_of
from agent.run.files import read_object
from envs.faults import in_words

PARTS = ("data/*", "meta/*", "videos/*", "images/*")  # of a LeRobotDataset; `lerobot` reads every file in them


def push(folder: Path, repository: str, public: bool = False) -> str:
    """Upload a dataset into a repository of the hub, which is made if it is missing; a dataset that was there is replaced.

    The token is that of `hf auth login`, or of the environment variable HF_TOKEN.

    Args:
        folder: a dataset, or a folder that holds one.
        repository: `USER/NAME`.
        public: anyone can read a new repository. One that exists stays as it is.

    Returns:
        Its address.

    Raises:
        ValueError: the folder holds several datasets, the name is no `USER/NAME`, or the hub refused.
    """
    if len(roots := datasets_of(folder)) > 1:
        raise ValueError(f"{folder} has {len(roots)} datasets; name one of them, or merge them first: etude dataset merge {folder} OUT")
    version = read_object(roots[0] / "meta" / "info.json").get("codebase_version")
    if not isinstance(version, str):
        raise ValueError(f"{roots[0] / 'meta' / 'info.json'} has no codebase_version, so it is no LeRobotDataset; name another folder.")

    from huggingface_hub import HfApi, errors  # takes a quarter of a second to read

    hub = HfApi()
    try:
        address = hub.create_repo(repository, repo_type="dataset", private=not public, exist_ok=True)
        told = "Upload episodes of etude"
        hub.upload_folder(repo_id=repository, repo_type="dataset", folder_path=roots[0], commit_message=told, delete_patterns=list(PARTS))
        # `lerobot` asks for the revision that is named like its format. A tag stays where it was made, so that of an earlier push is made anew.
        with contextlib.suppress(errors.RevisionNotFoundError):
            hub.delete_tag(repository, tag=version, repo_type="dataset")
        hub.create_tag(repository, tag=version, repo_type="dataset")
    except Exception as error:  # classes of the hub's HTTP client, which differ between its versions
        raise ValueError(f"{repository} was not written: {in_words(error)} Look at the name, the network and `hf auth whoami`.") from error
    return str(address)
