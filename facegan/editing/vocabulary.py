"""What words say about a face, in the names of a generator's attributes. Needs no torch: --help shows the table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import NamedTuple

from facegan.core.errors import UsageError


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        words: that mean the same; the first stands for them.
        meanings: what they say of a face, such as "+Male -Young": each attribute that it has (+) or lacks (-). The
            first whose attributes a generator knows counts: CelebA's names come first, then those of UTKFace.
    """

    words: tuple[str, ...]
    meanings: tuple[str, ...]


TABLE = (
    Row(("man", "male", "guy", "gentleman"), ("+Male", "-gender")),
    Row(("woman", "female", "lady"), ("-Male", "+gender")),
    Row(("boy",), ("+Male +Young", "-gender -age")),
    Row(("girl",), ("-Male +Young", "+gender -age")),
    Row(("young",), ("+Young", "-age")),
    Row(("old", "elderly", "aged"), ("-Young", "+age")),
    Row(("smiling", "smile", "happy", "laughing"), ("+Smiling",)),
    Row(("neutral", "serious", "unsmiling"), ("-Smiling",)),
    Row(("open mouth", "mouth open"), ("+Mouth_Slightly_Open",)),
    Row(("closed mouth", "mouth closed"), ("-Mouth_Slightly_Open",)),
    Row(("blond", "blonde", "blond hair", "blonde hair", "fair hair"), ("+Blond_Hair",)),
    Row(("black hair", "black haired"), ("+Black_Hair",)),
    Row(("brown hair", "brown haired", "brunette"), ("+Brown_Hair",)),
    Row(("grey hair", "gray hair", "grey haired", "gray haired"), ("+Gray_Hair",)),
    Row(("wavy hair", "curly hair", "curly", "wavy"), ("+Wavy_Hair",)),
    Row(("straight hair",), ("+Straight_Hair",)),
    Row(("bangs", "fringe"), ("+Bangs",)),
    Row(("bald", "bald head"), ("+Bald",)),
    Row(("beard", "bearded", "full beard"), ("-No_Beard",)),
    Row(("shaven", "clean shaven", "beardless"), ("+No_Beard",)),
    Row(("stubble",), ("+5_o_Clock_Shadow",)),
    Row(("moustache", "mustache"), ("+Mustache",)),
    Row(("glasses", "eyeglasses", "spectacles"), ("+Eyeglasses",)),
    Row(("hat", "cap"), ("+Wearing_Hat",)),
    Row(("lipstick",), ("+Wearing_Lipstick",)),
    Row(("makeup", "make up", "heavy makeup"), ("+Heavy_Makeup",)),
    Row(("earrings", "earring"), ("+Wearing_Earrings",)),
    Row(("necklace",), ("+Wearing_Necklace",)),
    Row(("tie", "necktie"), ("+Wearing_Necktie",)),
    Row(("pale",), ("+Pale_Skin",)),
)
"""Everyday words. Every name of an attribute is a word too, in any case, with or without its underscores."""

IN_SHORT = (
    "man, woman, boy, girl, young, old, smiling, neutral, blond, black hair, beard, glasses, hat, lipstick, bald, "
    "..., names of attributes such as Wavy_Hair, and not, no or without before any of them"
)
"""The table for --help."""

_NEGATIONS = {"not", "no", "non", "without"}
_FILLERS = {"a", "an", "the", "and", "with", "who", "is", "has", "in", "wearing"}
_FILLERS |= {"person", "people", "human", "face", "faces", "someone", "somebody"}


