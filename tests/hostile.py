"""Hostile files, made by code: each has a name, and a function that makes its bytes from those of an honest file."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facegan.core.errors import FaceganError

TRAP = "the-trap-was-sprung"
"""A file that appears in the current folder when code from a file was run."""

Make = Callable[[bytes], bytes]


def sentence(action: Callable[[], object]) -> str:
    """The one sentence with which a file is refused; and nothing that was in it has run."""
    with pytest.raises(FaceganError) as caught:
        action()
    text = caught.value.message
    assert text.isprintable() and text.endswith(".") and len(text) < 600, text
    assert not Path(TRAP).exists()
    return text


class Trap:
    """Unpickled, it makes the file TRAP."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path(TRAP),))


def edited(change: Callable[[dict[str, Any]], object]) -> Make:
    """An honest checkpoint whose dictionary was changed before it was saved again."""

    def make(honest: bytes) -> bytes:
        content = torch.load(io.BytesIO(honest), weights_only=True)
        change(content)
        return saved(content)

    return make


def saved(content: object, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def config_with(**changes: object) -> Make:
    """An honest checkpoint whose configuration has other entries, by dotted name with __ for the dot."""

    def change(content: dict[str, Any]) -> None:
        content["config"] = changed_config(content["config"], **changes)

    return edited(change)


def _adapting(probability: object) -> Make:
    """An honest checkpoint of a run with --augment auto, but for its probability."""
    value = torch.tensor(probability) if isinstance(probability, float) else probability

    def change(content: dict[str, Any]) -> None:
        content["config"] = changed_config(content["config"], training__augment="auto")
        content["augment_probability"] = value

    return edited(change)


def changed_config(text: str, **changes: object) -> str:
    config = json.loads(text)
    for path, value in changes.items():
        *parents, name = path.split("__")
        node = config
        for parent in parents:
            node = node[parent]
        node[name] = value
    return json.dumps(config)


def archive(program: bytes, numbers: dict[str, bytes] | None = None, **more: bytes) -> bytes:
    """What `torch.save` would write around a program of one's own."""
    members = {"data.pkl": program, "byteorder": b"little", "version": b"3\n", **more}
    members |= {f"data/{key}": raw for key, raw in (numbers or {}).items()}
    return zipped({f"archive/{name}": raw for name, raw in members.items()})


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as out:
        for name, raw in members.items():
            out.writestr(name, raw)
    return file.getvalue()


def repacked(change: Callable[[dict[str, bytes]], object], method: int = zipfile.ZIP_STORED) -> Make:
    """An honest checkpoint whose members were changed and packed again."""

    def make(honest: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(honest)) as found:
            members = {name: found.read(name) for name in found.namelist()}
        change(members)
        return zipped(members, method)

    return make


# The pickle machine's instructions, by hand.
HEAD, STOP, EMPTY_DICT, EMPTY_LIST, MARK, TUPLE, TUPLE1, REDUCE = (
    b"\x80\x02",
    b".",
    b"}",
    b"]",
    b"(",
    b"t",
    b"\x85",
    b"R",
)


def text(word: str) -> bytes:
    return b"X" + struct.pack("<I", len(word)) + word.encode()


def integer(number: int) -> bytes:
    raw = number.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def call(name: str, *arguments: bytes) -> bytes:
    module, _, function = name.rpartition(".")
    return f"c{module}\n{function}\n".encode() + MARK + b"".join(arguments) + TUPLE + REDUCE


def many(*items: bytes) -> bytes:
    return MARK + b"".join(items) + TUPLE


def storage(key: str, count: int, kind: str = "FloatStorage") -> bytes:
    return many(text("storage"), f"ctorch\n{kind}\n".encode(), text(key), text("cpu"), integer(count)) + b"Q"


def tensor(base: bytes, offset: int, shape: tuple[int, ...], steps: tuple[int, ...]) -> bytes:
    hooks = call("collections.OrderedDict")
    return call(
        "torch._utils._rebuild_tensor_v2",
        *(base, integer(offset), many(*map(integer, shape)), many(*map(integer, steps)), b"\x89", hooks),
    )


def holding(value: bytes) -> bytes:
    """A program whose result is {"generator": value}."""
    return HEAD + EMPTY_DICT + text("generator") + value + b"s" + STOP


def with_tensor(count: int, offset: int, shape: tuple[int, ...], steps: tuple[int, ...], there: int = 4) -> Make:
    """A tensor over a member of `there` numbers that claims to have `count`."""
    program = holding(tensor(storage("0", count), offset, shape, steps))
    return lambda _: archive(program, {"0": bytes(4 * there)})


def program(raw: bytes) -> Make:
    return lambda _: archive(raw)


def doubling(empty: bytes, close: bytes) -> bytes:
    """Forty instructions that would make 2^40 items: each level holds the one before twice."""
    levels = b"".join(b"q" + bytes([n]) + b"0" + MARK + 2 * (b"h" + bytes([n])) + close for n in range(40))
    return holding(empty + levels)


def cut(share: float) -> Make:
    return lambda honest: honest[: int(share * len(honest))]


def overlapping(honest: bytes) -> bytes:
    """A table of contents that names the same bytes many times."""
    at = struct.unpack("<I", zipped({"a": bytes(1000)})[-6:-2])[0]
    whole = zipped({"a": bytes(1000)})
    entry = whole[at:-22]
    table = b"".join(entry.replace(b"a", bytes([97 + n]), 1) if n else entry for n in range(20))
    return whole[:at] + table + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 20, 20, len(table), at, 0)


