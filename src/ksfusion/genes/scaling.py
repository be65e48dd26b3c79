"""Scaling of expression: fitted on training profiles, then frozen and applied to any profile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from ksfusion.core.errors import UserError
from ksfusion.core.storage import read_provenance, read_tsv
from ksfusion.genes.config import Harmonise

# Fewer profiles than these give a cohort no spread of its own.
MIN_PROFILES = 2
POOLED = "all"


@dataclass(frozen=True)
class Scaling:
    """A frozen transform: ``(value - mean) / sd``, a missing value counting as ``fill``, cut off at -clip and clip.

    Attributes
    ----------
    mean, sd, fill
        Cohorts x genes; the row ``"all"`` serves every cohort that has no row of its own.
    clip
        In standard deviations; None for no limit.
    """

    mean: pd.DataFrame
    sd: pd.DataFrame
    fill: pd.DataFrame
    clip: float | None = None

    def apply(self, profiles: pd.DataFrame, cohorts: pd.Series) -> pd.DataFrame:
        """Scale profiles.

        Parameters
        ----------
        profiles
            Profiles x genes in log units; a gene that is not there counts as missing.
        cohorts
            The cohort of each profile, in the same order.

        Returns
        -------
        DataFrame
            Profiles x genes of the scaling, float32, without missing values.
        """
        rows = [cohort if cohort in self.mean.index else POOLED for cohort in cohorts]
        values = profiles.reindex(columns=self.mean.columns).to_numpy(np.float64)
        values = np.where(np.isnan(values), self.fill.loc[rows].to_numpy(), values)
        values = (values - self.mean.loc[rows].to_numpy()) / self.sd.loc[rows].to_numpy()
        if self.clip is not None:
            values = values.clip(-self.clip, self.clip)
        return pd.DataFrame(values.astype(np.float32), index=profiles.index, columns=self.mean.columns)

    def table(self) -> pd.DataFrame:
        """Return the transform as a long table: cohort, symbol, mean, sd, fill."""
        parts = {"mean": self.mean, "sd": self.sd, "fill": self.fill}
        columns = {name: part.rename_axis(index="cohort", columns="symbol").stack() for name, part in parts.items()}
        return pd.DataFrame(columns).reset_index()

    @classmethod
    def of_table(cls, table: pd.DataFrame, *, clip: float | None) -> Self:
        """Return the transform of a long table as `table` gives it, rows and genes in their order there."""
        cohorts, symbols = table["cohort"].unique(), table["symbol"].unique()
        wide = table.pivot(index="cohort", columns="symbol").loc[cohorts]
        return cls(**{name: wide[name][symbols] for name in ("mean", "sd", "fill")}, clip=clip)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read ``scaling.tsv`` of `ksfusion.stages.select_genes`: to the bit what was fitted, clip included.

        Raises
        ------
        DamagedFileError
            If it is damaged.
        """
        table = read_tsv(path, dtype={"cohort": str, "symbol": str}, float_precision="round_trip")
        return cls.of_table(table, clip=read_provenance(path)["settings"]["clip"])

    def with_own(self, cohort: str, profiles: pd.DataFrame) -> Self:
        """Return this transform with the mean and standard deviation of an unseen cohort's own profiles.

        A gene that the cohort lacks counts as the mean of all training profiles.

        Parameters
        ----------
        cohort
            Name of the cohort.
        profiles
            Its profiles x genes in log units, each profile once.
        """
        mean, sd = _moments(profiles.reindex(columns=self.mean.columns).to_numpy(np.float64))
        own_sd = np.where(np.isnan(mean), self.sd.loc[POOLED], np.where(sd > 0, sd, 1.0))
        own_mean = np.where(np.isnan(mean), self.mean.loc[POOLED], mean)
        tables = {"mean": (self.mean, own_mean), "sd": (self.sd, own_sd), "fill": (self.fill, own_mean)}
        rows = {
            name: pd.concat([table.drop(index=cohort, errors="ignore"), pd.DataFrame([row], [cohort], table.columns)])
            for name, (table, row) in tables.items()
        }
        return replace(self, **rows)


