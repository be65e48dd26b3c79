"""Raw counts: kept through log2(CPM + 1), and ranked as scanpy's seurat_v3 flavours rank them, called directly."""

from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy
from layouts import ENDING, GDC_ROWS, write_gdc

from ksfusion.cli import main
from ksfusion.core.errors import UserError
from ksfusion.core.storage import read_tsv, write_tsv
from ksfusion.genes import gene_sets, select_genes
from ksfusion.genes.config import Genes, ReadExpressionSettings
from ksfusion.genes.expression.counts import counts_to_log, log_to_counts
from ksfusion.stages.read_expression import read_expression
from ksfusion.stages.select_genes import select_genes as select_genes_of_fold

FLAVOURS = ["seurat_v3", "seurat_v3_paper"]


def there_and_back(counts):
    log_values = counts.astype(np.float32)
    sizes = pd.Series(counts_to_log(log_values))
    return log_to_counts(pd.DataFrame(log_values), sizes).to_numpy()


@pytest.mark.parametrize("depth", [1e5, 1e6, 5e7, 1e9])
def test_counts_come_back_to_the_read(depth):
    random = np.random.default_rng(0)
    counts = np.exp(random.uniform(0, np.log(min(5e5, depth / 100)), (50, 2000))).astype(np.int64)
    counts[random.random(counts.shape) < 0.2] = 0
    # One gene takes what is left of the library.
    counts[:, -1] = 0
    counts[:, -1] = np.maximum(depth - counts.sum(axis=1), 0)
    np.testing.assert_array_equal(there_and_back(counts)[:, :-1], counts[:, :-1])


def test_very_large_counts_come_back_to_a_millionth():
    counts = np.random.default_rng(1).integers(5_000_000, 16_000_000, (20, 100))
    np.testing.assert_allclose(there_and_back(counts), counts, rtol=2e-6)


def test_estimated_counts_are_rounded_and_missing_ones_stay_missing():
    # RSEM's counts have fractions; the size of the library is that of the counts as given.
    values = np.array([[2.4, np.nan, 7.6, 0.0]], np.float32)
    sizes = pd.Series(counts_to_log(values))
    assert sizes[0] == pytest.approx(10)
    np.testing.assert_array_equal(log_to_counts(pd.DataFrame(values), sizes), [[2, np.nan, 8, 0]])


def test_library_sizes_are_of_all_genes_of_a_file_and_of_counts_alone(tmp_path):
    # 1 + 3 reads; STAR's rows of reads without a gene do not count, A1BG does though the other cohort lacks it.
    a1bg = ("ENSG00000121410.12", "A1BG")
    write_gdc(tmp_path / "gdc" / "b" / f"x{ENDING}", [*GDC_ROWS, (*a1bg, 2_000_000, 0, 0)])
    write_gdc(tmp_path / "gdc" / "a" / f"x{ENDING}", [*GDC_ROWS, (*a1bg, 6, 0, 0)])
    # Without any read a profile is left out.
    write_gdc(tmp_path / "gdc" / "c" / f"x{ENDING}", [(*row[:2], 0, 0, 0) for row in [*GDC_ROWS, a1bg]])
    (tmp_path / "estimated.tsv").write_text("gene\tP1\nEGFR\t1.5\nCD3E\t2\n")
    (tmp_path / "tpm.tsv").write_text("gene\tP1\nEGFR\t1\nCD3E\t2\n")
    sources = [
        {"cohort": "T", "format": "matrix", "unit": "tpm", "path": str(tmp_path / "tpm.tsv")},
        {"cohort": "G", "format": "gdc-star", "unit": "counts", "path": str(tmp_path / "gdc")},
        {"cohort": "E", "format": "matrix", "unit": "counts", "path": str(tmp_path / "estimated.tsv")},
    ]
    files = {name: tmp_path / name for name in ("profiles.parquet", "sizes.tsv")}
    settings = ReadExpressionSettings(sources=sources)
    arguments = ["--output", str(files["profiles.parquet"]), "--library-sizes", str(files["sizes.tsv"])]
    main(["read-expression", "--settings", settings.as_json(), *arguments])
    sizes = read_tsv(files["sizes.tsv"], dtype={"expression_id": str})
    assert sizes.columns.tolist() == ["cohort", "expression_id", "library_size"]
    assert sizes.to_numpy().tolist() == [["E", "P1", 3.5], ["G", "a", 10], ["G", "b", 2_000_004]]
    settings = ReadExpressionSettings(sources=sources[:1])
    read_expression(tmp_path / "p.parquet", settings=settings, library_sizes=files["sizes.tsv"])
    assert files["sizes.tsv"].read_text() == "cohort\texpression_id\tlibrary_size\n"


