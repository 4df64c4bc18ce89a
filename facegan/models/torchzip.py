"""Read the files of `torch.save` without unpickling: tensors and plain values, and nothing else.

The threat: a .pt file is a zip of `data.pkl`, a program for Python's pickle machine, and of one member of raw numbers
per tensor. The machine imports and calls whatever the program names, so to load a stranger's file is to run a
stranger's code. `torch.load(weights_only=True)` calls harmless functions only, but those can still be asked for any
amount of memory: a storage of 10^9 numbers made by a kilobyte of program, a member that was compressed 1000 times, a
memo slot with the number four billion, a tensor that repeats one number for ever.

So the program is not run. `pickletools.genops` decodes it, and this module follows the two dozen instructions that a
checkpoint needs, on a stack of its own. Names are only words here: `OrderedDict`, `_rebuild_tensor_v2` and the names of
number types have a meaning below, nothing is imported or called, and any other name or instruction is refused. Numbers
come from members that are stored, not compressed, so together they are no larger than the file. A tensor must lie
inside its member, and the tensors of one member together may not have more numbers than it has. The members' checksums
are verified. So the memory needed is little more than the file's size, and the time is at most in proportion to it.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from facegan.core.zips import open_zip

MAX_PROGRAM = 2 << 20
"""Most bytes of `data.pkl`; facegan's largest networks need some 20,000."""
MAX_TABLE = 1 << 20
"""Most bytes of the zip's table of contents: enough for some ten thousand tensors."""
_MAX_STACK, _MAX_DEPTH, _MAX_AXES, _MAX_REPEATED = 10_000, 8, 8, 8

_EXTRA = {"data.pkl", "byteorder", "version", ".format_version", ".storage_alignment", ".data/serialization_id"}
_DTYPES = {
    "torch FloatStorage": torch.float32,
    "torch DoubleStorage": torch.float64,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch ByteStorage": torch.uint8,
    "torch BoolStorage": torch.bool,
}
_REBUILD, _ORDERED_DICT = "torch._utils _rebuild_tensor_v2", "collections OrderedDict"


class DamagedError(ValueError):
    """The file is not one of `torch.save`, or is damaged; the text says why."""


class ForeignError(ValueError):
    """The file may be one of `torch.save`, but holds something other than tensors and plain values."""


@dataclass(frozen=True)
class _Name:
    """A word in the program that stands for a function or a number type."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """Raw numbers: the member they are in, and how to read them."""

    member: str
    dtype: torch.dtype
    numbers: int


def read_torch_zip(path: Path) -> object:
    """Read what was saved: tensors (to the CPU), dicts, lists, tuples, numbers, texts and None.

    An OrderedDict becomes a dict, without the notes that torch adds to it.

    Raises:
        DamagedError: it is not such a file, or is damaged.
        ForeignError: it holds anything else.
        OSError: it cannot be read.
    """
    try:
        with open_zip(path, MAX_TABLE) as archive:
            members = _members(archive)
            if b"big" in archive.read(members["byteorder"]):
                raise DamagedError("its numbers are in the order of another kind of machine")
            value = _Machine(archive, members).run(archive.read(members["data.pkl"]))
    except (zipfile.BadZipFile, EOFError, RuntimeError) as error:  # zipfile raises RuntimeError for an encrypted member
        raise DamagedError(str(error)[:200].rstrip(".")) from None
    _check_depth(value, _MAX_DEPTH)
    return value


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The zip's members by name, without the folder that all are in."""
    members: dict[str, zipfile.ZipInfo] = {}
    folders = set()
    for member in archive.infolist():
        folder, _, name = member.filename.partition("/")
        kind, _, number = name.rpartition("/")
        if name not in _EXTRA and not (kind == "data" and number.isdecimal()):
            raise DamagedError(f"it has the unknown member {member.filename[:80]!r}")
        if name in members:
            raise DamagedError(f"it has two members {name!r}")
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise DamagedError(f"its member {name!r} is compressed")
        if name in _EXTRA and member.file_size > (MAX_PROGRAM if name == "data.pkl" else 1000):
            raise DamagedError(f"its member {name!r} is too large: {member.file_size:,} bytes")
        members[name] = member
        folders.add(folder)
    if len(folders) != 1 or not {"data.pkl", "byteorder"} <= members.keys():
        raise DamagedError("it lacks members that every checkpoint has")
    return members