def plain(text: str) -> str:
    """The text in small letters, with single spaces for all that is neither a letter nor a digit."""
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def meaning(text: str, names: Sequence[str]) -> dict[str, int]:
    """What words say of a face: attribute -> +1, the face has it, or -1, it lacks it; in the order of the words.

    Args:
        text: such as "smiling woman", "old man without glasses" or "Blond_Hair".
        names: the attributes that the generator knows.

    Raises:
        UsageError: a word is not known, or known but this generator lacks its attribute; the words contradict each
            other, or say nothing.
    """
    vocabulary = _vocabulary(names)
    longest = max(len(phrase.split()) for phrase in vocabulary)
    tokens, said, negated = plain(text).split(), dict[str, int](), ""
    while tokens:
        phrase = next(
            (phrase for n in range(longest, 0, -1) if (phrase := " ".join(tokens[:n])) in vocabulary), tokens[0]
        )
        del tokens[: len(phrase.split())]
        if phrase in vocabulary:
            for name, sign in _negated(negated, phrase, _known(phrase, vocabulary[phrase], names)).items():
                if said.setdefault(name, sign) != sign:
                    raise UsageError(f"{text[:80]!r} contradicts itself: {name} is both wanted and not.")
            negated = ""
        elif phrase in _NEGATIONS and not negated:
            negated = phrase
        elif phrase not in _FILLERS:
            raise UsageError(
                f"{phrase[:40]!r} in {text[:80]!r} is not a word for a face.", _nearest(phrase, vocabulary)
            )
    if negated:
        raise UsageError(f"{text[:80]!r} does not say what is meant by {negated!r}.", f"Such as {negated} glasses.")
    if not said:
        raise UsageError(f"{text[:80]!r} says nothing about the face.", f"Words are {IN_SHORT}.")
    return said


def one_attribute(name: str, names: Sequence[str]) -> tuple[str, int] | None:
    """The attribute that a word stands for, and +1 or -1: "beard" -> (No_Beard, -1); None if the word is not known.

    Raises:
        UsageError: it stands for several, or for one that the generator has not learnt.
    """
    vocabulary = _vocabulary(names)
    if (phrase := plain(name)) not in vocabulary:
        return None
    said = _known(phrase, vocabulary[phrase], names)
    if len(said) > 1:
        raise UsageError(f"{name!r} is {' and '.join(said)} together.", "Change each by its own name.")
    return next(iter(said.items()))


def is_in_words(text: str, names: Iterable[str] = ()) -> bool:
    """Whether a text is meant as words for a face: one of its words is known, or nearly, and it is no file's name."""
    if re.search(r"[/\\]|\.\w", text):
        return False
    vocabulary = _vocabulary(tuple(names))
    tokens = plain(text).split()
    phrases = [*tokens, *(" ".join(pair) for pair in pairwise(tokens)), " ".join(tokens)]
    return any(phrase in vocabulary or get_close_matches(phrase, vocabulary, 1, 0.8) for phrase in phrases)


def _vocabulary(names: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Phrase -> its meanings. A generator's own names come before everyday words: "no beard" is CelebA's No_Beard."""
    everyday = {word: row.meanings for row in TABLE for word in row.words}
    own = {plain(name): (f"+{name}",) for name in names if plain(name)}
    return {**everyday, **{phrase.replace(" ", ""): meanings for phrase, meanings in own.items()}, **own}


def _known(phrase: str, meanings: tuple[str, ...], names: Sequence[str]) -> dict[str, int]:
    """The first meaning whose attributes are all known. Raises: UsageError: there is none."""
    for meaning in meanings:
        said = {part[1:]: 1 if part[0] == "+" else -1 for part in meaning.split()}
        if said.keys() <= set(names):
            return said
    wanted = " and ".join(part[1:] for part in meanings[0].split())
    raise UsageError(
        f"{phrase!r} needs the attribute {wanted}, which this generator has not learnt.",
        f"It knows {', '.join(names)}.",
    )


def _negated(negation: str, phrase: str, said: dict[str, int]) -> dict[str, int]:
    if not negation:
        return said
    if len(said) > 1:
        each = " or ".join(f"not {name}" for name in said)
        raise UsageError(
            f"'{negation} {phrase}' leaves open what is meant instead.", f"Say {each}, whichever you mean."
        )
    return {name: -sign for name, sign in said.items()}


def _nearest(word: str, vocabulary: Mapping[str, object]) -> str:
    squeezed = {phrase.replace(" ", "") for phrase in vocabulary if " " in phrase}
    phrases = [phrase for phrase in vocabulary if phrase not in squeezed]
    near = get_close_matches(word, phrases, 3, 0.6)
    near += [phrase for phrase in phrases if word in phrase.split() and phrase not in near][:3]
    return f"The nearest are: {', '.join(near)}." if near else f"Words are {IN_SHORT}."
