"""Expression of the demo cohort: files in the published layouts, drawn from a stated model with planted truth.

The model, for gene g and profile i, in log2 units:

``level[g, i] = base[g] + loading[g] * score[programme of g, i] + own effect[g, diagnosis] + library[i] * drift[g]
+ platform[g] + noise[g, i]``

- Tumour genes: the programme is the gene's category. Its score is the diagnosis's (`PROGRAMMES`) plus a slope on the
  latent ``tumour`` plus noise of the profile, which keeps a diagnosis from being read off genes without error.
- TME genes: the score is a slope on the latent ``tme``, with noise shared by all categories and noise of each.
- Neuronal genes fall as ``tumour`` rises, as tumour replaces brain; housekeeping and other genes follow nothing.
- Four in ten genes of the sets load on nothing; the others each have a loading of their own.
- Counts are negative binomial (dispersion `DISPERSION`) round ``2 ** level`` scaled to the profile's read depth.

Symbols are real. Ensembl ids, gene lengths and IvyGAP's numbers are made up: the ids are well-formed and lie beyond the
range of real ones.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from ksfusion.core.atomic import atomic
from ksfusion.core.ids import stable_hash
from ksfusion.genes.sets.gene_sets import gene_sets
from ksfusion.terms.published_files import FPKM_TABLE, GDC_SUFFIX, GENES_TABLE, SAMPLES_TABLE
from ksfusion.terms.units import GDC_STAR, IVYGAP

# The shipped gene sets that the cohort was planned with: another gene would change all draws, and later versions have
# some of the housekeeping and neuronal genes below among those of the TME, whose planted signal they do not carry.
GENE_SETS = "builtin-0.1.0"
# Symbols by family, so that a list of many hundreds stays readable.
HOUSEKEEPING = {
    "RPL": (
        "10 10A 11 12 13 13A 14 15 17 18 18A 19 21 22 23 23A 24 26 27 27A 28 29 3 30 31 32 34 35 35A 36 36A "
        "37 37A 38 39 4 41 5 6 7 7A 8 9"
    ),
    "RPS": "10 11 12 13 14 15 15A 16 17 18 19 2 20 21 23 24 25 26 27 27A 28 29 3 3A 4X 5 6 7 8 9",
    "NDUF": (
        "A1 A10 A11 A12 A13 A2 A3 A4 A5 A6 A7 A8 A9 B1 B10 B11 B2 B3 B4 B5 B6 B7 B8 B9 S1 S2 S3 S4 S5 S6 S7 S8 V1 V2 V3"
    ),
    "ATP5": "F1A F1B F1C F1D F1E MC1 MC2 MC3 ME MF MG MGL MJ MK PB PD PF PO",
    "PSM": (
        "A1 A2 A3 A4 A5 A6 A7 A8 B1 B10 B11 B2 B3 B4 B5 B6 B7 B8 B9 C1 C2 C3 C4 C5 C6 D1 D10 D11 D12 D13 D14 "
        "D2 D3 D4 D5 D6 D7 D8 D9"
    ),
    "MRPL": (
        "1 10 11 12 13 14 15 16 17 18 19 2 20 21 22 23 24 27 28 3 30 32 33 34 35 36 37 38 39 4 40 41 42 43 44 "
        "45 46 47 48 49 50 51 52 53 54 55 57 58 9"
    ),
    "MRPS": "10 11 12 14 15 16 17 2 21 22 23 24 25 26 27 28 30 31 33 34 35 36 5 6 7 9",
    "POLR2": "A B C D E F G H I J K L",
    "EIF3": "A B C D E F G H I J K L M",
    "SNRP": "A A1 B B2 C D1 D2 D3 E F G",
    "VPS": (
        "11 13A 13B 13C 13D 16 18 25 26A 26B 26C 28 29 33A 33B 35 36 37A 37B 37C 37D 39 41 45 4A 4B 50 51 52 53 54 72 8"
    ),
}
NEURONAL = {
    "GABR": "A1 A2 A3 A4 A5 A6 B1 B2 B3 D G1 G2 G3",
    "GRI": "A1 A2 A3 A4 K1 K2 K3 K4 K5 N1 N2A N2B N2C N2D N3A N3B NA",
    "SYT": "1 10 11 12 13 14 15 16 17 2 3 4 5 6 7 8 9",
    "KCN": "A1 A10 A2 A3 A4 A5 A6 A7 B1 B2 C1 C2 C3 C4 D1 D2 D3 Q1 Q2 Q3 Q4 Q5",
    "CACN": "A1A A1B A1C A1D A1E A1F A1G A1H A1I A2D1 A2D2 A2D3 A2D4 B1 B2 B3 B4 G1 G2 G3 G4 G5 G6 G7 G8",
    "SLC12A": "1 2 3 4 5 6 7 8 9",
    "RAB3": "A B C D",
    "NRXN": "1 2 3",
    "NLGN": "1 2 3 4X",
    "SLC17A": "6 7 8",
    "STX": "10 11 12 16 17 18 19 1A 1B 2 3 4 5 6 7 8",
    "HTR": "1A 1B 1D 1E 1F 2A 2B 2C 3A 3B 3C 3D 3E 4 5A 6 7",
    "CHRN": "A1 A10 A2 A3 A4 A5 A6 A7 A9 B1 B2 B3 B4",
}
OTHER = {
    "SLC25A": (
        "1 10 11 12 13 14 15 16 17 18 19 2 20 21 22 23 24 25 26 27 28 29 3 30 31 32 33 34 35 36 37 38 39 4 40 "
        "41 42 43 44 45 46 47 48 5 51 52 53 6"
    ),
    "KRT": (
        "1 10 12 13 14 15 16 17 18 19 2 20 222 23 24 25 26 27 28 3 31 32 34 35 36 37 38 39 4 40 5 7 71 72 73 "
        "74 75 76 77 78 79 8 80 81 82 83 84 85 86 9"
    ),
    "ZNF": (
        "10 100 101 106 107 112 114 117 12 121 124 131 132 133 134 135 136 138 14 140 141 142 143 146 148 154 "
        "155 157 16 160 165 169 17 174 175 177 18 180 181 182 184 185 189 19 195 197 20 200 202 205 207 208 "
        "211 212 213 214 215 217 219 22 221 222 223 224 225 226 227 229 23 230 232 233 234 235 236 239 24 248 "
        "25 250 251 253 254 256 257 26 260 263 264 266 267 268 273 274 275 276 277 28 281 282 283 284 285 287 "
        "292 296"
    ),
}

# Score of each tumour category by diagnosis, and its slope on the latent ``tumour``.
DIAGNOSES = ("glioblastoma", "astrocytoma_g4", "astrocytoma", "oligodendroglioma")
PROGRAMMES = {
    "classical": ((0.9, 0.2, -0.2, -0.6), 0.4),
    "mesenchymal": ((0.9, 0.2, -0.4, -0.7), 0.6),
    "MES-like state": ((0.8, 0.3, -0.4, -0.7), 0.8),
    "proneural": ((-0.6, 0.4, 0.4, 0.6), 0.4),
    "OPC-like state": ((-0.5, -0.1, 0.1, 1.0), 0.3),
    "AC-like state": ((-0.1, 0.2, 0.9, -0.7), -0.3),
    "NPC-like state": ((-0.4, 0.6, 0.1, 0.4), 0.6),
    "cell cycle": ((0.5, 0.4, -0.5, -0.4), 2.5),
    "oncogene": ((0.0, 0.0, 0.0, 0.0), 1.0),
    "tumour suppressor": ((0.0, 0.0, 0.0, 0.0), -0.8),
}
OWN_EFFECTS = {
    "CDKN2A": (-2.5, -1.8, 0.0, 0.0),
    "CDKN2B": (-2.0, -1.4, 0.0, 0.0),
    "EGFR": (1.5, 0.0, 0.0, 0.2),
    "FUBP1": (0.0, 0.0, 0.0, -0.8),
    "CIC": (0.0, 0.0, 0.0, -0.8),
}
TME_SLOPE, TME_NOISE, TME_CATEGORY_NOISE = 4.0, 0.35, 0.3
NEURONAL_SLOPE = -2.0
PROGRAMME_NOISE = 0.9
SILENT_FRACTION = 0.4
GENE_NOISE = 0.5
LIBRARY_DRIFT = 0.5
PLATFORM_SHIFT = 0.8
DISPERSION = 0.08
READS = 4.0e6

GDC_HEADER = (
    "gene_id",
    "gene_name",
    "gene_type",
    "unstranded",
    "stranded_first",
    "stranded_second",
    "tpm_unstranded",
    "fpkm_unstranded",
    "fpkm_uq_unstranded",
)


def _family_symbols(families: dict[str, str]) -> list[str]:
    return [prefix + ending for prefix, endings in families.items() for ending in endings.split()]


def draw_genes(seed: int) -> pd.DataFrame:
    """Draw the parameters of every gene.

    Returns
    -------
    pandas.DataFrame
        symbol (sorted), category, niche (``""`` outside the gene sets), base, loading, drift, platform, length (bp),
        gene_id (Ensembl-like, with version), in_gdc, in_ivygap.
    """
    placed = gene_sets(GENE_SETS).drop_duplicates("symbol")[["symbol", "category", "niche"]]
    families = {"housekeeping": HOUSEKEEPING, "neuronal": NEURONAL, "other": OTHER}
    others = [(symbol, category, "") for category in families for symbol in _family_symbols(families[category])]
    genes = pd.concat([placed, pd.DataFrame(others, columns=placed.columns)]).drop_duplicates("symbol")
    genes = genes.sort_values("symbol", ignore_index=True)

    random = np.random.default_rng(seed)
    count = len(genes)
    genes["base"] = random.normal(5.0, 1.8, count) + 2.5 * (genes["category"] == "housekeeping")
    loading = random.gamma(4.0, 0.2, count) * (random.random(count) >= SILENT_FRACTION)
    genes["loading"] = np.where(genes["category"].isin(["housekeeping", "other"]), 0.0, loading)
    genes["drift"] = random.normal(0.0, LIBRARY_DRIFT, count)
    genes["platform"] = random.normal(0.0, PLATFORM_SHIFT, count)
    genes["length"] = np.round(2 ** random.normal(11.3, 0.9, count)).astype(int)
    chance = random.random(count)
    genes["in_gdc"], genes["in_ivygap"] = chance >= 0.02, chance < 0.96
    genes["gene_id"] = [_ensembl_id(symbol) for symbol in genes["symbol"]]
    return genes


def _ensembl_id(symbol: str) -> str:
    number = int(hashlib.sha256(symbol.encode()).hexdigest()[:12], 16)
    return f"ENSG9{number % 10**10:010d}.{number % 17 + 1}"


def draw_levels(profile: pd.Series, genes: pd.DataFrame, random: np.random.Generator) -> np.ndarray:
    """Draw the log2 level of every gene in one profile: the model above without its platform term."""
    diagnosis = DIAGNOSES.index(profile["diagnosis"])
    score = {"neuronal": NEURONAL_SLOPE * (profile["tumour"] - 0.5)}
    for programme, (means, slope) in PROGRAMMES.items():
        noise = random.normal(0.0, PROGRAMME_NOISE)
        score[programme] = means[diagnosis] + slope * (profile["tumour"] - 0.5) + noise
    shared = TME_SLOPE * (profile["tme"] - 0.5) + random.normal(0.0, TME_NOISE)
    for category in sorted(set(genes.loc[genes["niche"] == "tme", "category"])):
        score[category] = shared + random.normal(0.0, TME_CATEGORY_NOISE)
    own = genes["symbol"].map({symbol: effects[diagnosis] for symbol, effects in OWN_EFFECTS.items()}).fillna(0.0)
    moved = genes["loading"] * genes["category"].map(score).fillna(0.0)
    of_genes = random.normal(0.0, GENE_NOISE, len(genes))
    return (genes["base"] + moved + own + profile["library"] * genes["drift"] + of_genes).to_numpy()


def draw_counts(levels: np.ndarray, reads: float, random: np.random.Generator) -> np.ndarray:
    """Draw negative binomial read counts whose expected total is ``reads``."""
    mean = 2.0**levels
    mean *= reads / mean.sum()
    size = 1.0 / DISPERSION
    return random.negative_binomial(size, size / (size + mean))


def write_expression(truth: pd.DataFrame, folder: Path, seed: int) -> None:
    """Write the expression files of the demo cohort.

    A profile depends on its own row, its id and the seed alone, so that a new profile changes no other.

    Parameters
    ----------
    truth
        One row for each profile: layout (``gdc-star`` or ``ivygap``), expression_id, diagnosis, tumour and tme (0..1),
        library (log2 shift of its batch); for ``ivygap`` also tumor_name, block_name and specimen_name.
    folder
        Gets ``gdc/{expression_id}/{expression_id}.rna_seq.augmented_star_gene_counts.tsv`` and ``ivygap/`` with
        ``fpkm_table.csv``, ``rows-genes.csv`` and ``columns-samples.csv``.
    seed
        Seed of the genes' parameters and of every draw.
    """
    genes = draw_genes(seed)
    truth = truth.sort_values(["layout", "expression_id"])
    with atomic(folder / "gdc") as gdc:
        gdc.mkdir()
        in_gdc = genes["in_gdc"].to_numpy()
        order = np.argsort(genes.loc[in_gdc, "gene_id"].to_numpy())
        for _, profile in truth[truth["layout"] == GDC_STAR].iterrows():
            random = _generator(profile, seed)
            levels = draw_levels(profile, genes, random)[in_gdc]
            file = gdc / profile["expression_id"] / f"{profile['expression_id']}{GDC_SUFFIX}"
            _write_gdc(genes[in_gdc].iloc[order], levels[order], file, random)
    with atomic(folder / "ivygap") as ivygap:
        _write_ivygap(genes[genes["in_ivygap"]], genes, truth[truth["layout"] == IVYGAP], ivygap, seed)


def _generator(profile: pd.Series, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, stable_hash(f"{profile['layout']}/{profile['expression_id']}")])


def _write_gdc(genes: pd.DataFrame, levels: np.ndarray, file: Path, random: np.random.Generator) -> None:
    counts = draw_counts(levels, READS * random.uniform(0.7, 1.4), random)
    first = random.binomial(counts, 0.5)
    per_base = counts / genes["length"].to_numpy()
    columns = [
        genes["gene_id"],
        genes["symbol"],
        ["protein_coding"] * len(genes),
        counts,
        first,
        counts - first,
        [f"{value:.4f}" for value in 1e6 * per_base / per_base.sum()],
        [f"{value:.4f}" for value in 1e9 * per_base / counts.sum()],
        [f"{value:.4f}" for value in 1e9 * per_base / (np.percentile(counts, 75) * len(counts))],
    ]
    lines = ["# gene-model: ksfusion demo", "\t".join(GDC_HEADER)]
    for name in ("N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous"):
        reads = int(random.integers(20_000, 400_000))
        lines.append(f"{name}\t\t\t{reads}\t{reads}\t{reads}\t\t\t")
    lines += ["\t".join(map(str, row)) for row in zip(*columns, strict=True)]
    file.parent.mkdir(parents=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_ivygap(genes: pd.DataFrame, all_genes: pd.DataFrame, truth: pd.DataFrame, folder: Path, seed: int) -> None:
    folder.mkdir(parents=True)
    # The atlas numbers its genes; rows stand in order of number, which is not that of symbols.
    numbers = 499300000 + np.random.default_rng([seed, 1]).permutation(len(genes))
    order = np.argsort(numbers)
    genes, numbers = genes.iloc[order], numbers[order]
    fpkm: dict[str, np.ndarray | list[str]] = {"gene_id\\rna_well_id": numbers}
    for _, profile in truth.iterrows():
        random = _generator(profile, seed)
        levels = draw_levels(profile, all_genes, random)[genes.index] + genes["platform"].to_numpy()
        counts = draw_counts(levels, READS * random.uniform(0.7, 1.4), random)
        values = 1e9 * counts / genes["length"].to_numpy() / counts.sum()
        fpkm[profile["expression_id"]] = [f"{value:.5f}" for value in values]
    rows = pd.DataFrame(
        {
            "gene_id": numbers,
            "chromosome": 1 + numbers % 22,
            "gene_entrez_id": 900000000 + numbers % 10**6,
            "gene_symbol": genes["symbol"].to_numpy(),
            "gene_name": [f"{symbol} (demo)" for symbol in genes["symbol"]],
        }
    )
    names = ["tumor_name", "block_name", "specimen_name"]
    samples = truth[["expression_id", *names]].rename(columns={"expression_id": "rna_well_id"})
    samples = samples.assign(structure_abbreviation="CT", structure_name="Cellular Tumor")
    for name, table in {FPKM_TABLE: pd.DataFrame(fpkm), GENES_TABLE: rows, SAMPLES_TABLE: samples}.items():
        table.to_csv(folder / name, index=False, lineterminator="\n")
