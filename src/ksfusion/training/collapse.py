"""A model that has collapsed: its output is the same for every sample."""

from __future__ import annotations

from torch import Tensor

from ksfusion.terms.tasks import TaskKind
from ksfusion.training.config import RunSettings

# Of the largest logit, or of 1 where all are smaller: what samples differ by less is float32's noise, some 80 times its
# precision, and no probability differs by more than 0.0000025.
SAME = 1e-5


def is_collapsed(logits: Tensor, kind: TaskKind) -> bool:
    """Return whether outputs do not depend on the sample.

    Parameters
    ----------
    logits : Tensor (n, n_outputs)
        Logits of samples that differ; of fewer than two nothing can be told.
    kind
        Kind of the task. Of classes the logits count less their mean, which changes no probability.
    """
    if len(logits) < 2:
        return False
    logits = logits.double()
    if kind == "classification":
        logits = logits - logits.mean(dim=1, keepdim=True)
    spread = (logits.max(dim=0).values - logits.min(dim=0).values).max()
    return bool(spread <= SAME * max(1.0, float(logits.abs().max())))


def why_collapsed(logits: Tensor, kind: TaskKind, settings: RunSettings) -> str:
    """Return the reason of a run that has collapsed, with the remedy; empty where it has not."""
    if not is_collapsed(logits, kind):
        return ""
    remedy = [f"lower training.weight_decay ({settings.weight_decay:g})"] if settings.weight_decay else []
    remedy.append(f"lower training.lr ({settings.lr:g}), or train for more epochs")
    return f"collapsed: the output of the kept epoch is the same for every sample; {' or '.join(remedy)}"
