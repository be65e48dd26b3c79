"""Gene sets: the shipped tables and a user's own."""

import logging
import re
import zipfile

import pandas as pd
import pytest

from ksfusion.errors import UserError
from ksfusion.genes import gene_sets
from ksfusion.genes.niches import COLUMNS, ensembl_symbols
from ksfusion.resources import resource

# The immune categories of ImmPort.
IMMUNE_CATEGORIES = {
    "antigen processing and presentation",
    "antimicrobials",
    "BCR signalling",
    "TCR signalling",
    "chemokines",
    "chemokine receptors",
    "cytokines",
    "cytokine receptors",
    "interferons",
    "interferon receptors",
    "interleukins",
    "interleukin receptors",
    "natural killer cell cytotoxicity",
    "TGF-beta family",
    "TGF-beta receptors",
    "TNF family",
    "TNF receptors",
}


@pytest.fixture
def write_sets(tmp_path):
    def write(rows, header="symbol\tcategory\tniche\tsource"):
        path = tmp_path / "sets.tsv"
        path.write_text("\n".join([header, *rows]) + "\n")
        return path

    return write


@pytest.mark.parametrize("niche", ["tumour", "tme"])
def test_shipped_tables_are_well_formed(niche):
    table = pd.read_csv(resource(f"gene_sets/{niche}.tsv"), sep="\t", keep_default_na=False)
    assert set(table["niche"]) == {niche}
    assert (table[COLUMNS] != "").all(axis=None)
    assert not table.duplicated(["symbol", "category"]).any()
    assert table["symbol"].tolist() == sorted(table["symbol"])
    assert all(re.fullmatch(r"[A-Z0-9][A-Z0-9-]*", symbol) for symbol in table["symbol"])
    ids = [gene for cell in table["ensembl_gene_id"] if cell for gene in cell.split("|")]
    assert all(re.fullmatch(r"ENSG\d{11}", gene) for gene in ids)


def test_shipped_sets_are_large_and_share_no_gene():
    sets = gene_sets()
    symbols = sets.groupby("niche")["symbol"].agg(set)
    assert len(symbols["tumour"]) >= 300
    assert len(symbols["tme"]) >= 500
    assert not symbols["tumour"] & symbols["tme"]
    assert set(sets.loc[sets["niche"] == "tme", "category"]) >= IMMUNE_CATEGORIES


def test_known_genes_stand_where_the_literature_puts_them():
    sets = gene_sets()
    niche = sets.drop_duplicates("symbol").set_index("symbol")["niche"]
    for symbol in ("EGFR", "PDGFRA", "OLIG2", "CDKN2A", "TP53", "IDH1", "MKI67", "GFAP", "CHI3L1", "DLL3"):
        assert niche[symbol] == "tumour", symbol
    for symbol in ("CD3E", "CD8A", "CD19", "CXCL10", "IL6", "IFNG", "TGFB1", "TNF", "HLA-DRA", "KLRK1", "TMEM119"):
        assert niche[symbol] == "tme", symbol


def test_ensembl_ids_of_well_known_genes():
    known = {"ENSG00000141510": "TP53", "ENSG00000146648": "EGFR", "ENSG00000206503": "HLA-A"}
    assert {gene: ensembl_symbols()[gene] for gene in known} == known


def test_symbols_agree_with_the_tcga_table(real_data):
    with zipfile.ZipFile(real_data / "omics/tcga_gbmlgg_all_clean.csv.zip") as archive:
        header = archive.open(archive.namelist()[0]).readline().decode().strip().split(",")
    published = {name.removesuffix("_rnaseq") for name in header if name.endswith("_rnaseq")}
    # The table holds 1,544 genes picked for cancer and immunity; most of a sound list of such genes is in it.
    assert len(published & set(gene_sets()["symbol"])) > 700


def test_a_gene_in_both_niches_counts_as_tumour(write_sets, caplog):
    path = write_sets(["CD44\tT cells\ttme\tA", "CD44\tmesenchymal\ttumour\tB", "CD3E\tT cells\ttme\tA"])
    with caplog.at_level(logging.INFO):
        sets = gene_sets(path)
    assert sets[["symbol", "niche"]].to_numpy().tolist() == [["CD44", "tumour"], ["CD3E", "tme"]]
    assert "1 genes listed in both niches" in caplog.text


def test_a_symbol_may_have_several_categories_and_a_strange_name(write_sets):
    sets = gene_sets(write_sets(["NA\ta\ttumour\tX", "NA\tb\ttumour\t", "NA\ta\ttumour\tX"]))
    assert sets.to_numpy().tolist() == [["NA", "a", "tumour", "X"], ["NA", "b", "tumour", ""]]
    assert sets.columns.tolist() == COLUMNS


def test_errors_name_the_file_and_the_row(write_sets, tmp_path):
    with pytest.raises(UserError, match=r"row 3: unknown niche 'stroma'; use tumour or tme"):
        gene_sets(write_sets(["A1\tx\ttme\ty", "A2\tx\tstroma\ty"]))
    with pytest.raises(UserError, match=r"row 2: symbol is empty"):
        gene_sets(write_sets(["\tx\ttme\ty"]))
    with pytest.raises(UserError, match="no column niche, source"):
        gene_sets(write_sets(["A1\tx"], header="symbol\tcategory"))
    with pytest.raises(UserError, match="holds no genes"):
        gene_sets(write_sets([]))
    with pytest.raises(UserError, match=r"missing.tsv: cannot be read"):
        gene_sets(tmp_path / "missing.tsv")
    with pytest.raises(UserError, match="not a tab-separated table"):
        gene_sets(write_sets(["A1\tx\ttme\ty", "A1\tx\ttme\ty\tz"]))
    (tmp_path / "sets.tsv").write_text("")
    with pytest.raises(UserError, match="not a tab-separated table"):
        gene_sets(tmp_path / "sets.tsv")
