"""Shuffled orders of any length that are computed, not stored."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

#: Rounds of the network. Four make a pseudo-random permutation of a perfect round function (Luby and Rackoff, 1988);
#: the mixing below is quick rather than perfect, so there are some more.
_ROUNDS = 7
#: Constants of the finaliser of SplitMix64 (Steele et al., Fast Splittable Pseudorandom Number Generators, 2014).
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_MOST = 2**62


class Permutation:
    """A pseudo-random order of 0..n-1: each place holds one number, and each number stands at one place.

    A Feistel network on the smallest even number of bits that holds n; numbers from n on are sent through it again
    until they fall below n (cycle walking: Black and Rogaway, Ciphers with Arbitrary Finite Domains, 2002). Nothing
    grows with n, and place and number follow from the seed alone, on every machine.

    Args:
        count: n.
        seed: Which order.
        purpose: What it is for; orders of other purposes have nothing to do with each other.

    Raises:
        ValueError: n is negative, or larger than 2^62.
    """

    def __init__(self, count: int, seed: int, *purpose: str | int) -> None:
        if not 0 <= count <= _MOST:
            raise ValueError(f"an order of {count} numbers")
        self.count = count
        self._half = max(1, (max(count - 1, 1).bit_length() + 1) // 2)
        self._mask = np.uint64((1 << self._half) - 1)
        digest = hashlib.sha512(repr((seed, *purpose)).encode()).digest()
        self._keys = np.frombuffer(digest, dtype="<u8")[:_ROUNDS].astype(np.uint64)

    def __len__(self) -> int:
        return self.count

    def at(self, places: NDArray[np.int64] | range) -> NDArray[np.int64]:
        """Return the numbers (k,) that stand at places (k,).

        Raises:
            IndexError: There is no such place.
        """
        wanted = np.asarray(places, dtype=np.int64)
        if wanted.size and not (int(wanted.min()) >= 0 and int(wanted.max()) < self.count):
            raise IndexError(f"an order of {self.count} numbers has places 0 to {self.count - 1}")
        found = self._mixed(wanted.astype(np.uint64))
        while (outside := found >= self.count).any():
            found[outside] = self._mixed(found[outside])
        return found.astype(np.int64)

    def _mixed(self, values: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Send values through the network, which is a permutation of all numbers of its bits."""
        shift = np.uint64(self._half)
        left, right = values >> shift, values & self._mask
        for key in self._keys:
            left, right = right, left ^ (_hashed(right + key) & self._mask)
        return (left << shift) | right


def _hashed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix the bits of each value; products wrap around as they should."""
    values = (values ^ (values >> np.uint64(30))) * _FIRST
    values = (values ^ (values >> np.uint64(27))) * _SECOND
    return values ^ (values >> np.uint64(31))
