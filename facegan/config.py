"""The configuration of a training run: frozen dataclasses, checked when made, and converted to and from plain JSON."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, TypeVar, cast

from facegan.core.checked import Checked, in_range, one_of, shown
from facegan.core.errors import FaceganError, UsageError
from facegan.core.strictjson import parse_json

T = TypeVar("T", bound=Checked)

SIZES = (32, 64, 128, 256)
"""Image sizes (pixels on a side) that a network can be built for."""


@dataclass(frozen=True, kw_only=True)
class KerasNetworks(Checked):
    """Networks with Keras' conventions: the classics' generators and critics (`networks/keras.py`)."""

    family: ClassVar[str] = "keras"
    any_size: ClassVar[bool] = False
    fewest: ClassVar[int] = 2
    latent_rows: ClassVar[int] = 1

    size: int = one_of(*SIZES)
    latent_dim: int = in_range(1, 4096)
    generator_widths: tuple[int, ...] = in_range(1, 2048)
    critic_widths: tuple[int, ...] = in_range(1, 2048)
    kernel_size: int = one_of(3, 5)
    slope: float = in_range(0, 1)
    batch_norm_momentum: float = in_range(0, 1)
    critic_batch_norm: bool = one_of(True, False)
    critic_dropout: float = in_range(0, 0.95)
    unit_pixels: bool = one_of(True, False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size >> max(len(self.generator_widths), len(self.critic_widths)) == 0:
            raise FaceganError(f"Images of {self.size} px cannot be halved once for each of the widths.")

    @property
    def pixel_range(self) -> tuple[float, float]:
        """The pixel range of networks and penalty: (0, 1) with a sigmoid output, else (-1, 1) with tanh."""
        return (0.0, 1.0) if self.unit_pixels else (-1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class DcganNetworks(Checked):
    """facegan's own networks, for every size that is a power of two from 32 to 256 (`networks/dcgan.py`).

    Attributes:
        width: the generator's channels at half the full size; they double with each octave towards the 4x4 map.
        taper: they halve at full size. Otherwise it has `width` channels too.
    """

    family: ClassVar[str] = "dcgan"
    any_size: ClassVar[bool] = True
    fewest: ClassVar[int] = 1
    pixel_range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    size: int = one_of(*SIZES)
    latent_dim: int = in_range(1, 4096)
    width: int = in_range(1, 1024)
    critic_width: int = in_range(1, 1024)
    max_width: int = in_range(1, 2048)
    slope: float = in_range(0, 1)
    self_modulation: bool = one_of(True, False)
    taper: bool = one_of(True, False, default=False)
    depth: int = in_range(0, 8)
    critic_depth: int = in_range(0, 8)

    @property
    def latent_rows(self) -> int:
        """How many latents one face may have: with self-modulation one for the 4x4 map and one for each octave."""
        return (self.size // 4).bit_length() if self.self_modulation else 1


Networks = KerasNetworks | DcganNetworks
NETWORKS: dict[str, type[KerasNetworks] | type[DcganNetworks]] = {c.family: c for c in (KerasNetworks, DcganNetworks)}


@dataclass(frozen=True, kw_only=True)
class Adam(Checked):
    """Adam's numbers (Kingma & Ba 2015, arXiv:1412.6980, algorithm 1)."""

    lr: float = in_range(0, 1, above=True)
    beta1: float = in_range(0, 0.9999)
    beta2: float = in_range(0, 0.99999)
    eps: float = in_range(0, 1, above=True)


@dataclass(frozen=True, kw_only=True)
class Training(Checked):
    """How the networks are trained. Lengths are in images seen: real images shown to the critic."""

    epochs: float | None = in_range(0, 1e7, above=True)
    images: int | None = in_range(1, 10**12)
    batch_size: int = in_range(1, 65536)
    n_critic: int = in_range(1, 1000)
    update: str = one_of("alternating", "joint")
    objective: str = one_of("wgan-gp", "r3gan")
    penalty: str = one_of("auto", "textbook")
    penalty_weight: float = in_range(0, 1e6)
    generator: Adam
    critic: Adam
    ema_half_life: int = in_range(0, 10**9)
    decay: float = in_range(0, 1)
    critic_warm_up: int = in_range(0, 10**9, default=0)
    flip: bool = one_of(True, False)
    augment: float | str = in_range(0, 1, or_word="auto")
    freeze: int = in_range(0, 64, default=0)
    precision: str = one_of("auto", "fp32", "bf16")
    on_nan: str = one_of("stop", "rollback")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.update == "joint" and self.n_critic != 1:
            raise FaceganError(f"n_critic must be 1 where both networks are updated jointly, not {self.n_critic}.")
        if self.update == "joint" and self.objective != "wgan-gp":  # a joint step needs losses of opposite sign
            raise FaceganError(
                f"objective must be wgan-gp where both networks are updated jointly, not {self.objective}."
            )


