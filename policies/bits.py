"""The package bitsandbytes: whether it is there."""

from importlib.util import find_spec


def check_installed(setting: str) -> None:
    """Check that bitsandbytes is there.

    Raises:
        ValueError: it is not; the sentence names the setting that needs it.
    """
    if find_spec("bitsandbytes") is None:
        raise ValueError(f"{setting} needs bitsandbytes, which is not installed: pip install 'etude[bits]'.")