class _Machine:
    """Follow the program's instructions. Names that they would import or call are looked up in this module's tables."""

    def __init__(self, archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> None:
        self._archive, self._members = archive, members
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._numbers: dict[str, Tensor] = {}
        self._left: dict[str, int] = {}

    def run(self, program: bytes) -> object:
        try:
            for opcode, argument, _ in pickletools.genops(program):
                if opcode.name not in _STEPS:
                    raise ForeignError(f"the instruction {opcode.name}")
                _STEPS[opcode.name](self, argument)
                if len(self._stack) > _MAX_STACK:
                    raise DamagedError("its program is not one of a checkpoint")
            (value,) = self._stack
        except (DamagedError, ForeignError):
            raise
        except (ValueError, IndexError, KeyError, TypeError, RuntimeError) as error:
            raise DamagedError(f"its program is damaged ({type(error).__name__})") from error
        return value

    def push(self, value: object) -> None:
        self._stack.append(value)

    def mark(self, _: object) -> None:
        self._marks.append(len(self._stack))

    def since_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def take(self, count: int) -> list[Any]:
        if count > len(self._stack):
            raise IndexError
        items = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return items

    def put(self, slot: int) -> None:
        self._memo[slot] = self._stack[-1]

    def get(self, slot: int) -> None:
        """Repeat only a value that cannot grow: a program could double its own lists with every instruction."""
        value = self._memo[slot]
        short = isinstance(value, tuple) and len(value) <= _MAX_REPEATED
        if isinstance(value, (dict, list, tuple)) and not (short and not any(map(_is_container, value))):
            raise ForeignError("the same list twice")
        self.push(value)

    def fill_dict(self, items: list[Any]) -> None:
        target = self._stack[-1]
        keys, values = items[::2], items[1::2]
        if type(target) is not dict or any(type(key) not in (str, int) for key in keys):
            raise ForeignError("an unusual dictionary")
        target.update(zip(keys, values, strict=True))

    def fill_list(self, items: list[Any]) -> None:
        if type(self._stack[-1]) is not list:
            raise TypeError
        self._stack[-1].extend(items)

    def name(self, words: str) -> None:
        if words not in (_REBUILD, _ORDERED_DICT, *_DTYPES):
            raise ForeignError(f"{words.replace(' ', '.')[:80]!r}")
        self.push(_Name(words))

    def storage(self, _: object) -> None:
        (kind, number_type, key, _, count) = self._stack.pop()
        if kind != "storage" or type(number_type) is not _Name or type(count) is not int:
            raise TypeError
        dtype, member = _DTYPES[number_type.name], self._members[f"data/{key}"]
        if count < 1 or count * dtype.itemsize != member.file_size:
            raise DamagedError(f"a tensor's numbers are not in the file: {count:,} in {member.file_size:,} bytes")
        self.push(_Storage(key, dtype, count))

    def reduce(self, _: object) -> None:
        function, arguments = self.take(2)
        if type(function) is not _Name or type(arguments) is not tuple:
            raise TypeError
        if function.name == _ORDERED_DICT and not arguments:
            self.push({})
        elif function.name == _REBUILD:
            self.push(self._tensor(*arguments[:4]))
        else:
            raise ForeignError(f"a call of {function.name.replace(' ', '.')}")

    def build(self, _: object) -> None:
        """Leave out the notes that torch adds to a state's OrderedDict."""
        target, notes = self.take(2)
        if type(target) is not dict or type(notes) is not dict:
            raise TypeError
        self.push(target)

    def _tensor(self, storage: _Storage, offset: int, shape: tuple[int, ...], steps: tuple[int, ...]) -> Tensor:
        if type(storage) is not _Storage or len(shape) > _MAX_AXES or len(shape) != len(steps):
            raise TypeError
        if any(type(number) is not int or number < 0 for number in (offset, *shape, *steps)):
            raise TypeError
        count = prod(shape)
        last = offset + sum((size - 1) * step for size, step in zip(shape, steps, strict=True))
        left = self._left.setdefault(storage.member, storage.numbers) - count
        if count < 1 or last >= storage.numbers or left < 0:
            raise DamagedError(f"a tensor of shape {shape} does not fit into its {storage.numbers:,} numbers")
        self._left[storage.member] = left
        return self._read(storage).as_strided(shape, steps, offset)

    def _read(self, storage: _Storage) -> Tensor:
        numbers = self._numbers.get(storage.member)
        if numbers is None:
            member = self._members[f"data/{storage.member}"]
            raw = bytearray(member.file_size)
            with cast(zipfile.ZipExtFile, self._archive.open(member)) as file:
                if file.readinto(raw) != len(raw) or file.read(1):  # reading to the end verifies the checksum
                    raise DamagedError("it was cut short")
            numbers = self._numbers[storage.member] = torch.frombuffer(raw, dtype=storage.dtype)
        if numbers.dtype != storage.dtype:
            raise DamagedError("the same numbers are read as two types")
        return numbers


_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), _Machine.push),
    **dict.fromkeys(("PROTO", "STOP"), lambda machine, _: None),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "MARK": _Machine.mark,
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.take(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.take(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.take(3))),
    "SETITEM": lambda machine, _: machine.fill_dict(machine.take(2)),
    "SETITEMS": lambda machine, _: machine.fill_dict(machine.since_mark()),
    "APPEND": lambda machine, _: machine.fill_list(machine.take(1)),
    "APPENDS": lambda machine, _: machine.fill_list(machine.since_mark()),
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "GLOBAL": _Machine.name,
    "BINPERSID": _Machine.storage,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
}
"""Instruction -> what it does. The program of a checkpoint has no others."""


def _is_container(value: object) -> bool:
    return isinstance(value, (dict, list, tuple))


def _check_depth(value: object, left: int) -> None:
    if not left:
        raise DamagedError("its values are nested too deeply")
    if isinstance(value, (_Name, _Storage)):
        raise ForeignError("a name where a value should be")
    children = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    for child in children:
        _check_depth(child, left - 1)
