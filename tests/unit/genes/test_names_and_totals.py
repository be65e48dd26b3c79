"""Ids that become numbers, genes that become dates, totals among genes and profiles, genes of another kind."""

import gzip

import numpy as np
import pandas as pd
import pytest
from layouts import ENDING, save, write_gdc
from small_cases import shared_case

from ksfusion.core.errors import UserError
from ksfusion.core.storage import read_tsv
from ksfusion.genes import gene_sets, read_expression
from ksfusion.genes.config import ReadExpressionSettings
from ksfusion.genes.sets.naming import naming_of
from ksfusion.genes.sets.shipped import ensembl_symbols
from ksfusion.genes.sets.spreadsheets import dates_among, is_date, looks_converted
from ksfusion.stages.read_expression import read_expression as read_all_cohorts

GENES = sorted(gene_sets()["symbol"].unique())[:60]
VALUES = np.random.default_rng(1).gamma(1, 40, (5, 60)).round(3)


def findings(path, unit="tpm", format="matrix"):
    """Return the details of the findings of the stage by check, and the profiles."""
    sources = [{"cohort": "C", "format": format, "unit": unit, "path": str(path)}]
    output = path.parent / "findings.tsv"
    read_all_cohorts(
        path.parent / "profiles.parquet", settings=ReadExpressionSettings(sources=sources), findings=output
    )
    table = read_tsv(output, dtype=str)
    return dict(zip(table["check"], table["detail"], strict=True))


def matrix(ids, by_samples=True, genes=GENES, values=VALUES, name="sample"):
    table = pd.DataFrame(values[: len(ids), : len(genes)], pd.Index(ids, name=name), genes)
    return (table if by_samples else table.T.rename_axis("gene")).reset_index()


class TestIds:
    @pytest.mark.parametrize(
        "ids",
        [
            ["007", "008", "010", "1"],
            ["1E5", "2E5", "3E5", "4E5"],
            ["0012", "12", "1e3", "A1"],
            ["2024-03-01", "2024-03-02", "2024-03-03", "2024-03-04"],
            ["true", "false", "0", "1"],
            ["1.50", "1.5", "2.0", "2"],
            ["NA", "null", "1", "2"],
        ],
    )
    @pytest.mark.parametrize("name", ["sample", "ID", "case", "expression_id", "barcode"])
    @pytest.mark.parametrize("ending", ["m.csv", "m.tsv", "m.csv.gz"])
    def test_they_stay_as_they_are_written(self, tmp_path, ids, name, ending):
        path = save(matrix(ids, name=name), tmp_path / ending)
        profiles = read_expression(path, format="matrix", unit="tpm")
        assert profiles.index.tolist() == ids
        np.testing.assert_allclose(profiles[GENES], np.log2(VALUES[:4] + 1), rtol=1e-5)

    @pytest.mark.parametrize("name", ["biopsy", "tumour tissue no.", "BIOPSY", "Probe"])
    @pytest.mark.parametrize("before", [True, False])
    def test_whatever_their_column_is_called(self, tmp_path, name, before):
        table = matrix(["007", "1E5", "010", "12"], name=name)
        table.insert(0 if before else 1, "age", [50, 61, 72, 48])
        if before and name == "BIOPSY":
            # A name in capitals may be a gene, unless it comes first.
            table = table[[name, *(column for column in table if column != name)]]
        profiles = read_expression(save(table, tmp_path / "m.csv"), format="matrix", unit="tpm")
        assert profiles.index.tolist() == ["007", "1E5", "010", "12"] and "age" not in profiles

    def test_other_text_does_not_take_their_place(self, tmp_path):
        table = matrix(["007", "1E5", "010", "12"], name="biopsy")
        table.insert(1, "hospital", ["A", "B", "C", "D"])
        assert read_expression(save(table, tmp_path / "m.csv"), format="matrix", unit="tpm").index[0] == "007"

    def test_samples_in_the_header_stay_too(self, tmp_path):
        ids = ["007", "1E5", "2-Mar", "12"]
        profiles = read_expression(save(matrix(ids, by_samples=False), tmp_path / "m.csv"), format="matrix", unit="tpm")
        assert profiles.index.tolist() == ids

    def test_those_that_look_like_numbers_or_dates_are_a_finding(self, tmp_path):
        path = save(matrix(["007", "P1", "2-Mar", "1.00E+05"]), tmp_path / "m.csv")
        detail = findings(path)["ids_look_converted"]
        assert "3 profile ids are such as readers of tables take for numbers or dates (007, 2-Mar, 1.00E+05)" in detail
        assert findings(save(matrix(["P1", "12", "TCGA-06-0125-01A", "300173636"]), path)) == {}

    def test_the_shared_file(self, tmp_path):
        path = tmp_path / "m.csv"
        path.write_bytes(shared_case("genes/ids-with-leading-zeros.csv").read_bytes())
        profiles = read_expression(path, format="matrix", unit="tpm")
        assert profiles.index.tolist() == ["1E5", "2E5", "3E5", "4E5"]
        assert profiles.at["1E5", "A2M"] == pytest.approx(np.log2(1 + 36.68620134905104))
        assert "4 profile ids" in findings(path)["ids_look_converted"]

    def test_what_is_converted(self):
        for name in ("1E5", "007", "12e10", "1.00E+05", "7.0", "2-Mar", "Mar-02", "2020-01-01", "1/2/2020"):
            assert looks_converted(name), name
        for name in ("P1", "7", "300173636", "TCGA-06-0125-01A", "A1E5", "1E5A", "Sam-01", "12-Car", "0a5", "1-1-2"):
            assert not looks_converted(name), name