def encrypted(honest: bytes) -> bytes:
    """The flag that says so, set in the table of contents and before every member."""
    raw = bytearray(honest)
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = raw.find(mark)
        while at >= 0:
            raw[at + place] |= 1
            at = raw.find(mark, at + 4)
    return bytes(raw)


def crowded(count: int, suffix: str = "") -> bytes:
    """A zip of so many members, none with any bytes; made by hand, since zipfile would take seconds."""
    table, at = bytearray(), len(zipped({"0": b""})) - 22 - 47
    body = zipped({"0": b""})[:at]
    fixed = struct.Struct("<4sHHHHHHIIIHHHHHII")
    for n in range(count):
        name = f"{n}{suffix}".encode()
        table += fixed.pack(b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, len(name), 0, 0, 0, 0, 0, 0) + name
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(table), at)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, at + len(table), 1)
    most = 0xFFFFFFFF
    return body + table + end64 + locator + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, most, most, 0)


def _weights(network: str, change: Callable[[dict[str, torch.Tensor]], object]) -> Make:
    return edited(lambda content: change(content[network]))


def _poison(network: str, value: float) -> Make:
    return _weights(network, lambda tensors: next(iter(tensors.values()))[0].fill_(value))


def _moments(change: Callable[[dict[Any, Any]], object]) -> Make:
    return edited(lambda content: change(content["generator_optimiser"]["state"]))


def _group(**changes: object) -> Make:
    return edited(lambda content: content["critic_optimiser"]["param_groups"][0].update(changes))


