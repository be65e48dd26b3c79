"""What a hospital hands over: slides in several formats, a table in its own words, a matrix of expression."""

from pathlib import Path

import numpy as np
import pandas as pd
from fold_project import draw_slide
from PIL import Image

from ksfusion.genes import gene_sets

PATIENTS = [f"NP-{number:03d}" for number in range(1, 21)]
# A slide that belongs to nobody, a profile and a patient without a slide.
CONTROL, ONLY_PROFILE, ONLY_PATIENT = "control_tonsil.png", "NP-077", "NP-099"


def draw_hospital(folder: Path) -> None:
    """Draw 20 patients with a slide each: PNG, JPEG, and TIFF that says its scale."""
    (folder / "scans").mkdir(parents=True)
    for number, patient in enumerate(PATIENTS):
        png = folder / f"scans/{patient}_HE.png"
        draw_slide(png, number)
        if number % 3:
            with Image.open(png) as image:
                if number % 3 == 1:
                    image.save(png.with_suffix(".jpg"), quality=95)
                else:
                    image.save(png.with_suffix(".tif"), resolution=20000, resolution_unit=3)
            png.unlink()
    draw_slide(folder / "scans" / CONTROL, 99)
    rows = [
        f"{patient};{50 + number};{['Wildtyp', 'mutiert'][number % 2]};{['IV', 'II', 'III'][number % 3]};"
        f"{number + 1},5;{['verstorben', 'lebt'][number % 2]}"
        for number, patient in enumerate([*PATIENTS, ONLY_PROFILE, ONLY_PATIENT])
    ]
    text = "\n".join(["Fallnummer;Alter;IDH-Status;WHO-Grad;OS_Monate;Status", *rows]) + "\n"
    (folder / "klinik.csv").write_text(text, encoding="cp1252")
    genes = gene_sets().groupby("niche")["symbol"].head(30).unique()
    random = np.random.default_rng(0)
    counts = random.poisson(random.lognormal(6, 1.5, (len(genes), 1)), (len(genes), len(PATIENTS) + 1))
    columns = [f"{patient}-RNA" for patient in [*PATIENTS, ONLY_PROFILE]]
    pd.DataFrame(counts, index=genes, columns=columns).to_csv(folder / "rna.csv", index_label="symbol")
