"""How long large expression tables take, and how much memory: a matrix in Parquet, and files of the GDC.

    python benchmarks/expression.py [--genes 60000] [--samples 3000] [--files 3000]

The matrix is read, its most variable genes are chosen and scaled: by the library's functions, and by the two verbs that
the pipeline runs, which write and read the table between them. The files are as the GDC publishes them (60,660 genes),
in as many folders as asked, which share 20 distinct files. Each measurement is a process of its own.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from ksfusion.genes import gene_sets
from ksfusion.genes.config import ExpressionSource, Genes, ReadExpressionSettings
from ksfusion.terms.published_files import GDC_SUFFIX

DISTINCT_FILES, GDC_GENES = 20, 60_660
LIBRARY = """
import sys
from ksfusion.genes import read_expression, select_genes
from ksfusion.genes.scaling import fit_scaling
import pandas as pd
profiles = read_expression(sys.argv[1], format="matrix", unit="tpm")
chosen = select_genes({"C": profiles}).query("chosen")["symbol"]
cohorts = pd.Series("C", index=profiles.index)
fit_scaling(profiles[chosen], cohorts, harmonise="zscore_by_cohort").apply(profiles[chosen], cohorts)
"""


def measure(name, command):
    """Run a command; print its seconds, those of the processor, and the peak memory of its process."""
    start, peak, before = time.perf_counter(), 0, processor_seconds()
    process = psutil.Popen(command, stderr=subprocess.PIPE, text=True)
    while process.poll() is None:
        try:
            peak = max(peak, process.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(process.stderr.read())
    seconds = time.perf_counter() - start
    processor = processor_seconds() - before
    print(f"{name:44} {seconds:7.1f} s  {processor:6.1f} s  {peak / 2**30:5.2f} GiB", flush=True)
    return seconds


def processor_seconds():
    """Return what the processes that ended have used of the processor."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def gene_names(n_genes):
    symbols = sorted(gene_sets()["symbol"].unique())
    return (symbols + [f"LINC{number:05}" for number in range(n_genes)])[:n_genes]


def draw_matrix(path, n_genes, n_samples):
    """Write TPM as genes x samples, double precision, as pandas would."""
    random = np.random.default_rng(0)
    level = random.gamma(0.5, 20, n_genes)
    columns = {"gene": pa.array(gene_names(n_genes))}
    columns |= {f"S{number:04}": pa.array(level * random.gamma(2, 0.5, n_genes)) for number in range(n_samples)}
    pq.write_table(pa.table(columns), path)


def draw_gdc(folder, n_files):
    """Write STAR gene counts in the GDC's columns, and link them into folders."""
    random = np.random.default_rng(0)
    names = gene_names(GDC_GENES)
    for number in range(DISTINCT_FILES):
        counts = random.negative_binomial(1, 0.001, GDC_GENES)
        tpm = (counts / counts.sum() * 1e6).round(4)
        table = pd.DataFrame(
            {
                "gene_id": [f"ENSG{gene:011}.1" for gene in range(GDC_GENES)],
                "gene_name": names,
                "gene_type": "protein_coding",
                "unstranded": counts,
                "stranded_first": counts // 2,
                "stranded_second": counts - counts // 2,
                "tpm_unstranded": tpm,
                "fpkm_unstranded": tpm / 2,
                "fpkm_uq_unstranded": tpm / 2,
            }
        )
        with (folder / f"{number}.tsv").open("w") as file:
            file.write("# gene-model: GENCODE v36\n" + "\t".join(table.columns) + "\n")
            for name in ("unmapped", "multimapping", "noFeature", "ambiguous"):
                file.write(f"N_{name}\t\t\t1\t1\t1\t\t\t\n")
            table.to_csv(file, sep="\t", index=False, header=False)
    for number in range(n_files):
        place = folder / "files" / f"{number:08}-0000-4000-8000-000000000000"
        place.mkdir(parents=True)
        name = f"{number:08}{GDC_SUFFIX}"
        (place / name).symlink_to(folder / f"{number % DISTINCT_FILES}.tsv")
    return folder / "files"


def verb(*arguments):
    return [sys.executable, "-m", "ksfusion", *map(str, arguments)]


def read_expression(source, output):
    return verb("read-expression", "--settings", ReadExpressionSettings(sources=[source]).as_json(), "--output", output)


def time_pipeline(folder, matrix, n_samples):
    """Run the verbs `read-expression` and `select-genes` on the matrix, every fifth case held out."""
    source = ExpressionSource(cohort="C", format="matrix", unit="tpm", path=str(matrix))
    samples = pd.DataFrame({"sample_id": [f"S{number:04}" for number in range(n_samples)]})
    samples = samples.assign(case_id=samples["sample_id"], expression_id=samples["sample_id"], cohort="C", status="ok")
    samples.to_csv(folder / "samples.tsv", sep="\t", index=False)
    held_out = samples.index % 5 == 0
    splits = pd.DataFrame({"fold": 0, "case_id": samples["case_id"], "split": np.where(held_out, "test", "train")})
    splits.to_csv(folder / "splits.tsv", sep="\t", index=False)
    profiles = folder / "profiles.parquet"
    read = measure("ksfusion read-expression", read_expression(source, profiles))
    chosen = measure(
        "ksfusion select-genes",
        verb(
            "select-genes", "--profiles", profiles, "--samples", folder / "samples.tsv",
            "--splits", folder / "splits.tsv", "--output", folder / "fold0", "--fold", 0,
            "--settings", Genes().as_json(),
        ),
    )  # fmt: skip
    print(f"{'both':44} {read + chosen:7.1f} s")


def main():
    """Draw the files and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genes", type=int, default=60_000)
    parser.add_argument("--samples", type=int, default=3_000)
    parser.add_argument("--files", type=int, default=3_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.samples:
            matrix = folder / "matrix.parquet"
            draw_matrix(matrix, arguments.genes, arguments.samples)
            print(f"{'':44}    wall    processor      peak")
            print(f"{arguments.genes} genes x {arguments.samples} samples, {matrix.stat().st_size / 2**30:.2f} GiB")
            measure("read, chosen and scaled by the library", [sys.executable, "-c", LIBRARY, str(matrix)])
            time_pipeline(folder, matrix, arguments.samples)
        if arguments.files:
            files = draw_gdc(folder, arguments.files)
            source = ExpressionSource(cohort="C", format="gdc-star", unit="tpm", path=str(files))
            seconds = measure(
                f"ksfusion read-expression, {arguments.files} gdc-star files",
                read_expression(source, folder / "gdc.parquet"),
            )
            print(f"{'per file':44} {seconds / arguments.files * 1e3:7.1f} ms")


if __name__ == "__main__":
    main()
