"""The files that a configuration and its tables name: those of each batch of slides, and what a run writes of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ksfusion.cohort.samples import CohortTables
from ksfusion.cohort.split_files import split_files
from ksfusion.cohort.user_table import Row
from ksfusion.config import Config
from ksfusion.core.errors import UserError
from ksfusion.core.ids import batch_of
from ksfusion.core.object_storage import StoredFile
from ksfusion.core.provenance import as_json
from ksfusion.core.resources import shipped
from ksfusion.core.study import Study
from ksfusion.genes.expression.files import folder_digest, source_files
from ksfusion.genes.sets.files import files_of_sets
from ksfusion.slides.reading.slide_files import features_file, file_size, is_readable
from ksfusion.slides.tiles.mask_files import REGIONS, mask_names, masks_of
from ksfusion.terms.gene_sets import is_builtin, shipped_tables
from ksfusion.terms.niches import NICHES
from ksfusion.terms.units import GDC_STAR

# What a run writes before its first job (`FirstLook.begin`).
MANIFEST = Path("results/cohort/manifest.tsv")
# Where the demo's own rules draw, in its folder.
DEMO_EXPRESSION, DEMO_SLIDES = "expression", "slides"
DEMO_NOTICE = (
    "This is the demo cohort: its slides and expression are synthetic, with a planted signal. Its numbers show that "
    "the pipeline works; they say nothing about glioma."
)


def is_drawn(path: str, config: Config) -> bool:
    """Return whether a source of expression is one that the demo draws."""
    return config.demo and Path(path).is_relative_to(DEMO_EXPRESSION)


@dataclass(frozen=True)
class NamedFiles:
    """The files that rules read and no rule makes, or that the demo draws.

    Attributes
    ----------
    config, tables, study
        What was read of them.
    stored
        The slides that are in object storage, by the paths of their local copies.
    stored_in
        Where in object storage the study is; empty where it is not.
    """

    config: Config
    tables: CohortTables
    study: Study
    stored: Mapping[str, StoredFile] = field(default_factory=dict)
    stored_in: str = ""

    @cached_property
    def batches(self) -> dict[str, list[Row]]:
        """One row for each slide, by batch; batches without a slide are left out."""
        batches = defaultdict(list)
        for slide_id, row in self.tables.slides().items():
            batches[str(batch_of(slide_id, self.study.batches))].append(row)
        return dict(sorted(batches.items(), key=lambda item: int(item[0])))

    @property
    def has_slides(self) -> bool:
        """Whether any sample has a slide."""
        return bool(self.batches)

    @property
    def extracts(self) -> bool:
        """Whether slides are read: not where another tool's features are taken."""
        return self.config.features.source == "extract"

    def is_drawn(self, row: Row) -> bool:
        """Return whether a slide is one that the demo draws."""
        return self.config.demo and Path(row["slide"]).parent.as_posix() == DEMO_SLIDES

    def demo_slides(self) -> list[str]:
        """Return the ids of the slides that the demo draws."""
        return [row["slide_id"] for row in self.tables.slides().values() if self.is_drawn(row)]

    def demo_profiles(self) -> list[str]:
        """Return the ids of the profiles that the demo draws."""
        return sorted({row["expression_id"] for row in self.tables.samples if row["expression_id"]})

    def raw_slides(self, batch: str) -> list[str]:
        """Return the slides of a batch that are there; the others become rows of the ledger."""
        own = (row["slide"] for row in self.batches[batch] if not self.is_drawn(row))
        return [slide for slide in own if slide not in self.stored and is_readable(slide)]

    def stored_slides(self, batch: str) -> list[str]:
        """Return the slides of a batch that are in object storage, by their paths there."""
        named = self.batches[batch] if self.stored else ()
        return [self.stored[row["slide"]].path for row in named if row["slide"] in self.stored]

    def slide_size(self, slide: str) -> int | None:
        """Return the size in bytes of a slide's file, here or in object storage; None where there is none."""
        return self.stored[slide].size if slide in self.stored else file_size(slide)

    def drawn_slides(self, batch: str) -> list[str]:
        """Return the slides of a batch that the demo draws."""
        return [row["slide"] for row in self.batches[batch] if self.is_drawn(row)]

    def masks(self, batch: str) -> list[str]:
        """Return the masks of tissue that the user gives for slides of a batch: GeoJSON, else PNG.

        An input of the job rather than a setting, so that a mask that is added or edited redoes its batch alone.
        """
        slides = [row["slide_id"] for row in self.batches[batch]]
        return masks_of(self.config.slides.masks, self._mask_names, slides)

    def regions(self) -> list[str]:
        """Return the user's annotations by class of slides that have some."""
        folder = self.config.slides.regions
        names = {name for name in mask_names(folder) if name.endswith(REGIONS)}
        return masks_of(folder, names, self.tables.slides())

    def stored_slides_with_regions(self) -> list[str]:
        """Return those of them whose slides are in object storage, by the paths of these."""
        slides = self.tables.slides()
        named = (slides[Path(file).stem]["slide"] for file in self.regions())
        return [self.stored[slide].path for slide in named if slide in self.stored]

    @cached_property
    def _mask_names(self) -> set[str]:
        return mask_names(self.config.slides.masks)

    def _features_file(self, row: Row) -> str:
        """Return where another tool's features of a slide are."""
        features = self.config.features
        return str(features_file(features.path or "", row["slide_id"], features.source))

    def precomputed(self, batch: str) -> list[str]:
        """Return the files of precomputed features of a batch that are there; the others become rows of the ledger."""
        return [file for file in map(self._features_file, self.batches[batch]) if is_readable(file)]

    def check_precomputed(self, source: str) -> None:
        """Raise UserError where another tool's features are wanted and no slide has any."""
        if self.extracts or not self.batches or any(map(self.precomputed, self.batches)):
            return
        expected = self._features_file(next(iter(self.tables.slides().values())))
        raise UserError(f"{source}: features.path: no slide has its file there, such as {expected}; correct the path")

    def slide_scales(self, batch: str) -> str:
        """Return what is told of the slides of a batch whose files are not read: id and scale."""
        return as_json([[row["slide_id"], row["mpp"]] for row in self.batches[batch]])

    def stain_tables(self) -> list[str]:
        """Return the tables of the fitted stains: none where the slides themselves are not read."""
        return [f"results/stain/{batch}.parquet" for batch in self.batches] if self.extracts else []

    def overviews(self) -> list[str]:
        """Return the lists of the slides' pictures; none where no slide is read."""
        return [f"results/slides/{batch}.tsv" for batch in self.batches] if self.extracts else []

    def split_files(self) -> list[str]:
        """Return the files of the user's own split."""
        path = self.config.splits.file
        return [str(file) for file in split_files(path)] if path else []

    def expression_files(self) -> list[str]:
        """Return the sources of expression, in the order of the configuration."""
        files = []
        for source in self.config.cohort.expression:
            drawn = is_drawn(source.path, self.config)
            files += [source.path] if drawn else source_files(source.path, format=source.format)
            files += [source.sample_sheet] if source.sample_sheet else []
        return files

    def expression_contents(self) -> str:
        """Return what tells one state of the folders of gene counts from another: they are inputs, their files not."""
        sources = self.config.cohort.expression
        own = [entry.path for entry in sources if entry.format == GDC_STAR and not is_drawn(entry.path, self.config)]
        return as_json({path: folder_digest(path) for path in own})

    def chosen_settings(self) -> list[str]:
        """Return the path of the settings that a search chooses for a run, in a list; none without a search."""
        return ["results/search/{task}/{method}/fold{fold}/chosen.json"] if self.config.training.search else []

    def stain_target(self) -> list[str]:
        """Return the file of the stain target."""
        target = self.config.stain.target
        return [shipped("stain_target.json") if target == "builtin" else target]

    def encoder_weights(self) -> list[str]:
        """Return the local weight file of the encoder, where one is given."""
        weights = self.config.features.weights
        return [weights] if weights else []

    @property
    def gene_sets_version(self) -> str:
        """The version of the shipped gene sets by which genes are named."""
        return self.config.genes.names(self.study.gene_sets)

    def gene_names(self) -> list[str]:
        """Return the shipped files that bring gene names to symbols."""
        names, version = ("aliases", *NICHES), self.gene_sets_version
        return [shipped(file) for name in names for file in shipped_tables(name, version)]

    def gene_sets(self) -> list[str]:
        """Return the files of the gene sets, and of the groups."""
        genes = self.config.genes
        return files_of_sets(genes.sets) + ([] if is_builtin(genes.groups) else [genes.groups])
