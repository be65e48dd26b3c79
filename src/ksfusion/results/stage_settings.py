"""The settings of the stages that make tables, figures, pictures of attention and the report."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from ksfusion.core.config_block import Block
from ksfusion.results.config import (
    Auditing,
    Comparing,
    Printing,
    Resampling,
    ShownSamples,
    ShownTask,
    Subgrouping,
    TableContents,
    Times,
    Titles,
    titles_of,
)
from ksfusion.slides.config import Reading

TableName = Literal["table1", "table2", "alpha", "table_s1"]


class ComparedRuns(Block):
    """Whose runs are compared.

    Attributes
    ----------
    tasks, methods
        In the order of tables and panels.
    shared
        Methods that were not trained because they are others under another name: each to the one whose runs are its
        own too.
    """

    tasks: list[ShownTask]
    methods: list[str]
    shared: dict[str, str] = Field(default_factory=dict)


class Compared(ComparedRuns, Titles):
    """What is compared; ``caveats``: sentences that stand wherever results do."""

    caveats: list[str] = Field(default_factory=list)

    def titles(self) -> dict[str, str]:
        """Return the titles of the tasks that have one, by name."""
        return titles_of(self.tasks)


class MakeTablesSettings(TableContents, Compared):
    """Of `ksfusion.stages.make_tables`."""

    names: list[TableName] = Field(["table1", "table2", "alpha"])


class MakeReproductionSettings(Titles):
    """Of `ksfusion.stages.make_reproduction`; ``config``, ``paper``: the configuration and the paper's."""

    config: dict[str, Any]
    paper: dict[str, Any]
    caveats: list[str] = Field(default_factory=list)


class MakeComparisonsSettings(Times, Comparing, ComparedRuns):
    """Of `ksfusion.stages.make_comparisons`."""


class MakeSubgroupsSettings(Subgrouping, Resampling, ComparedRuns):
    """Of `ksfusion.stages.make_subgroups`."""


class AuditModalitiesSettings(Auditing):
    """Of `ksfusion.stages.audit_modalities`."""


class MakeModalitiesSettings(Resampling, Compared):
    """Of `ksfusion.stages.make_modalities`."""


class DrawTasksSettings(Titles):
    """Of `ksfusion.stages.draw_attributions` and `ksfusion.stages.draw_embeddings`: tasks, in the order of panels."""

    tasks: list[ShownTask]


class LocateAttentionSettings(Resampling):
    """Of `ksfusion.stages.locate_attention` and `ksfusion.stages.make_localisation`."""


class ScoreOraclesSettings(Resampling):
    """Of `ksfusion.stages.score_oracles`: tasks, in the order of the table."""

    tasks: list[ShownTask]


class DrawFiguresSettings(Times, Comparing, Compared):
    """Of `ksfusion.stages.draw_figures`; ``only_alpha``: the figures of alpha alone."""

    only_alpha: bool = False


class DrawHeatmapsSettings(ShownSamples):
    """Of `ksfusion.stages.draw_heatmaps`.

    Attributes
    ----------
    slides
        How slides are read; null where there are none to read.
    printing
        What tasks and their classes are called, by the name of the task.
    """

    slides: Reading | None
    printing: dict[str, Printing] = Field(default_factory=dict)


class WriteReportSettings(TableContents, Titles):
    """Of `ksfusion.stages.write_report`.

    Attributes
    ----------
    config
        The configuration, as it is shown.
    notice
        A sentence at the top, such as that the cohort is synthetic.
    caveats
        Sentences that stand wherever results do.
    alpha
        Show the table and the figures of alpha too.
    tasks
        The tasks, in the order of the tables.
    """

    config: dict[str, Any]
    notice: str | None = None
    caveats: list[str] = Field(default_factory=list)
    alpha: bool = False
    tasks: list[ShownTask] = Field(default_factory=list)

    @property
    def titles(self) -> dict[str, str]:
        """Titles of tasks, by name, of those that have one."""
        return titles_of(self.tasks)
