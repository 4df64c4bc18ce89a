"""Put a generator on the Hugging Face Hub: the generator, its attributes, a card and a sheet. Needs the extra `hub`."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image

from facegan.core.errors import FaceganError, UsageError, needed
from facegan.core.version import __version__
from facegan.editing.attributes import find_attributes
from facegan.export.card import card, licence_of, public
from facegan.faces.compose import sample_sheet
from facegan.models.checkpoint import LoadedGenerator, save_loaded, weights_sha256
from facegan.models.hub import ATTRIBUTES, CARD, GENERATOR, SHEET, Address, hub_errors, parse_address, quiet
from facegan.pictures.origin import Origin, saving

_FACES = 25
"""On the sheet."""


def address_to_push(text: str) -> Address:
    """The address that `user/name` or `hf://user/name` is.

    Raises:
        UsageError: it is none, or has a revision.
    """
    try:
        address = parse_address(text if text.startswith("hf:") else f"hf://{text}")
    except FaceganError:
        address = None
    if address is None or address.revision:
        raise UsageError(f"{text[:200]} is not the name of a repository on the Hub.", "Write it as user/name.")
    return address


def files_to_push(
    loaded: LoadedGenerator, address: Address, *, licence: str | None = None, agreed: bool = False
) -> dict[str, bytes]:
    """Name in the repository -> content: all that becomes public. It holds no path, folder or machine of yours.

    Args:
        licence: an identifier of the Hub's, such as mit, or a sentence, for a generator that has none yet.
        agreed: the people in the photos that it was tuned to have agreed.

    Raises:
        UsageError: `licence` is empty, long or not printable.
        FaceganError: it was tuned to photos and not `agreed`; or it has another licence already, of its own or of the
            weights that its training started from.
    """
    if "tuned" in loaded.notes and not agreed:
        raise FaceganError(
            f"{loaded.source} was tuned to photos and draws the people in them.",
            "If all of them agree that it becomes public, add --agreed.",
        )
    if licence is not None and not (licence.isprintable() and licence.strip() and len(licence) <= 1000):
        raise UsageError("--licence is no sentence.", "Write it on one line, such as --licence mit.")
    if licence and licence_of(loaded) not in ("", licence):
        raise FaceganError(
            f"The licence of {loaded.source} is stated already: {licence_of(loaded)}", "Leave out --licence."
        )
    terms = licence_of(loaded, licence)
    shared = public(replace(loaded, notes={**loaded.notes, **({"licence": terms} if terms else {})}))
    made = Origin(("sample", str(address), "--count", str(_FACES)), 0, str(address), weights_sha256(loaded.module))
    sheet = io.BytesIO()
    Image.fromarray(sample_sheet(shared, count=_FACES, seed=0)).save(sheet, format="PNG", **saving(".png", made))
    files = {
        GENERATOR: _content(shared),
        CARD: card(shared, address.repository, terms).encode(),
        SHEET: sheet.getvalue(),
    }
    if found := find_attributes(loaded):
        files[ATTRIBUTES] = found[0].read_bytes()
    return files


def _content(shared: LoadedGenerator) -> bytes:
    """The bytes of its .safetensors file; in half precision if that loses nothing, as for one that was stored so."""
    tensors = shared.module.state_dict().values()
    half = all(torch.equal(x.half().float(), x) for x in tensors if x.is_floating_point())
    with TemporaryDirectory() as folder:
        return save_loaded(shared, Path(folder) / GENERATOR, half=half).read_bytes()


def push(files: Mapping[str, bytes], address: Address, *, private: bool = False, overwrite: bool = False) -> str:
    """Upload files in one commit to a repository, which is made if it is not there; returns the page's address.

    Args:
        files: from `files_to_push`.
        private: make the repository private; one that is public already is refused.
        overwrite: add the files to a repository that has a generator or a card. The Hub keeps what was there before.

    Raises:
        FaceganError: the extra `hub` is missing, you are not logged in or may not write there, there is a generator
            or a card already, it is public although `private` is wanted, or the Hub cannot be reached.
    """
    with needed(str(address), "hub", "huggingface_hub"):
        from huggingface_hub import CommitOperationAdd, HfApi
    with hub_errors(address), quiet():
        api = HfApi(library_name="facegan", library_version=__version__)
        found = [name for name in files if not overwrite and api.file_exists(address.repository, name)]
        if found:
            raise FaceganError(
                f"{address} has a {found[0]} already.",
                "Add --overwrite for a new version; the Hub keeps the one before.",
            )
        repository = api.create_repo(address.repository, private=private, exist_ok=True)
        if private and not api.model_info(address.repository).private:
            raise FaceganError(
                f"{address} is there already, and public.", "Choose another name, or leave out --private."
            )
        operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        api.create_commit(
            address.repository, operations, commit_message=f"Generator of faces, by facegan {__version__}"
        )
    return str(repository)
