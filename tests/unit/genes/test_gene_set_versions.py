"""The versions of the shipped gene sets: what each has, and that a study keeps those that it began with."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from layouts import save

from ksfusion.core.parquet import read_parquet, write_parquet
from ksfusion.core.provenance import provenance
from ksfusion.core.resources import resource
from ksfusion.core.storage import read_provenance, read_tsv
from ksfusion.core.strict_yaml import read_yaml
from ksfusion.demo import expression as demo
from ksfusion.genes import gene_sets
from ksfusion.genes.config import ExpressionSource, Genes, ReadExpressionSettings
from ksfusion.genes.sets.gene_sets import conflicts
from ksfusion.stages.read_expression import read_expression
from ksfusion.stages.select_genes import select_genes
from ksfusion.terms.gene_sets import NEWEST, TABLES, VERSIONS, shipped_tables

# SHA-256 of the files as they were released.
RELEASED = {
    "builtin-0.1.0": {
        "tumour": "49f37ff1437afca5b45535d14c91d7bb6acd13d148e78b18e73db7f18cd57245",
        "tme": "b87d40f9452edab3d47556b060c5888540982f3969bcacaef3344fb746cdd07e",
        "aliases": "0203f1c11626cb8aa19f9c5445503023944fc2de574180260d501fe23e15f957",
    },
}
ADDED = "builtin-0.2.0"


@pytest.fixture(scope="module")
def added() -> pd.DataFrame:
    return pd.read_csv(resource(TABLES[ADDED]["tme"]), sep="\t", keep_default_na=False)


def family(*names: str) -> set[str]:
    """Return symbols: of ``PSMC 1-6`` the six PSMC1 to PSMC6, of ``NOX 1 3`` NOX1 and NOX3."""
    symbols = set()
    for name in names:
        stem, *endings = name.split()
        for ending in endings or [""]:
            first, _, last = ending.partition("-")
            symbols |= {f"{stem}{number}" for number in range(int(first), int(last) + 1)} if last else {stem + first}
    return symbols


@pytest.mark.parametrize(("version", "name"), [(version, name) for version in RELEASED for name in RELEASED[version]])
def test_files_of_a_released_version_never_change(version, name):
    content = resource(TABLES[version][name]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == RELEASED[version][name]


def test_version_010_has_the_genes_it_had():
    # As its documentation said: 661 genes of the tumour, 1,103 of the TME that are not the tumour's.
    sets = gene_sets("builtin-0.1.0").drop_duplicates("symbol")
    assert sets["niche"].value_counts().to_dict() == {"tme": 1103, "tumour": 661}
    assert len(conflicts("builtin-0.1.0")) == 38


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_has_those_before_it_in_their_places(version):
    newest, older = gene_sets(), gene_sets(version)
    pd.testing.assert_frame_equal(gene_sets(NEWEST), newest)
    kept = newest[newest["symbol"].isin(older["symbol"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, older)


def test_a_version_adds_genes_that_those_before_it_lack(added):
    for number, version in enumerate(VERSIONS[1:], 1):
        for niche in {"tumour", "tme"} & set(TABLES[version]):
            before = set(
                pd.concat(read_tsv(resource(name)) for name in shipped_tables(niche, VERSIONS[number - 1]))["symbol"]
            )
            assert not before & set(read_tsv(resource(TABLES[version][niche]))["symbol"])
    assert set(added["category"]) <= set(gene_sets("builtin-0.1.0")["category"])


def test_annotations_have_their_evidence(added):
    annotated = added["source"].str.startswith("GO:")
    # The codes of Gene Ontology, but for ND, which stands for none.
    codes = r"(EXP|IDA|IPI|IMP|IGI|IEP|HDA|IBA|ISS|ISO|ISA|IC|TAS|NAS|RCA|IEA)"
    assert added.loc[annotated, "evidence"].str.fullmatch(f"{codes}(,{codes})*").all()
    assert (added.loc[~annotated, "evidence"] == "").all()
    electronic = added[added["evidence"] == "IEA"]
    assert set(electronic["source"]) == {"GO:0005179 hormone activity", "GO:0008083 growth factor activity"}


# Families by what is known of them: their members, in the symbols of HGNC.
@pytest.mark.parametrize(
    ("category", "members"),
    [
        ("cytokines", family("INS", "GCG", "SST", "NPY", "OXT", "AVP", "POMC", "PENK", "PDYN", "TAC1", "CRH", "TRH")),
        ("cytokines", family("CGA", "CGB 1 2 3 5 7 8", "FSHB", "LHB", "TSHB", "RLN 1-3", "NPP A B C")),
        ("cytokines", family("FGF 1-14", "FGF 16-23", "ANGPT 1 2 4", "ANGPTL 1-8", "CCN 1-4 6", "CMTM 1-8")),
        ("cytokine receptors", family("ESR 1 2", "AR", "PGR", "NR3C 1 2", "VDR", "THR A B", "RAR A B G", "RXR A B G")),
        ("cytokine receptors", family("PPAR A D G", "ROR A B C", "NR4A 1-3", "NR5A 1 2", "NR0B 1 2", "HNF4 A G")),
        ("cytokine receptors", family("SSTR 1-5", "MC 1R 2R 3R 4R 5R", "PTGER 1-4", "OPR D1 K1 L1 M1", "EDNR A")),
        ("cytokine receptors", family("FGFR 1-4", "FGFRL1", "EGFR", "MET", "INSR", "GCGR", "FSHR", "LHCGR", "TSHR")),
        ("antigen processing and presentation", family("PSMC 1-6", "PSMD 1-14", "ADRM1")),
        ("TCR signalling", family("PIK3C A B D G", "PIK3R 1-3 5", "AKT 1-3", "HRAS", "KRAS", "NRAS", "PAK 1-6")),
        ("TCR signalling", family("PPP3 CA CB CC R1 R2", "NFATC 1-4", "NFAT5", "MAPK 1 3 14")),
        ("BCR signalling", family("PPP3 CA CB CC R1 R2", "NFATC4", "NFAT5", "MAPK 1 3", "PIK3R 2 3")),
        ("natural killer cell cytotoxicity", family("PPP3 CA CB CC R1 R2", "NFATC4", "NFAT5", "MAPK 1 3", "SHC 2-4")),
        ("antimicrobials", family("S100A 1-14 16", "S100 B G P Z", "FABP 1-7 9 12", "PMP2", "CRABP 1 2")),
        ("antimicrobials", family("LCN 1 2 6 8 9 10 12 15", "ORM 1 2", "APOD", "APOM", "PTGDS", "RBP 1 2 4 5 7")),
        ("antimicrobials", family("NOX 1 3 4 5", "DUOX 1 2", "SLC11A 1 2", "TMSB 10 15A 15B 4X 4Y")),
    ],
)  # fmt: skip
def test_families_are_whole(category, members):
    tables = pd.concat(read_tsv(resource(name)) for name in shipped_tables("tme"))
    assert members - set(tables["symbol"]) == set()
    # Most stand where the family does; some were already elsewhere, such as the S100 proteins among others.
    assert len(members & set(tables.loc[tables["category"] == category, "symbol"])) > 0.7 * len(members)


def test_all_nuclear_receptors_of_man_are_there(added):
    # 48, after Germain 2006, Pharmacol Rev 58:685.
    domain = added["source"] == "Pfam PF00104 Ligand-binding domain of nuclear hormone receptor"
    assert domain.sum() == added.loc[domain, "symbol"].nunique() == 48


def test_a_gene_of_an_oncogenic_family_stands_in_both_sets_and_counts_as_tumour():
    listed = conflicts().set_index("symbol")
    assert {"EGFR", "MET", "FGFR1", "FGFR2", "FGFR3", "PIK3CA", "AKT1", "KRAS", "NRAS", "S100B"} <= set(listed.index)
    assert listed.at["S100B", "dropped_categories"] == "antimicrobials"
    niche = gene_sets().drop_duplicates("symbol").set_index("symbol")["niche"]
    assert set(niche[listed.index]) == {"tumour"}


def test_builtin_is_the_version_that_the_study_began_with():
    assert Genes().of_version("builtin-0.1.0").sets == "builtin-0.1.0"
    assert Genes(sets="builtin-0.2.0").of_version("builtin-0.1.0").sets == "builtin-0.2.0"
    assert Genes(sets="my.tsv").of_version("builtin-0.1.0").sets == "my.tsv"
    mixed = Genes(sets={"tme": "GeneList.txt"}).of_version("builtin-0.1.0")
    assert mixed.sets == {"tumour": "builtin-0.1.0", "tme": "GeneList.txt"}
    # Genes are named by the version that is used, in a study of any.
    assert mixed.names("builtin-0.2.0") == "builtin-0.1.0"
    assert Genes(sets="my.tsv").names("builtin-0.1.0") == "builtin-0.1.0"
    assert Genes(sets={"tme": "builtin-0.2.0", "tumour": "builtin-0.1.0"}).names("builtin-0.1.0") == "builtin-0.2.0"


def read_profiles(folder, genes, version):
    """Read expression of three profiles, genes named by a version; what 0.1.0 read does not say by which."""
    values = np.random.default_rng(0).normal(5, 1, (len(genes), 3))
    table = pd.DataFrame(values, columns=["P0", "P1", "P2"]).assign(gene=genes)
    source = ExpressionSource(cohort="x", format="matrix", unit="log", path=str(save(table, folder / "m.csv")))
    settings = ReadExpressionSettings(sources=[source], names=version or VERSIONS[0])
    read_expression(folder / "profiles.parquet", settings=settings)
    profiles = read_parquet(folder / "profiles.parquet")
    if version is None:
        made_by = provenance("ksfusion.stages.read_expression", {"sources": [source.record()]})
        write_parquet(profiles, folder / "profiles.parquet", made_by)
    return set(profiles.columns[2:])


# AR's id, a symbol of CCN2 until 2018, and one of CXCL8 until 2010.
GENES = ["EGFR", "OLIG2", "IL8", "CTGF", "ENSG00000169083.17"]


@pytest.mark.parametrize(("version", "more"), [("builtin-0.1.0", {"CTGF", GENES[-1][:15]}), (ADDED, {"CCN2", "AR"})])
def test_genes_are_named_by_the_version_of_the_study(tmp_path, version, more):
    assert read_profiles(tmp_path, GENES, version) == {"EGFR", "OLIG2", "CXCL8"} | more


@pytest.mark.parametrize("version", [None, *VERSIONS])
def test_sets_of_ones_own_are_named_as_the_expression_is_and_the_version_is_recorded(tmp_path, version):
    read_profiles(tmp_path, GENES, version)
    rows = [(f"s{n}", f"c{n}", "x", f"P{n}", "ok") for n in range(3)]
    samples = pd.DataFrame(rows, columns=["sample_id", "case_id", "cohort", "expression_id", "status"])
    samples.to_csv(tmp_path / "samples.tsv", sep="\t", index=False)
    samples[["case_id"]].assign(fold=0, split="train").to_csv(tmp_path / "splits.tsv", sep="\t", index=False)
    (tmp_path / "my.gmt").write_text("MINE\tnone\tCTGF\n")

    def selected(sets):
        paths = [tmp_path / name for name in ("profiles.parquet", "samples.tsv", "splits.tsv")]
        select_genes(*paths, tmp_path / "genes", fold=0, settings=Genes(sets=sets, top_fraction=1.0))
        return read_tsv(tmp_path / "genes/selected.tsv").set_index("symbol")["niche"].to_dict()

    tumour, sets = {"EGFR": "tumour", "OLIG2": "tumour"}, version or VERSIONS[0]
    own = "CCN2" if version == ADDED else "CTGF"
    assert selected({"tumour": sets, "tme": str(tmp_path / "my.gmt")}) == tumour | {own: "tme"}
    assert selected(sets) == tumour | dict.fromkeys(["CXCL8", "CCN2", "AR"][: 3 if version == ADDED else 1], "tme")
    assert selected(sets) == selected("builtin")
    assert read_provenance(tmp_path / "genes/selected.tsv")["settings"]["sets"] == sets


def test_the_demo_uses_the_sets_that_its_genes_are_drawn_with():
    assert read_yaml(resource("demo").parents[1] / "config.yaml")["genes"]["sets"] == demo.GENE_SETS
