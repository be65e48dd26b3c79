"""The leakage gate: planted leaks are found under every name, what is no leak passes."""

import numpy as np
import pandas as pd
import pytest

from ksfusion.cohort.config import CheckLeakageSettings
from ksfusion.cohort.duplicates import close_images, equal_profiles
from ksfusion.cohort.samples import OPTIONAL_SAMPLE_COLUMNS
from ksfusion.core.errors import UserError
from ksfusion.core.parquet import write_parquet
from ksfusion.core.storage import read_tsv
from ksfusion.stages.check_leakage import check_leakage


class Cohort:
    """Four cases of a slide and a profile each; A and B train, C validates, D is tested. Nothing leaks."""

    def __init__(self, folder):
        self.folder = folder
        random = np.random.default_rng(0)
        names = list("ABCD")
        self.samples = pd.DataFrame({"sample_id": names, "case_id": names, "cohort": "X", "expression_id": names})
        self.samples = self.samples.assign(**dict.fromkeys(OPTIONAL_SAMPLE_COLUMNS, ""))
        self.samples["slide_id"] = "slide-" + self.samples["case_id"]
        self.splits = pd.DataFrame({"fold": 0, "case_id": names, "split": ["train", "train", "val", "test"]})
        self.slides = pd.DataFrame({"slide_id": self.samples["slide_id"], "digest": names})
        self.slides["thumbnail_hash"] = [random.bytes(32).hex() for _ in names]
        self.profiles = pd.DataFrame(random.normal(size=(4, 6)).astype(np.float32), columns=list("uvwxyz"))
        self.profiles.insert(0, "cohort", "X")
        self.profiles.insert(1, "expression_id", names)

    def set(self, table, column, **values):
        """Change cells of a table, by the letter of the case."""
        rows = {name: number for number, name in enumerate("ABCD")}
        for name, value in values.items():
            getattr(self, table).loc[rows[name], column] = value

    def check(self, allow=()):
        """Run the gate; return the findings."""
        paths = {name: self.folder / f"{name}.parquet" for name in ("samples", "profiles", "slides")}
        for name, path in paths.items():
            write_parquet(getattr(self, name), path, {})
        self.splits.to_csv(self.folder / "splits.tsv", sep="\t", index=False)
        check_leakage(
            paths["samples"],
            self.folder / "splits.tsv",
            paths["profiles"],
            self.folder / "leakage.tsv",
            settings=CheckLeakageSettings(allow_duplicates=allow),
            tiles=[paths["slides"]],
        )
        return read_tsv(self.folder / "leakage.tsv").set_index("check")

    def leak(self):
        with pytest.raises(UserError) as caught:
            self.check()
        return str(caught.value).splitlines()


@pytest.fixture
def cohort(tmp_path):
    return Cohort(tmp_path)


def bits(text):
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8)).reshape(16, 16)


def hexadecimal(values):
    return np.packbits(values.astype(np.uint8)).tobytes().hex()


def test_what_does_not_leak_passes_and_is_counted(cohort):
    found = cohort.check()
    assert set(found["verdict"]) == {"fine"}
    assert found.loc["cases", "detail"] == "4 cases in 1 folds"
    assert found.loc["slides", "detail"] == "4 files, 4 images"
    assert found.loc["profiles", "detail"] == "4 profiles of 6 genes"
    assert "a copy is below 10%" in found.loc["nearest_images", "detail"]


def test_a_case_in_two_splits_of_any_fold(cohort):
    more = cohort.splits.assign(fold=1)
    cohort.splits = pd.concat([cohort.splits, more, more.iloc[:1].assign(split="test")])
    (line,) = cohort.leak()
    assert line.startswith("case_on_two_sides: A: fold 1 has it in test and train")


