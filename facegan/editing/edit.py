"""Change a face along named attributes and numbered components, as a picture: a pair, a row, a grid, or a film."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from facegan.core.errors import UsageError
from facegan.core.pixels import Pixels
from facegan.editing import directions
from facegan.editing.attributes import Attributes
from facegan.editing.change import STEPS, Change, check_changes, checked_amount
from facegan.editing.components import component, components
from facegan.editing.vocabulary import one_attribute
from facegan.faces.compose import Progress, frame_factor, point
from facegan.faces.latents import Latents, Operand
from facegan.faces.synthesis import draw_faces
from facegan.models.checkpoint import LoadedGenerator
from facegan.pictures.sheets import LONGEST_ROW, check_size, enlarge, labelled, layout

OVERVIEW, OVERVIEW_AMOUNTS = 10, (-4, -2, 0, 2, 4)
"""How many components the overview shows, and how far it goes along each."""
_BETWEEN = 4
"""An animation has so many times as many steps as the row, so that it moves smoothly."""


@dataclass(frozen=True)
class Edit:
    """Faces that were changed.

    Attributes:
        faces: uint8 (N, S, S, 3); of a grid row by row.
        latents: (N, width), theirs.
        labels: N, what is written under them.
        columns: faces in a row.
        title: what is written above them; may be empty.
        film: latents on the way, for an animation; empty for a grid.
        scale: how many times faces are enlarged; None if the user did not say.
    """

    loaded: LoadedGenerator = field(repr=False)
    faces: Pixels = field(repr=False)
    latents: Latents = field(repr=False)
    labels: list[str]
    columns: int
    title: str
    film: Latents = field(repr=False)
    scale: int | None = None

    def picture(self) -> Pixels:
        return labelled(self.faces, self.labels, self.columns, title=self.title, scale=self.scale, whole=True)

    def frames(self) -> Iterator[Pixels]:
        """The faces of an animation that goes there and back again."""
        faces = draw_faces(self.loaded.module, self.loaded.config.networks, self.film)
        factor = self.scale or frame_factor(faces.shape[2], columns=1)
        for face in (*faces, *faces[-2:0:-1]):
            yield enlarge(face, factor)

    @property
    def frame_count(self) -> int:
        return 2 * len(self.film) - 2


def edit(
    loaded: LoadedGenerator,
    attributes: Attributes | None,
    face: Operand,
    changes: Sequence[Change],
    *,
    keep: Sequence[str] | None = None,
    steps: int = STEPS,
    film: bool = False,
    scale: int | None = None,
    out: Path = Path("edit.png"),
    on_progress: Progress = lambda done, total: None,
) -> Edit:
    """Change a face along attributes and components, all of them solved together.

    Values alone give the face and the changed face side by side; with one range it is a row, with two a grid, the first
    across and the second down.

    Args:
        attributes: of the generator; None if the changes are all components.
        face: whose mean, brought to the prior's norm, is changed.
        keep: names of attributes that stay; None for those that `directions.edit` keeps by default.
        steps: faces of each range, both ends counted.
        film: also prepare an animation.
        out: the file that will be written; a picture too large for its format is refused.

    Raises:
        UsageError: as `check_changes`, and unknown or refused attributes.
        FaceganError: there is no component of a number, or the picture is too large.
    """
    ranges = check_changes(changes, steps=steps, film=film)

    def moved(shares: Sequence[Sequence[float]]) -> Latents:
        """The latents with each range at its share of the way; without a range, all with everything at its share."""
        amounts = [list(zip(changes, at(share), strict=True)) for share in shares]
        return np.stack([changed(attributes, strongest, z, each, keep) for each in amounts])

    def at(share: Sequence[float]) -> list[float]:
        if not ranges:
            return [share[0] * change.end for change in changes]
        of = dict(zip(ranges, share, strict=False))
        return [change.at(of.get(change, 1)) for change in changes]

    z, side = point(face), loaded.config.networks.size
    across = np.linspace(0, 1, steps if ranges else 2).tolist()
    shares = [(x, y) for y in across for x in across] if len(ranges) == 2 else [(x,) for x in across]
    columns = len(across) if len(ranges) == 2 else math.ceil(len(across) / math.ceil(len(across) / LONGEST_ROW))
    labels, title = [face.name, _values(changes)], ""
    if ranges:
        labels = [", ".join(_signed(change.at(t)) for change, t in zip(ranges, share, strict=True)) for share in shares]
        title = _title(face.name, ranges, [change for change in changes if not change.is_range])
    check_size(out, layout(len(shares), side, side, labels, columns, title=title, scale=scale, whole=True).size)
    strongest = components(loaded.module) if any(change.component for change in changes) else None
    latents = moved(shares)
    faces = draw_faces(loaded.module, loaded.config.networks, latents, on_progress)
    between = np.linspace(0, 1, _BETWEEN * ((steps if ranges else STEPS) - 1) + 1).tolist()
    frames = moved([(t,) for t in between]) if film else latents[:0]
    return Edit(loaded, faces, latents, labels, columns, title, frames, scale)


def overview(
    loaded: LoadedGenerator,
    face: Operand,
    *,
    scale: int | None = None,
    out: Path = Path("edit.png"),
    on_progress: Progress = lambda done, total: None,
) -> Edit:
    """What the strongest components change on a face: a row for each, from strongly less to strongly more."""
    z, side, dim = point(face), loaded.config.networks.size, loaded.config.networks.latent_dim
    numbers = range(1, min(OVERVIEW, dim) + 1)
    labels = [f"{number}: {_signed(amount)}" for number in numbers for amount in OVERVIEW_AMOUNTS]
    title, columns = f"{face.name}, along the strongest components", len(OVERVIEW_AMOUNTS)
    check_size(out, layout(len(labels), side, side, labels, columns, title=title, scale=scale, whole=True).size)
    strongest = components(loaded.module)
    steps = [component(strongest, {number: amount}) for number in numbers for amount in OVERVIEW_AMOUNTS]
    latents = np.stack([directions.edited(z, dz) for dz in steps])
    faces = draw_faces(loaded.module, loaded.config.networks, latents, on_progress)
    return Edit(loaded, faces, latents, labels, columns, title, latents[:0], scale)


def resolve(attributes: Attributes, name: str) -> tuple[str, int]:
    """The attribute that a name or an everyday word means, and whether more of it is more (+1) or less (-1).

    Raises:
        UsageError: there is none, with the nearest names, or it is refused, with the reason.
    """
    meant = one_attribute(name, [attribute.name for attribute in attributes.known]) or (name, 1)
    return attributes.known[attributes.find(meant[0])].name, meant[1]


def changed_latents(
    attributes: Attributes, z: Latents, changes: Mapping[str, float], keep: Sequence[str] | None = None
) -> Latents:
    """Latents whose attributes are changed as asked, all together, while those of `keep` stay: as `directions.edit`.

    Args:
        z: (N, width) or (width,).
        changes: attribute or everyday word -> how far, in steps (`Attributes.step`).
        keep: likewise; None as in `directions.edit`.

    Raises:
        UsageError: nothing is changed, one thing twice, or too far; as `resolve` and `directions.edit`.
    """
    found: dict[str, float] = {}
    for typed, amount in changes.items():
        name, sign = resolve(attributes, typed)
        if name in found:
            raise UsageError(f"{typed} is {name}, which is named twice.", "Name each attribute once.")
        found[name] = sign * checked_amount(amount, typed)
    if not found:
        raise UsageError("There is nothing to change.", "Name an attribute and how far, such as smiling and +2.")
    kept = None if keep is None else [resolve(attributes, name)[0] for name in keep]
    return directions.edit(attributes, z, found, kept)


def changed(
    attributes: Attributes | None,
    strongest: Latents | None,
    z: Latents,
    amounts: Sequence[tuple[Change, float]],
    keep: Sequence[str] | None,
) -> Latents:
    """The latent (width,) after everything is changed by its amount: components first, then all attributes at once.

    Args:
        attributes, strongest: of the generator, the latter from `components`; None if no change needs them.
    """
    if numbers := {int(change.name): amount for change, amount in amounts if change.component}:
        assert strongest is not None, "numbers need components"
        z = directions.edited(z, component(strongest, numbers))
    if named := {change.name: amount for change, amount in amounts if not change.component}:
        assert attributes is not None, "names need attributes"
        z = changed_latents(attributes, z, named, keep)
    return z


def _signed(amount: float) -> str:
    return f"{amount:+.3g}" if abs(amount) > 1e-9 else "0"


def _values(changes: Sequence[Change]) -> str:
    return ", ".join(f"{change.label} {_signed(change.end)}" for change in changes)


def _title(face: str, ranges: Sequence[Change], fixed: Sequence[Change]) -> str:
    """What the row or grid shows: "42: smiling across, young down; bangs +1"."""
    ways = ("across", "down") if len(ranges) == 2 else ("",)
    moving = ", ".join(f"{change.label} {way}".strip() for change, way in zip(ranges, ways, strict=True))
    return f"{face}: {moving}" + (f"; {_values(fixed)}" if fixed else "")
