"""Gene sets: the shipped tables and a user's own."""

import re
import zipfile

import pandas as pd
import pytest
from workbooks import write_workbook

from ksfusion.core.errors import UserError
from ksfusion.core.resources import resource
from ksfusion.genes import gene_sets
from ksfusion.genes.sets.gene_sets import conflicts
from ksfusion.genes.sets.set_files import COLUMNS, read_gene_set
from ksfusion.genes.sets.shipped import ensembl_symbols
from ksfusion.terms.gene_sets import TABLES

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


SHIPPED = [(name, niche) for tables in TABLES.values() for niche, name in tables.items() if niche != "aliases"]


@pytest.mark.parametrize(("name", "niche"), SHIPPED)
def test_shipped_tables_are_well_formed(name, niche):
    table = pd.read_csv(resource(name), sep="\t", keep_default_na=False)
    assert set(table["niche"]) == {niche}
    assert (table[COLUMNS] != "").all(axis=None)
    assert not table.duplicated(["symbol", "category"]).any()
    assert table["symbol"].tolist() == sorted(table["symbol"])
    assert all(re.fullmatch(r"[A-Z0-9][A-Z0-9-]*", symbol) for symbol in table["symbol"])
    ids = [gene for cell in table["ensembl_gene_id"] if cell for gene in cell.split("|")]
    assert all(re.fullmatch(r"ENSG\d{11}", gene) for gene in ids)


SOURCE = re.compile(
    r"(?P<go>GO:)\d{7} \S.*|(?P<kegg>KEGG hsa)\d{5} \S.*|(?P<hgnc>HGNC (family|name): )\S.*"
    r"|(?P<pfam>Pfam PF)\d{5} \S.*|(?P<paper>[A-Z][A-Za-z-]+ \d{4})"
)


@pytest.mark.parametrize(("name", "niche"), SHIPPED)
def test_every_row_has_a_reference(name, niche):
    listed = resource("gene_sets/README.md").read_text(encoding="utf-8")
    table = pd.read_csv(resource(name), sep="\t", keep_default_na=False)
    matches = [SOURCE.fullmatch(source) for source in table["source"].unique()]
    assert all(matches)
    for match in matches:
        kind = match[match.lastgroup]
        assert f"| {kind} |" in listed if match["paper"] else f"| {kind}... |" in listed


def test_roles_of_cancer_genes_are_those_of_the_census():
    # Cancer Gene Census, release 85: MDM2, CDK4 oncogenes; TSC2, CHEK2 tumour suppressors.
    category = gene_sets().query("source == 'Sondka 2018'").set_index("symbol")["category"]
    assert category[["MDM2", "CDK4"]].tolist() == ["oncogene"] * 2
    assert category[["TSC2", "CHEK2"]].tolist() == ["tumour suppressor"] * 2


def test_shipped_sets_are_large_and_share_no_gene():
    sets = gene_sets()
    symbols = sets.groupby("niche")["symbol"].agg(set)
    assert len(symbols["tumour"]) >= 300
    assert len(symbols["tme"]) >= 1000
    assert not symbols["tumour"] & symbols["tme"]
    assert set(sets.loc[sets["niche"] == "tme", "category"]) >= IMMUNE_CATEGORIES


def test_shipped_sets_list_the_genes_that_both_niches_claim():
    # Ras and PI3K carry the signal of lymphocyte receptors, growth factor receptors bind cytokine-like ligands.
    listed = conflicts().set_index("symbol")
    assert {"KRAS", "PIK3CA", "EGFR", "PDGFRA", "MET"} <= set(listed.index)
    assert listed.at["PDGFRA", "dropped_categories"] == "cytokine receptors"
    assert set(listed["kept"]) == {"tumour"}


def test_vogelsteins_drivers_are_named_as_such():
    # Vogelstein 2013, table S2A: 54 oncogenes and 71 tumour suppressors.
    sets = gene_sets().query("source == 'Vogelstein 2013'")
    category = sets.set_index("symbol")["category"]
    assert category[["BRAF", "IDH1", "PIK3CA"]].unique().tolist() == ["oncogene"]
    assert category[["TP53", "PTEN", "ATRX"]].unique().tolist() == ["tumour suppressor"]
    assert "MDM2" not in category


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