class TestDates:
    # MARCH1, SEPT2, DEC1 and the like as Excel, LibreOffice and Numbers show them in their languages.
    SHOWN = (
        "1-Mar|2-Sep|Mar-01|1-Dec|4-Oct|01-Mar-24|Mar-2001|01. Mrz|1. Mär|02. Sep|01. Dez|01-mars|02-sept.|01-déc|"
        "1-mar|2-set|1/dez|1-dic|1-mrt|01.mar|2.wrz|1-paź|01.maalis|szept.02|márc.01|01.мар|02.сен|1-Ara|"
        "3月1日|9月10日|03월 01일|2024-03-01|2024-03-01 00:00:00|01.03.2024|3/1/2024|1-Mar.1"
    )
    # Names of genes and of their products and clones.
    NAMES = (
        "MARCH1|SEPT2|DEC1|SEPTIN2|MARCHF1|MARS1|SETD2|SET|NKX2-1|HLA-A|ERVK-28|MT-ND1|C9orf72|5-HT|14-3-3|7SK|H2-1|"
        "5S_rRNA|AC012345.1|1-8U|MIR-21|RP11-34P13.7|KRTAP5-1|PRO-1|DES-1|TRA-1-60|RP4-669L17.10|CTD-2540B15.9|?|2-5A"
    )

    def test_in_any_language(self):
        assert [name for name in self.SHOWN.split("|") if not is_date(name)] == []

    def test_no_gene_is_one(self):
        everything = {*self.NAMES.split("|"), *gene_sets()["symbol"], *ensembl_symbols()}
        assert dates_among(everything) == []

    @pytest.mark.parametrize("by_samples", [True, False])
    @pytest.mark.parametrize("shown", [["1-Mar", "2-Sep"], ["01. Mrz", "02. Sep"], ["01-mars", "02-sept"]])
    def test_they_are_a_finding_in_either_orientation(self, tmp_path, caplog, by_samples, shown):
        genes = [*shown, *GENES[:30]]
        path = save(matrix(["P1", "P2", "P3"], by_samples, genes), tmp_path / "m.csv")
        detail = findings(path)["genes_are_dates"]
        said = f"2 gene names are dates, as spreadsheets make of SEPTIN and MARCHF symbols ({', '.join(sorted(shown))})"
        assert said in detail and said in caplog.text

    def test_they_still_count_among_the_reads(self, tmp_path):
        # 1 of 4 reads is 250,000 of a million.
        for text in ("gene,P\nEGFR,1\n1-Mar,3\n", "case,EGFR,1-Mar\nP,1,3\n"):
            (tmp_path / "m.csv").write_text(text)
            profiles = read_expression(tmp_path / "m.csv", format="matrix", unit="counts")
            assert profiles.at["P", "EGFR"] == pytest.approx(np.log2(250_001))

    def test_serial_numbers_of_days_among_symbols(self):
        assert dates_among([*GENES * 3, "44621", "44806"]) == ["44621", "44806"]
        assert dates_among(["44621", "44806", "1956"]) == []