@pytest.mark.parametrize(
    ("names", "patient"),
    [
        (("W22-1-1", "W22-2-1"), "W22"),
        (("W22-1-1-E.1.04", "W22-2-1-A.1"), "W22"),
        (("TCGA-06-0174-01A", "TCGA-06-0174-02A"), "TCGA-06-0174"),
        (("TCGA.06.0174", "tcga-06-0174-01a"), "TCGA-06-0174"),
        (("TCGA-06-0174_a", "frozen_TCGA_06_0174"), "TCGA-06-0174"),
        (("W22-1-1_HE", "w22.2.1"), "W22"),
    ],
)
@pytest.mark.parametrize(
    "column",
    [
        "case_id", "tumour_id", "slide_id", "expression_id", "slide_specimen_id", "expression_specimen_id",
        "slide_block_id", "expression_block_id",
    ],
)  # fmt: skip
def test_one_patient_under_two_case_ids(cohort, column, names, patient):
    if column == "case_id":
        cohort.splits["case_id"] = cohort.splits["case_id"].replace({"A": names[0], "D": names[1]})
    cohort.set("samples", column, A=names[0], D=names[1])
    (line,) = cohort.leak()
    assert line.startswith("same_patient: ") and f"both have {patient}, in train and test; give them one case" in line


def test_one_patient_is_refused_on_one_side_too_and_two_patients_are_not(cohort):
    cohort.set("samples", "tumour_id", A="W2-1-1", C="W22-1-1", D="W21-1-1")
    assert set(cohort.check()["verdict"]) == {"fine"}
    cohort.set("samples", "tumour_id", B="W2-2-1")
    assert cohort.leak() == ["same_patient: A and B: both have W2; give them one case_id"]


@pytest.mark.parametrize("other", [{"case_id": "W22-2-1"}, {"tumour_id": "W22-2-1"}, {"slide_id": "W22-2-1_HE"}])
def test_a_case_called_as_the_ivygap_patient(cohort, other):
    cohort.set("samples", "case_id", A="W22")
    for column, name in other.items():
        cohort.set("samples", column, D=name)
    cohort.splits["case_id"] = cohort.samples["case_id"]
    (line,) = cohort.leak()
    assert line.startswith("same_patient: ") and "both have W22, in t" in line


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("TCGA-06-0174", "TCGA-06-0175"),
        ("TCGA-06-0174", "TCGA-06-01745"),
        ("TCGA-06-0174", "XTCGA-06-0174"),
        ("TCGA-06-017", "TCGA-06-017.1"),
        ("W22-1-1", "W220-1-1"),
        ("W22-1-1", "NEW22-1-1"),
        ("W22-1-1", "W22"),
        ("W22_2014_11", "W22-1-1"),
        ("W22-HE", "W22-1-1"),
    ],
)
@pytest.mark.parametrize("column", ["slide_id", "expression_id", "slide_block_id"])
def test_names_of_two_patients_are_not_one(cohort, column, first, second):
    cohort.set("samples", column, A=first, D=second)
    assert set(cohort.check()["verdict"]) == {"fine"}


def test_blocks_of_two_cases_may_have_one_name(cohort):
    cohort.set("samples", "slide_block_id", A="A1", D="A1")
    assert set(cohort.check()["verdict"]) == {"fine"}


def test_a_specimen_of_two_cases_leaks_across_sides_alone(cohort):
    cohort.set("samples", "slide_specimen_id", A="s1")
    cohort.set("samples", "expression_specimen_id", B="s1")
    assert cohort.check().loc["same_specimen", "verdict"] == "same side"
    cohort.set("samples", "expression_specimen_id", D="s1")
    (line,) = cohort.leak()
    assert line.startswith("same_specimen: A and D: both have s1, in train and test")


@pytest.mark.parametrize("other", ["B", "D"])
def test_one_file_of_two_cases_leaks_in_any_split(cohort, other):
    cohort.set("slides", "digest", A="same", **{other: "same"})
    (line,) = cohort.leak()
    assert line.startswith(f"same_file: slide-A and slide-{other}: identical; cases A and {other}")
    assert ("in train and test" in line) == (other == "D")