def draw_counts(n_genes, seed=7):
    """Return negative binomial counts of two cohorts of 30 and 24 profiles, each with its own dispersions."""
    random = np.random.default_rng(seed)
    means = random.lognormal(4, 1.8, n_genes)
    counts = {}
    for cohort, n_profiles in (("x", 30), ("y", 24)):
        shape = random.lognormal(0.5, 1, n_genes)
        own = means * random.uniform(0.5, 2, n_genes)
        counts[cohort] = random.negative_binomial(shape, shape / (shape + own), (n_profiles, n_genes))
    return counts


def order_by_scanpy(counts, symbols, flavour, n_top):
    """Call scanpy on raw counts; return its table in the order that its documentation gives the flavour."""
    labels = np.repeat(list(counts), [len(part) for part in counts.values()])
    data = anndata.AnnData(
        np.concatenate(list(counts.values())).astype(np.float64),
        obs=pd.DataFrame({"cohort": pd.Categorical(labels)}, index=[f"p{number}" for number in range(len(labels))]),
        var=pd.DataFrame(index=symbols),
    )
    scanpy.pp.highly_variable_genes(data, flavor=flavour, n_top_genes=n_top, batch_key="cohort")
    keys = [data.var["highly_variable_rank"].fillna(np.inf), -data.var["highly_variable_nbatches"]]
    first, second = keys if flavour == "seurat_v3" else keys[::-1]
    # The last key comes first to lexsort; equal genes stay as they stand, by symbol.
    return data.var.iloc[np.lexsort((second, first))]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_order_is_that_of_scanpy(flavour):
    symbols = [f"G{number:04}" for number in range(1000)]
    counts = draw_counts(1000)
    expected = order_by_scanpy(counts, symbols, flavour, 300)
    tables = {cohort: pd.DataFrame(part, columns=symbols) for cohort, part in counts.items()}
    ranking = select_genes(tables, rank=flavour)
    chosen = ranking.loc[ranking["chosen"], "symbol"].tolist()
    assert len(chosen) == 300
    assert set(chosen) == set(expected.index[expected["highly_variable"]])
    assert chosen == expected.index[:300].tolist()
    # Genes that neither cohort would choose have no rank of scanpy's; they follow by their normalised variance.
    rest = expected[expected["highly_variable_nbatches"] == 0].sort_values("variances_norm", ascending=False)
    assert len(rest) > 100
    assert ranking["symbol"].tolist()[-len(rest) :] == rest.index.tolist()
    variance = (counts["x"].var(axis=0, ddof=1) + counts["y"].var(axis=0, ddof=1)) / 2
    assert ranking.set_index("symbol")["variance"].loc[symbols].to_numpy() == pytest.approx(variance)


def test_the_two_flavours_order_differently():
    symbols = [f"G{number:04}" for number in range(1000)]
    tables = {cohort: pd.DataFrame(part, columns=symbols) for cohort, part in draw_counts(1000).items()}
    first, second = (select_genes(tables, rank=flavour) for flavour in FLAVOURS)
    assert set(first.loc[first["chosen"], "symbol"]) != set(second.loc[second["chosen"], "symbol"])


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_what_cannot_be_ranked_by_counts_is_refused(flavour):
    symbols = [f"G{number:02}" for number in range(60)]
    table = pd.DataFrame(draw_counts(60)["x"], columns=symbols)

    def refuse(table, match):
        with pytest.raises(UserError, match=match) as caught:
            select_genes({"x": table}, rank=flavour)
        assert len(str(caught.value).splitlines()) == 1

    wanted = f"genes.rank: {flavour} wants complete profiles of raw counts, and gene G07 has missing, negative or"
    for value in (0.5, -1, np.nan):
        refuse(table.astype(float).assign(G07=value), wanted)
    # Below four genes that vary, the library that fits the curve would take the process down.
    for n_varied in (0, 1, 3, 9):
        few = table.assign(**dict.fromkeys(symbols[n_varied:], 7))
        refuse(few, f"a cohort has {n_varied} of them, fewer than 10; use within_cohort")
    # All genes with one mean and one variance: there is no curve.
    same = pd.DataFrame({symbol: range(10) for symbol in symbols})
    refuse(same, rf"{flavour} failed on these profiles \(svddc failed in l2fit\); use within_cohort")