CHECKPOINTS: dict[str, Make] = {
    # Code.
    "runs-a-function": lambda _: saved({"format_version": 1, "generator": Trap()}),
    "calls-os-system": program(holding(call("os.system", text(f"touch {TRAP}")))),
    "calls-posix-system": program(holding(call("posix.system", text(f"touch {TRAP}")))),
    "calls-eval": program(holding(call("builtins.eval", text(f"open({TRAP!r}, 'w')")))),
    "calls-python-2-exec": program(holding(call("__builtin__.exec", text(f"open({TRAP!r}, 'w')")))),
    "calls-subprocess": program(holding(call("subprocess.run", text(f"touch {TRAP}")))),
    "calls-torch-load": program(holding(call("torch.load", text("other.pt")))),
    "calls-torch-hub": program(holding(call("torch.hub.load", text("a/b"), text("c")))),
    "makes-an-instance": program(HEAD + MARK + b"ios\nsystem\n" + STOP),
    "makes-an-object": program(HEAD + b"cos\nsystem\n)\x81" + STOP),
    "names-by-the-stack": program(HEAD + text("os") + text("system") + b"\x93" + STOP),
    "extension-registry": program(HEAD + b"\x82\x01" + STOP),
    "sets-attributes": program(holding(b"ccollections\nOrderedDict\n" + EMPTY_DICT + b"b")),
    "leaves-a-function": program(holding(b"ctorch._utils\n_rebuild_tensor_v2\n")),
    "plain-pickle": lambda _: pickle.dumps(Trap()),
    "plain-pickle-protocol-0": lambda _: pickle.dumps(Trap(), 0),
    "legacy-format": lambda _: saved({"format_version": 1, "t": Trap()}, _use_new_zipfile_serialization=False),
    "torchscript": repacked(lambda m: m.update({f"{next(iter(m)).split('/')[0]}/constants.pkl": b"."})),
    # Other things than tensors and plain values.
    "a-module": lambda _: saved(torch.nn.Linear(2, 2)),
    "a-numpy-array": lambda _: saved({"format_version": 1, "a": np.zeros(3)}),
    "a-set": lambda _: saved({"format_version": 1, "a": {1, 2}}),
    "bytes": lambda _: saved({"format_version": 1, "a": b"abc"}),
    "a-complex-number": lambda _: saved({"format_version": 1, "a": 1j}),
    "a-parameter": edited(lambda c: c["critic"].update({k: torch.nn.Parameter(v) for k, v in c["critic"].items()})),
    "a-sparse-tensor": edited(lambda c: c.update(critic=torch.eye(3).to_sparse())),
    "a-complex-tensor": edited(lambda c: c.update(critic=torch.zeros(3, dtype=torch.complex64))),
    "a-tensor-without-numbers": lambda _: saved({"m": torch.empty(3, device="meta")}),
    # Bombs.
    "a-storage-of-4-gb": program(holding(call("torch.FloatStorage", integer(10**9)))),
    "a-bytearray-of-4-gb": program(holding(call("builtins.bytearray", integer(4 * 10**9)))),
    "bytes-that-claim-1-tb": program(holding(b"\x8e" + struct.pack("<Q", 10**12))),
    "a-bytearray-that-claims-1-tb": program(holding(b"\x96" + struct.pack("<Q", 10**12))),
    "a-text-that-claims-4-gb": program(holding(b"X" + struct.pack("<I", 2**32 - 1) + b"a")),
    "a-frame-of-1-tb": program(b"\x80\x04\x95" + struct.pack("<Q", 10**12) + STOP),
    "memo-slot-of-4-billion": program(HEAD + EMPTY_DICT + b"r" + struct.pack("<I", 2**32 - 1) + STOP),
    "doubled-tuples": program(doubling(b")", TUPLE)),
    "doubled-lists": program(doubling(EMPTY_LIST, b"l")),
    "a-list-in-itself": program(holding(EMPTY_LIST + b"q\0h\0a")),
    "nested-tuples": program(holding(b")" + 200_000 * TUPLE1)),
    "nested-lists": program(holding(9_000 * EMPTY_LIST + 8_999 * b"a")),
    "a-million-on-the-stack": program(HEAD + 1_000_000 * b"N" + STOP),
    "a-tensor-of-one-number-repeated": with_tensor(4, 0, (10**9,), (0,)),
    "a-tensor-of-too-many-numbers": with_tensor(4, 0, (2**40, 2**40), (0, 0)),
    "a-storage-larger-than-its-member": with_tensor(10**9, 0, (10**9,), (1,)),
    "a-storage-smaller-than-its-member": with_tensor(2, 0, (2,), (1,)),
    "a-program-of-3-mb": program(HEAD + 3_000_000 * b"0" + STOP),
    "compressed": repacked(lambda m: None, zipfile.ZIP_DEFLATED),
    "200-mb-in-200-kb": repacked(
        lambda m: m.update({next(n for n in m if "/data/" in n): bytes(2 * 10**8)}), zipfile.ZIP_DEFLATED
    ),
    "200000-members": lambda _: crowded(200_000),
    "overlapping-members": overlapping,
    "many-axes": with_tensor(4, 0, (1,) * 60, (1,) * 60),
    # Tensors outside of their numbers.
    "a-negative-offset": with_tensor(4, -1, (2,), (1,)),
    "an-offset-beyond": with_tensor(4, 4, (1,), (1,)),
    "a-stride-beyond": with_tensor(4, 0, (2,), (10**12,)),
    "a-negative-stride": with_tensor(4, 3, (2,), (-1,)),
    "a-negative-size": with_tensor(4, 0, (-4,), (1,)),
    "an-empty-tensor": with_tensor(4, 0, (0,), (1,)),
    "an-empty-storage": with_tensor(0, 0, (0,), (1,), there=0),
    "numbers-used-twice": lambda _: archive(
        HEAD + EMPTY_DICT + MARK + text("a") + tensor(storage("0", 4), 0, (4,), (1,))
        + text("b") + tensor(storage("0", 4), 0, (4,), (1,)) + b"u" + STOP, {"0": bytes(16)},
    ),
    "numbers-of-two-types": lambda _: archive(
        HEAD + EMPTY_DICT + MARK + text("a") + tensor(storage("0", 4), 0, (2,), (1,))
        + text("b") + tensor(storage("0", 4, "IntStorage"), 0, (2,), (1,)) + b"u" + STOP, {"0": bytes(16)},
    ),
    "a-missing-member": program(holding(tensor(storage("7", 4), 0, (4,), (1,)))),
    "a-member-by-a-climbing-name": lambda _: archive(holding(tensor(storage("../data.pkl", 4), 0, (4,), (1,)))),
    # Programs that break off.
    "no-stop": program(HEAD + EMPTY_DICT),
    "nothing-on-the-stack": program(HEAD + STOP),
    "an-empty-program": program(b""),
    "pops-too-much": program(HEAD + b"s" + STOP),
    "a-mark-that-is-missing": program(HEAD + TUPLE + STOP),
    "a-list-as-a-key": program(HEAD + EMPTY_DICT + EMPTY_LIST + b"Ns" + STOP),
    "an-unknown-instruction": program(HEAD + b"\xff" + STOP),
    "an-unset-memo": program(HEAD + b"h\5" + STOP),
    "an-odd-dictionary": program(HEAD + EMPTY_DICT + MARK + text("a") + b"u" + STOP),
    "a-number-of-5000-digits": program(HEAD + b"L" + 5000 * b"9" + b"L\n" + STOP),
    # Containers.
    "empty": lambda _: b"",
    "text": lambda _: b"hello, I am a checkpoint\n",
    "html": lambda _: b"<!DOCTYPE html><title>404</title>",
    "zeros": lambda _: bytes(100_000),
    "an-empty-zip": lambda _: zipped({}),
    "a-zip-of-photos": lambda _: zipped({"a.jpg": b"x"}),
    "no-program": repacked(lambda m: [m.pop(name) for name in list(m) if name.endswith("data.pkl")]),
    "no-byteorder": repacked(lambda m: [m.pop(name) for name in list(m) if name.endswith("byteorder")]),
    "big-endian": repacked(lambda m: m.update({n: b"big" for n in m if n.endswith("byteorder")})),
    "an-unknown-member": repacked(lambda m: m.update({"archive/surprise": b""})),
    "a-climbing-member": repacked(lambda m: m.update({"../../evil": b""})),
    "two-folders": repacked(lambda m: m.update({"other/data/0": b""})),
    "encrypted": encrypted,
    **{f"cut-at-{share:.0%}": cut(share) for share in (0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.9999)},
    # Honest containers of lies.
    "a-list": lambda _: saved([1, 2]),
    "no-version": edited(lambda c: c.pop("format_version")),
    "version-0": edited(lambda c: c.update(format_version=0)),
    "version-minus-1": edited(lambda c: c.update(format_version=-1)),
    "version-3": edited(lambda c: c.update(format_version=3)),
    "version-true": edited(lambda c: c.update(format_version=True)),
    "version-text": edited(lambda c: c.update(format_version="1")),
    "an-unknown-entry": edited(lambda c: c.update(surprise=1)),
    "a-missing-entry": edited(lambda c: c.pop("critic")),
    **{f"rollbacks-{n}": edited(lambda c, n=n: c.update(rollbacks=n)) for n in (-1, 2**70, "many", True, 1.5)},
    "no-rollbacks": edited(lambda c: c.pop("rollbacks")),
    **{f"images-seen-{n}": edited(lambda c, n=n: c.update(images_seen=n)) for n in (-1, 2**70, "many", True, 1.5)},
    "nan-in-the-generator": _poison("generator", float("nan")),
    "inf-in-the-critic": _poison("critic", float("inf")),
    "minus-inf-in-the-average": _poison("averaged_generator", float("-inf")),
    "nan-in-a-moment": _moments(lambda s: s[0]["exp_avg"].fill_(float("nan"))),
    "a-shape": _weights("generator", lambda t: t.update({"project.weight": torch.zeros(2, 2)})),
    "a-flat-shape": _weights("critic", lambda t: t.update({k: v.reshape(-1) for k, v in t.items()})),
    "a-type": _weights("critic", lambda t: t.update({k: v.to(torch.int64) for k, v in t.items()})),
    "a-missing-tensor": _weights("averaged_generator", lambda t: t.pop("project.weight")),
    "an-extra-tensor": _weights("critic", lambda t: t.update(extra=torch.zeros(1))),
    "a-text-for-a-tensor": _weights("critic", lambda t: t.update(dict.fromkeys(t, "text"))),
    "no-tensors": edited(lambda c: c.update(generator=None)),
    "no-average": edited(lambda c: c.update(averaged_generator=None)),
    **{f"an-augmentation-of-{p}": _adapting(p) for p in (float("nan"), -1.0, 2.0, "half", None)},
    "an-augmentation-missing": config_with(training__augment="auto"),
    "an-augmentation-too-many": edited(lambda c: c.update(augment_probability=torch.tensor(0.5))),
    "an-average-too-many": config_with(training__ema_half_life=0),
    "a-moment-too-many": _moments(lambda s: s.update({999: s[0]})),
    "a-moment-of-another-shape": _moments(lambda s: s[0].update(exp_avg=torch.zeros(3))),
    "a-moment-missing": _moments(lambda s: s[0].pop("exp_avg_sq")),
    "moments-as-text": edited(lambda c: c["generator_optimiser"].update(state="none")),
    "an-optimiser-as-text": edited(lambda c: c.update(critic_optimiser="Adam")),
    "no-groups": edited(lambda c: c["critic_optimiser"].update(param_groups=[])),
    "a-group-as-text": edited(lambda c: c["critic_optimiser"].update(param_groups=["a"])),
    "a-learning-rate-of-nan": _group(lr=float("nan")),
    "a-learning-rate-of-100": _group(lr=100.0),
    "a-learning-rate-as-text": _group(lr="fast"),
    "other-betas": _group(betas=("a", "b")),
    "other-parameters": _group(params=[5, 6]),
    "weight-decay": _group(weight_decay=1.0),
    "another-family": config_with(networks__family="stylegan"),
    "a-list-as-a-family": config_with(networks__family=["dcgan"]),
    "the-other-family": config_with(networks__family="keras"),
    "another-size": config_with(networks__size=256),
    "huge-networks": config_with(networks__width=1024, networks__max_width=2048, networks__latent_dim=4096),
    "an-unknown-setting": config_with(training__surprise=1),
    "a-number-of-400-digits": config_with(training__penalty_weight=10**400),
    "nan-in-the-settings": config_with(training__decay=float("nan")),
    "a-climbing-preset": config_with(preset="../../evil"),
    "an-escape-sequence": config_with(preset="\x1b[2J\x1b]0;evil\x07"),
    "no-length": config_with(training__epochs=None, training__images=None),
    "settings-as-a-number": edited(lambda c: c.update(config=3)),
    "settings-that-are-no-json": edited(lambda c: c.update(config="{")),
    "settings-nested-deeply": edited(lambda c: c.update(config='{"a":' * 50_000)),
    "settings-as-a-list": edited(lambda c: c.update(config="[]")),
    "provenance-nested-deeply": edited(lambda c: c.update(provenance="[" * 50_000)),
    "provenance-as-a-list": edited(lambda c: c.update(provenance="[]")),
    "provenance-as-a-number": edited(lambda c: c.update(provenance=1)),
}  # fmt: skip
"""Checkpoints (.pt) that must be refused."""


