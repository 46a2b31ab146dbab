"""What went wrong in somebody else's code, in words."""

LONGEST = 1000  # characters of an error's words; some hold whole arrays


class NoExpert(ValueError):
    """There is nobody to demonstrate: a mistake in the config, and no fault of an episode."""


def in_words(error: BaseException) -> str:
    """Return an error's kind and words on one line, as in 'KeyError: 'x''; also of one whose own words raise an error."""
    try:
        said = " ".join(str(error).split())
    except BaseException as another:  # an environment's error may do anything here, too
        said = f"its words raise {type(another).__name__}"
    return f"{type(error).__name__}: {said if len(said) <= LONGEST else said[:LONGEST] + '...'}" if said else type(error).__name__
