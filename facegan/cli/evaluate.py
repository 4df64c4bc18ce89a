"""facegan evaluate: parses, shows progress, and prints what `evaluate` and `neighbours` found."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facegan.cli import console, options
from facegan.core.errors import UsageError

if TYPE_CHECKING:
    from facegan.evaluation.neighbours import Neighbours
    from facegan.evaluation.scores import Report


def evaluate(
    ctx: typer.Context,
    source: options.Source = None,
    data: Annotated[
        options.OptionalPath,
        typer.Option(
            metavar="PATH",
            help="The photos: a dataset directory. Default: the one that the generator was trained on, else the only "
            "one under data/.",
            show_default=False,
        ),
    ] = None,
    count: Annotated[
        options.Whole,
        typer.Option(
            min=1,
            max=100_000,
            help="Samples. Default: as many as there are photos, at most 10,000; 10 with --neighbours.",
            show_default=False,
        ),
    ] = None,
    photos: Annotated[
        options.Whole,
        typer.Option(
            min=1,
            help="Photos to compare with. Default: as many as samples; all with --neighbours.",
            show_default=False,
        ),
    ] = None,
    features: Annotated[
        options.Text,
        typer.Option(
            metavar="NAME",
            help="Extractor in torch-fidelity's registry, or facegan-attributes, the classifier in the package. "
            "Default: inception-v3-compat, as in published FIDs, whose weights are downloaded; with --neighbours "
            "efficientnet-lite0, which needs no download.",
            show_default=False,
        ),
    ] = None,
    seed: options.Seed = 0,
    truncation: options.Truncation = 1.0,
    neighbours: Annotated[
        bool, typer.Option("--neighbours", help="Draw the photos nearest to some samples instead.", show_default=False)
    ] = False,
    device: options.Device = "auto",
    out: options.Out = None,
    overwrite: options.Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.", show_default=False)] = False,
) -> None:
    """Measure how near generated faces are to photos, or with --neighbours whether they are new.

    FID (Fréchet distance), KID, precision and recall by torch-fidelity: pip install "facegan\\[metrics]".
    """
    from facegan.cli.outputs import Output
    from facegan.data.folder import find_dataset
    from facegan.pictures.sheets import WRITABLE, save_picture

    if not neighbours:
        why = "is for the picture of --neighbours, and there is none without it"
        options.refuse(ctx, "out", "overwrite", without=why, hint="Leave it out, or add --neighbours.")
    if neighbours:
        from facegan.evaluation.neighbours import MOST_SAMPLES

        if count is not None and count > MOST_SAMPLES:
            raise UsageError(
                f"--neighbours shows at most {MOST_SAMPLES} samples, not {count:,}.", "Give a smaller --count."
            )
    file = Output(out, "neighbours", WRITABLE, overwrite) if neighbours else None
    from facegan.evaluation.extractors import OFFLINE, STANDARD, check_installed

    check_installed()
    from facegan.core.device import choose_device, keep_memory
    from facegan.data.dataset import Dataset
    from facegan.editing.features import open_features
    from facegan.evaluation.comparison import Comparison, check_match, own_photos
    from facegan.evaluation.neighbours import find_neighbours
    from facegan.evaluation.scores import evaluate as measure

    loaded = options.open_generator(source, device)
    dataset = Dataset(data or own_photos(loaded) or find_dataset().path, seed=0)
    check_match(loaded, dataset)
    console.note(f"photos: {dataset.info.path} ({len(dataset):,} of {dataset.info.size} px)")
    extractor = open_features(features or (OFFLINE if neighbours else STANDARD), choose_device(device))
    keep_memory()
    with console.Progress("pictures", "photos") as bar:
        comparison = Comparison(
            loaded,
            dataset,
            extractor,
            seed=seed,
            truncation=truncation,
            on_progress=lambda what, done, total: bar.show(done, total, what),
            note=console.note,
        )
        if file is None:
            report = measure(comparison, count=count, photos=photos)
        else:
            found = find_neighbours(comparison, count=count, photos=photos, out=file.path)
    if file is None:
        _print(report, as_json)
        return
    path = file.write(partial(save_picture, found.picture()))
    _print_neighbours(found, path, as_json)


def _print(report: Report, as_json: bool) -> None:
    from facegan.evaluation.scores import name_of_distance

    if as_json:
        console.data(json.dumps(report.to_dict(), indent=2))
        return
    found = report.scores
    spread = "" if found.kid_std is None else f" ± {1000 * found.kid_std:.2f} over 100 draws"
    console.table(
        f"evaluation of {report.facts['generator']}",
        [
            (name_of_distance(report.facts["extractor"]), f"{found.fd:.2f}"),
            ("KID x1000", f"{1000 * found.kid:.2f}{spread}"),
            ("precision", f"{found.precision:.3f}"),
            ("recall", f"{found.recall:.3f}"),
            *([] if report.overfitting is None else [("overfitting", f"{report.overfitting:.2f} of the critic's gap")]),
            *_conditions(report.facts, report.samples, report.photos),
        ],
    )


def _conditions(facts: dict[str, Any], samples: int, photos: int) -> list[tuple[str, str]]:
    """What the figures depend on: two figures can be compared only if all of it is the same."""
    origin = "those it was trained on" if facts["trained_on"] else "not known to be those it was trained on"
    return [
        ("samples", f"{samples:,} of seed {facts['seed']}, truncation {facts['truncation']:g}"),
        ("weights", f"{facts['weights']}, {facts['images_seen']:,} images seen"),
        ("photos", f"{photos:,} of {facts['dataset']}, {origin}"),
        ("crop", ", ".join(f"{key} {value}" for key, value in facts["crop"].items())),
        ("filter", facts["filter"]),
        ("image size", f"{facts['size']} px"),
        ("extractor", f"{facts['extractor']}, features {facts['layer']}"),
        ("library", facts["library"]),
    ]


def _print_neighbours(found: Neighbours, path: Path, as_json: bool) -> None:
    if as_json:
        console.data(json.dumps({**found.to_dict(), "picture": str(path)}, indent=2))
        return
    spaces = (found.pixels, found.features)
    rows = [(name, "", *(f"{space.distances[n, 0]:.1f}" for space in spaces)) for n, name in enumerate(found.names())]
    for name, place in (("5 %", 0), ("median", 1), ("95 %", 2)):
        rows.append(("photos", name, *(f"{space.quantiles()[place]:.1f}" for space in spaces)))
    console.columns("Distance to the nearest photo", ("", "", "in pixels", "in features"), rows)
    console.say(
        f"Nearer to a photo than 95 % of photos are to another one: {found.pixels.nearer} of {len(found.faces)} "
        f"samples in pixels, {found.features.nearer} in features."
    )
    console.table("", _conditions(found.facts, len(found.faces), found.looked_at))
    if not found.facts["trained_on"]:
        console.note("only the photos that the generator was trained on can show whether it has memorised faces")
    console.wrote([path])
