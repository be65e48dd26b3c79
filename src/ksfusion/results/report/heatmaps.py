"""Where methods look, on the report: heatmaps worth a look, links to the rest, and embeddings of test samples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from ksfusion.core.storage import read_tsv
from ksfusion.methods.registry import METHODS
from ksfusion.results.plots.embeddings import CAPTION as EMBEDDED
from ksfusion.results.report.gallery import HEATMAP_PX, TitledImage, link_from, page_image, small_picture
from ksfusion.results.wording import heading

SHEET_PX = 900


class HeatmapLink(TypedDict):
    """A sample, and where its heatmap lies."""

    sample_id: str
    link: str


class ShownHeatmap(HeatmapLink):
    """A sample with small pictures of its heatmap and of its patches of most and least attention, if any."""

    image: str
    patches: str
    patches_link: str


class HeatmapGallery(TypedDict):
    """The heatmaps of a run: those that are shown, and links to the others."""

    title: str
    pictures: list[ShownHeatmap]
    links: list[HeatmapLink]


def heatmap_gallery(
    lists: Sequence[Path], *, report: Path, titles: Mapping[str, str] | None = None
) -> list[HeatmapGallery]:
    """Choose the heatmaps to show: the first and the last of a task and method, which differ in class or risk.

    Parameters
    ----------
    lists
        The lists of `ksfusion.stages.draw_heatmaps`, in folders ``{task}/{method}/fold{fold}/seed{seed}``.
    report
        The page, from whose folder links start.
    titles
        Titles of tasks, by name, of those that have one.

    Returns
    -------
    list of HeatmapGallery
        One for each run that has any; pictures of the first run of a task and method alone.
    """
    runs: list[HeatmapGallery] = []
    shown: set[tuple[str, str]] = set()
    for path in lists:
        task, method, fold, seed = path.parts[-5:-1]
        listed = read_tsv(path, dtype=str).fillna("")
        files = [file for name in listed["heatmap"] if (file := path.with_name(name)).is_file()]
        sheets = {path.with_name(row.heatmap): path.parent / row.patches for row in listed.itertuples() if row.patches}
        if not files:
            continue
        ends = [] if (task, method) in shown else list(dict.fromkeys([files[0], files[-1]]))
        shown.add((task, method))
        links = {file: HeatmapLink(sample_id=file.stem, link=link_from(report, file)) for file in files}
        which = f"fold {fold.removeprefix('fold')}, seed {seed.removeprefix('seed')}"
        runs.append(
            HeatmapGallery(
                title=f"{heading(task, titles or {})}, {METHODS[method].label}, {which}",
                pictures=[_shown_heatmap(links[file], file, sheets.get(file), path, report) for file in ends],
                links=[link for file, link in links.items() if file not in ends],
            )
        )
    return runs


def _shown_heatmap(link: HeatmapLink, file: Path, sheet: Path | None, listed_in: Path, report: Path) -> ShownHeatmap:
    """Return the small picture of a heatmap, and that of its patches."""
    patches = where = ""
    if sheet is not None and sheet.is_file():
        patches, where = small_picture(sheet, listed_in, SHEET_PX), link_from(report, sheet)
    return ShownHeatmap(**link, image=small_picture(file, listed_in, HEATMAP_PX), patches=patches, patches_link=where)


def embedding_figures(paths: Iterable[Path]) -> list[TitledImage]:
    """Return the figures of `ksfusion.stages.draw_embeddings`, ``embeddings_{method}_fold{fold}.png``."""
    found = []
    for path in paths:
        method, _, fold = path.stem.removeprefix("embeddings_").rpartition("_fold")
        title = f"Test samples as {METHODS[method].label} sees them, fold {fold}"
        found.append(TitledImage(**page_image(path), title=title, caption=EMBEDDED))
    return found
