"""Where methods look, as the report says it."""

from ksfusion.results.report.localisation import localisation_section

HEAD = "method\ttask\tfold\tseed\tstream\ttarget\tmeasure\tover\tauc\tci_low\tci_high\tn_slides\tn_cases\n"
ROWS = [
    "ksfusion\ta\t0\t0\ttumour\ttumour\tattention\tslide\t60.0\t\t\t3\t3",
    "ksfusion\ta\t0\t1\ttumour\ttumour\tattention\tslide\t70.5\t\t\t3\t3",
    "ksfusion\ta\t0\t0\ttumour\ttumour\tattention\tpooled\t1.0\t\t\t3\t3",
    "ksfusion\ta\t0\t0\ttumour\timmune\tattention\tslide\t\t\t\t0\t0",
    "oracle\t\t0\t\t\ttme\toracle\tslide\t90.0\t80\t95\t3\t3",
]


def test_means_over_tasks_and_seeds(tmp_path):
    (tmp_path / "localisation.tsv").write_text(HEAD + "\n".join(ROWS) + "\n")
    section = localisation_section(tmp_path / "localisation.tsv", planted=True)
    assert section["targets"] == ["Tumour", "Immune clusters", "Vessels", "Immune or vessels"]
    dash = "\N{EN DASH}"
    assert [list(row.values()) for row in section["rows"]] == [
        ["KS-Fusion, tumour stream", "attention", ["65.2", dash, dash, dash]],
        ["Oracle: ridge taught what patches show", "", [dash, dash, dash, "90.0"]],
    ]
    assert localisation_section(None, planted=True) is None
