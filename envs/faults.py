"""Describes errors of third-party code in one line."""

LONGEST = 1000  # characters of a description; some messages hold whole arrays


class NoExpert(ValueError):
    """There is no expert. This is a mistake in the config, so the run stops; other errors only make their episode faulty."""


class ExpertFault(ValueError):
    """An expert raised an error, or gave no action. The message names the expert and the form that it must have; it has no full stop."""


def in_words(error: BaseException) -> str:
    """Return the type and message of an error on one line, as in 'KeyError: 'x''; it never raises."""
    try:
        message = " ".join(str(error).split())
    except BaseException as another:  # `__str__` of an environment's own error class may itself raise
        message = f"its message raises {type(another).__name__}"
    if isinstance(error, ExpertFault):  # a sentence of our own
        return message
    return f"{type(error).__name__}: {message if len(message) <= LONGEST else message[:LONGEST] + '...'}" if message else type(error).__name__
