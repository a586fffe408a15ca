"""How an unknown name is answered."""

import difflib
from collections.abc import Iterable

__all__ = ["unknown"]


def unknown(argument: str, name: object, known: Iterable[str], otherwise: str = "") -> ValueError:
    """The error for a name that is none of the known ones: it lists them and the nearest match.

    Args:
        argument: What the name was given as.
        name: What was given.
        known: All names.
        otherwise: What else would have been allowed, for example ``" or an axis string"``.
    """
    names = list(known)
    by_lower_case = {candidate.lower(): candidate for candidate in names}
    nearest = difflib.get_close_matches(str(name).lower(), by_lower_case, n=1, cutoff=0.5)
    hint = f" Did you mean {by_lower_case[nearest[0]]!r}?" if nearest else ""
    return ValueError(f"unknown {argument} {name!r}.{hint} Known are: {', '.join(names)}{otherwise}.")