class TestTotals:
    @pytest.mark.parametrize("total", ["Total", "TOTAL", "sum", "Grand total", "Summe", "Library size"])
    @pytest.mark.parametrize("by_samples", [True, False])
    def test_of_genes(self, tmp_path, total, by_samples):
        counts = np.array([[1, 3, 0, 4], [2, 2, 4, 8]])
        path = save(matrix(["P1", "P2"], by_samples, ["EGFR", "CD3E", "TP53", total], counts), tmp_path / "m.csv")
        profiles = read_expression(path, format="matrix", unit="counts")
        assert profiles.columns.tolist() == ["EGFR", "CD3E", "TP53"]
        assert profiles.at["P1", "EGFR"] == pytest.approx(np.log2(250_001))

    @pytest.mark.parametrize("total", ["Total", "Mean", "Average", "Durchschnitt"])
    @pytest.mark.parametrize("by_samples", [True, False])
    def test_of_profiles(self, tmp_path, total, by_samples):
        values = np.vstack([VALUES[:4], VALUES[:4].sum(axis=0)])
        path = save(matrix(["P1", "P2", "P3", "P4", total], by_samples, values=values), tmp_path / "m.csv")
        assert read_expression(path, format="matrix", unit="tpm").index.tolist() == ["P1", "P2", "P3", "P4"]

    def test_they_are_a_finding(self, tmp_path, caplog):
        values = np.column_stack([VALUES[:, :10], VALUES[:, :10].sum(axis=1)])
        path = save(matrix(["P1", "P2", "P3"], False, [*GENES[:10], "AC000001.1"], values), tmp_path / "m.csv")
        said = "1 genes are totals, by name or value, and left out: AC000001.1"
        assert said in findings(path)["totals_left_out"] and said in caplog.text

    def test_a_known_gene_is_none_whatever_its_values(self, tmp_path):
        values = np.column_stack([VALUES[:, :10], VALUES[:, :10].sum(axis=1)])
        path = save(matrix(["P1", "P2", "P3"], False, GENES[:11], values), tmp_path / "m.csv")
        assert "totals_left_out" not in findings(path)

    def test_profiles_that_are_alike_are_none(self, tmp_path):
        path = save(matrix(["P1", "P2", "P3", "P4", "P5"], values=np.repeat(VALUES[:1], 5, 0)), tmp_path / "m.csv")
        assert len(read_expression(path, format="matrix", unit="tpm")) == 5

    def test_a_table_without_them_is_as_it_was(self, tmp_path):
        profiles = read_expression(
            save(matrix(["P1", "P2", "P3", "P4", "P5"]), tmp_path / "m.csv"), format="matrix", unit="log"
        )
        np.testing.assert_allclose(profiles[GENES], VALUES, rtol=1e-6)


def named(names):
    """Return a table of genes x samples with genes of these names."""
    return pd.DataFrame({"gene": names, "P1": np.arange(len(names)) * 7.5, "P2": 99.5})


MOUSE_SYMBOLS = [gene.capitalize() for gene in GENES]
KINDS = {
    "mouse_ids": ([f"ENSMUSG{number:011}" for number in range(60)], "Ensembl ids of mouse; bring them to the symbols"),
    "rat_ids": ([f"ENSRNOG{number:011}.3" for number in range(60)], "Ensembl ids of rat; bring them to"),
    "mouse": (
        MOUSE_SYMBOLS,
        "symbols written as those of mouse and rat (Egfr); bring them to the symbols of their human",
    ),
    "small": ([gene.lower() for gene in GENES], "symbols in small letters; write them as HGNC does (EGFR)"),
    "transcripts": ([f"ENST{number:011}.1" for number in range(60)], "transcripts of Ensembl; add them up by gene"),
    "refseq": ([f"NM_{number:06}" for number in range(60)], "transcripts of RefSeq; add them up by gene"),
    "entrez": ([str(number) for number in range(1000, 1060)], "numbers, as of Entrez (NCBI); give the genes' HGNC"),
    "probes": ([f"{number}_s_at" for number in range(1000, 1060)], "probes of a microarray; bring them to genes"),
    "methylation": ([f"cg{number:08}" for number in range(60)], "probes of methylation; expression is wanted"),
}


