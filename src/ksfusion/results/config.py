"""The settings of tables, figures, pictures of attention and the report."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from ksfusion.core.config_block import Block, Positive
from ksfusion.methods.registry import METHODS
from ksfusion.slides.config import Reading
from ksfusion.terms.tasks import TaskOutcome

TableName = Literal["table1", "table2", "alpha"]


class Compared(Block):
    """What is compared.

    Attributes
    ----------
    tasks, methods
        In the order of tables and panels.
    caveats
        Sentences that stand wherever results do.
    shared
        Methods that were not trained because they are others under another name: each to the one whose runs are its
        own too.
    """

    tasks: list[TaskOutcome]
    methods: list[str]
    caveats: list[str] = Field(default_factory=list)
    shared: dict[str, str] = Field(default_factory=dict)


class MakeTablesSettings(Compared):
    """Of `ksfusion.stages.make_tables`."""

    names: list[TableName] = Field(["table1", "table2", "alpha"])


class DrawFiguresSettings(Compared):
    """Of `ksfusion.stages.draw_figures`; ``only_alpha``: the figures of alpha alone."""

    only_alpha: bool = False


class ShownSamples(Block):
    """Of how many samples pictures of attention are drawn."""

    samples: Positive | Literal["all"] = Field(
        8, description="test samples of each run, spread over the classes or the predicted risk; or all"
    )

    @field_validator("samples", mode="before")
    @classmethod
    def _number_or_all(cls, samples: Any) -> Any:
        if samples != "all" and (type(samples) is not int or samples < 1):
            raise ValueError("must be a number of samples, at least 1, or all")
        return samples


class Heatmaps(ShownSamples):
    """Which pictures of attention are drawn."""

    methods: list[str] = Field(["ksfusion"], description="methods that read patches; [] for none")
    seeds: list[int] | None = Field(None, description="of training.seeds; null: the first")

    @field_validator("methods")
    @classmethod
    def _look_at_patches(cls, methods: list[str]) -> list[str]:
        for name in methods:
            if name not in METHODS or "p" not in METHODS[name].modalities:
                known = ", ".join(name for name, info in METHODS.items() if "p" in info.modalities)
                raise ValueError(f"{name!r} is no method that reads patches; known: {known}")
        if len(set(methods)) < len(methods):
            raise ValueError("a method is listed twice")
        return methods


class DrawHeatmapsSettings(ShownSamples):
    """Of `ksfusion.stages.draw_heatmaps`; ``slides`` is null where there are no slides to read."""

    slides: Reading | None


class WriteReportSettings(Block):
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
    title
        The page's title.
    """

    config: dict[str, Any]
    notice: str | None = None
    caveats: list[str] = Field(default_factory=list)
    alpha: bool = False
    title: str = "KS-Fusion: diagnosis, grading and survival of glioma"