def test_genes_that_do_not_vary_come_last():
    symbols = [f"G{number:03}" for number in range(200)]
    table = pd.DataFrame(draw_counts(200)["x"], columns=symbols)
    table[["G000", "G001"]] = [0, 12]
    ranking = select_genes({"x": table}, rank="seurat_v3")
    assert ranking["symbol"].tolist()[-2:] == ["G000", "G001"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two cohorts as the GDC lays them out, read with the unit ``counts``: 26 of 54 cases are of training."""
    folder = tmp_path_factory.mktemp("counts")
    symbols = gene_sets().drop_duplicates("symbol").groupby("niche").head(150)["symbol"].sort_values().tolist()
    counts = draw_counts(len(symbols))
    rows = []
    for cohort, part in counts.items():
        for number, profile in enumerate(part):
            name = f"{cohort}{number:02}"
            genes = [(f"ENSG{place:011}.1", symbol, profile[place], 1, 1) for place, symbol in enumerate(symbols)]
            # A gene of each cohort alone: reads of the library that are no gene's that both share.
            genes.append(("ENSG00000999999.1", f"LOC{cohort.upper()}", 30_000_000 + number, 1, 1))
            write_gdc(folder / cohort / name / f"a{ENDING}", genes)
            rows.append((name, cohort, "train" if number % 2 else "test"))
    samples = pd.DataFrame(rows, columns=["sample_id", "cohort", "split"])
    samples["case_id"] = samples["expression_id"] = samples["sample_id"]
    write_tsv(samples.assign(status="ok", reason=""), folder / "samples.tsv")
    write_tsv(samples.assign(fold=0)[["fold", "case_id", "split"]], folder / "splits.tsv")
    sources = [{"cohort": name, "format": "gdc-star", "unit": "counts", "path": str(folder / name)} for name in counts]
    settings = ReadExpressionSettings(sources=sources)
    read_expression(folder / "profiles.parquet", settings=settings, library_sizes=folder / "library_sizes.tsv")
    return SimpleNamespace(folder=folder, symbols=symbols, counts=counts)


def run(study, output, flavour, **options):
    inputs = [study.folder / name for name in ("profiles.parquet", "samples.tsv", "splits.tsv")]
    options = {"library_sizes": study.folder / "library_sizes.tsv", **options}
    select_genes_of_fold(*inputs, output, fold=0, settings=Genes(rank=flavour), **options)
    return read_tsv(output / "ranking.tsv")


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_through_files_the_training_counts_are_ranked(study, flavour, tmp_path):
    ranking = run(study, tmp_path / "one", flavour)
    training = {cohort: part[1::2] for cohort, part in study.counts.items()}
    n_top = round(0.3 * len(study.symbols))
    expected = order_by_scanpy(training, study.symbols, flavour, n_top)
    assert ranking.loc[ranking["chosen"], "symbol"].tolist() == expected.index[:n_top].tolist()
    assert set(expected.index[:n_top]) == set(expected.index[expected["highly_variable"]])
    variance = sum(part.var(axis=0, ddof=1) for part in training.values()) / 2
    assert ranking.set_index("symbol")["variance"].loc[study.symbols].to_numpy() == pytest.approx(variance)
    run(study, tmp_path / "two", flavour)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_the_scaled_expression_is_of_log_values_whatever_the_rank(study, tmp_path):
    run(study, tmp_path, "seurat_v3")
    scaling = read_tsv(tmp_path / "scaling.tsv").set_index(["cohort", "symbol"])
    symbol = scaling.loc["x"].index[0]
    counts = study.counts["x"][1::2]
    library = counts.sum(axis=1) + 30_000_000 + np.arange(1, 30, 2)
    expected = np.log2(counts[:, study.symbols.index(symbol)] / library * 1e6 + 1)
    assert scaling.at[("x", symbol), "mean"] == pytest.approx(expected.mean(), rel=1e-5)


def test_counts_that_are_not_there_are_said(study, tmp_path):
    with pytest.raises(UserError, match="seurat_v3 wants raw counts, and no library sizes are given"):
        run(study, tmp_path, "seurat_v3", library_sizes=None)
    sizes = read_tsv(study.folder / "library_sizes.tsv")
    write_tsv(sizes[sizes["cohort"] == "x"], tmp_path / "sizes.tsv")
    with pytest.raises(UserError, match="wants raw counts, and cohorts y hold another unit; use within_cohort"):
        run(study, tmp_path, "seurat_v3", library_sizes=tmp_path / "sizes.tsv")