def fit_scaling(
    profiles: pd.DataFrame, cohorts: pd.Series, *, harmonise: Harmonise, clip: float | None = None
) -> Scaling:
    """Fit the scaling of each gene.

    Parameters
    ----------
    profiles
        Training profiles x genes in log units, each profile once.
    cohorts
        The cohort of each profile, in the same order.
    harmonise
        ``zscore_by_cohort``: mean and population standard deviation within each cohort; a cohort with fewer than two
        training profiles gets those of all profiles pooled. ``zscore``: those of all profiles pooled, for every
        cohort, and the same for ``combat``, whose profiles `combat` has adjusted. ``none``: values stay as they are. A
        standard deviation of 0 counts as 1.
    clip
        Standard deviations at which scaled values are cut off, as ``max_value`` of scanpy's ``pp.scale``: one
        profile's outlier of thousands would otherwise speak for a whole network. None for no limit; ``none`` leaves
        nothing that could be cut off.
    """
    groups = {POOLED: np.ones(len(profiles), bool)}
    if harmonise == "zscore_by_cohort":
        labels = cohorts.to_numpy()
        groups |= {
            cohort: labels == cohort for cohort in sorted(set(labels)) if (labels == cohort).sum() >= MIN_PROFILES
        }
    values = profiles.to_numpy(np.float64)
    moments = {group: _moments(values[rows]) for group, rows in groups.items()}
    mean = pd.DataFrame({group: mean for group, (mean, _) in moments.items()}, index=profiles.columns).T
    sd = pd.DataFrame({group: sd for group, (_, sd) in moments.items()}, index=profiles.columns).T
    # A gene that no training profile of a cohort has takes the moments of all cohorts.
    sd = sd.where(mean.notna(), sd.loc[POOLED], axis=1).fillna(1.0).replace(0.0, 1.0)
    mean = mean.where(mean.notna(), mean.loc[POOLED], axis=1).fillna(0.0)
    if harmonise == "none":
        return Scaling(mean=mean * 0.0, sd=sd * 0.0 + 1.0, fill=mean)
    return Scaling(mean=mean, sd=sd, fill=mean, clip=clip)


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and population standard deviation of each column's present values, NaN where there are none."""
    count = (~np.isnan(values)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean = np.nansum(values, axis=0) / count
        return mean, np.sqrt(np.nansum((values - mean) ** 2, axis=0) / count)


def combat(profiles: pd.DataFrame, cohorts: pd.Series) -> pd.DataFrame:
    """Remove the differences between cohorts by ComBat (Johnson 2007, doi:10.1093/biostatistics/kxj037), with scanpy.

    It adjusts all profiles at once and cannot be applied to a new one. Missing values count as the mean of the cohort.

    Parameters
    ----------
    profiles
        All profiles x genes in log units, each profile once.
    cohorts
        The cohort of each profile, in the same order.

    Raises
    ------
    UserError
        If there are not two cohorts, or a gene does not vary within a cohort.
    """
    import scanpy
    from anndata import AnnData

    labels = cohorts.to_numpy()
    if len(set(labels)) < 2:
        raise UserError("genes.harmonise: combat needs two cohorts; use zscore")
    by_cohort = profiles.groupby(labels)
    spread = by_cohort.std().fillna(0.0)
    if (spread == 0).any(axis=None):
        cohort, symbol = next(place for place, value in spread.stack().items() if value == 0)
        raise UserError(
            f"genes.harmonise: combat cannot adjust gene {symbol}, which does not vary in cohort {cohort}; use "
            "zscore_by_cohort"
        )
    values = profiles.fillna(by_cohort.transform("mean")).to_numpy(np.float64)
    data = AnnData(
        values, obs=pd.DataFrame({"cohort": pd.Categorical(labels)}, index=np.arange(len(labels)).astype(str))
    )
    adjusted = scanpy.pp.combat(data, key="cohort", inplace=False)
    return pd.DataFrame(adjusted, index=profiles.index, columns=profiles.columns)
