"""That all ranks make the same call, found out before a collective could hang on what differs.

Every call begins with one collective of 8 bytes per rank, the same whatever the arguments are: a digest of what must
agree. It is sent before the first pass and read after it, so that it is under way while the pass computes. Only where
digests differ do the ranks exchange in words what they were called with; all of them see that, as all see the digests.
No rank ever skips this exchange because it remembers a call: one that remembers would wait for a sum, and one that does
not for a digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import torch
import torch.distributed as dist

from .groups import Members, device_for_numbers

Facts = tuple[tuple[str, object], ...]  # what must agree, by name


def _digest(facts: Facts) -> int:
    # Not from a cache: one that goes by == gives 0.0 the digest of an earlier -0.0, on the ranks that had that.
    code = hashlib.blake2b(repr(facts).encode(), digest_size=8).digest()
    return int.from_bytes(code, "little", signed=True)


class Exchange:
    """The digests on their way."""

    def __init__(self, members: Members, facts: Facts, device: torch.device) -> None:
        self._members, self._facts = members, facts
        if members.ranks == 1:
            return
        place = device_for_numbers(members.group, device)
        own = torch.tensor([_digest(facts)], device=place)
        self._digests = [torch.empty_like(own) for _ in range(members.ranks)]
        self._work = dist.all_gather(self._digests, own, group=members.group, async_op=True)

    def finish(self) -> None:
        """Wait until every rank has said what it calls.

        Raises:
            ValueError: They differ; on every rank the same sentence.
        """
        if self._members.ranks == 1:
            return
        self._work.wait()
        if len(set(torch.cat(self._digests).tolist())) > 1:
            everyone: list[Facts] = [()] * self._members.ranks
            dist.all_gather_object(everyone, self._facts, group=self._members.group)
            raise ValueError(difference(everyone))


@contextmanager
def refusals_shared(members: Members, device: torch.device) -> Iterator[None]:
    """Context of the checks of the arguments: where they fail on this rank, the others learn why and do not wait."""
    try:
        yield
    except (TypeError, ValueError) as error:
        exchange = Exchange(members, (("refusal", str(error)),), device)
        with suppress(ValueError):  # this rank has its own
            exchange.finish()
        raise


def difference(everyone: Sequence[Facts]) -> str:
    """One sentence that names what differs between the ranks."""
    refusals = [(rank, dict(facts)["refusal"]) for rank, facts in enumerate(everyone) if dict(facts).get("refusal")]
    if refusals:
        rank, reason = refusals[0]
        return f"rank {rank} of the group refused its arguments: {reason}"
    names = dict.fromkeys(name for facts in everyone for name, _ in facts)
    differing = []
    for name in names:
        values = [dict(facts).get(name) for facts in everyone]
        if len(set(map(repr, values))) > 1:
            differing.append(f"{name} is {_by_ranks(values)}")
    return f"the ranks of the group must make the same call: {'; '.join(differing)}"


def _by_ranks(values: Sequence[object]) -> str:
    """For example: 4 on rank 0 and 5 on ranks 1, 2."""
    ranks: dict[str, list[int]] = {}
    for rank, value in enumerate(values):
        ranks.setdefault(str(value), []).append(rank)
    return " and ".join(
        f"{value} on rank{'s' if len(which) > 1 else ''} {', '.join(map(str, which))}" for value, which in ranks.items()
    )
