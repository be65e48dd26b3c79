"""The command line: ``ksfusion VERB``. Each verb reads its arguments and calls one function.

Nothing heavy is imported here: a verb imports what it needs when it is called.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path

import ksfusion
from ksfusion.errors import UserError

Arguments = argparse.Namespace


def _device(args: Arguments) -> str:
    """Return the device asked for; ``auto`` is a GPU that no other job holds, where there is one."""
    from ksfusion.devices import choose_device

    return choose_device(args.device)


def check(args: Arguments) -> None:
    """Validate the tables, derive labels, look for what is contradictory."""
    from ksfusion.cohort.audit import check_cohort

    check_cohort(args.samples, args.cases, args.audit, settings=args.settings)


def cohort(args: Arguments) -> None:
    """Build the tables of samples and cases from what was downloaded (docs/data.md)."""
    from ksfusion.cohort.glioma import write_glioma_cohort

    write_glioma_cohort(
        args.output,
        tcga=args.tcga,
        ivygap_folder=args.ivygap,
        known_cases=args.known,
        ivygap_mpp=args.ivygap_mpp,
        pairs=args.pairs,
    )


def split(args: Arguments) -> None:
    """Divide the cases into training, validation and test."""
    from ksfusion.cohort.splits import split_cases

    split_cases(args.samples, args.cases, args.output, **args.settings)


def gate(args: Arguments) -> None:
    """Fail where a case, specimen, slide or profile stands on two sides of a split."""
    from ksfusion.cohort.leakage import check_leakage

    check_leakage(args.samples, args.splits, args.profiles, args.tiles, args.output, **args.settings)


def tile(args: Arguments) -> None:
    """Find the tissue of a batch of slides and lay the grid."""
    from ksfusion.slides.tiling import tile_batch

    tile_batch(args.samples, args.output, batch=args.batch, masks=args.masks, **args.settings)


def stain(args: Arguments) -> None:
    """Fit the stain matrix of each slide of a batch."""
    from ksfusion.slides.stain import fit_batch

    fit_batch(args.samples, args.tiles, args.output, **args.settings)


def stain_target(args: Arguments) -> None:
    """Fit a new stain target from images."""
    from ksfusion.slides.stain import fit_target

    fit_target(args.images, args.output)


def sample(args: Arguments) -> None:
    """Choose the patches of each slide of a batch."""
    from ksfusion.slides.sampling import sample_batch

    sample_batch(args.tiles, args.output, **args.settings)


def overviews(args: Arguments) -> None:
    """Draw a picture of each slide of a batch."""
    from ksfusion.slides.overview import draw_batch

    draw_batch(args.samples, args.tiles, args.patches, args.output, masks=args.masks, **args.settings)


def features(args: Arguments) -> None:
    """Read, normalise and encode the patches of a batch."""
    from ksfusion.slides.features import extract_batch

    extract_batch(
        args.samples,
        args.tiles,
        args.stain,
        args.patches,
        args.output,
        device=_device(args),
        threads=args.threads,
        **args.settings,
    )


def import_tiles(args: Arguments) -> None:
    """Take the tiles of a batch from the files of another tool."""
    from ksfusion.slides.precomputed import import_tiles as take

    take(args.samples, args.output, batch=args.batch, **args.settings)


def import_features(args: Arguments) -> None:
    """Take the features of a batch's patches from the files of another tool."""
    from ksfusion.slides.precomputed import import_features as take

    take(args.tiles, args.patches, args.output, **args.settings)


def export(args: Arguments) -> None:
    """Write the features as TRIDENT or CLAM would have, one .h5 a slide."""
    from ksfusion.slides.export import export_features

    export_features(args.results, args.output, layout=args.format)


def store(args: Arguments) -> None:
    """Gather the features of all batches into one memory map."""
    from ksfusion.slides.store import build_store

    build_store(args.features, args.output, slides=args.slides, samples=args.samples, **args.settings)