class TestKnownGenes:
    @pytest.mark.parametrize("kind", KINDS)
    def test_none_known_in_a_matrix(self, tmp_path, kind):
        names, said = KINDS[kind]
        path = save(named(names), tmp_path / "m.csv")
        with pytest.raises(UserError) as caught:
            read_expression(path, format="matrix", unit="tpm")
        line = f"{path}: no known gene symbol or Ensembl id in its header or columns: its genes are named by {said}"
        assert str(caught.value).startswith(line)

    @pytest.mark.parametrize("kind", sorted(set(KINDS) - {"entrez"}))
    def test_none_known_in_a_matrix_of_samples_by_genes(self, tmp_path, kind):
        names, said = KINDS[kind]
        table = named(names).set_index("gene").T.rename_axis("sample").reset_index()
        with pytest.raises(UserError) as caught:
            read_expression(save(table, tmp_path / "m.csv"), format="matrix", unit="tpm")
        assert f"its genes are named by {said}" in str(caught.value)

    @pytest.mark.parametrize("kind", KINDS)
    def test_none_known_in_h5ad(self, tmp_path, kind):
        import anndata

        names, said = KINDS[kind]
        data = anndata.AnnData(VALUES.astype(np.float32))
        data.obs_names, data.var_names = list("ABCDE"), names
        data.write_h5ad(tmp_path / "a.h5ad")
        with pytest.raises(UserError) as caught:
            read_expression(tmp_path / "a.h5ad", format="h5ad", unit="tpm")
        assert "none of its 60 genes is known" in str(caught.value) and f"named by {said}" in str(caught.value)

    def test_none_known_in_files_of_another_species(self, tmp_path):
        rows = [(f"ENSMUSG{number:011}", MOUSE_SYMBOLS[number], 5, 1.0, 1.0) for number in range(60)]
        write_gdc(tmp_path / f"a{ENDING}", rows)
        with pytest.raises(UserError, match=r"none of its 60 genes is known .* symbols written as those of mouse"):
            read_expression(tmp_path, format="gdc-star", unit="tpm")

    def test_few_known_are_a_finding_with_the_remedy(self, tmp_path, caplog):
        # Some are written alike, such as C3.
        mouse = [gene.capitalize() for gene in sorted(gene_sets()["symbol"].unique()) if gene.capitalize() != gene]
        names = [*mouse, *(f"Gm{number}" for number in range(2000)), "EGFR", "CD3E"]
        detail = findings(save(named(names), tmp_path / "m.csv"))["few_genes_known"]
        assert f"2 of its {len(names):,} genes are known" in detail and "those of mouse and rat (Egfr)" in detail
        assert detail in caplog.text

    def test_a_panel_and_a_whole_transcriptome_are_right(self, tmp_path):
        names = [*GENES[:25], *(f"LINC{number:05}" for number in range(500))]
        assert findings(save(named(names), tmp_path / "m.csv")) == {}
        names = [*sorted(gene_sets()["symbol"].unique()), *(f"LINC{number:05}" for number in range(58_000))]
        path = tmp_path / "n.csv.gz"
        path.write_bytes(gzip.compress(named(names).to_csv(index=False).encode(), 1))
        assert findings(path) == {}

    def test_an_ending_that_is_not_set_is_named(self, tmp_path):
        table = matrix(["A", "B"], genes=[f"{gene}_rnaseq" for gene in GENES])
        path = save(table, tmp_path / "m.csv")
        with pytest.raises(UserError, match="symbols that end in _rnaseq; set suffix: _rnaseq"):
            read_expression(path, format="matrix", unit="tpm")
        with pytest.raises(UserError, match=r"check suffix and format \(its genes end in _rnaseq\)"):
            read_expression(path, format="matrix", unit="tpm", suffix="_rna")

    def test_names_that_say_nothing(self):
        assert naming_of([]) == naming_of(["", "X1", "foo"]) == naming_of(GENES) == ""
