"""Sizes that a family of graphs can have, and how many rounds that takes."""

from collections.abc import Callable, Collection

import numpy as np


def log2(k: int) -> int:
    """⌈log₂ k⌉, in integers."""
    return len(bin(k - 1)) - 2 if k > 1 else 0


def power_of_two_below(k: int) -> int:
    """The largest power of two up to k."""
    return 1 << (k.bit_length() - 1)


def prime_factors(number: int) -> list[int]:
    """With multiplicity, ascending."""
    found, factor = [], 2
    while number > 1:
        while number % factor == 0:
            found.append(factor)
            number //= factor
        factor += 1
    return found


def smooth_below(k: int, degree: int) -> int:
    """The largest number up to k without a prime factor above degree + 1."""
    primes = {p for n in range(2, k + 1) for p in prime_factors(n)}
    large = {p for p in primes if p > degree + 1}
    return max(n for n in range(1, k + 1) if not large & set(prime_factors(n)))


def base_periods(degree: int) -> Callable[[int], Collection[int]]:
    """At most 2 log_{degree+1} k + 2 rounds."""

    def periods(k: int) -> Collection[int]:
        base = min(degree, max(1, k - 1)) + 1
        return range(1, 3 + int(2 * np.log(k) / np.log(base) + 1e-9))

    return periods


def sides(number: int) -> tuple[int, int]:
    """The torus of so many slots that is closest to a square."""
    rows = max(r for r in range(1, int(number**0.5) + 1) if number % r == 0)
    return rows, number // rows


def three_cliques(k: int) -> tuple[int, int]:
    """Cliques of at least 3 slots, as many as there may be up to 3."""
    cliques = max(c for c in (1, 2, 3) if k % c == 0 and (c == 1 or k // c >= 3))
    return cliques, k // cliques
