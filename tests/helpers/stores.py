"""Stores of files of features, whatever the ledger says."""

from ksfusion.slides.config import BuildStoreSettings
from ksfusion.stages.build_store import build_store


def gather_store(files, folder):
    """Build a store of a cohort in which nothing failed."""
    ledger = folder.with_name(f"{folder.name}.ledger.tsv")
    ledger.write_text("status\treason\nok\t\n")
    build_store(files, ledger, ledger, folder, settings=BuildStoreSettings())
