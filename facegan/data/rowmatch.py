"""Find out by their paths which row of a table of attributes belongs to which photo."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable

from facegan.pictures.photos import PICTURES


def rows_of_photos(rows: Collection[str], photos: Iterable[str], folder: str = "") -> dict[str, str]:
    """Photo -> the name of its row, for the photos that have one.

    Three rules are tried, one after another, and the first that finds a row for a photo counts:

    1. The row has the photo's path.
    2. The shorter of the two paths is the end of the other one. Case and Unicode form do not matter.
    3. The same, without the endings: the table names ".jpg" photos, and the source has ".png" copies of them.

    A photo that several rows fit gets none, and a row that fits several photos goes to none of them.

    Args:
        rows: photos' names, as a table has them.
        photos: paths inside the source, with slashes.
        folder: name of the source. If some rows have this folder in front of their photos' paths, then rows with
            another folder there belong to another source.
    """
    photos = list(photos)
    given = {photo: photo for photo in photos if photo in rows}
    for key in (_folded, _stem):
        if missing := [photo for photo in photos if photo not in given]:
            by_tail = _unique((tail, name) for name in rows for tail in _tails(key(name)))
            times = Counter(tail for photo in photos for tail in _tails(key(f"{folder}/{photo}")))
            for photo in missing:
                tail = next((tail for tail in _tails(key(f"{folder}/{photo}")) if tail in by_tail), "")
                if (name := by_tail.get(tail)) is not None and times[tail] == 1 and _agree(key(name), key(photo)):
                    given[photo] = name
    longer = [(photo, name) for photo, name in given.items() if name.count("/") > photo.count("/")]
    above = {photo: _above(_stem(name), _stem(photo)) for photo, name in longer}
    source = f"/{_folded(folder)}"
    if any(folders.endswith(source) for folders in above.values()):
        for photo, folders in above.items():
            if not folders.endswith(source):
                del given[photo]
    return given


def _folded(name: str) -> str:
    """A path in one case and one Unicode form; a zip's name in it becomes that of a folder."""
    if name.isascii():
        name = name.lower()
    else:
        name = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return name.replace(".zip/", "/")


def _stem(name: str) -> str:
    return _folded(name.rpartition(".")[0] if is_picture(name) else name)


def is_picture(name: str) -> bool:
    """Whether a name ends like a picture's."""
    return f".{name.rpartition('.')[2].lower()}" in PICTURES


def _tails(path: str) -> list[str]:
    """ "c/d/1.jpg", "d/1.jpg" and "1.jpg" of "a/b/c/d/1.jpg": three parts at most, which bounds the memory."""
    parts = path.split("/")[-3:]
    return ["/".join(parts[n:]) for n in range(len(parts))]


def _agree(one: str, other: str) -> bool:
    """Whether one path is the end of the other: "0.jpg" and "anna/0.jpg" agree, "ben/0.jpg" and "anna/0.jpg" do not."""
    return f"/{one}".endswith(f"/{other}") or f"/{other}".endswith(f"/{one}")


def _above(name: str, photo: str) -> str:
    """The folders of a row's path above those of the photo's: "/c:/old" of "c:/old/anna/0" and "anna/0"."""
    return f"/{name}".removesuffix(f"/{photo}")


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str | None]:
    """Key -> value, or None where a key has several values."""
    found: dict[str, str | None] = {}
    for key, value in pairs:
        found[key] = value if found.get(key, value) == value else None
    return found
