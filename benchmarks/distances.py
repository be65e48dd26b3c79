"""Which samples a bundle takes for unlike those of its training: held-out ones, and ones that are made so.

    python benchmarks/distances.py [--demo demo] [--method ksfusion] [--cases 24] [--cores 2] [--keep FOLDER]

Of a finished demo one method is bundled for diagnosis, and test cases of its first cohort are predicted by `ksfusion
predict`, from slides and counts:

- `held out`: as they are. What is flagged here is flagged wrongly; of each distance 2.5 % by design.
- `another stain`: the same slides drawn with stains that no site of the demo has: haematoxylin redder and darker, eosin
  paler and yellower.
- `another tissue`: the same outlines full of small round nuclei, as in a lymph node.
- `another scale`: slides whose header says 0.5 um per pixel and that are drawn at 1.0: nuclei half as large as all of
  training. Nothing but the pixels tells.
- `shuffled genes`: the same slides, and counts that have changed places among the genes of a profile.

Printed: of each arm the share of cases that have a flag, of each flag that any has.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

COHORT = "demo-gdc"
COMMAND = [sys.executable, "-m", "ksfusion"]
SHUFFLED = "shuffled genes"
DRAWN = ("another stain", "another tissue", "another scale")
ARMS = ("held out", *DRAWN, SHUFFLED)
# Flags that say where a case comes from, not what it looks like.
NOT_COUNTED = {"seen_in_study", "trained_on", ""}


def draw(job: tuple[str, str, Path]) -> None:
    """Draw a slide of an arm, under its own name and seed."""
    from ksfusion.demo import looks, slides
    from ksfusion.demo.appearance import planted_appearances, seed_of

    arm, slide_id, path = job
    appearance = planted_appearances([slide_id])[slide_id]
    if arm == "another stain":
        vectors = np.array([[0.78, 0.55, 0.30], [0.06, 0.70, 0.71]])
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        stain = looks.SiteStain(vectors, np.array([1.5, 0.6]), np.array([245.0, 245.0, 245.0]), blur_um=0.2)
        slides.site_stain = lambda site: stain
    elif arm == "another tissue":
        look = looks.TumourLook(14000, "lymphocyte", 6, (0.0, 0.0), 1.0)
        looks.TUMOURS.update(dict.fromkeys(looks.TUMOURS, look))
        appearance = dataclasses.replace(appearance, tumour=0.98, lymphocytes=0.98, vessels=0.1, necrosis=0.0)
    else:
        size = {"width_um": 2 * appearance.width_um, "height_um": 2 * appearance.height_um}
        appearance = dataclasses.replace(appearance, **size, mpp=1.0)
        write = slides.write_pyramid
        slides.write_pyramid = lambda file, image, mpp: write(file, image, 0.5)
    slides.draw_slide(path, appearance, seed_of(slide_id))


def shuffle_counts(source: Path, target: Path, seed: int) -> None:
    """Copy a profile with counts that have changed places among its genes; the four lines that are no gene's stay."""
    target.mkdir(parents=True)
    file = next(source.glob("*.tsv"))
    comment, _, text = file.read_text().partition("\n")
    table = pd.read_csv(io.StringIO(text), sep="\t", dtype=str, keep_default_na=False)
    genes = ~table["gene_id"].str.startswith("N_")
    numbers = table.columns[3:]
    order = np.random.default_rng(seed).permutation(int(genes.sum()))
    table.loc[genes, numbers] = table.loc[genes, numbers].to_numpy()[order]
    (target / file.name).write_text(f"{comment}\n{table.to_csv(sep=chr(9), index=False)}")


def write_arms(demo: Path, folder: Path, n_cases: int, cores: int) -> None:
    """Write the table of samples of all arms, their slides and their profiles."""
    from ksfusion.demo.cohort import sample_table

    splits = pd.read_csv(demo / "results/cohort/splits.tsv", sep="\t", dtype=str)
    test = splits.loc[splits["split"] == "test", "case_id"]
    samples = sample_table()
    samples = samples[(samples["cohort"] == COHORT) & samples["case_id"].isin(test)].drop_duplicates("case_id")
    samples = samples.head(n_cases)
    rows, jobs = [], []
    (folder / "slides").mkdir()
    for number, row in enumerate(samples.to_dict("records")):
        for arm in ARMS:
            name = arm.replace(" ", "-")
            own = {"sample_id": f"{row['sample_id']}.{name}", "case_id": f"{row['case_id']}.{name}", "cohort": COHORT}
            # A slide and a profile belong to one case.
            profile = f"{row['expression_id']}-{name}"
            slide = folder / "slides" / f"{row['sample_id']}.{name}.tiff"
            if arm in DRAWN:
                jobs.append((arm, row["sample_id"], slide))
            else:
                shutil.copyfile(demo / row["slide"], slide)
            source = demo / "expression/gdc" / row["expression_id"]
            if arm == SHUFFLED:
                shuffle_counts(source, folder / "gdc" / profile, number)
            else:
                shutil.copytree(source, folder / "gdc" / profile)
            rows.append({**own, "slide": str(slide.resolve()), "expression_id": profile})
    pd.DataFrame(rows).to_csv(folder / "new.tsv", sep="\t", index=False)
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        list(pool.map(draw, jobs))


def predict(folder: Path, cores: int) -> None:
    """Predict all samples as `ksfusion predict` does, but for the pages."""
    from ksfusion.core.workflow import PREDICTION, workflow_command
    from ksfusion.predictions.request import NewPatients, write_request

    config = write_request(NewPatients(folder / "B", folder / "new.tsv", folder / "D", folder / "gdc"))
    options = {"cores": str(cores), "profile": "default", "snakefile": PREDICTION}
    subprocess.run(workflow_command(config, ["predictions.tsv"], **options), check=True)


def report(folder: Path) -> None:
    """Print the share of the cases of each arm that have each flag."""
    table = pd.read_csv(folder / "D/predictions.tsv", sep="\t", dtype=str, keep_default_na=False)
    table["arm"] = table["case_id"].str.partition(".")[2]
    flags = table["flags"].str.split(";").map(lambda codes: set(codes) - NOT_COUNTED)
    names = sorted(set().union(*flags))
    print(f"{'':16} {'cases':>6} {'failed':>7} {'any':>7}", *(f"{name:>16}" for name in names))
    for arm in ARMS:
        own = table["arm"] == arm.replace(" ", "-")
        used = own & (table["status"] == "ok")
        shares = [flags[used].map(bool).mean()]
        shares += [flags[used].map(lambda codes, name=name: name in codes).mean() for name in names]
        first = f"{arm:16} {int(own.sum()):>6} {int((own & ~used).sum()):>7} {shares[0]:>7.0%}"
        print(first, *(f"{share:>16.0%}" for share in shares[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("demo"), help="a finished demo")
    parser.add_argument("--method", default="ksfusion")
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="folder for what is made; else it is removed")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        bundle = ["--results", args.demo / "results", "--task", "diagnosis", "--method", args.method]
        subprocess.run([*COMMAND, "bundle", *map(str, bundle), "--output", folder / "B"], check=True)
        write_arms(args.demo, folder, args.cases, args.cores)
        predict(folder, args.cores)
        report(folder)


if __name__ == "__main__":
    main()
