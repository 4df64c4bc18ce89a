"""Generators on the Hugging Face Hub: `hf://user/name`, downloaded when it is named and never otherwise.

Needs the extra `hub`. What comes from there is a stranger's file like any other: `models.checkpoint` opens it. Files
are kept in the library's own cache, so that the same address works again without a network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from facegan.core.errors import FaceganError, needed, one_line
from facegan.core.quantities import size as in_bytes
from facegan.core.version import __version__
from facegan.models.pretrained import NAME, PATH

GENERATOR, ATTRIBUTES, CARD, SHEET = "generator.safetensors", "attributes.safetensors", "README.md", "sheet.png"
"""Names of the files in a repository. Only the first must be there; the first two are downloaded."""
MAX_BYTES = 2 << 30
"""Most bytes of a file that is downloaded: several times the largest generator that facegan trains."""

_SCHEME = re.compile(r"hf:[/\\]")
_ADDRESS = re.compile(r"hf:[/\\]{1,2}([\w.-]{1,96})[/\\]([\w.-]{1,96})(?:@([\w./-]{1,200}))?")
"""A `Path` has only one of the two slashes left, and on Windows it has backslashes."""
_CACHED = re.compile(r"models--([\w.-]+?)--([\w.-]+)[/\\]snapshots[/\\]([0-9a-f]{7,64})[/\\][\w.-]+")
_LOG_IN = "Check its name, and log in with a token that may do this: hf auth login"
_WRITE = "Write it as hf://user/name, or hf://user/name@revision."


@dataclass(frozen=True)
class Address:
    """A generator on the Hub.

    Attributes:
        repository: `user/name`.
        revision: a branch, a tag or a commit; None for the newest.
    """

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"hf://{self.repository}" + (f"@{self.revision}" if self.revision else "")


def parse_address(text: str) -> Address | None:
    """The address that a text or a path is; None if it does not begin with `hf://`.

    Raises:
        FaceganError: it begins so, but is no address.
    """
    if not _SCHEME.match(text):
        return None
    match = _ADDRESS.fullmatch(text.rstrip("/\\"))
    if match is None:
        raise FaceganError(f"{text[:200]} is not an address on the Hugging Face Hub.", _WRITE)
    return Address(f"{match[1]}/{match[2]}", match[3])


def address_of(path: Path) -> Address | None:
    """Where a downloaded file came from, with its commit; None for other files."""
    match = _CACHED.fullmatch("/".join(path.parts[-4:]))
    return Address(f"{match[1]}/{match[2]}", match[3]) if match else None


def known_name(source: Path) -> str | None:
    """How a generator's file is named on every machine: `pretrained`, or an address on the Hub; None for others."""
    address = NAME if source == PATH else address_of(source)
    return str(address) if address else None


def public_name(source: Path) -> str:
    """How a generator's file is named to others: as everywhere, or without its folders."""
    return known_name(source) or source.name


def download(address: Address) -> Path:
    """The generator at an address, as a file in the library's cache; beside it are its attributes, if it has any.

    Raises:
        FaceganError: the extra `hub` is missing, nothing is there, access is refused, it is too large, or there is no
            network and it was not downloaded before.
    """
    with needed(str(address), "hub", "huggingface_hub"):
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
        from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError
    repository, revision = address.repository, address.revision

    def fetch(name: str, revision: str | None, *, cached: bool) -> Path:
        return Path(
            hf_hub_download(
                repository,
                name,
                revision=revision,
                library_name="facegan",
                library_version=__version__,
                local_files_only=cached,
            )
        )

    def refuse_large(name: str, revision: str | None) -> None:
        size = get_hf_file_metadata(hf_hub_url(repository, name, revision=revision)).size
        if size is not None and size > MAX_BYTES:
            raise FaceganError(f"{address} is no generator of facegan: {name} has {in_bytes(size)}.")

    with hub_errors(address), quiet():
        offline = False
        try:
            refuse_large(GENERATOR, revision)
        except FaceganError:
            raise
        except HfHubHTTPError as error:
            if error.response is not None and error.response.status_code < 500:
                raise
            offline = True
        except Exception:  # there is no network: only the cache can answer
            offline = True
        path = fetch(GENERATOR, revision, cached=offline)
        commit = found.revision if (found := address_of(path)) else revision
        try:
            if not offline and try_to_load_from_cache(repository, ATTRIBUTES, revision=commit) is None:
                refuse_large(ATTRIBUTES, commit)
            fetch(ATTRIBUTES, commit, cached=offline)
        except EntryNotFoundError as error:  # most generators have none
            if isinstance(error, LocalEntryNotFoundError) and not offline:
                raise
    return path


@contextmanager
def hub_errors(address: Address) -> Iterator[None]:
    """Turn what the library raises about an address into a FaceganError. The extra must be installed."""
    from huggingface_hub import errors

    sentences = {  # the first that fits: later ones are more general
        errors.LocalTokenNotFoundError: ("You are not logged in to the Hugging Face Hub.", _LOG_IN),
        errors.GatedRepoError: (f"{address} is only for people whom its owner admits.", f"Ask there. {_LOG_IN}"),
        errors.RevisionNotFoundError: (f"{address}: there is no such revision.", "Name a branch, a tag or a commit."),
        errors.RepositoryNotFoundError: (f"{address} is not there, or you may not see or change it.", _LOG_IN),
        errors.LocalEntryNotFoundError: (
            f"{address} was not downloaded before, and the Hugging Face Hub cannot be reached.",
            "Check the network connection.",
        ),
        errors.EntryNotFoundError: (f"{address} holds no {GENERATOR}, so facegan did not write it.", ""),
        errors.HFValidationError: (f"{address} is not an address on the Hugging Face Hub.", _WRITE),
    }
    try:
        yield
    except FaceganError:
        raise
    except Exception as error:  # its HTTP library has exceptions of its own, which change with its versions
        for kind, sentence in sentences.items():
            if isinstance(error, kind):
                raise FaceganError(*sentence) from None
        refused = getattr(getattr(error, "response", None), "status_code", 0) in (401, 403)
        if refused:
            raise FaceganError(f"{address}: the Hugging Face Hub refuses this.", _LOG_IN) from None
        what = "answers" if isinstance(error, errors.HfHubHTTPError) else "cannot be reached"
        raise FaceganError(
            f"{address}: the Hugging Face Hub {what}: {one_line(error)[:300]}.",
            "Check the network connection and the room on the disk.",
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Only `cli.console` prints, so the library neither logs nor shows progress here."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars, logging

    level, bars = logging.get_verbosity(), not are_progress_bars_disabled()
    logging.set_verbosity(logging.CRITICAL)
    if bars:
        disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            enable_progress_bars()
