"""The report: everything on one page, nothing from elsewhere, nothing of the tables taken as markup."""

import base64
import hashlib
import html
import io
import re
import shutil

import pandas as pd
import pytest
from PIL import Image
from report_files import SCRIPT, report_of, write_heatmaps
from run_files import GRADING

from ksfusion.core.storage import write_tsv
from ksfusion.results.config import (
    ShownTask,
)
from ksfusion.results.report.gallery import slide_gallery
from ksfusion.results.report.heatmaps import heatmap_gallery

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return report_of(tmp_path_factory.mktemp("report"), notice="This cohort is synthetic & drawn.")


def test_it_needs_nothing_from_elsewhere(page):
    sources = re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)""", page)
    assert len(sources) > 3
    assert all(source.startswith(("data:image/", "#", "x", "slides/", "heatmaps/")) for source in sources)
    assert not re.search(r"url\(|@import|https?://|<script src|<link|<iframe| style=| on[a-z]+=", page.split("<h2")[0])
    assert not re.search(r"url\(|@import|https?://|<link|<iframe", page)


def test_its_policy_lets_pass_its_own_style_and_script_alone(page):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    policy = html.unescape(policy)
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy


def test_links_lead_somewhere(page):
    targets = set(re.findall(r'href="#([^"]+)"', page))
    assert targets <= set(re.findall(r' id="([^"]+)"', page))


def test_images_are_pngs(page):
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(images) == 6
    assert all(base64.b64decode(image, validate=True).startswith(b"\x89PNG") for image in images)


def test_tables_are_not_taken_as_markup(page):
    assert SCRIPT not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4  # slide, sample, finding, configuration
    assert "<img src=x" not in page


def test_it_counts_what_was_used(page):
    cards = re.findall(r'<div class="card"><b>(\d+)</b>(\w+)<br><span>(.*?)</span>', page)
    assert cards == [
        ("2", "Cases", "used, of 3; 1 left out"),
        ("3", "Samples", "used, of 5; 2 left out"),
        ("2", "Slides", "used, of 3; 1 left out"),
        ("2", "Cohorts", "all of them used"),
    ]
    assert "1 of 3 slides could not be used" in page
    assert "median tissue area is 16.0" in page


def test_the_papers_values_stand_beside_ours_where_they_are_wanted(page, tmp_path):
    beside = report_of(tmp_path, published="paper")
    assert re.search(r'<small class="paper">90\.52</small>', beside)  # SNN's AUC for grading
    assert "1/236" in beside and "in italics the paper's value" in beside
    assert (
        "90.52" not in page and "1/236" not in page and 'class="paper"' not in page and "the paper's value" not in page
    )


def test_the_study_and_its_tasks_have_the_titles_they_were_given(page, tmp_path):
    assert "<title>KS-Fusion: grading</title>" in page and "<h1>KS-Fusion: grading</h1>" in page
    task = ShownTask.of(GRADING, title="WHO <grade>", labels={"G2": "low $grade$"})
    shown = report_of(tmp_path, task=task, title="Our R&D_study", gene="<$G>&")
    assert "<title>Our R&amp;D_study</title>" in shown and "<h1>Our R&amp;D_study</h1>" in shown
    assert 'class="group">WHO &lt;grade&gt;</th>' in shown and "<td>WHO &lt;grade&gt;</td>" in shown
    assert "<strong>WHO &lt;grade&gt;: ROC curves.</strong>" in shown and "WHO &lt;grade&gt; 3." in shown
    assert "<h3>WHO &lt;grade&gt;, KS-Fusion, fold 0, seed 0</h3>" in shown
    assert "<em>&lt;$G&gt;&amp;14</em>" in shown and ">Grading" not in shown


def test_genes_are_counted_and_the_first_listed(page):
    assert "20 genes: 16 tumour microenvironment, 4 tumour." in page
    assert "<em>GENE14</em>" in page
    assert "<em>GENE15</em>" not in page


def test_a_notice_stands_at_the_top(page, tmp_path):
    assert page.index("This cohort is synthetic &amp; drawn.") < page.index("<h2")
    plain = report_of(tmp_path, findings=())
    assert 'class="notice"' not in plain
    assert "Nothing found." in plain


def test_what_bears_on_every_result_stands_with_the_answer(tmp_path):
    findings = [
        ("cohort_confounded_with_label", "b", "grading: 100% of its 9 labelled cases are G4"),
        ("event_looks_flipped", "event", "1 must mean died"),
        *(("pairing_same_case", f"S{number}", "share the case") for number in range(350)),
    ]
    page = report_of(tmp_path, findings=findings)
    # How slide and profile belong together is no finding to worry about.
    assert "2 findings on tables, expression and slides stand under" in page
    told = "Cohort confounded with label (b): grading: 100% of its 9 labelled cases are G4."
    assert page.index('id="answer"') < page.index(told) < page.index('id="cohort"')
    assert "Event looks flipped (event): 1 must mean died." in page
    # A long list is cut, with its length and where all of it is.
    assert page.count("<td>share the case</td>") == 200
    assert "The first 200; all 350 stand in results/cohort/audit.tsv." in page


def test_what_was_seen_in_the_expression_stands_beside_the_audit(tmp_path):
    unit = ("unit_looks_wrong", "TCGA", "m.csv: declared tpm, and the highest value is 8.47; set unit: log")
    many = [("ids_look_converted", "TCGA", f"m.csv: finding {number}") for number in range(205)]
    page = report_of(tmp_path, of_expression=[unit, *many])
    assert f"Unit looks wrong (TCGA): {unit[2]}." in page.split("<h2")[1]
    audit = page.split('id="audit"')[1].split("<h2")[0]
    assert f"<td>TCGA</td><td>{unit[2]}</td>" in audit and "No label grading" in audit
    assert "The first 200; all 205 stand in results/genes/findings.tsv." in audit


def test_what_the_gate_let_pass_is_listed(page):
    row = re.search(r"<tr><td>Same file</td><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td></tr>", page)
    assert row[1].endswith(", B") and row[2] == "identical; cases C1 and C2" and row[3] == "allowed"


def test_a_caveat_stands_at_the_top_and_under_every_table(page, tmp_path):
    caveat = "Adjusted on test samples too."
    shown = report_of(tmp_path, caveats=[caveat])
    assert caveat not in page
    assert shown.index(caveat) < shown.index("<h2")
    tables = shown.count('<table class="results">')
    assert tables > 1
    assert shown.count(f'<ul class="notes"><li>{caveat}</li>') == tables


def test_slides_are_shown_with_the_worst_first(page):
    section = page[page.index('id="overviews"') : page.index('id="slides"')]
    captions = re.findall(r"<strong>(\w+)</strong><br>(.*?)</figcaption>", section)
    assert [name for name, _ in captions] == ["B", "A"]
    assert captions[0][1].startswith("20 mm² of tissue, your mask, 50 tiles")
    assert "fold 30%, stain not fitted" in captions[0][1] and "pen" not in captions[0][1]
    assert captions[1][1] == "12 mm² of tissue, 40 tiles, 5 patches repeated"
    assert re.findall(r'href="(slides/\w\.png)"', section) == ["slides/B.png", "slides/A.png"]
    small = [base64.b64decode(image) for image in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', section)]
    assert [Image.open(io.BytesIO(image)).size for image in small] == [(420, 315)] * 2
    assert re.search(r"<td>fold</td>.*?<td class=\"number\">1</td><td class=\"number\">30 %</td>", section)


def test_heatmaps_of_the_ends_are_shown_and_the_others_linked(page, tmp_path):
    section = page[page.index('id="heatmaps"') : page.index('id="overviews"')]
    # The ends of a task and method once, though two of its seeds were drawn; a run without pictures is left out.
    assert re.findall(r"<h3>(.*?)</h3>", section) == ["Grading, KS-Fusion, fold 0, seed 0"]
    pictures = re.findall(r'<figure><a href="([^"]+)"><img src="data:image/jpeg;base64,([^"]+)"', section)
    assert [link for link, _ in pictures] == [
        f"heatmaps/grading/ksfusion/fold0/seed0/{name}.png" for name in ("S1", "patches/S1", "S9")
    ]
    sizes = [Image.open(io.BytesIO(base64.b64decode(image))).size for _, image in pictures]
    assert sizes == [(1160, 348), (900, 270), (1160, 348)]
    linked = re.findall(r'<a href="heatmaps/grading/ksfusion/fold0/(seed\d)/(S\d).png">\2</a>', section)
    assert linked == [("seed0", "S2"), ("seed0", "S3"), *(("seed1", name) for name in ("S1", "S2", "S3", "S9"))]
    assert heatmap_gallery([write_heatmaps(tmp_path, 0, ["S1"])], report=tmp_path / "report.html")[0]["links"] == []


def test_a_large_cohort_shows_few_and_links_the_rest(tmp_path):
    names = [f"S{number:03d}" for number in range(60)]
    Image.new("RGB", (64, 64)).save(tmp_path / "S000.png")
    for name in names[1:]:
        shutil.copy(tmp_path / "S000.png", tmp_path / f"{name}.png")
    pictures = pd.DataFrame({"slide_id": [*names, "failed"], "overview": [f"{name}.png" for name in names] + [""]})
    write_tsv(pictures, tmp_path / "0.tsv")
    slides = pd.DataFrame({"slide_id": names, "tissue_mm2": 1.0, "tiles": 9, "repeated_patches": 0, "stain": "ok"})
    slides = slides.assign(mask="automatic", pen=0.0, fold=0.0, blur=0.01)
    slides.loc[[40, 50], "blur"] = [0.2, 0.6]
    gallery = slide_gallery(slides, [tmp_path / "0.tsv"], report=tmp_path / "report.html")
    shown = [picture["slide_id"] for picture in gallery["pictures"]]
    assert shown == ["S050", "S040", *names[:22]]
    assert len(gallery["links"]) == 36 and gallery["links"][-1] == {"slide_id": "S059", "link": "S059.png"}
    assert gallery["flags"][2] == {"flag": "blur", "meaning": "out of focus", "slides": 60, "highest": 60}


def test_alpha_is_shown_where_it_is_asked_for(page, tmp_path):
    shown = report_of(tmp_path, alpha=True)
    for text in ("KS-Fusion, alpha 0.25", "sensitivity to alpha"):
        assert text in shown and text not in page


def test_differences_from_the_reference_have_a_section_and_marks(page, tmp_path):
    """Of forty cases snn has twelve, ksfusion all; thirty cases of each class are of a cohort of their own."""
    assert 'id="comparisons"' not in page and "†" not in page
    rows = [
        [(f"S{i}", f"C{i}", "ab"[i % 4 // 2], i % 2, *((0.9, 0.1) if (i % 2 == 0) == right else (0.2, 0.8)))
         for i, right in enumerate(all_right)]
        for all_right in ([i < 12 for i in range(40)], [True] * 40)
    ]  # fmt: skip
    shown = report_of(tmp_path, rows=rows[0], reference=rows[1])
    section = shown.split('<h2 id="comparisons">')[1].split("<h2")[0]
    assert section.startswith("Differences from KS-Fusion</h2>") and '<a href="#comparisons">Differences</a>' in shown
    assert "Acc.: SNN is 70.0 points below (95 % interval" in section and "<h3>Grading</h3>" in section
    assert "spread over cases" in section and "spread over seeds" in section and "whole cases" in section
    assert (
        section.count("†") == section.count('<span class="best">') + 1 == 13
    )  # five metrics, seven of Table S1, and the key
    table = shown.split('<h2 id="table1">')[1].split("<h2")[0]
    assert "†: differs from KS-Fusion (p &lt; 0.05, after Holm" in table and "<span>30.0</span>†<small>" in table
    assert shown.index("Grading: differences from KS-Fusion.") < shown.index("Grading: ROC curves.")


def test_no_sentence_calls_a_method_better(tmp_path):
    """What is higher stands in bold; only what a test shows is said in words."""
    rows = [(f"S{i}", f"C{i}", "a", i % 2, 0.9 - 0.8 * (i % 2), 0.1 + 0.8 * (i % 2)) for i in range(12)]
    nearly = [*rows[:-1], ("S11", "C11", "a", 1, 0.9, 0.1)]
    shown = report_of(tmp_path, rows=nearly, reference=rows)
    words = re.sub(r"<style>.*?</style>|<[^>]+>", " ", shown, flags=re.DOTALL)
    assert not re.search(r"\b(better|worse|best|superior|outperform\w*|beats?|wins?)\b", words, re.IGNORECASE)
    assert "No difference is shown by a test" in words and " points below" not in words
