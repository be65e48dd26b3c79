"""Whether an encoder's weights are here or can be had from the Hugging Face hub: asked before a run, without torch."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from ksfusion.core.errors import UserError
from ksfusion.slides.encoders.names import COLLECTIONS, HUB, LITE0, RESNET50, SEEDED, TIMM, find_preset, own_encoders

# The weights in a repository: timm takes the first that is there.
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
RESNET50_REPOSITORY = "timm/resnet50.tv_in1k"
# Seconds that the hub has for its answer, and all together, with the look-up of its address.
ANSWER, ALTOGETHER = 5, 12
REMEDY = (
    "download the weights where there is internet, and name the file in features.weights; efficientnet-lite0 needs no "
    "download"
)


def repository_of(encoder: str) -> str | None:
    """Return where an encoder's weights are on the hub, as ``OWNER/NAME[@REVISION]``; None where that is no matter."""
    if encoder in (SEEDED, LITE0) or encoder.startswith(COLLECTIONS):
        return None
    if encoder == RESNET50:
        return RESNET50_REPOSITORY
    if preset := find_preset(encoder):
        return preset.repository if preset.architecture else None
    if encoder in (entry.name for entry in own_encoders()):
        return None
    return f"timm/{encoder.removeprefix(TIMM)}" if encoder.startswith(TIMM) else encoder.removeprefix(HUB)


def check_weights(encoder: str) -> None:
    """Make sure that the weights of an encoder are on this machine, or that the hub would give them.

    Parameters
    ----------
    encoder
        Its name; no file of weights is given for it.

    Raises
    ------
    UserError
        If the hub does not answer within seconds, or refuses: with the remedy, in one line.
    """
    repository, preset = repository_of(encoder), find_preset(encoder)
    files = (preset.file,) if preset and preset.file else WEIGHT_FILES
    if repository is None or is_cached(repository, files):
        return
    said: list[str] = []
    # An address that no server knows can take longer than any time limit of the client.
    asking = threading.Thread(target=lambda: said.append(_refusal(repository, files)), daemon=True)
    asking.start()
    asking.join(ALTOGETHER)
    reason = said[0] if said else f"the hub does not answer within {ALTOGETHER} s;"
    if reason:
        raise UserError(
            f"features.encoder: {encoder}: its weights ({repository}) are not on this machine, and {reason} {REMEDY}"
        )


def is_cached(repository: str, files: Sequence[str] = WEIGHT_FILES) -> bool:
    """Return whether one of the files of a repository is on this machine, where the hub's client keeps them."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.constants import HF_HUB_CACHE

    name, _, revision = repository.partition("@")
    found = (try_to_load_from_cache(name, file, revision=revision or None) for file in files)
    if any(isinstance(path, str) for path in found):
        return True
    # Of a model of timm without its tag, timm chooses the tag.
    return any(Path(HF_HUB_CACHE).glob(f"models--{name.replace('/', '--')}.*/snapshots/*/*"))


def _refusal(repository: str, files: Sequence[str] = WEIGHT_FILES) -> str:
    """Return why the hub would not give the weights; empty where it would."""
    from huggingface_hub import constants, errors, get_hf_file_metadata, get_token, hf_hub_url

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE forbids to ask the hub;"
    name, _, revision = repository.partition("@")
    try:
        for file in files:
            try:
                get_hf_file_metadata(
                    hf_hub_url(name, file, revision=revision or None), token=get_token() or False, timeout=ANSWER
                )
                break
            except errors.EntryNotFoundError:
                continue
    except errors.GatedRepoError:
        return f"are given to who has agreed to their terms: agree at huggingface.co/{name} and set HF_TOKEN, or"
    except errors.RepositoryNotFoundError:
        # Of a model of timm without its tag the name is not that of a repository.
        tagless = name.startswith("timm/") and "." not in name
        return "" if tagless else "the hub has no such repository, or not for you: correct the name, set HF_TOKEN, or"
    except errors.RevisionNotFoundError:
        return f"the repository has no revision {revision}: correct it, or"
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        return f"the hub refuses (HTTP {status}): set HF_TOKEN, or" if status in (401, 403) else ""
    except Exception as error:  # of the network: each client has its own
        return f"the hub does not answer ({str(error).strip() or type(error).__name__});"
    return ""
