"""How bad input is refused: in one sentence that begins with the name of the argument."""

from __future__ import annotations

from collections.abc import Callable


def refusal(name: str, called: Callable[[], object], given: object) -> str:
    """What ``called`` says when it refuses the argument ``name``, which was ``given``."""
    try:
        called()
    except (TypeError, ValueError) as error:
        message = str(error)
        assert message.startswith(name), f"{name}={given!r}: {message!r} does not begin with its name"
        assert "\n" not in message, f"{name}={given!r}: {message!r} has several lines"
        return message
    raise AssertionError(f"{name}={given!r} was taken")
