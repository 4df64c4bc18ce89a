"""Streams of random numbers that need no saved state: each is a function of (seed, stream, counter).

The counter is the step in training and the index in sampling, so a resumed run, another batch size or another device
draws the same numbers.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """The uses of randomness. Numbers are part of the file format of a run: never reuse or renumber one."""

    LATENT = 0
    """The latents of a seed, as on the contact sheet; counter = index."""
    ORDER = 1
    """The order of the dataset, counter = epoch."""
    FLIP = 2
    MIX = 3
    CRITIC_LATENT = 4
    GENERATOR_LATENT = 5
    DROPOUT = 6
    """FLIP to DROPOUT: the noise of training, counter = step; other numbers after each rollback."""
    INIT_GENERATOR = 7
    INIT_CRITIC = 8
    """INIT_GENERATOR and INIT_CRITIC: initial weights, counter = 0."""
    DEVICE = 9
    """Seeds a CUDA device's own generator, which draws all noise of a step there; counter = step."""
    AUGMENT = 10
    """Changes of what the critic sees, counter = step."""
    PROJECT = 11
    """Samples from which projection starts, counter = 0; those that tuning holds to their pictures, counter = 1."""
    CLASSIFIER = 12
    """How the classifier of attributes is trained, counter = 0; which photos it does not see, counter = 1;
    how the network of scores is trained, counter = 2."""
    LABELLED = 13
    """Latents of the faces from which attributes' directions are learnt, counter = index of a block of them."""


def rng(seed: int, stream: Stream, counter: int, rollbacks: int = 0) -> np.random.Generator:
    """The random generator of one (seed, stream, counter), independent of all others.

    The number of rollbacks is the spawn key: a run that went back to a checkpoint then draws other numbers than those
    with which it diverged.

    `numpy.random.SeedSequence` hashes the key. It is never packed into one integer: packed bits overlap, and some
    generators ignore the high ones.
    """
    key = (rollbacks,) if rollbacks else ()
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, int(stream), counter], spawn_key=key)))
