"""The settings of expression: where it is, which genes are used, and their scale."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from ksfusion.core.config_block import PATH, Block, Name
from ksfusion.terms.gene_sets import BUILTIN, NEWEST, VERSIONS, GeneSets, is_builtin
from ksfusion.terms.niches import NICHES
from ksfusion.terms.rankings import Rank
from ksfusion.terms.units import GDC_STAR, IVYGAP, ExpressionFormat, ExpressionUnit

# Formats whose files hold certain units alone.
UNITS_OF = {GDC_STAR: ("counts", "tpm", "fpkm"), IVYGAP: ("fpkm",)}

FitOn = Literal["train", "all"]
Harmonise = Literal["zscore_by_cohort", "zscore", "none", "combat"]
Unseen = Literal["pooled", "own"]
# Cases that an unseen cohort needs to be scaled by its own mean and standard deviation.
FEWEST_CASES = 20


class ExpressionSource(Block):
    """Where a cohort's expression profiles are."""

    cohort: Name = Field(description="the cohort, as in the table of samples")
    format: ExpressionFormat = Field(description="layout of the files")
    unit: ExpressionUnit = Field(description="unit of the values")
    path: str = Field(
        description="a folder for gdc-star and ivygap, a file for matrix and h5ad", json_schema_extra=PATH
    )
    suffix: str | None = Field(None, description="ending of the gene columns of a matrix, such as _rnaseq")
    sample_sheet: str | None = Field(
        None,
        description="sample sheet of the GDC portal, for gdc-star: profiles are then named by their Sample ID",
        json_schema_extra=PATH,
    )

    @model_validator(mode="after")
    def _options_fit_the_format(self) -> ExpressionSource:
        if self.suffix is not None and self.format != "matrix":
            raise ValueError(f"suffix belongs to format matrix, not {self.format}")
        if self.sample_sheet is not None and self.format != GDC_STAR:
            raise ValueError(f"sample_sheet belongs to format gdc-star, not {self.format}")
        units = UNITS_OF.get(self.format)
        if units and self.unit not in units:
            raise ValueError(f"format {self.format} has no unit {self.unit}; use {' or '.join(units)}")
        return self


class ReadExpressionSettings(Block):
    """Of `ksfusion.stages.read_expression`."""

    sources: list[ExpressionSource]
    external: list[Name] = Field(
        default_factory=list,
        description="cohorts that have no say in which genes there are, nor in what they are called",
    )
    names: GeneSets = Field(
        NEWEST, description="the version of the shipped gene sets whose Ensembl ids and previous symbols are known"
    )


class Ranking(Block):
    """By what genes are ranked, and how many are kept."""

    top_fraction: float = Field(0.3, gt=0, le=1, description="share of the genes kept by variance")
    rank: Rank = Field(
        "within_cohort",
        description="variance ranks averaged over cohorts; pooled; scanpy's seurat, cell_ranger, and for raw counts "
        "seurat_v3, seurat_v3_paper",
    )


