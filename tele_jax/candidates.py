"""Candidates for the number of active nodes: who runs together, and how they did."""

import itertools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from flax import struct

from tele_jax._types import Array, Metrics, Params
from tele_jax.run import has_numbers, part_of


@struct.dataclass
class Search:
    """Every candidate k, and the best. Under ``vmap`` all arrays get axes in front.

    It prints as a table. Of a sweep, an index gives a search, or fewer searches.
    """

    waves: tuple[tuple[int, ...], ...] = struct.field(pytree_node=False)
    """The candidates k, wave by wave: those of one wave ran at the same time."""
    num_rounds: int = struct.field(pytree_node=False)
    """T, the rounds of every wave."""
    models: Params
    """Token averages x̄ after T rounds, leaves [c, ...]."""
    scores: Array
    """float32[c]; NaN: the candidate diverged."""
    rounds: Array
    """int32[e]: the rounds that were evaluated."""
    metrics: Metrics
    """Arrays [c, e, ...], of every candidate as if it were alone."""
    messages: Array
    """int32[w, T]: models sent in every round of each wave, all candidates together."""
    best_k: Array
    """int32[]: the k of the best candidate; 0 if all of them diverged."""
    best_model: Params
    """The model of the best candidate; NaN if all of them diverged."""

    def __getitem__(self, index: Any) -> "Search":
        """One search, or some, of a sweep.

        Args:
          index: as of an array with the sweep's axes.

        Raises:
          TypeError: this is one search already.
          IndexError: there are fewer searches, or fewer axes.
        """
        return part_of(
            *(self, np.shape(self.best_k), index, ("search", "searches")),
            instead="search.scores, search.best_k or search.table()",
        )

    def __repr__(self) -> str:
        """The table; of a sweep, the best k of each."""
        if not has_numbers(self.best_k):
            fields = (f"{name}={value!r}" for name, value in vars(self).items())
            return f"Search({', '.join(fields)})"
        if not np.ndim(self.best_k):
            return self.table()
        shape = " × ".join(map(str, np.shape(self.best_k)))
        tried = ", ".join(map(str, self.candidates))
        best = np.array2string(np.asarray(self.best_k), separator=", ")
        return f"{shape} searches among k = {tried}; the best k of each:\n{best}"

    @property
    def candidates(self) -> tuple[int, ...]:
        """All k, in the order of the axis c."""
        return tuple(itertools.chain(*self.waves))

    @property
    def total_rounds(self) -> int:
        """Rounds of all waves, at most 2T, for each step size and seed of a sweep."""
        return len(self.waves) * self.num_rounds

    @property
    def most_active(self) -> int:
        """The largest number of nodes active at any time, at most n."""
        return max(map(sum, self.waves))

    def table(self) -> str:
        """The candidates of one search as Markdown; a sweep is indexed first."""
        if self.best_k.ndim:
            raise ValueError(
                f"Search.table: got searches of shape {self.best_k.shape}, expected "
                "one; pick it by an index, as searches[0]."
            )
        lines = ["| k | wave | score | |", "| --- | --- | --- | --- |"]
        numbers = [wave for wave, members in enumerate(self.waves, 1) for _ in members]
        scored = self.scores.tolist()
        for k, wave, score in zip(self.candidates, numbers, scored, strict=True):
            shown = "diverged" if score != score else f"{score:.6g}"
            note = "best" if k == int(self.best_k) else ""
            lines.append(f"| {k} | {wave} | {shown} | {note} |")
        lines += [
            "",
            f"{self.total_rounds} rounds in {len(self.waves)} waves, at most "
            f"{self.most_active} nodes active.",
        ]
        if not int(self.best_k):
            lines += ["", "No winner: every candidate diverged; take smaller steps."]
        return "\n".join(lines)


def plan_waves(
    num_nodes: int, candidates: Sequence[int] | None = None
) -> tuple[tuple[int, ...], ...]:
    """Which numbers of active nodes run together: one wave, or two.

    Args:
      num_nodes: n.
      candidates: increasing numbers k in 1..n; by default 1, 2, 4, … while their sum is
        at most n, and the next power of two, or n if that is smaller.

    Returns:
      The waves, each with a sum of at most n.

    Raises:
      ValueError: the candidates do not increase, are not in 1..n, or do not fit.

    >>> plan_waves(25), plan_waves(31), plan_waves(1)
    (((1, 2, 4, 8), (16,)), ((1, 2, 4, 8, 16), (31,)), ((1,),))
    """
    if candidates is None:
        # 1 + 2 + … + 2^(j−1) ≤ n exactly for 2^j ≤ n + 1.
        count = (num_nodes + 1).bit_length() - 1
        last = min(2**count, num_nodes)
        candidates = sorted({2**j for j in range(count)} | {last})
    try:
        listed = tuple(operator.index(k) for k in candidates)
    except TypeError:
        raise ValueError(
            f"search: got candidates={candidates!r}, expected a list of whole numbers."
        ) from None
    increase = all(a < b for a, b in itertools.pairwise(listed))
    if not listed or not increase or listed[0] < 1 or listed[-1] > num_nodes:
        raise ValueError(
            f"search: got candidates {listed}, expected increasing numbers in "
            f"1..{num_nodes}, the number of nodes."
        )
    fits = [sum(listed[: i + 1]) <= num_nodes for i in range(len(listed))]
    first, second = listed[: sum(fits)], listed[sum(fits) :]
    if sum(second) > num_nodes:
        raise ValueError(
            f"search: after {first}, as many as fit in this order, the candidates "
            f"{second} need {sum(second)} active nodes at once, expected at most "
            f"{num_nodes}; leave some out, or call search again for them."
        )
    return (first, second) if second else (first,)
