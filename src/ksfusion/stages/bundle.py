"""A trained method and task, frozen into a folder that predicts new patients elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from ksfusion.bundles.config import LEVEL
from ksfusion.bundles.making import Draft
from ksfusion.bundles.manifest import MANIFEST, write_manifest
from ksfusion.bundles.model_card import CARD, model_card
from ksfusion.bundles.read import read_bundle
from ksfusion.bundles.study import StudyResults, own_methods
from ksfusion.core.atomic import atomic
from ksfusion.core.errors import UserError
from ksfusion.core.provenance import provenance
from ksfusion.methods.registry import use_methods

log = logging.getLogger(__name__)


def bundle(
    task: str,
    method: str,
    output: Path,
    *,
    results: Path = Path("results"),
    level: float = LEVEL,
    methods_from: Sequence[Path] = (),
) -> None:
    """Freeze one trained method and task into a folder, from which new patients are predicted.

    All its seeds and folds, with what they need: genes and their scaling, stain target, settings of the slides, the
    encoder's name and the digest of its weights, temperatures, conformal scores, what training samples looked like,
    metrics, and a model card (`ksfusion.bundles` lists the files). Settings are those that the results' own files
    record.

    Parameters
    ----------
    task
        Name of the task.
    method
        Name of the method.
    output
        Folder of the bundle; a bundle that is there is replaced.
    results
        Folder of the study's results.
    level
        Level of the sets of classes, above 0.5 and below 1.
    methods_from
        Files with methods of your own; without any those that the study was run with.

    Raises
    ------
    UserError
        If there is no such trained method, it reads more than patches and genes, or what it was trained on cannot be
        frozen; or if the folder holds something else.
    """
    if output.exists() and not (output / MANIFEST).is_file() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"--output: {output} is there already, and is no bundle; name a new folder")
    if not 0.5 < level < 1:
        raise UserError(f"--level {level:g}: must lie above 0.5 and below 1, such as 0.9")
    use_methods(methods_from or own_methods(results))
    study = StudyResults(results, task, method)
    draft, made_by = Draft.of(study, level), provenance(__name__, {"task": task, "method": method, "level": level})
    with atomic(output) as temporary:
        temporary.mkdir(parents=True)
        contents = draft.write(temporary, made_by)
        (temporary / CARD).write_text(model_card(temporary, contents, study.caveats()), encoding="utf-8")
        write_manifest(temporary, made_by)
        try:
            read_bundle(temporary)
        except UserError as error:
            said = str(error).replace(str(temporary), str(output))
            raise UserError(f"{results}: its files do not fit together; run the pipeline again ({said})") from None
    log.info("%s: %s for %s, %d members", output, method, task, sum(len(fold.seeds) for fold in contents.folds))
