"""facegan train: parses, shows progress, and lets `plan`, `open_run` and `loop` work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from facegan.cli import console, options
from facegan.cli.options import Text
from facegan.cli.signals import end_as_the_system_does, signals
from facegan.core.errors import UsageError
from facegan.core.world import World, joined
from facegan.presets import DEFAULT, PRESETS
from facegan.runs.flags import AUTO, FIELDS, check_flags
from facegan.runs.folder import check_name, read_config

if TYPE_CHECKING:
    from facegan.config import Config
    from facegan.runs.events import Event
    from facegan.runs.plan import Plan

DEMO = "demo"

_RUN, _NETWORK, _OPTIMISER, _OUTPUT = "Which run", "Networks", "Training", "What is written"

Real = Optional[float]  # noqa: UP045
Switch = Optional[bool]  # noqa: UP045


def _flag(panel: str, text: str, *names: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, show_default=False, metavar=metavar)


def train(
    data: Annotated[
        Text, _flag(_RUN, f"Dataset directory, or '{DEMO}'. Default: the only one under data/.", metavar="PATH")
    ] = None,
    preset: Annotated[Text, _flag(_RUN, f"One of {', '.join(PRESETS)}. Default: {DEFAULT}.", metavar="NAME")] = None,
    name: Annotated[Text, _flag(_RUN, "Name of the run's folder after its number.")] = None,
    seed: Annotated[options.Whole, _flag(_RUN, "Seed of everything that is random.")] = None,
    start: Annotated[
        Text,
        _flag(
            _RUN,
            "Start from the weights of a checkpoint, a generator, 'pretrained' or hf://user/name.",
            "--from",
            metavar="CKPT",
        ),
    ] = None,
    verify: Annotated[
        bool, _flag(_RUN, "First read all pixels of the dataset and compare them with their SHA-256.", "--verify")
    ] = False,
    resume: Annotated[bool, _flag(_RUN, "Go on with the newest run.", "--resume")] = False,
    run: Annotated[Optional[Path], _flag(_RUN, "Go on with this run.", metavar="PATH")] = None,  # noqa: UP045
    config: Annotated[
        Optional[Path],  # noqa: UP045
        _flag(_RUN, "A whole configuration instead of a preset: a run's config.json, edited.", metavar="FILE"),
    ] = None,
    settings: Annotated[
        Optional[list[str]],  # noqa: UP045
        _flag(
            _RUN,
            "Any other field of the configuration, as --dry-run shows it: training.critic.beta1=0.5. May be repeated.",
            "--set",
            metavar="FIELD=VALUE",
        ),
    ] = None,
    dry_run: Annotated[
        bool, _flag(_RUN, "Print the resolved configuration and the time, memory and disk it needs.", "--dry-run")
    ] = False,
    epochs: Annotated[Real, _flag(_OPTIMISER, "How long: times that the critic sees every image.")] = None,
    images: Annotated[Text, _flag(_OPTIMISER, "How long: images seen, such as 200k or 1.5M.", metavar="COUNT")] = None,
    batch_size: Annotated[
        Text,
        _flag(
            _OPTIMISER,
            "Images per step, of all processes together; auto: the preset's, or what fits the memory.",
            metavar="COUNT",
        ),
    ] = None,
    n_critic: Annotated[options.Whole, _flag(_OPTIMISER, "Critic updates per generator update.")] = None,
    device: Annotated[Text, _flag(_OPTIMISER, "auto, cpu, cuda, cuda:1 or mps.", "--device", metavar="DEVICE")] = None,
    precision: Annotated[Text, _flag(_OPTIMISER, "auto, fp32 or bf16.")] = None,
    on_nan: Annotated[
        Text, _flag(_OPTIMISER, "When numbers are no longer finite: stop, or rollback to the last checkpoint.")
    ] = None,
    flip: Annotated[Switch, _flag(_OPTIMISER, "Mirror half of the images.", "--flip/--no-flip")] = None,
    augment: Annotated[
        Text,
        _flag(
            _OPTIMISER,
            "For few photos: probability of each random change to the critic's images, such as 0.3; "
            "auto: as much as the critic's overfitting needs.",
            metavar="P",
        ),
    ] = None,
    freeze: Annotated[
        options.Whole, _flag(_OPTIMISER, "With --from: so many of the critic's first layers keep their weights.")
    ] = None,
    generator_lr: Annotated[Real, _flag(_OPTIMISER, "Generator's learning rate.")] = None,
    critic_lr: Annotated[Real, _flag(_OPTIMISER, "Critic's learning rate.")] = None,
    penalty_weight: Annotated[Real, _flag(_OPTIMISER, "Weight of the gradient penalty (lambda, or gamma).")] = None,
    ema_half_life: Annotated[
        options.Whole, _flag(_OPTIMISER, "Half-life of the averaged weights in images; 0 for none.")
    ] = None,
    decay: Annotated[
        Real, _flag(_OPTIMISER, "Share of the run, at its end, over which learning rates fall to zero.")
    ] = None,
    latent_dim: Annotated[options.Whole, _flag(_NETWORK, "Numbers in a latent.")] = None,
    width: Annotated[
        options.Whole, _flag(_NETWORK, "Generator's channels at half the full size; they double per octave.")
    ] = None,
    critic_width: Annotated[
        options.Whole, _flag(_NETWORK, "Critic's channels at half the full size; they double per octave.")
    ] = None,
    self_modulation: Annotated[
        Switch,
        _flag(
            _NETWORK,
            "Let the latent scale and shift the channels of every octave.",
            "--self-modulation/--no-self-modulation",
        ),
    ] = None,
    depth: Annotated[
        options.Whole, _flag(_NETWORK, "Residual convolutions after each of the generator's octaves but the last.")
    ] = None,
    critic_depth: Annotated[
        options.Whole, _flag(_NETWORK, "Residual convolutions after each of the critic's octaves.")
    ] = None,
    sample_every: Annotated[Real, _flag(_OUTPUT, "Epochs between sample grids.")] = None,
    checkpoint_every: Annotated[Real, _flag(_OUTPUT, "Epochs between checkpoints.")] = None,
    evaluate_every: Annotated[
        Real, _flag(_OUTPUT, "Epochs between evaluations; the best checkpoint is kept as best.pt. 0 for none.")
    ] = None,
    keep: Annotated[options.Whole, _flag(_OUTPUT, "Newest checkpoints to keep, beside every 10th.")] = None,
    tensorboard: Annotated[
        Switch, _flag(_OUTPUT, "Also write TensorBoard logs.", "--tensorboard/--no-tensorboard")
    ] = None,
) -> None:
    """Train a face generator on a dataset, or go on with a run."""
    given = {flag: value for flag, value in locals().items() if flag in FIELDS and value is not None}
    if config and (preset or start or resume or run):
        raise UsageError("--config is a whole configuration.", "Leave out --preset, --from, --resume and --run.")
    base = read_config(config) if config else None
    overrides = check_flags(given, settings or [], base or PRESETS.get(preset or DEFAULT, PRESETS[DEFAULT]))
    if name is not None:
        check_name(name)
    with joined(console.note) as world:
        console.speak_for(world)
        end_as_the_system_does(world)
        plan = _plan(data, base or preset, start, resume, run, name, overrides, device, world, batch_size == AUTO)
        for text in plan.notes:
            console.note(text)
        from facegan.runs.train import check_extras

        check_extras(plan)
        if verify and world.first:  # the others notice at their next exchange
            options.verify(plan.dataset.info)
            console.note("verified: the dataset's pixels are those that were written")
        if dry_run:
            from facegan.runs.estimate import estimate

            console.say(plan.config.to_json())
            console.say(estimate(plan).in_words())
        else:
            _train(plan, name)


def _plan(
    data: str | None,
    preset: Config | str | None,
    start: str | None,
    resume: bool,
    run: Path | None,
    name: str | None,
    overrides: dict[str, Any],
    device: str | None,
    world: World,
    auto_batch: bool,
) -> Plan:
    from facegan.runs.folder import RunDir, newest_run
    from facegan.runs.lock import check_free

    if resume or run:
        given = {"--preset": preset, "--from": start, "--name": name, f"--batch-size {AUTO}": auto_batch or None}
        if clash := [flag for flag, value in given.items() if value is not None]:
            raise UsageError(f"{clash[0]} belongs to a new run, not to one that goes on.", "Leave it out.")
        directory = RunDir(run) if run else newest_run()
        directory.read_config()  # says what is wrong with the path before torch is imported
        check_free(directory, world)
        from facegan.runs.plan import plan_resume

        return plan_resume(directory, overrides, device, Path(data) if data else None, world)

    from facegan.runs.find import find_generator

    origin = find_generator(Path(start))[0] if start else None
    if data == DEMO:
        from facegan.faces.demo import PATH as DEMO_PATH
        from facegan.faces.demo import make_demo

        if world.first:
            if not DEMO_PATH.exists():
                console.note(f"drawing the demo dataset into {DEMO_PATH}")
            with console.Progress("faces", "drawing") as bar:
                make_demo(progress=bar.show)
        world.barrier()
        path = DEMO_PATH
    elif data is not None:
        path = Path(data)
    else:
        from facegan.data.folder import find_dataset

        path = find_dataset().path
    from facegan.runs.plan import plan_new

    return plan_new(path, preset, overrides, device or "auto", origin, world, console.note if auto_batch else None)


def _train(plan: Plan, name: str | None) -> None:
    from facegan.runs.provenance import this_command
    from facegan.runs.train import train as work

    with _Display(plan) as display:
        run = work(plan, name, command=this_command(), on_event=display.show, stopping=signals(plan.world))
    written = display.written
    last_grid = [path for path in written if path.parent.name == "samples"][-1:]
    last_checkpoint = [path for path in written if path.suffix == ".pt" and path != run.best][-1:]
    best = [path for path in written if path == run.best]
    last = [path for path in (run.curves, run.progress, run.generator) if path in written]
    console.wrote([*last_grid, *last_checkpoint, *best, *last])


class _Display:
    """Shows the losses, the speed and the time left, from the run's events.

    Attributes:
        written: the files that were written, each once, in order.
    """

    def __init__(self, plan: Plan) -> None:
        from facegan.runs.loop import total_images

        self._total = total_images(plan.config)
        self._start = plan.checkpoint.images_seen if plan.checkpoint else 0
        self._bar = console.Progress("images", "training")
        self.written: dict[Path, None] = {}

    def __enter__(self) -> _Display:
        self._bar.__enter__()
        self._bar.show(self._start, self._total)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__()

    def show(self, event: Event) -> None:
        from facegan.runs.events import Began, Logged, Noted, Stepped, Wrote

        if isinstance(event, Stepped):
            self._bar.show(event.images_seen)
        elif isinstance(event, Began):
            console.say(f"run: {event.run}")
        elif isinstance(event, Wrote):
            self.written[event.path] = None
        elif isinstance(event, Noted):
            console.note(event.text)
        elif isinstance(event, Logged):
            row = event.row
            loss = row.get("generator_loss")
            losses = (
                f"score gap {row['wasserstein']:+.2f}   critic {row['critic_loss']:+.2f}   "
                + (f"generator {loss:+.2f}   " if loss is not None else "")
                + f"slope {row['slope']:.2f}"
                + (f"   augment {row['augment']:.2f}" if "augment" in row else "")
            )
            self._bar.show(row["images_seen"], what=f"epoch {row['epoch']:.2f}", detail=losses)
