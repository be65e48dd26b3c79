"""Bundles: one trained method and task, frozen into a folder from which new patients are predicted.

A bundle is a folder of safetensors, JSON, YAML, Markdown and tab-separated tables. Nothing in it is code, and reading
it runs nothing from it (`ksfusion.bundles.read.read_bundle`). Its files:

``manifest.json``
    The version of this layout, and the SHA-256 and the size of every other file (`ksfusion.bundles.manifest`).
``bundle.json``
    What the bundle is (`ksfusion.bundles.config.BundleContents`): task, method, encoder, units of the expression,
    cohorts, seeds of each fold, versions, study.
``settings.yaml``
    How slides are read, tiled, checked, sampled, stained and encoded, and how genes are scaled
    (`ksfusion.bundles.config.BundleSettings`); a block that the method has no use for is null.
``stain_target.json``
    The stain that slides are brought to, as ``stain.target`` of a configuration takes it; only with patches.
``members/fold{fold}/seed{seed}/model.safetensors``, ``config.json``
    A trained model, as a run's folder has it; `ksfusion.bundles.members.Member` reads them.
``members/fold{fold}/seed{seed}/reference.tsv``
    ``value``: what the member predicts of the cases that trained it (the mean over a case's samples), ascending: the
    risk, or the number. Not for classes.
``genes/fold{fold}/selected.tsv``, ``scaling.tsv``
    The fold's genes (symbol, rank, variance, category, niche, source), and the frozen scaling (cohort, symbol, mean,
    sd, fill; the cohort ``all`` serves those that have no row); only with genes.
``training/fold{fold}.safetensors``, ``training/fold{fold}.json``
    What the fold's training samples looked like: means and spread of mean features, of scaled genes and of stains, the
    scales and their origins, and the amounts of tissue, each with its limit (`ksfusion.bundles.distances`).
``calibration/fold{fold}.json``
    The fold's temperature, log-likelihoods before and after, and the conformal scores, or why there are none
    (`ksfusion.bundles.config.FoldCalibration`).
``cases.tsv``
    ``case`` (SHA-256 of the case_id), ``fold``, ``split`` (train, val, calibration, test): by which a case that
    trained a member is known. No case_id stands in a bundle.
``slides.tsv``
    ``slide`` (digest of the slide's file), ``case``: by which a slide that trained a member is known under another
    name; only with patches.
``metrics.tsv``, ``subgroups.tsv``
    The rows of the study's tables that are about this task and method.
``draws.safetensors``
    What each metric of the test cases is in each bootstrap draw of them (`ksfusion.bundles.draws`).
``model_card.md``
    Intended use, data, limits, metrics, subgroups.
"""

from __future__ import annotations

from ksfusion.core.lazy import lazy_names

_MODULES = {
    "Bundle": "read",
    "read_bundle": "read",
}
__all__ = list(_MODULES)
__getattr__ = lazy_names(__name__, _MODULES)
