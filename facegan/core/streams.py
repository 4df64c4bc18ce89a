"""Streams of random numbers that need no saved state: each is a function of (seed, stream, counter).

Whatever training draws is keyed by its step and whatever sampling draws by its index, so a resumed run, another batch
size or another device draws the same numbers.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """The uses of randomness. Numbers are part of the file format of a run: never reuse or renumber one."""

    LATENT = 0
    """Latent n of a seed; the contact sheet, counter = index."""
    ORDER = 1
    """The order of the dataset, counter = epoch."""
    FLIP = 2
    MIX = 3
    CRITIC_LATENT = 4
    GENERATOR_LATENT = 5
    DROPOUT = 6
    """Training noise, counter = step; another stream after each rollback."""
    INIT_GENERATOR = 7
    INIT_CRITIC = 8
    """Initial weights, counter = 0."""
    DEVICE = 9
    """Seeds a CUDA device's own generator, which draws all noise of a step there; counter = step."""
    AUGMENT = 10
    """Changes of what the critic sees, counter = step."""


def rng(seed: int, stream: Stream, counter: int, rollbacks: int = 0) -> np.random.Generator:
    """The generator of one (seed, stream, counter), independent of all others.

    A run that went back to a checkpoint `rollbacks` times draws other numbers from there on than those that led it
    astray: the count is the spawn key.

    The key is hashed by `numpy.random.SeedSequence`, never packed into one integer: packed bits overlap, and some
    generators ignore the high ones.
    """
    key = (rollbacks,) if rollbacks else ()
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, int(stream), counter], spawn_key=key)))