@dataclass(frozen=True, kw_only=True)
class Output(Checked):
    """What a run writes and how often. None of these settings changes what is computed."""

    sample_every: float = in_range(0.01, 1e7)
    checkpoint_every: float = in_range(0, 1e7, above=True)
    evaluate_every: float = in_range(0, 1e7)
    evaluate_count: int = in_range(5, 100_000)
    log_every: int = in_range(1, 10**6)
    keep: int = in_range(1, 10**6)
    tensorboard: bool = one_of(True, False)


@dataclass(frozen=True, kw_only=True)
class Config(Checked):
    """The configuration of a whole run.

    `networks.size` is the size of the dataset's images; `training.images` is set once the dataset is known.
    """

    preset: str
    seed: int = in_range(0, 2**63 - 1)
    networks: Networks
    training: Training
    output: Output

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"[\w.+-]{1,64}", self.preset):  # it becomes part of a folder's name
            raise FaceganError(f"preset must be a name of letters, digits and hyphens, not {shown(self.preset)}.")

        if self.training.batch_size < self.networks.fewest:  # batch norm needs more than one number
            raise FaceganError(f"batch_size must be at least {self.networks.fewest} with preset {self.preset!r}.")

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON values. `networks` also holds the name of the family."""
        data = dataclasses.asdict(self)
        data["networks"] = {"family": self.networks.family, **data["networks"]}
        return data

    def to_json(self) -> str:
        """The configuration as text; config.json, checkpoints and a generator's metadata all hold this same text."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_dict(cls, data: object, where: str = "configuration") -> Config:
        """The inverse of `to_dict`. A missing or unknown key is a FaceganError that begins with `where`."""
        data = _mapping(data, where)
        networks = dict(_mapping(data.get("networks"), f"{where}: networks"))
        family = networks.pop("family", None)
        if not isinstance(family, str) or family not in NETWORKS:
            raise FaceganError(
                f"{where}: unknown network family {shown(family)}, perhaps of a newer facegan.",
                f"Known: {', '.join(NETWORKS)}.",
            )
        training = dict(_mapping(data.get("training"), f"{where}: training"))
        if training.get("epochs", 0) is training.get("images", 0) is None:
            raise FaceganError(f"{where}: training must have epochs or images, and both are null.")
        for net in ("generator", "critic"):
            training[net] = _build(Adam, training.get(net), f"{where}: training.{net}")
        return _build(
            cls,
            {
                **data,
                "networks": _build(NETWORKS[family], networks, f"{where}: networks"),
                "training": _build(Training, training, f"{where}: training"),
                "output": _build(Output, data.get("output"), f"{where}: output"),
            },
            where,
        )

    @classmethod
    def from_json(cls, text: object, where: str = "configuration") -> Config:
        """The inverse of `to_json`, as strict as `from_dict`."""
        return cls.from_dict(parse_json(text, where), where)

    def at(self, path: str) -> Any:
        """The field that a dotted path such as `training.critic.lr` names; None if these networks lack it."""
        node: Any = self
        for name in path.split("."):
            node = getattr(node, name, None)
        return node

    def override(self, values: Mapping[str, Any]) -> Config:
        """A copy with some fields replaced, named by dotted paths such as `training.critic.lr`.

        Raises:
            UsageError: a value out of range, or a field that this preset's networks do not have.
        """
        config: Any = self
        try:
            for path, value in values.items():
                config = _replace(config, path.split("."), value, path, self.preset)
        except FaceganError as error:
            raise UsageError(error.message, error.hint) from None
        return cast(Config, config)


def _replace(node: Any, path: list[str], value: Any, whole: str, preset: str) -> Any:
    name = path[0]
    if name not in {f.name for f in fields(node)}:
        raise FaceganError(f"{whole} does not apply to preset {preset!r}.", "`facegan train --help` lists the presets.")
    if len(path) == 1 and dataclasses.is_dataclass(getattr(node, name)):
        names = ", ".join(f"{whole}.{f.name}" for f in fields(getattr(node, name)))
        raise FaceganError(f"{whole} is a part of the configuration, not a field of it.", f"Its fields: {names}")
    new = value if len(path) == 1 else _replace(getattr(node, name), path[1:], value, whole, preset)
    return replace(node, **{name: new})


def _mapping(data: object, where: str) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise FaceganError(f"{where} is missing or not a JSON object.")
    return data


def _build(cls: type[T], data: object, where: str) -> T:
    values = dict(_mapping(data, where))
    names, needed = {f.name for f in fields(cls)}, {f.name for f in fields(cls) if f.default is dataclasses.MISSING}
    if unknown := sorted(set(values) - names):
        raise FaceganError(
            f"{where} has an unknown entry {shown(unknown[0])}, perhaps of a newer facegan.",
            "Upgrade: pip install --upgrade facegan",
        )
    if missing := sorted(needed - set(values)):
        raise FaceganError(f"{where} lacks the entry {missing[0]!r}.")
    for name, value in values.items():
        if isinstance(value, list):
            values[name] = tuple(value)
    try:
        return cls(**values)
    except FaceganError as error:
        raise FaceganError(f"{where}: {error.message}", error.hint) from None