def test_one_file_twice_in_a_case_is_noted(cohort):
    cohort.set("slides", "digest", A="same", B="same")
    cohort.set("samples", "case_id", B="A")
    cohort.splits = cohort.splits[cohort.splits["case_id"] != "B"]
    assert cohort.check().loc["same_file", "verdict"] == "same case"


def test_a_pair_that_is_listed_may_be_one(cohort):
    cohort.set("slides", "digest", A="same", D="same")
    cohort.set("profiles", list("uvwxyz"), A=1.5, D=1.5)
    found = cohort.check(allow=[("slide-D", "slide-A"), ("A", "D")])
    assert found.loc["same_file", "verdict"] == found.loc["same_profile", "verdict"] == "allowed"


@pytest.mark.parametrize("flips", [0, 25])
def test_an_image_that_is_nearly_the_same_leaks(cohort, flips):
    copy = bits(cohort.slides["thumbnail_hash"][0]).ravel()
    copy[np.random.default_rng(1).permutation(256)[:flips]] ^= 1
    cohort.set("slides", "thumbnail_hash", D=hexadecimal(copy))
    (line,) = cohort.leak()
    # 25 of 256 bits are 9.8 %.
    assert line.startswith(f"same_image: slide-A and slide-D: images differ in {9.8 if flips else 0.0}% of their bits")


def test_an_image_beyond_the_threshold_is_another(cohort):
    other = bits(cohort.slides["thumbnail_hash"][0]).ravel()
    other[:27] ^= 1
    cohort.set("slides", "thumbnail_hash", D=hexadecimal(other))
    found = cohort.check()
    assert found.loc["nearest_images", ["first", "second"]].tolist() == ["slide-A", "slide-D"]
    # 27 of 256 bits.
    assert "differ in 10.5%" in found.loc["nearest_images", "detail"]


def test_slides_without_a_digest_or_an_image_are_not_alike(cohort):
    cohort.slides[["digest", "thumbnail_hash"]] = ""
    assert cohort.check().loc["slides", "detail"] == "0 files, 0 images"


def test_profiles_identical_to_the_last_digit_leak_and_close_ones_do_not(cohort):
    genes = list("uvwxyz")
    cohort.profiles.loc[3, genes] = cohort.profiles.loc[0, genes].to_numpy()
    (line,) = cohort.leak()
    assert line.startswith("same_profile: X/A and X/D: identical; cases A and D, in train and test")
    cohort.profiles.loc[3, "z"] = np.nextafter(np.float32(cohort.profiles.loc[3, "z"]), np.float32(9))
    assert set(cohort.check()["verdict"]) == {"fine"}


def test_further_genes_of_a_symbol_do_not_hide_that_profiles_are_one(cohort):
    cohort.set("profiles", list("uvwxyz"), A=1.5, D=1.5)
    # The file of A has a gene twice, that of D once.
    cohort.profiles["z::2"] = np.array([2, 3, 4, np.nan], np.float32)
    (line,) = cohort.leak()
    assert line.startswith("same_profile: X/A and X/D: identical")


def test_many_leaks_are_a_few_lines_and_a_count(tmp_path):
    names = [f"case-{number:03d}" for number in range(100)]
    big = Cohort(tmp_path)
    big.samples = pd.concat([big.samples.iloc[:1]] * 100).assign(case_id=names, sample_id=names, expression_id="")
    big.samples["slide_id"] = names
    big.splits = pd.DataFrame({"fold": 0, "case_id": names, "split": "train"})
    big.slides = pd.DataFrame({"slide_id": names, "digest": "same", "thumbnail_hash": ""})
    lines = big.leak()
    assert len(lines) == 6 and "94 more" in lines[-1]
    assert (read_tsv(tmp_path / "leakage.tsv")["verdict"] == "leak").sum() == 99


