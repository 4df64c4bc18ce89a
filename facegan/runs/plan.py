"""Plan what the user asked for: a new run, or an old one that goes on. What is not possible is refused here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from facegan.config import Config
from facegan.core.device import choose_device, computes_bf16, keep_memory, use_tf32
from facegan.core.errors import FaceganError, UsageError, is_there
from facegan.core.world import ALONE, World
from facegan.data.dataset import Dataset
from facegan.data.folder import cut_off
from facegan.evaluation.comparison import trained_on
from facegan.models import pretrained
from facegan.models.checkpoint import Checkpoint, LoadedGenerator
from facegan.models.validate import blueprint
from facegan.presets import DEFAULT, ORIGINS, PRESETS, TRANSFER
from facegan.runs.find import open_checkpoint, open_generator
from facegan.runs.folder import RunDir, start_again
from facegan.runs.loop import total_images
from facegan.runs.memory import Trial, fit_batch
from facegan.runs.provenance import broken_promises, read_provenance
from facegan.training.trainer import Trainer, frozen

RESUMABLE = ("training.epochs", "training.images", "training.on_nan", "output.")
"""Fields that may change when a run goes on; a change of any other would make it a different run."""

FEW_IMAGES = 1000
SOON_KNOWN = 5000
"""Images fewer than which a critic knows by heart before the default's epochs are over: augmentation is `auto`."""
LEAST_TRANSFER = {"training.epochs": 30_000}
LEAST: dict[str, int] = {"training.epochs": 100_000, "output.sample_every": 2_000, "output.checkpoint_every": 2_000}
"""Defaults in epochs, and the images seen that each must come to at least. Epochs of few photos are over at once, and
100 epochs of 40 photos end before there is a face. A run that learns from the weights of other photos (TRANSFER) needs
fewer. Values that the user gives are taken as they are."""


@dataclass(frozen=True)
class Plan:
    """A run that has not started: everything that is known before the first step.

    Attributes:
        run: the directory of a run that goes on; None for a new one.
        checkpoint: where it goes on from; None to start at the beginning.
        start: generator to start a new run from (`--from`).
        notes: sentences for the user: what was chosen, and which promises do not hold.
        world: the processes that train it together.
    """

    config: Config
    dataset: Dataset
    device: torch.device
    run: RunDir | None = None
    checkpoint: Checkpoint | None = None
    start: LoadedGenerator | None = None
    notes: tuple[str, ...] = ()
    world: World = ALONE

    @property
    def trial(self) -> Trial:
        """What `memory` tries with smaller batches if memory runs out."""
        return Trial(self.config, self.device, len(self.dataset))

    def trainer(self) -> Trainer:
        """The trainer in its starting state: new, or with the weights of `checkpoint` or `start` loaded.

        Raises:
            FaceganError: the checkpoint's tensors do not fit its configuration.
        """
        keep_memory()
        use_tf32(self.config.training.precision != "fp32")
        trainer = Trainer(self.config, self.device, self.world)
        if self.checkpoint:
            try:
                trainer.load_state(self.checkpoint.state)
            except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise FaceganError(f"{self.checkpoint.path} does not fit its own configuration: {error}") from None
        elif self.start:
            weights = self.start.module.state_dict()
            trainer.generator.load_state_dict(weights)
            if trainer.average:
                trainer.average.module.load_state_dict(weights)
            if self.start.critic is not None:
                trainer.critic.load_state_dict(self.start.critic)
        trainer.check_same_weights()
        return trainer