def profiles(args: Arguments) -> None:
    """Read the expression of all cohorts, once."""
    from ksfusion.genes.expression import collect_profiles

    collect_profiles(args.settings["expression"], args.output, library_sizes=args.library_sizes)


def ledger(args: Arguments) -> None:
    """Say of every slide and sample what became of it."""
    from ksfusion.cohort.ledger import write_ledger

    write_ledger(
        args.slides_output,
        args.samples_output,
        args.timing_output,
        samples=args.samples,
        cases=args.cases,
        profiles=args.profiles,
        tiles=args.tiles,
        stain=args.stain,
        patches=args.patches,
        features=args.features,
        settings=args.settings,
    )


def genes(args: Arguments) -> None:
    """Choose the genes of each niche and scale them."""
    from ksfusion.genes.selection import prepare_genes

    prepare_genes(
        args.profiles,
        args.samples,
        args.splits,
        args.output,
        fold=args.fold,
        genes=args.settings,
        library_sizes=args.library_sizes,
    )


def search(args: Arguments) -> None:
    """Choose the training settings of one method for one task and fold, on the validation samples."""
    from ksfusion.training.search import search_settings

    search_settings(
        args.store,
        args.expression,
        args.selected,
        args.samples,
        args.cases,
        args.splits,
        chosen=args.chosen,
        trials=args.trials,
        task=args.settings["task"],
        method=args.method,
        fold=args.fold,
        seed=args.settings["seed"],
        settings=args.settings["training"],
        space=args.settings["space"],
        n_trials=args.settings["trials"],
        device=_device(args),
    )


def train(args: Arguments) -> None:
    """Train one method for one task and fold, with one seed or more."""
    from ksfusion.training.loop import train as train_model

    if len(args.seed) != len(args.output):
        raise UserError(f"--output: {len(args.output)} folders for {len(args.seed)} seeds; give each seed its own")

    train_model(
        args.store,
        args.expression,
        args.selected,
        args.samples,
        args.cases,
        args.splits,
        dict(zip(args.seed, args.output, strict=True)),
        task=args.settings["task"],
        method=args.method,
        fold=args.fold,
        settings=args.settings["training"],
        device=_device(args),
        chosen=args.chosen[0] if args.chosen else None,
        tensorboard=args.tensorboard,
    )


def tables(args: Arguments) -> None:
    """Make the result tables."""
    from ksfusion.resources import resource
    from ksfusion.results.tables import make_tables

    make_tables(args.runs, args.output, **args.settings, paper=resource("paper_tables.tsv"))


def figures(args: Arguments) -> None:
    """Draw the figures."""
    from ksfusion.results.figures import make_figures

    make_figures(args.runs, args.output, **args.settings)


def gene_figure(args: Arguments) -> None:
    """Draw the variance ranks of a fold's genes."""
    from ksfusion.results.plots_of_genes import make_gene_figure

    make_gene_figure(args.ranking, args.output, **args.settings)


def heatmaps(args: Arguments) -> None:
    """Draw where a trained model looks on the slides of test samples."""
    from ksfusion.results.heatmaps import make_heatmaps

    make_heatmaps(
        args.run,
        args.output,
        store=args.store,
        expression=args.expression,
        selected=args.selected,
        samples_ledger=args.samples,
        cases=args.cases,
        splits=args.splits,
        features=args.features,
        manifest=args.manifest,
        **args.settings,
    )


def report(args: Arguments) -> None:
    """Write the report, one self-contained page."""
    from ksfusion.results.report import make_report

    make_report(
        args.output,
        tables=args.tables,
        figures=args.figures,
        slides_ledger=args.slides,
        samples_ledger=args.samples,
        audit=args.audit,
        leakage=args.leakage,
        selected_genes=args.selected,
        overviews=args.overviews,
        heatmaps=args.heatmaps,
        **args.settings,
    )


def demo_tables(args: Arguments) -> None:
    """Write the demo's tables of samples and cases."""
    from ksfusion.demo.cohort import write_tables

    write_tables(args.output)