def test_a_gene_in_both_niches_counts_as_tumour_and_is_listed(write_sets):
    rows = ["CD44\tT cells\ttme\tA", "CD44\tmesenchymal\ttumour\tB", "CD3E\tT cells\ttme\tA"]
    path = write_sets([*rows, "CD44\tB cells\ttme\tC"])
    assert gene_sets(path)[["symbol", "niche"]].to_numpy().tolist() == [["CD44", "tumour"], ["CD3E", "tme"]]
    listed = conflicts(path)
    assert listed.to_dict("records") == [
        {
            "symbol": "CD44",
            "kept": "tumour",
            "kept_categories": "mesenchymal",
            "dropped": "tme",
            "dropped_categories": "T cells; B cells",
            "rule": "listed in both niches: counts as tumour",
        }
    ]
    assert conflicts(write_sets(rows[1:])).empty


def test_a_symbol_may_have_several_categories_and_a_strange_name(write_sets):
    sets = gene_sets(write_sets(["NA\ta\ttumour\tX", "NA\tb\ttumour\t", "NA\ta\ttumour\tX"]))
    assert sets.to_numpy().tolist() == [["NA", "a", "tumour", "X"], ["NA", "b", "tumour", ""]]
    assert sets.columns.tolist() == COLUMNS


# The columns as ImmPort publishes them; a gene has a row for each of its categories.
IMMPORT = """Symbol\tName\tSynonyms\tID\tSequence\tCategory\tChromosome
CXCL10\t"chemokine (C-X-C motif) ligand 10"\tC7, IFI10, INP10\t3627\tNM_001565\tAntimicrobials\t4
CXCL10\t"chemokine (C-X-C motif) ligand 10"\tC7, IFI10, INP10\t3627\tNM_001565\tChemokines\t4
EGFR\tepidermal growth factor receptor\tERBB, HER1\t1956\tNM_005228\tCytokine_Receptors\t7
"""
GMT = "MY_GLIOMA\thttps://example.org/set\tEGFR\tSOX2\nMY_CYCLE\t\tMKI67\n"


def test_immports_list_and_a_gmt_replace_the_shipped_sets(tmp_path):
    (tmp_path / "GeneList.txt").write_text(IMMPORT)
    (tmp_path / "my.gmt").write_text(GMT)
    sets = {"tme": tmp_path / "GeneList.txt", "tumour": str(tmp_path / "my.gmt")}
    assert gene_sets(sets).to_numpy().tolist() == [
        ["EGFR", "MY_GLIOMA", "tumour", "https://example.org/set"],
        ["SOX2", "MY_GLIOMA", "tumour", "https://example.org/set"],
        ["MKI67", "MY_CYCLE", "tumour", "my.gmt"],
        ["CXCL10", "Antimicrobials", "tme", "ImmPort"],
        ["CXCL10", "Chemokines", "tme", "ImmPort"],
    ]
    assert conflicts(sets)["dropped_categories"].tolist() == ["Cytokine_Receptors"]


def test_previous_symbols_of_ones_own_sets_are_brought_to_todays(tmp_path):
    (tmp_path / "my.gmt").write_text("OLD\tnone\tDARC\tEGFR\n")
    assert gene_sets({"tme": tmp_path / "my.gmt"}).query("niche == 'tme'")["symbol"].tolist() == ["ACKR1"]


def test_a_niche_left_out_has_the_shipped_set(tmp_path):
    (tmp_path / "my.gmt").write_text(GMT)
    shipped = gene_sets()
    mixed = gene_sets({"tumour": tmp_path / "my.gmt"})
    assert set(mixed.loc[mixed["niche"] == "tumour", "symbol"]) == {"EGFR", "SOX2", "MKI67"}
    # Only the genes of the user's own tumour set are taken from the shipped set of the TME.
    tables = [pd.read_csv(resource(name), sep="\t", keep_default_na=False) for name, niche in SHIPPED if niche == "tme"]
    expected = set(pd.concat(tables)["symbol"]) - {"EGFR", "SOX2", "MKI67"}
    assert set(mixed.loc[mixed["niche"] == "tme", "symbol"]) == expected
    pd.testing.assert_frame_equal(gene_sets({"tme": "builtin"}), shipped)