def test_turned_and_mirrored_images_are_found():
    random = np.random.default_rng(2)
    image = random.integers(0, 2, (16, 16))
    image[0, 0] = 0
    odd = np.arange(16) % 2
    copies = {"mirrored": image ^ odd[None], "flipped": image ^ odd[:, None], "turned": image.T ^ odd[None]}
    for name, copy in copies.items():
        pairs, nearest = close_images({"image": hexadecimal(image), name: hexadecimal(copy)})
        assert [pair[:2] for pair in pairs] == [tuple(sorted(["image", name]))] and nearest is None


def test_every_pair_is_compared_across_blocks(monkeypatch):
    monkeypatch.setattr("ksfusion.cohort.duplicates.ROWS_AT_A_TIME", 3)
    random = np.random.default_rng(3)
    hashes = {f"s{number:02d}": random.bytes(32).hex() for number in range(11)}
    hashes["s09"] = hashes["s01"]
    hashes["s10"] = hashes["s09"]
    pairs, nearest = close_images(hashes)
    assert [pair[:2] for pair in pairs] == [("s01", "s09"), ("s01", "s10"), ("s09", "s10")]
    distances = {
        (a, b): min(
            (bits(hashes[a]) != turned ^ (rows * odd)[:, None] ^ (columns * odd)[None]).mean()
            for odd in [np.arange(16) % 2]
            for turned in (bits(hashes[b]), bits(hashes[b]).T)
            for rows in (0, 1)
            for columns in (0, 1)
        )
        for a in hashes
        for b in hashes
        if a < b and not {a, b} <= {"s01", "s09", "s10"}
    }
    assert f"{min(distances.values()):.1%}" in nearest.detail


def test_profiles_of_other_cohorts_are_compared():
    index = pd.MultiIndex.from_tuples([("X", "p"), ("Y", "p"), ("Y", "q")])
    profiles = pd.DataFrame([[1.0, 2.0], [1.0, 2.0], [1.0, 2.5]], index=index)
    assert list(equal_profiles(profiles, {"X/p", "Y/p", "Y/q"})) == [("X/p", "Y/p", "identical")]
    assert list(equal_profiles(profiles, {"X/p", "Y/q"})) == []


def test_external_cases_are_looked_at_as_test_cases_are(cohort):
    cohort.splits.loc[3, "split"] = "external"
    cohort.set("samples", "cohort", D="Z")
    cohort.set("profiles", "cohort", D="Z")
    assert set(cohort.check()["verdict"]) == {"fine"}
    cohort.set("samples", "slide_specimen_id", A="block 7", D="block 7")
    cohort.set("slides", "digest", B="D")
    # The external cohort lacks a gene, which must not hide that the others are equal.
    cohort.profiles.loc[3, list("uvwxy")] = cohort.profiles.loc[2, list("uvwxy")]
    cohort.set("profiles", "z", D=np.nan)
    assert cohort.leak() == [
        "same_specimen: A and D: both have block 7, in train and external; give them one case_id, or each its own "
        "specimen id",
        "same_file: slide-B and slide-D: identical; cases B and D, in train and external; remove one, or list the pair "
        "in cohort.allow_duplicates",
        "same_profile: X/C and Z/D: identical; cases C and D, in val and external; remove one, or list the pair in "
        "cohort.allow_duplicates",
    ]
    cohort.splits = pd.concat([cohort.splits, pd.DataFrame({"fold": [0], "case_id": ["D"], "split": ["test"]})])
    assert "case_on_two_sides: D: fold 0 has it in external and test; put it on one" in cohort.leak()


def test_a_patient_of_cptac_is_known_by_the_names_of_slides(cohort):
    cohort.samples["slide_id"] = ["C3L-00016-21", "c3l.00016.22", "C3L-000161", "C3N-00016-21"]
    cohort.slides["slide_id"] = cohort.samples["slide_id"]
    assert cohort.leak() == ["same_patient: A and B: both have C3L-00016; give them one case_id"]
