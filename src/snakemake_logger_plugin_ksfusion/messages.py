"""What Snakemake says by itself: of that, what is told, and in which words."""

from __future__ import annotations

# What Snakemake tells of its own work.
OWN_WORK = (
    "Assuming unrestricted", "Building DAG", "Using shell", "Conda environments: ignored", "Singularity containers",
    "Select jobs", "Removing output files", "Removing temporary output", "Complete log(s)", "Elapsed time",
    "Terminating processes", "Waiting for", "Group jobs", "Processed ", "Updating checkpoint", "Would remove",
    "This was a dry-run", "Reasons:", "    (check individual jobs", "Loading trusted IOCache", "Shell command",
    "Determining filesystem", "Shutting down", "Execute ", "No SLURM", "Guessed SLURM",
    "Cleaning up SLURM", "Storing in storage", "Retrieving from storage", "Finished upload", "Finished retrieval",
    "Removing local copy", "Skipped removing", "Migrating .snakemake", "Migration complete",
)  # fmt: skip
# Of SLURM, one for each job.
OF_SUBMISSIONS = ("has been submitted with SLURM jobid", "Submitted array job")
NOT_COMPLETE = "At least one job did not complete successfully"
LOCKED = (
    "another run is at work in this folder, or has died; only if it has died, unlock the folder: the same command with "
    "-- --unlock (of snakemake: --unlock)"
)
LOOK_ABOVE = "Exiting because a job execution failed"
NOTHING_TO_DO = "Nothing to be done"


def is_own_work(text: str) -> bool:
    """Return whether a message is on Snakemake's own work or on one submission, which nobody asked for."""
    return (
        text in ("", "None") or text.lstrip("\n").startswith(OWN_WORK) or any(part in text for part in OF_SUBMISSIONS)
    )


def without_places(text: str) -> list[str]:
    """Return the lines of an error without those that say where in the workflow it was raised."""
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and lines[0].startswith(("WorkflowError", "Error:")):
        lines[0] = lines[0].removeprefix("Error:").strip()
        if lines[0].startswith("WorkflowError"):
            lines = lines[1:]
    return [line for line in lines if not (line.startswith("  File ") and ", in " in line)]