def test_a_table_may_serve_one_niche(write_sets):
    path = write_sets(["A1\tx\ttme\ty", "A2\tx\ttumour\ty"])
    assert read_gene_set(path, "tme")["symbol"].tolist() == ["A1"]
    path = write_sets(["A3\tx\ty"], header="symbol\tcategory\tsource")
    assert read_gene_set(path, "tme").to_numpy().tolist() == [["A3", "x", "tme", "y"]]


@pytest.mark.parametrize("name", ["sets.csv", "sets.xlsx"])
def test_a_table_with_semicolons_or_in_a_workbook(tmp_path, name):
    rows = [["symbol", "category", "niche", "source"], ["A1", "a, b", "tumour", "x"], ["A2", "c", "tme", "-"]]
    if name == "sets.xlsx":
        write_workbook(tmp_path / name, {"Gene": rows})
    else:
        (tmp_path / name).write_text("\n".join(map(";".join, rows)) + "\n")
    assert gene_sets(tmp_path / name).to_numpy().tolist() == rows[1:]


def test_errors_name_the_file_and_the_row(write_sets, tmp_path):
    with pytest.raises(UserError, match=r"row 3: unknown niche 'stroma'; use tumour or tme"):
        gene_sets(write_sets(["A1\tx\ttme\ty", "A2\tx\tstroma\ty"]))
    with pytest.raises(UserError, match=r"row 2: symbol is empty"):
        gene_sets(write_sets(["\tx\ttme\ty"]))
    with pytest.raises(UserError, match=r"row 3: symbol is empty"):
        gene_sets(write_sets(["", "\tx\ttme\ty"]))
    with pytest.raises(UserError, match=r"row 2: 1956 is a number; give gene symbols, not Entrez ids"):
        gene_sets(write_sets(["1956\tx\ttme\ty"]))
    with pytest.raises(UserError, match="no column niche, source"):
        gene_sets(write_sets(["A1\tx"], header="symbol\tcategory"))
    with pytest.raises(UserError, match="holds no genes; add rows"):
        gene_sets(write_sets([]))
    with pytest.raises(UserError, match=r"sets.tsv: holds no genes of niche tme"):
        gene_sets({"tme": write_sets(["A1\tx\ttumour\ty"])})
    with pytest.raises(UserError, match=r"missing.tsv: cannot be read"):
        gene_sets(tmp_path / "missing.tsv")
    with pytest.raises(UserError, match=r"row 3: has 5 fields under 4 columns"):
        gene_sets(write_sets(["A1\tx\ttme\ty", "A1\tx\ttme\ty\tz"]))
    (tmp_path / "sets.tsv").write_text("")
    with pytest.raises(UserError, match=r"sets.tsv: is empty"):
        gene_sets(tmp_path / "sets.tsv")
    (tmp_path / "sets.tsv").write_text("\nsymbol\tcategory\tniche\tsource\n")
    with pytest.raises(UserError, match=r"sets.tsv, row 1: is empty"):
        gene_sets(tmp_path / "sets.tsv")
    (tmp_path / "sets.tsv").write_text("<!DOCTYPE html><html>Sign in</html>")
    with pytest.raises(UserError, match=r"sets.tsv: is a web page, not data"):
        gene_sets(tmp_path / "sets.tsv")
    (tmp_path / "sets.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"sets.tsv: is not UTF-8 text"):
        gene_sets(tmp_path / "sets.tsv")


def test_a_file_that_does_not_say_its_niche_is_refused(tmp_path):
    for name, text in (("GeneList.txt", IMMPORT), ("my.gmt", GMT)):
        (tmp_path / name).write_text(text)
        with pytest.raises(UserError, match=rf"write genes.sets: {{tme: .*{name}}}"):
            gene_sets(tmp_path / name)
    (tmp_path / "my.gmt").write_text("MY_GLIOMA\tEGFR\n")
    with pytest.raises(UserError, match=r"my.gmt, row 1: a gene set has a name, a description and symbols"):
        gene_sets({"tme": tmp_path / "my.gmt"})
    (tmp_path / "my.gmt").write_text("MY_GLIOMA\tnone\tEGFR\nENTREZ\tnone\t1956\n")
    with pytest.raises(UserError, match=r"my.gmt, row 2: 1956 is a number"):
        gene_sets({"tme": tmp_path / "my.gmt"})
