"""Folders that are whole or absent: filled under a temporary name, synced, then renamed into place."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType

from facegan.core.errors import FaceganError
from facegan.core.files import final_name, suppress_not_offered, sync_file, sync_folder

_ASIDE = ".facegan-old"
_STEPPED_ASIDE = re.compile(rf"\.(.+)\.[a-z0-9_]{{8}}{re.escape(_ASIDE)}")
"""Name of a folder that is being replaced: a dot, its own name, a part from `tempfile`, and the ending."""

LEFT_BY_SYSTEMS = frozenset(
    (".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", ".@__thumb", "@tmp")
)
"""Files and folders, in small letters, that systems and network disks add to any folder: thumbnails, how to show it.

They can be made again, so that they may go with the folder. A trash has files of the user's, and is not among them.
"""


class NewFolder:
    """A folder beside `out` to fill; `publish` gives it its name. Left without that, it is removed.

    Args:
        out: the folder to make. Parents are made as needed.
        overwrite: replace what is at `out`, if there is nothing in it but `known` files.
        known: names of the files that this kind of folder consists of, `*` for any part of a name.

    Raises:
        FaceganError: `out` is in the way, or the system refuses to write.
    """

    def __init__(self, out: Path, *, overwrite: bool, known: Collection[str]) -> None:
        self.out = out
        self._overwrite, self._known = overwrite, known
        self._temporary: Path | None = None

    @property
    def path(self) -> Path:
        """Where to write the files, inside the with block and before `publish`."""
        assert self._temporary is not None, "used outside its with block"
        return self._temporary

    def __enter__(self) -> NewFolder:
        self._check_free()
        with disk_errors(self.out):
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self._remove_abandoned()
            self._temporary = Path(tempfile.mkdtemp(prefix=f".{self.out.name}.", suffix=".part", dir=self.out.parent))
            with suppress_not_offered():  # mkdtemp makes it private; this is to be like any other folder
                self._temporary.chmod(0o777 & ~_umask())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None

    def publish(self) -> None:
        """Sync every file and rename the folder to `out`. All files must be closed: Windows renames no open ones.

        Raises:
            FaceganError: something has come to `out` meanwhile that may not be replaced, or the system refuses.
        """
        with disk_errors(self.out):
            for file in self.path.iterdir():
                if file.is_file():  # a network disk may have added a folder
                    sync_file(file)
            sync_folder(self.path)
            self._check_free()  # again: much may have happened since
            self._rename()
            self._temporary = None
            sync_folder(self.out.parent)

    def _rename(self) -> None:
        """Rename an old folder out of the way first: no folder can be renamed onto one that is not empty.

        `put_back` undoes that after a kill between the two renames.
        """
        old = self.path.with_suffix(_ASIDE)
        try:
            if self.out.exists():
                self.out.replace(old)
            self.path.replace(self.out)
        except BaseException:
            if old.exists() and not self.out.exists():
                old.replace(self.out)
            raise
        if old.exists():
            old.replace(self.path)  # `put_back` ignores this name, so a removal that stops half-way does no harm
            shutil.rmtree(self.path, ignore_errors=True)

    def _remove_abandoned(self) -> None:
        """Remove what a killed process left behind: folders that nothing was written to for an hour."""
        for folder in self.out.parent.iterdir():
            if folder.name.startswith(f".{self.out.name}.") and folder.suffix == ".part":
                with contextlib.suppress(OSError, ValueError):
                    if max(file.stat().st_mtime for file in (folder, *folder.iterdir())) < time.time() - 3600:
                        shutil.rmtree(folder, ignore_errors=True)

    def _check_free(self) -> None:
        out = self.out
        other = "Choose another folder: --out FOLDER"
        if not out.name:
            raise FaceganError(f"{out} cannot be made: it is there already.", other)
        if out.is_symlink() or (out.exists() and not out.is_dir()):
            raise FaceganError(f"{out} exists and is not a folder.", other)
        if not out.exists():
            return
        with disk_errors(out):
            present = sorted(file.name for file in out.iterdir())
        foreign = [name for name in present if not _is_known(name, self._known)]
        if foreign:
            raise FaceganError(f"{out} exists and holds other files, such as {foreign[0]}.", other)
        if present and not self._overwrite:
            raise FaceganError(f"{out} exists already.", "Replace it with --overwrite, or choose another with --out")


def _is_known(name: str, known: Collection[str]) -> bool:
    name = final_name(name) or name  # a killed process has left half of it
    return name.lower() in LEFT_BY_SYSTEMS or any(fnmatchcase(name, pattern) for pattern in known)


def stepped_aside(parent: Path) -> dict[Path, Path]:
    """Folders of `parent` that a killed process left renamed: the name that each had -> where it is now.

    A folder whose successor is there is not among them. Nothing is changed; see `put_back`.
    """
    found: dict[Path, Path] = {}
    with contextlib.suppress(OSError, ValueError):  # a stranger's path may be none at all
        folders = [folder for folder in parent.iterdir() if folder.name.endswith(_ASIDE)]
        for folder in sorted(folders, key=lambda folder: folder.stat().st_mtime):  # of several the newest
            match = _STEPPED_ASIDE.fullmatch(folder.name)
            if match and folder.is_dir() and not os.path.lexists(parent / match[1]):
                found[parent / match[1]] = folder
    return found


def put_back(out: Path, known: Collection[str]) -> None:
    """Give `out` its name again, if the process that was replacing it was killed after it had stepped aside.

    Only a folder of this user is renamed, and only if it holds nothing but `known` files: it is surely ours.
    """
    if (folder := stepped_aside(out.parent).get(out)) is not None:
        with contextlib.suppress(OSError):
            own = not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
            if own and all(_is_known(file.name, known) for file in folder.iterdir()):
                folder.replace(out)


@contextlib.contextmanager
def disk_errors(out: Path) -> Iterator[None]:
    """Turn the system's refusal to write into a sentence about `out`."""
    try:
        yield
    except (OSError, FaceganError) as error:
        system = error.__cause__ if isinstance(error, FaceganError) else error  # of `atomic_path`, about a file in it
        if not isinstance(system, OSError):
            raise
        culprit = f": {system.filename}" if system.filename and Path(system.filename) in out.parents else ""
        raise FaceganError(
            f"{out} could not be written: {system.strerror or system}{culprit}.",
            "Choose a folder that you may write to, on a disk with room: --out FOLDER",
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