def demo_slides(args: Arguments) -> None:
    """Draw slides of the demo."""
    from ksfusion.demo.draw import draw_demo_slides

    draw_demo_slides(args.settings["slides"], args.output, args.truth, threads=args.threads)


def demo_expression(args: Arguments) -> None:
    """Draw expression profiles of the demo."""
    from ksfusion.demo.profiles import draw_demo_expression

    draw_demo_expression(args.settings["profiles"], args.output, args.truth)


FILE = {"type": Path, "required": True, "metavar": "FILE"}
FILES = {"type": Path, "required": True, "metavar": "FILE", "nargs": "+"}
ANY_FILES = {"type": Path, "default": [], "metavar": "FILE", "nargs": "*"}
NUMBER = {"type": int, "required": True, "metavar": "N"}
FOLDER = {"type": Path, "metavar": "FOLDER"}
SETTINGS = {"type": json.loads, "required": True, "metavar": "JSON"}
DEVICE = {"choices": ["auto", "cpu", "cuda"], "default": "auto"}
TEXT = {"required": True}
LIBRARY_SIZES = {"type": Path, "metavar": "FILE", "help": "reads of each profile whose unit is counts"}
COMPUTING = {"device": DEVICE, "settings": SETTINGS}
# What training reads of the stages before.
FOLD_FILES = dict.fromkeys(("store", "expression", "selected", "samples", "cases", "splits"), FILE)

POSITIONAL = {"recipe"}