def safetensors(header: object, body: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + body


def reheaded(change: Callable[[dict[str, Any]], object]) -> Make:
    """An honest generator whose header was changed; its numbers stay."""

    def make(honest: bytes) -> bytes:
        length = struct.unpack("<Q", honest[:8])[0]
        header = json.loads(honest[8 : 8 + length])
        change(header)
        return safetensors(header, honest[8 + length :])

    return make


def metadata(**changes: str) -> Make:
    return reheaded(lambda header: header["__metadata__"].update(changes))


def _tensor(change: Callable[[dict[str, Any]], object], name: str = "project.weight") -> Make:
    return reheaded(lambda header: change(header[name]))


def _network_config(**changes: object) -> Make:
    def change(header: dict[str, Any]) -> None:
        header["__metadata__"]["config"] = changed_config(header["__metadata__"]["config"], **changes)

    return reheaded(change)


def _nan_at_the_end(honest: bytes) -> bytes:
    """The last tensor's numbers, whichever it is, become NaN; half precision or not."""
    return honest[:-64] + b"\xff" * 64


GENERATORS: dict[str, Make] = {
    "empty": lambda _: b"",
    "text": lambda _: b"hello",
    "zeros": lambda _: bytes(100_000),
    **{
        f"a-header-of-2-to-the-{n}": (lambda _, n=n: (2**n).to_bytes(8, "little") + b"{}") for n in (24, 31, 32, 60, 63)
    },
    "a-header-of-all-ones": lambda _: b"\xff" * 8 + b"{}",
    "a-header-of-5-mb": lambda _: safetensors(b'{"__metadata__":{"a":"' + 5_000_000 * b"a" + b'"}}'),
    "a-header-longer-than-the-file": lambda honest: struct.pack("<Q", len(honest)) + honest[8:],
    "a-header-that-is-no-json": lambda _: safetensors(b"{"),
    "a-header-that-is-a-list": lambda _: safetensors([]),
    "a-header-that-is-no-text": lambda _: safetensors(b"\xff\xfe{}"),
    "a-header-nested-deeply": lambda _: safetensors(b'{"a":' * 100_000),
    "no-metadata": reheaded(lambda header: header.pop("__metadata__")),
    "metadata-of-numbers": reheaded(lambda header: header["__metadata__"].update(images_seen=3)),
    "overlapping-tensors": _tensor(lambda t: t.update(data_offsets=[0, 8])),
    "offsets-beyond": _tensor(lambda t: t.update(data_offsets=[0, 2**62])),
    "offsets-backwards": _tensor(lambda t: t.update(data_offsets=[100, 0])),
    "negative-offsets": _tensor(lambda t: t.update(data_offsets=[-4, 0])),
    "a-shape-that-overflows": _tensor(lambda t: t.update(shape=[2**40, 2**40])),
    "a-negative-shape": _tensor(lambda t: t.update(shape=[-1, -1])),
    "another-shape-of-as-many": _tensor(lambda t: t.update(shape=t["shape"][::-1])),
    "an-unknown-type": _tensor(lambda t: t.update(dtype="F7")),
    "integers-for-floats": _tensor(lambda t: t.update(dtype="I32")),
    "a-missing-tensor": reheaded(lambda header: header.pop("project.weight")),
    "a-renamed-tensor": reheaded(lambda header: header.update(evil=header.pop("project.weight"))),
    "nan": _nan_at_the_end,
    "another-format": metadata(format="something-else"),
    "version-2": metadata(format_version="2"),
    "version-0": metadata(format_version="0"),
    "version-text": metadata(format_version="new"),
    "version-of-5000-digits": metadata(format_version=5000 * "9"),
    "version-superscript": metadata(format_version="²"),
    "images-many": metadata(images_seen="many"),
    "images-minus-1": metadata(images_seen="-1"),
    "images-of-5000-digits": metadata(images_seen=5000 * "9"),
    "unknown-weights": metadata(weights="best"),
    "settings-empty": metadata(config="{}"),
    "settings-no-json": metadata(config="{"),
    "settings-nested-deeply": metadata(config='{"a":' * 50_000),
    "provenance-nested-deeply": metadata(provenance="[" * 50_000),
    "provenance-a-list": metadata(provenance="[]"),
    "another-family": _network_config(networks__family="stylegan"),
    "huge-networks": _network_config(networks__width=1024, networks__max_width=2048, networks__latent_dim=4096),
    "an-unknown-setting": _network_config(surprise=1),
    **{f"cut-at-{share:.0%}": cut(share) for share in (0.0001, 0.01, 0.1, 0.5, 0.9, 0.999)},
}
"""Generators (.safetensors) that must be refused."""


def npy(header: str, body: bytes = b"", version: bytes = b"\1\0") -> bytes:
    raw = header.encode("latin1")
    return b"\x93NUMPY" + version + len(raw).to_bytes(2 if version == b"\1\0" else 4, "little") + raw + body


def array(value: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, value, allow_pickle=True)
    return file.getvalue()


def _shape(shape: str, descr: str = "'<f4'", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


LATENT_DIM = 8
_ONE = bytes(4 * LATENT_DIM)
LATENTS: dict[str, bytes] = {
    "empty": b"",
    "text": b"hello",
    "objects": array(np.array([Trap()] * LATENT_DIM, dtype=object)),
    "one-object": array(np.array(Trap(), dtype=object)),
    "a-pickle": pickle.dumps(Trap()),
    "an-npz": (lambda file: (np.savez(file, a=np.zeros(LATENT_DIM)), file.getvalue())[1])(io.BytesIO()),
    "too-wide": array(np.zeros(LATENT_DIM + 1, np.float32)),
    "a-cube": array(np.zeros((2, 2, LATENT_DIM), np.float32)),
    "a-number": array(np.float32(1)),
    "none": array(np.zeros((0, LATENT_DIM), np.float32)),
    "of-no-width": array(np.zeros((3, 0), np.float32)),
    "too-many": array(np.zeros((2501, LATENT_DIM), np.float16)),
    "nan": array(np.full(LATENT_DIM, np.nan, np.float32)),
    "inf": array(np.full(LATENT_DIM, np.inf, np.float16)),
    "minus-inf": array(np.full((3, LATENT_DIM), -np.inf)),
    "beyond-float32": array(np.full(LATENT_DIM, 1e300)),
    "absurdly-large": array(np.full(LATENT_DIM, 1e30, np.float32)),
    "complex": array(np.zeros(LATENT_DIM, np.complex64)),
    "texts": array(np.array(["a"] * LATENT_DIM)),
    "truths": array(np.zeros(LATENT_DIM, bool)),
    "times": array(np.zeros(LATENT_DIM, "datetime64[s]")),
    "records": array(np.zeros(LATENT_DIM, [("a", np.float32)])),
    "a-header-that-lies": npy(_shape(f"({10**12}, {LATENT_DIM})"), _ONE),
    "a-header-that-overflows": npy(_shape(f"({2**62}, {2**62})"), _ONE),
    "a-header-of-negative-sizes": npy(_shape(f"(-1, {LATENT_DIM})"), _ONE),
    "a-header-of-texts": npy(_shape("('a',)"), _ONE),
    "a-header-of-no-shape": npy("{'descr': '<f4'}\n", _ONE),
    "a-header-that-calls": npy(_shape(f"open({TRAP!r}, 'w')"), _ONE),
    "a-header-nested-deeply": npy(9000 * "(" + "\n", _ONE),
    "a-header-of-quotes": npy("{'descr': '''\n", _ONE),
    "a-header-of-4-gb": b"\x93NUMPY\2\0\xff\xff\xff\xff{",
    "a-header-of-60-kb": npy(_shape("(8,)") + 60_000 * " ", _ONE),
    "a-huge-item": npy(_shape("(1,)", "'V2000000000'"), _ONE),
    "a-nested-type": npy(_shape("(1,)", "[('a', [('b', '<f4')])]"), _ONE),
    "version-9": npy(_shape("(8,)"), _ONE, b"\x09\0"),
    "cut-in-the-header": array(np.zeros(LATENT_DIM, np.float32))[:40],
    "cut-in-the-numbers": array(np.zeros(LATENT_DIM, np.float32))[:-3],
}
"""Latents (.npy) that must be refused by a generator of LATENT_DIM."""


def not_files(folder: Path, suffix: str) -> list[Path]:
    """A folder, a missing file, and where the system has them a pipe, an endless device and a link to itself."""
    found = [folder / f"folder{suffix}", folder / f"missing{suffix}"]
    found[0].mkdir()
    if hasattr(os, "mkfifo"):
        names = [folder / f"{name}{suffix}" for name in ("pipe", "endless", "circle")]
        os.mkfifo(names[0])
        names[1].symlink_to("/dev/zero")
        names[2].symlink_to(names[2])
        found += names
    return found
