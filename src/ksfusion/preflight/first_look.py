"""What is told before any job of a run, and what is looked for when it begins."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

from ksfusion.cohort.label_columns import label_warnings
from ksfusion.cohort.needs import stand_in_warnings
from ksfusion.core.errors import UserError
from ksfusion.core.storage import write_text
from ksfusion.genes.expression.ids import IdReader, ids_at_hand
from ksfusion.methods.registry import METHODS
from ksfusion.preflight.named_files import MANIFEST, NamedFiles, is_drawn
from ksfusion.preflight.packages import job_problems
from ksfusion.preflight.profiles import LostProfiles, lost_profiles
from ksfusion.slides.reading.slide_files import file_size
from ksfusion.slides.tiles.mask_files import mask_names, mask_warnings
from ksfusion.terms.failures import most_failed


@dataclass(frozen=True)
class FirstLook(NamedFiles):
    """What is told of configuration, tables and named files before any job, and what a run begins with."""

    def begin(self, stages: Collection[str] = (), *, elsewhere: bool = False) -> None:
        """Look for what the jobs of a run need, and write what a run writes before its first job.

        That is whose results these are, and where each slide's file is. The slide stages read the second in place of
        the user's table, which is no input of theirs: another slide in it redoes one batch only, by the settings of
        that.

        Parameters
        ----------
        stages
            The rules that have a job to do.
        elsewhere
            Whether the jobs have another Python than this one, whose packages are not looked for.

        Raises
        ------
        UserError
            If a package or the encoder's weights cannot be had, or a cohort has none of its profiles, a line each.
        """
        problems = job_problems(self.config, stages, elsewhere=elsewhere)
        problems += self.stopping_profiles() if {"read_expression", "write_ledger"} & set(stages) else []
        if problems:
            raise UserError("\n".join(problems))
        self.study.write()
        columns = ("slide_id", "slide", "mpp")
        rows = [columns, *(tuple(row[name] for name in columns) for row in self.tables.slides().values())]
        write_text("".join("\t".join(row) + "\n" for row in rows), MANIFEST, {})

    def warnings(self) -> list[str]:
        """Return what is told before any job.

        Tasks without labels, slides and profiles that are not there, no method to compare the others with, and
        samples with one modality that methods could serve, or a setting for them that none reads.
        """
        cohort, config = self.config.cohort, self.config
        trained = {*config.methods, *(METHODS[name].teacher for name in config.methods)} - {""}
        of_modalities = stand_in_warnings(
            cohort.require,
            self.tables,
            cohort.samples,
            with_stand_in=[name for name in METHODS if name in trained and METHODS[name].partial],
            dropout=config.training.modality_dropout,
        )
        of_labels = label_warnings(self.tables, self.config.tasks, cohort.cases)
        slides = self.config.slides
        of_masks = mask_warnings(slides.masks, self._mask_names, self.tables.slides())
        regions = mask_names(slides.regions)
        of_masks += mask_warnings(slides.regions, regions, self.tables.slides(), key="slides.regions")
        of_slides = self.stopping() + self._slide_warnings() + self._profile_warnings()
        return of_labels + of_slides + of_masks + self._reference_warnings() + of_modalities

    def _reference_warnings(self) -> list[str]:
        """Return a line where there is no method to compare the others with."""
        reference, methods = self.config.results.reference, self.config.methods
        if reference in methods or len(methods) < 2:
            return []
        return [f"results.reference: {reference} is not one of methods, so that nothing is compared; name one of them"]

    def stopping(self) -> list[str]:
        """Return those of the warnings over which a run will stop."""
        line, too_many = self._lost_slides
        more = "more than slides.max_failed_fraction, the run will stop; check the folder they are in"
        return [f"{line}: {more}"] if too_many else []

    def stopping_profiles(self) -> list[str]:
        """Return those of the warnings on profiles over which a run stops before it begins."""
        return self.lost_profiles().of_all

    def lost_profiles(self, read: IdReader = ids_at_hand) -> LostProfiles:
        """Return what is told of expression ids that are no profile's; see `ksfusion.preflight.profiles`."""
        sources = [one for one in self.config.cohort.expression if not is_drawn(one.path, self.config)]
        return lost_profiles(self.config.cohort, sources, self.tables.samples, read)

    def _profile_warnings(self) -> list[str]:
        """Return a line for each cohort whose profiles are not all there, as far as that is seen at once."""
        lost = self.lost_profiles()
        return lost.unreadable + lost.of_all + lost.of_some

    def _slide_warnings(self) -> list[str]:
        """Return a line on files of slides that are not there or empty, where a run goes on without them."""
        line, too_many = self._lost_slides
        return [f"{line}; their samples will be left out"] if line and not too_many else []

    @cached_property
    def _lost_slides(self) -> tuple[str, bool]:
        """A line on files that are not there or empty, and whether a run stops: a wrong folder loses them all."""
        slides = list(self.tables.slides().values())
        if self.extracts:
            named = [row["slide"] for row in slides if not self.is_drawn(row) and "://" not in row["slide"]]
            lost, what = [slide for slide in named if not self.slide_size(slide)], "slide files"
        else:
            named = list(map(self._features_file, slides))
            lost, what = [file for file in named if not file_size(file)], "slides' files of features"
        if not lost:
            return "", False
        looked = f" (nor in storage below {self.stored_in})" if self.stored_in and self.extracts else ""
        table = self.config.cohort.samples
        line = f"{table}: {len(lost)} of {len(named)} {what} are missing or empty, such as {lost[0]}{looked}"
        return line, len(lost) > most_failed(len(named), self.config.slides.max_failed_fraction)