VERBS: dict[str, tuple[Callable[[Arguments], None], dict[str, dict]]] = {
    "check": (check, {"samples": FILE, "cases": FILE, "audit": FILE, "settings": SETTINGS}),
    "cohort": (
        cohort,
        {
            "recipe": {"choices": ["glioma"], "help": "the paper's cohort: TCGA-GBM, TCGA-LGG and IvyGAP"},
            "tcga": {**FOLDER, "help": "slides/, expression/, sample sheets, clinical data, markers, copy numbers"},
            "ivygap": {**FOLDER, "help": "slides/, expression/, tumor_details.csv, sub_block_details.csv"},
            "ivygap-mpp": {"type": float, "metavar": "MPP", "help": "micrometres per pixel of IvyGAP's images"},
            "known": {"type": Path, "metavar": "FILE", "help": "case_id and columns of cases.tsv that you know better"},
            "pairs": {"choices": ["closest", "all"], "default": "closest", "help": "profiles of a slide"},
            "output": {**FOLDER, "required": True, "help": "gets samples.tsv, cases.tsv and missing.tsv"},
        },
    ),
    "split": (split, {"samples": FILE, "cases": FILE, "output": FILE, "settings": SETTINGS}),
    "gate": (
        gate,
        {"samples": FILE, "splits": FILE, "profiles": FILE, "tiles": FILES, "output": FILE, "settings": SETTINGS},
    ),
    "tile": (
        tile,
        {"samples": FILE, "output": FILE, "batch": NUMBER, "masks": ANY_FILES, "settings": SETTINGS},
    ),
    "stain": (stain, {"samples": FILE, "tiles": FILE, "output": FILE, "settings": SETTINGS}),
    "stain-target": (stain_target, {"images": FILES, "output": FILE}),
    "sample": (sample, {"tiles": FILE, "output": FILE, "settings": SETTINGS}),
    "overviews": (
        overviews,
        {
            "samples": FILE,
            "tiles": FILE,
            "patches": FILE,
            "output": FILE,
            "masks": ANY_FILES,
            "settings": SETTINGS,
        },
    ),
    "features": (
        features,
        {
            "samples": FILE,
            "tiles": FILE,
            "stain": FILE,
            "patches": FILE,
            "output": FILE,
            "device": DEVICE,
            "threads": NUMBER,
            "settings": SETTINGS,
        },
    ),
    "import-tiles": (import_tiles, {"samples": FILE, "output": FILE, "batch": NUMBER, "settings": SETTINGS}),
    "import-features": (import_features, {"tiles": FILE, "patches": FILE, "output": FILE, "settings": SETTINGS}),
    "export": (
        export,
        {
            "format": {"choices": ["trident", "clam"], "required": True},
            "output": {"type": Path, "required": True, "metavar": "FOLDER"},
            "results": {"type": Path, "default": Path("results"), "metavar": "FOLDER"},
        },
    ),
    "store": (store, {"features": FILES, "slides": FILE, "samples": FILE, "output": FILE, "settings": SETTINGS}),
    "profiles": (profiles, {"output": FILE, "library-sizes": LIBRARY_SIZES, "settings": SETTINGS}),
    "ledger": (
        ledger,
        {
            "slides-output": FILE,
            "samples-output": FILE,
            "timing-output": FILE,
            "samples": FILE,
            "cases": FILE,
            "profiles": FILE,
            "tiles": FILES,
            "stain": {"type": Path, "default": [], "metavar": "FILE", "nargs": "*"},
            "patches": FILES,
            "features": FILES,
            "settings": SETTINGS,
        },
    ),
    "genes": (
        genes,
        {
            "profiles": FILE,
            "library-sizes": LIBRARY_SIZES,
            "samples": FILE,
            "splits": FILE,
            "output": FILE,
            "fold": NUMBER,
            "settings": SETTINGS,
        },
    ),
    "search": (search, {**FOLD_FILES, "method": TEXT, "fold": NUMBER, "chosen": FILE, "trials": FILE, **COMPUTING}),
    "train": (
        train,
        {
            **FOLD_FILES,
            "method": TEXT,
            "fold": NUMBER,
            "seed": {**NUMBER, "nargs": "+"},
            "chosen": {"type": Path, "metavar": "FILE", "nargs": "*", "help": "settings that a search has chosen"},
            "output": {**FILES, "help": "a folder for each seed"},
            "tensorboard": {"action": "store_true", "help": "write event files into each folder"},
            **COMPUTING,
        },
    ),
    "tables": (tables, {"runs": FILES, "output": FILE, "settings": SETTINGS}),
    "figures": (figures, {"runs": FILES, "output": FILE, "settings": SETTINGS}),
    "gene-figure": (gene_figure, {"ranking": FILE, "output": FILE, "settings": SETTINGS}),
    "heatmaps": (
        heatmaps,
        {
            **FOLD_FILES,
            "run": {**FILE, "metavar": "FOLDER", "help": "the folder of a trained model"},
            "features": FILES,
            "manifest": {**FILE, "help": "the table of samples, which names the slides"},
            "output": {**FILE, "metavar": "FOLDER"},
            "settings": SETTINGS,
        },
    ),
    "report": (
        report,
        {
            "output": FILE,
            "tables": FILE,
            "figures": FILE,
            "slides": FILE,
            "samples": FILE,
            "audit": FILE,
            "leakage": FILE,
            "selected": FILES,
            "overviews": ANY_FILES,
            "heatmaps": ANY_FILES,
            "settings": SETTINGS,
        },
    ),
    "demo-tables": (demo_tables, {"output": FILE}),
    "demo-slides": (demo_slides, {"output": FILE, "truth": FILE, "threads": NUMBER, "settings": SETTINGS}),
    "demo-expression": (demo_expression, {"output": FILE, "truth": FILE, "settings": SETTINGS}),
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    parser = argparse.ArgumentParser(
        prog="ksfusion",
        description=ksfusion.__doc__,
        epilog="The Snakefile calls these verbs in order; each also runs by hand on the files of the stages before.",
    )
    parser.add_argument("--version", action="version", version=f"ksfusion {ksfusion.__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, (function, options) in VERBS.items():
        verb = verbs.add_parser(name, help=function.__doc__, description=function.__doc__)
        verb.set_defaults(function=function)
        for option, keywords in options.items():
            verb.add_argument(option if option in POSITIONAL else f"--{option}", **keywords)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Run a verb; the user's mistakes are lines without a traceback, and exit code 2."""
    args = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        args.function(args)
    except UserError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        sys.exit(2)