class Genes(Ranking):
    """Which genes are used, and their scale; of `ksfusion.stages.select_genes`."""

    fit_on: FitOn = Field(
        "train", description="genes are chosen and scaled on training cases; all: on all, as in the paper"
    )
    harmonise: Harmonise = Field(
        "zscore_by_cohort", description="how cohorts are brought to one scale; combat with fit_on: all alone"
    )
    clip: float | None = Field(
        None, ge=0.1, le=1000, description="standard deviations at which scaled values are cut off"
    )
    sets: str | dict[str, str] = Field(
        BUILTIN,
        description="builtin: the newest of the shipped gene sets when the study begins; builtin-0.1.0: that version; "
        "a table; or a file for each niche",
        json_schema_extra=PATH,
    )
    groups: str = Field(
        BUILTIN,
        description="groups of genes, a token each, for methods that group them (mcat, cmta, survpath, motcat, mmp): "
        "builtin: the categories of the sets; a GMT file: its sets, any number",
        json_schema_extra=PATH,
    )
    unseen: Unseen = Field(
        "pooled",
        description="by what cohorts of splits.external are scaled: pooled: the mean and sd of all training samples; "
        "own: those of their own profiles, 20 cases at least",
    )
    max_missing: float = Field(
        0.1, ge=0, le=1, description="share of the genes that a cohort of splits.external may lack"
    )

    @field_validator("sets", mode="before")
    @classmethod
    def _sets_of_niches(cls, sets: Any) -> Any:
        files = list(sets.values()) if isinstance(sets, Mapping) else [sets]
        if not (files and all(isinstance(file, str) and file for file in files)):
            raise ValueError("must be builtin, a table, or a mapping such as {tme: GeneList.txt, tumour: my.gmt}")
        if isinstance(sets, str) and sets.lower().endswith(".gmt"):
            raise ValueError(
                f"a GMT file does not say its niche; write {' or '.join(NICHES)} before it, {{tme: my.gmt}}"
            )
        if unknown := [niche for niche in sets if niche not in NICHES] if isinstance(sets, Mapping) else []:
            raise ValueError(f"{unknown[0]!r} is not a niche; use {' and '.join(NICHES)}")
        for file in files:
            if re.fullmatch(rf"{BUILTIN}-[\d.]+", file) and not is_builtin(file):
                raise ValueError(f"{file} is not among the shipped gene sets; use {', '.join((BUILTIN, *VERSIONS))}")
        return sets

    @field_validator("groups")
    @classmethod
    def _groups_are_sets(cls, groups: str) -> str:
        if groups != BUILTIN and not groups.lower().endswith(".gmt"):
            raise ValueError("must be builtin, or a file of sets, .gmt")
        return groups

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave the groups out where they are built in: studies without the setting keep their genes."""
        return {name: value for name, value in write(self).items() if name != "groups" or value != BUILTIN}

    def of_version(self, version: str) -> Genes:
        """Return these settings with the version of the shipped sets that ``builtin`` stands for."""
        sets = self.sets
        if isinstance(sets, str):
            return self.model_copy(update={"sets": version if sets == BUILTIN else sets})
        files = {niche: sets.get(niche, BUILTIN) for niche in NICHES}
        return self.model_copy(update={"sets": {n: version if file == BUILTIN else file for n, file in files.items()}})

    def names(self, version: str) -> str:
        """Return the version of the shipped sets that names genes: the newest that is used, else ``version``."""
        files = [self.sets] if isinstance(self.sets, str) else self.sets.values()
        return next((known for known in reversed(VERSIONS) if known in files), version)

    @model_validator(mode="after")
    def _combat_sees_all(self) -> Genes:
        if self.harmonise == "combat" and self.fit_on != "all":
            raise ValueError("harmonise: combat cannot be frozen on training samples; it needs fit_on: all")
        if self.harmonise == "none" and self.clip is not None:
            raise ValueError("clip counts standard deviations, and harmonise: none does not scale; remove either")
        if self.harmonise == "none" and self.unseen == "own":
            raise ValueError(
                "unseen: own scales, and harmonise: none does not; use pooled, which takes values as given"
            )
        return self


def unseen_problem(genes: Genes, sources: Sequence[ExpressionSource], external: Collection[str]) -> str:
    """Return why the expression of external cohorts cannot be scaled; empty where it can.

    Parameters
    ----------
    genes
        Settings of the genes.
    sources
        Files of each cohort's profiles.
    external
        The external cohorts.
    """
    if external and genes.harmonise == "combat":
        return (
            "splits.external: ComBat adjusts all profiles at once and cannot be applied to cohorts that it has not "
            "seen; use genes.harmonise: zscore_by_cohort"
        )
    units = {source.unit for source in sources if source.cohort not in external}
    for source in sources:
        if genes.unseen == "pooled" and units and source.cohort in external and source.unit not in units:
            known = " or ".join(sorted(units))
            return (
                f"genes.unseen: pooled takes the mean and sd of the training samples (unit {known}), and external "
                f"cohort {source.cohort} is given in {source.unit}; give it in the same unit, use own, or, for methods "
                "that read slides alone, leave its expression out (cohort.require: any)"
            )
    return ""


def too_few_of_their_own(
    genes: Genes, external: Collection[str], rows: Sequence[Mapping[str, str]], path: str
) -> list[str]:
    """Return a line for each external cohort that is to be scaled by its own profiles and has too few cases.

    Parameters
    ----------
    genes, external
        See `unseen_problem`.
    rows
        Rows of the table of samples.
    path
        That table, for messages.
    """
    if genes.unseen != "own":
        return []
    lines = []
    for cohort in external:
        n_cases = len({row["case_id"] for row in rows if row["cohort"] == cohort and row["expression_id"]})
        if 0 < n_cases < FEWEST_CASES:
            lines.append(
                f"{path}: genes.unseen: own needs {FEWEST_CASES} cases of cohort {cohort} for a mean and a standard "
                f"deviation, and it has {n_cases} with a profile; use pooled"
            )
    return lines
