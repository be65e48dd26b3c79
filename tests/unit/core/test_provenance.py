"""Which edit changes the version of a stage's code."""

import pytest

import ksfusion.core.provenance as provenance
from ksfusion.core.atomic import atomic
from ksfusion.core.ids import batch_of
from ksfusion.core.parquet import write_parquet
from ksfusion.core.storage import read_provenance, read_tsv, write_tsv

SETTINGS = """class Stain(Block):
    mpp: float = Field(0.5, gt=0)
    px: int = 224

    @field_validator("px")
    @classmethod
    def _large(cls, px):
        if px < 8:
            raise ValueError("too small")
        return px

    def um(self):
        return self.px * self.mpp
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    root = tmp_path / "ksfusion"
    (root / "slides").mkdir(parents=True)
    (root / "slides" / "__init__.py").write_text("")
    (root / "slides" / "stain.py").write_text('"""Doc."""\nfrom ksfusion.slides.reader import read\n\nK = 2\n')
    (root / "slides" / "reader.py").write_text("def read():\n    return 1\n")
    (root / "slides" / "tissue.py").write_text("T = 1\n")
    monkeypatch.setattr(provenance, "PACKAGE_ROOT", root)

    def version(name="ksfusion.slides.stain"):
        provenance.forget_modules()
        return provenance.code_version(name)

    yield root, version
    provenance.forget_modules()


def test_code_counts_and_comments_do_not(package):
    root, version = package
    before = version()
    stain = root / "slides" / "stain.py"
    stain.write_text('"""Another doc."""\n# why\nfrom ksfusion.slides.reader import read\n\nK  =  2\n')
    assert version() == before
    stain.write_text('"""Doc."""\nfrom ksfusion.slides.reader import read\n\nK = 3\n')
    assert version() != before


def test_what_is_imported_counts_and_what_is_not_does_not(package):
    root, version = package
    before = version()
    (root / "slides" / "tissue.py").write_text("T = 2\n")
    assert version() == before
    (root / "slides" / "reader.py").write_text("def read():\n    return 2\n")
    assert version() != before


def test_what_is_logged_does_not_count(package):
    root, version = package
    stain = root / "slides" / "stain.py"
    text = (
        'import logging\n\nlog = logging.getLogger(__name__)\n\ndef fit(x):\n    log.info("%s: {}", x)\n    return x\n'
    )
    stain.write_text(text.format("fitted"))
    before = version()
    stain.write_text(text.format("was fitted").replace("log.info", "log.warning"))
    assert version() == before
    stain.write_text(text.format("fitted").replace("return x", "return 2 * x"))
    assert version() != before


def test_of_settings_the_fields_do_not_count_and_what_is_computed_from_them_does(package):
    """Their values travel in the settings of the job."""
    root, version = package
    (root / "slides" / "config.py").write_text(SETTINGS)
    (root / "slides" / "stain.py").write_text("from ksfusion.slides.config import Stain\n\ns = Stain()\n")
    before = version()
    config = root / "slides" / "config.py"
    for edited in (
        SETTINGS.replace("0.5", "0.7"),
        SETTINGS.replace("px: int", "more: int = 3\n    px: int"),
        SETTINGS.replace("too small", "far too small"),
    ):
        assert edited != SETTINGS
        config.write_text(edited)
        assert version() == before
    config.write_text(SETTINGS.replace("self.px * self.mpp", "self.px / self.mpp"))
    assert version() != before
    # The same edit in a module that holds no settings counts.
    config.unlink()
    (root / "slides" / "stain.py").write_text(SETTINGS)
    before = version()
    (root / "slides" / "stain.py").write_text(SETTINGS.replace("0.5", "0.7"))
    assert version() != before


def test_what_a_method_is_called_in_print_does_not_count(package):
    root, version = package
    stain = root / "slides" / "stain.py"
    text = '@register("snn", label="SNN", modalities="g")\nclass SNN:\n    width = 2\n'
    stain.write_text(text)
    before = version()
    stain.write_text(text.replace('"SNN"', '"Self-normalising network"'))
    assert version() == before
    stain.write_text(text.replace('"g"', '"pg"'))
    assert version() != before


def test_an_unknown_module_is_an_error(package):
    with pytest.raises(ModuleNotFoundError):
        provenance.code_version("ksfusion.slides.nothing")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_says_what_made_it(tmp_path):
    import pandas as pd

    table = pd.DataFrame({"gene": ["NA", "EGFR"], "value": [1.5, None]})
    made_by = provenance.provenance("ksfusion.core.storage", {"count": 9})
    write_parquet(table, tmp_path / "a.parquet", made_by)
    write_tsv(table, tmp_path / "a.tsv", made_by)
    for name in ("a.parquet", "a.tsv"):
        assert read_provenance(tmp_path / name)["settings"] == {"count": 9}
    assert read_tsv(tmp_path / "a.tsv")["gene"].tolist() == ["NA", "EGFR"]


def test_a_slide_stays_in_its_batch():
    # sha256("TCGA-06-0174") begins with these eight hexadecimal digits (computed with coreutils' sha256sum).
    import subprocess

    digest = subprocess.run(["sha256sum"], input=b"TCGA-06-0174", capture_output=True, check=True).stdout
    assert batch_of("TCGA-06-0174", 75) == int(digest[:8], 16) % 75
