"""The categories of the gene sets, merged to groups: a number of them that a method can give a token each."""

from __future__ import annotations

import pandas as pd

# Categories of the shipped sets that say the same of a sample; another category is a group by itself.
GROUP_OF_CATEGORY = {
    "oncogene": "oncogenes and cell cycle",
    "cell cycle": "oncogenes and cell cycle",
    "tumour suppressor": "tumour suppressors",
    "AC-like state": "cell states",
    "MES-like state": "cell states",
    "NPC-like state": "cell states",
    "OPC-like state": "cell states",
    "classical": "subtypes",
    "mesenchymal": "subtypes",
    "proneural": "subtypes",
    "BCR signalling": "lymphocytes",
    "TCR signalling": "lymphocytes",
    "natural killer cell cytotoxicity": "lymphocytes",
    "antigen processing and presentation": "antigen presentation",
    "microglia and macrophages": "microglia and macrophages",
    "antimicrobials": "antimicrobials",
    "chemokines": "cytokines",
    "cytokines": "cytokines",
    "interferons": "cytokines",
    "interleukins": "cytokines",
    "TGF-beta family": "cytokines",
    "TNF family": "cytokines",
    "chemokine receptors": "cytokine receptors",
    "cytokine receptors": "cytokine receptors",
    "interferon receptors": "cytokine receptors",
    "interleukin receptors": "cytokine receptors",
    "TGF-beta receptors": "cytokine receptors",
    "TNF receptors": "cytokine receptors",
}
MOST_GROUPS = 10
# Column of the selected genes that has their groups where the user's own file makes them, and what stands between two.
GROUPS, BETWEEN_GROUPS = "groups", " | "


def gene_groups(selected: pd.DataFrame) -> dict[str, list[str]]:
    """Return the symbols of each group.

    Where a user's sets have more than `MOST_GROUPS` categories, the smallest ones of each niche are put together. Where
    a file of groups is given (``genes.groups``) its groups are taken as they are, however many; a gene may then be in
    several, or in none.

    Parameters
    ----------
    selected : pandas.DataFrame
        Columns symbol, category (may be empty) and niche; and groups, where a file makes them.
    """
    if GROUPS in selected:
        placed = selected.dropna(subset=GROUPS)
        rows = placed.assign(**{GROUPS: placed[GROUPS].str.split(BETWEEN_GROUPS, regex=False)}).explode(GROUPS)
        return {name: part.tolist() for name, part in rows["symbol"].groupby(rows[GROUPS], sort=True)}
    group = selected["category"].map(GROUP_OF_CATEGORY).fillna(selected["category"])
    group = group.where(group.notna() & (group != ""), "other " + selected["niche"])
    if group.nunique() > MOST_GROUPS:
        sizes = group.map(group.value_counts())
        rank = pd.DataFrame({"niche": selected["niche"], "group": group, "size": sizes}).drop_duplicates("group")
        rank = rank.sort_values(["size", "group"], ascending=[False, True])
        kept = rank.groupby("niche").head(MOST_GROUPS // 2 - 1)["group"]
        group = group.where(group.isin(kept), "other " + selected["niche"])
    return {name: part.tolist() for name, part in selected["symbol"].groupby(group, sort=True)}