def plan_new(
    dataset_path: Path,
    preset: Config | str | None,
    overrides: Mapping[str, Any],
    device: str,
    start: Path | None = None,
    world: World = ALONE,
    auto_batch: Callable[[str], None] | None = None,
) -> Plan:
    """Plan a new run on a dataset.

    Args:
        preset: a name in PRESETS, or a whole configuration, which is taken as it is. None takes the default, or with
            `start` the configuration that is stored with those weights.
        overrides: dotted configuration paths and their values.
        start: a generator or checkpoint whose weights the run starts from.
        auto_batch: if given, the batch is made smaller until it fits the memory, and this function is called with a
            sentence before each trial.

    Raises:
        UsageError: an unknown preset, or a value out of range.
        FaceganError: a dataset of the wrong size, weights that do not fit.
    """
    source = open_generator(start) if start else None
    if isinstance(preset, str) and preset not in PRESETS:
        raise UsageError(f"There is no preset {preset!r}.", f"Presets: {', '.join(PRESETS)}.")
    base = preset if isinstance(preset, Config) else PRESETS[preset or DEFAULT]
    if source and preset is None:
        anew = dict.fromkeys(LEAST) | {"training.precision": None, "seed": None}
        base = source.config.override({"training.images": None, **{path: base.at(path) for path in anew}})
    dataset = Dataset(dataset_path, base.override(overrides).seed)
    transfer = _transfer(source, dataset) if source and preset is None else {}
    asked = base.override({**transfer, **overrides})
    least = {**LEAST, **LEAST_TRANSFER} if transfer else LEAST
    more = {} if isinstance(preset, Config) else _for_few(asked, overrides, len(dataset), least)
    config = _fit(asked.override(more), dataset)
    if not isinstance(preset, Config) and "training.critic_warm_up" not in overrides:
        config = _with_warm_up(config, source)
    if source and source.config.networks != config.networks:
        raise FaceganError(
            f"--from {start}: its networks are not those of this run: {_difference(source.config, config)}.",
            "Leave out --preset and network options, and use a dataset of the same size.",
        )
    notes = []
    if source:
        notes.append(f"starting from the generator in {source.source}")
        if source.critic is None:
            notes.append("that file has no critic, so a new one is trained: faces may get worse before they get better")
        if changed := [f"{path} {value}" for path, value in transfer.items() if path not in overrides]:
            notes.append(f"it was trained on other photos, so this run learns from it with {', '.join(changed)}")
    elif isinstance(preset, Config):
        notes.append(f"configuration: as given, made from preset {base.preset!r}")
    elif preset is None:
        notes.append(f"preset: {config.preset} ({ORIGINS[config.preset].summary})")
    if config.preset in ORIGINS and (blobs := ORIGINS[config.preset].no_faces_before) and not source:
        notes.append(
            f"sample grids of this preset show grey and blobs, no faces, for the first {blobs:,} images or more"
        )
    notes.append(f"dataset: {dataset_path} ({len(dataset):,} images of {dataset.info.size} px)")
    if len(dataset) < FEW_IMAGES:
        better = "" if source or dataset.info.size != pretrained.SIZE else ", or begin with --from pretrained"
        few = f"{len(dataset):,} images are few: faces will be rough and resemble them"
        notes.append(f"{few}; use a thousand or more{better}")
    if "training.augment" in more:
        notes.append("with so few images the critic may learn them by heart, so --augment is auto")
    if epochs := more.get("training.epochs"):
        usual = f"{asked.training.epochs:g} epochs of {len(dataset):,} images are too few for faces"
        notes.append(f"{usual}: this run takes {epochs:,} ({total_images(config):,} images); --images shortens it")
    where = world.take_device(choose_device(device))
    config = _with_precision(config, where, world)
    notes += _emulated(config, where)
    plan = Plan(config, dataset, where, start=source, notes=tuple(notes), world=world)
    if auto_batch is None:
        return _checked(plan)
    shared = config.override({"training.batch_size": max(config.training.batch_size // world.size, 1) * world.size})
    config, note = fit_batch(_checked(replace(plan, config=shared), "auto").trial, world, auto_batch)
    return replace(plan, config=config, notes=(*notes, note))


def plan_resume(
    run: RunDir,
    overrides: Mapping[str, Any],
    device: str | None,
    dataset_path: Path | None = None,
    world: World = ALONE,
) -> Plan:
    """Plan how a run goes on: from its newest checkpoint, or from the beginning if it has none yet.

    Args:
        dataset_path: where the run's dataset is now, if it has moved.

    Raises:
        FaceganError: an override would change what is computed, or the dataset is not the run's.
    """
    config = run.read_config()
    fixed = {path: value for path, value in overrides.items() if not path.startswith(RESUMABLE)}
    for path, value in fixed.items():
        old = config.at(path)
        if old == value or (path, value) == ("training.precision", "auto"):  # the run has resolved it
            continue
        raise FaceganError(
            f"{path} cannot change in a run that goes on: it is {old}, not {value}.",
            "Only the length, the device, --on-nan and what is written can; for the rest, start a new run with --from.",
        )
    found = run.checkpoints()
    if not found and run.generator.exists():
        raise FaceganError(
            f"{run.path} had checkpoints, and they are gone: it cannot go on where it was.",
            start_again(run),
        )
    checkpoint = open_checkpoint(found[-1][1]) if found else None
    if checkpoint and _computed(checkpoint.config) != _computed(config):
        raise FaceganError(
            f"{run.config} is not the configuration that {checkpoint.path} was trained with.",
            "Undo the changes to it; a run cannot change what it computes.",
        )
    was_long = config.training.images
    config = config.override({path: value for path, value in overrides.items() if path not in fixed})
    provenance = read_provenance(run)
    start = None if checkpoint else _start_of(run, config, provenance)
    facts = provenance.get("dataset", {})
    found_at = dataset_path or Path(str(facts.get("path")))
    if not is_there(found_at):
        if dataset_path:
            raise FaceganError(f"There is nothing at {dataset_path}.", cut_off(dataset_path) or "Check the path.")
        hint = cut_off(found_at) or "If it has moved, name it with --data."
        raise FaceganError(f"{found_at}, the dataset of {run.path}, is gone.", hint)
    dataset = Dataset(found_at, config.seed)
    if dataset.info.pixels_sha256 != facts.get("sha256"):
        raise FaceganError(
            f"{dataset.info.path} is not the dataset that {run.path} was trained on.",
            "A run can only go on with the same images; for others start a new run with --from.",
        )
    config = _fit(config, dataset)
    before = [provenance, *provenance.get("resumed", [])][-1]
    where = world.take_device(choose_device(device or str(before.get("device", "auto"))))
    config = _with_precision(config, where, world)
    seen = checkpoint.images_seen if checkpoint else 0
    notes = [f"going on with {run.path} at {seen:,} images"]
    notes += [*broken_promises(before, config, where, world), *_emulated(config, where)]
    if config.training.decay and config.training.images != was_long:
        notes.append("the run's length has changed, and so has the point where its learning rates begin to fall")
    total = total_images(config)
    if seen == total and not _has_last_pictures(run):
        notes.append("it has seen all of its images, but its last pictures are missing or too old: they are made again")
    elif seen >= total:
        much = (
            f"all of its {total:,} images" if seen == total else f"{seen:,} images, more than the {total:,} asked for"
        )
        what = "is complete" if seen >= (was_long or 0) else "is past that"
        raise FaceganError(f"{run.path} {what}: it has seen {much}.", "Ask for more with --epochs or --images.")
    return _checked(Plan(config, dataset, where, run, checkpoint, start, tuple(notes), world))


def _has_last_pictures(run: RunDir) -> bool:
    """Whether the pictures that are drawn at the end of a run are newer than its newest checkpoint."""
    finished = run.newest_checkpoint().stat().st_mtime
    return all(last.exists() and last.stat().st_mtime >= finished for last in (run.curves, run.progress))


def _start_of(run: RunDir, config: Config, provenance: Mapping[str, Any]) -> LoadedGenerator | None:
    """The generator that a run without a checkpoint was started from with `--from`; None if there was none.

    Raises:
        FaceganError: its file is gone or has changed.
    """
    if (origin := provenance.get("from")) is None:
        return None
    path = Path(str(origin))
    start = open_generator(path) if is_there(path) else None
    if start and (start.images_seen, start.config.networks) == (provenance.get("from_images_seen"), config.networks):
        return start
    raise FaceganError(
        f"{run.path} was started from {path} and has no checkpoint of its own, but that file is gone or has changed.",
        "Start a new run.",
    )


def _checked(plan: Plan, batch: str = "") -> Plan:
    """The plan itself, checked: all processes can share its batches and have the same configuration and files."""
    frozen(blueprint(plan.config, "Critic"), plan.config.training.freeze)
    plan.world.check_batch(plan.config.training.batch_size)
    facts = {
        "configuration": plan.config.to_json() + batch,
        "dataset": plan.dataset.info.pixels_sha256,
        "checkpoint to go on from": str(plan.checkpoint.images_seen if plan.checkpoint else 0),
    }
    plan.world.check_same({name: text.encode() for name, text in facts.items()})
    return plan


def _fit(config: Config, dataset: Dataset) -> Config:
    """The configuration with its size and length resolved for the dataset."""
    size = dataset.info.size
    networks = config.networks
    if networks.size != size:
        if not networks.any_size:
            crop = ORIGINS[config.preset].crop if config.preset in ORIGINS else "square"  # a file may name any preset
            raise FaceganError(
                f"Preset {config.preset!r} is for {networks.size} px, and {dataset.info.path} has {size} px.",
                f"Make a dataset of that size: facegan preprocess SOURCE --size {networks.size} --crop {crop}",
            )
        networks = replace(networks, size=size)
    training = config.training
    if training.images is None:
        assert training.epochs is not None
        training = replace(training, images=max(1, math.ceil(training.epochs * len(dataset))))
    return replace(config, networks=networks, training=training)


def _transfer(source: LoadedGenerator, dataset: Dataset) -> dict[str, Any]:
    """TRANSFER, if both networks come from a run on other photos, and are of the default preset's family."""
    family = source.config.networks.family == PRESETS[DEFAULT].networks.family
    return TRANSFER if source.critic is not None and family and not trained_on(source, dataset.info) else {}


def _for_few(config: Config, overrides: Mapping[str, Any], count: int, least: Mapping[str, int]) -> dict[str, Any]:
    """New values for defaults that do not suit few photos: epochs that come to fewer images than `least`, and no
    augmentation under the default's objective."""
    training, more = config.training, dict[str, Any]()
    if count < FEW_IMAGES:
        defaults = {path: config.at(path) for path in least if path not in overrides}
        more = {path: math.ceil(least[path] / count) for path, n in defaults.items() if n and n * count < least[path]}
    plain = training.augment == 0 and "training.augment" not in overrides
    if count < SOON_KNOWN and training.objective == "r3gan" and plain:
        more["training.augment"] = "auto"
    return more


def _with_warm_up(config: Config, source: LoadedGenerator | None) -> Config:
    """The configuration, without the critic's warm-up if the critic has learnt already, or if learning rates would fall
    before the warm-up ends (docs/quality.md has what it costs in short runs)."""
    training, learnt = config.training, source is not None and source.critic is not None
    assert training.images is not None
    ends_in_time = training.critic_warm_up <= (1 - training.decay) * training.images
    return config if ends_in_time and not learnt else config.override({"training.critic_warm_up": 0})


def _with_precision(config: Config, device: torch.device, world: World) -> Config:
    """The configuration with its precision resolved: `auto` is bf16 if the devices of all processes compute in it.

    The choice is written to config.json, so that a run which goes on elsewhere keeps its arithmetic.
    """
    if config.training.precision != "auto":
        return config
    wider = world.agree(int(not computes_bf16(device)))
    return config.override({"training.precision": "fp32" if wider else "bf16"})


def _emulated(config: Config, device: torch.device) -> list[str]:
    """A sentence if the device only emulates the run's precision, else none."""
    if config.training.precision == "fp32" or computes_bf16(device):
        return []
    return [f"the run's precision is bf16, which {device} only emulates: the results are right, but steps are slow"]


def _computed(config: Config) -> dict[str, Any]:
    """The part of a configuration that may not change in a run."""
    facts = config.to_dict()
    training = {key: value for key, value in facts["training"].items() if f"training.{key}" not in RESUMABLE}
    return {**facts, "training": training, "output": None}


def _difference(theirs: Config, ours: Config) -> str:
    """What differs between two networks, in words; if their families differ, only that."""
    one, other = theirs.to_dict()["networks"], ours.to_dict()["networks"]
    keys = ["family"] if one["family"] != other["family"] else [key for key in one if one[key] != other[key]]
    return ", ".join(f"{key} {one[key]}, not {other[key]}" for key in keys)
