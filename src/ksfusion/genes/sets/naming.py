"""How the genes of a table are named: whether they are known here, and if not, by what they go and the remedy."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence

from ksfusion.genes.sets.known import bare_name, known_among, known_names

# Fewer names than these say nothing.
FEWEST_GENES = 20
# A table of all human genes has over 1,600 of the shipped sets among its 20,000 to 60,000.
FEWEST_KNOWN, SHARE_KNOWN = 200, 0.01
# Names that are looked at to see what they are.
LOOKED_AT = 2000
ORTHOLOGUES = "bring them to the symbols of their human orthologues (Ensembl BioMart)"
TO_SYMBOLS = "give the genes' HGNC symbols or Ensembl ids"
SPECIES = {
    "ENSMUS": "mouse", "ENSRNO": "rat", "ENSDAR": "zebrafish", "ENSCAF": "dog", "ENSMMU": "macaque", "ENSSSC": "pig",
    "ENSBTA": "cow", "ENSGAL": "chicken",
}  # fmt: skip
# What else names genes, or parts of them.
OTHER_NAMES = {
    r"ENST\d{11}(\.\d+)?": f"transcripts of Ensembl; add them up by gene, and {TO_SYMBOLS}",
    r"ENSP\d{11}(\.\d+)?": f"proteins of Ensembl; {TO_SYMBOLS}",
    r"[NX][MR]_\d+(\.\d+)?": f"transcripts of RefSeq; add them up by gene, and {TO_SYMBOLS}",
    r"uc\d{3}[a-z]{3}\.\d+": f"transcripts of UCSC; add them up by gene, and {TO_SYMBOLS}",
    r"HGNC:\d+": f"numbers of HGNC; {TO_SYMBOLS}",
    r"\d+": f"numbers, as of Entrez (NCBI); {TO_SYMBOLS}",
    r"\d+(_\w+)?_at|ILMN_\d+|A_\d+_P\d+|(TC|PSR)\d+.*": "probes of a microarray; bring them to genes by its table",
    r"cg\d{8}": "probes of methylation; expression is wanted",
    r"hsa-(mir|let)-.*": "micro-RNAs; expression of genes is wanted",
    r"FBgn\d+": f"genes of the fruit fly; {ORTHOLOGUES}",
    r"WBGene\d+": f"genes of a worm; {ORTHOLOGUES}",
    r"Y[A-P][LR]\d{3}[CW](-[A-Z])?": f"genes of yeast; {ORTHOLOGUES}",
}


def knows_few(names: Collection[str]) -> bool:
    """Return whether a table of many genes has so few known ones that its names may be of another kind."""
    n_known = len(known_among(names))
    return len(names) >= FEWEST_GENES and n_known < min(FEWEST_KNOWN, SHARE_KNOWN * len(names))


def naming_of(names: Sequence[str]) -> str:
    """Return what kind of names those of a table are, where none or few are known, and the remedy.

    Returns
    -------
    str
        Goes on after "its genes are named by" or the like; empty where the names say nothing.
    """
    looked_at = [name for name in names[:: max(1, len(names) // LOOKED_AT)] if name]
    if not looked_at:
        return ""
    enough = _most(len(looked_at))
    for prefix, species in SPECIES.items():
        if sum(name.startswith(prefix) for name in looked_at) >= enough:
            return f"Ensembl ids of {species}; {ORTHOLOGUES}"
    for form, words in OTHER_NAMES.items():
        if sum(map(_matches(form), looked_at)) >= enough:
            return words
    if _are_symbols(looked_at, str.islower):
        return "symbols in small letters; write them as HGNC does (EGFR)"
    if _are_symbols(looked_at, _is_capitalised):
        return f"symbols written as those of mouse and rat (Egfr); {ORTHOLOGUES}"
    if ending := common_ending(looked_at):
        return f"symbols that end in {ending}; set suffix: {ending}"
    return ""


def _most(number: int) -> float:
    return max(1, 0.5 * number)


def _matches(form: str) -> Callable[[str], bool]:
    pattern = re.compile(form)
    return lambda name: pattern.fullmatch(name) is not None


def _is_capitalised(name: str) -> bool:
    return name[:1].isupper() and name[1:].islower()


def _are_symbols(names: Sequence[str], written_so: Callable[[str], bool]) -> bool:
    """Return whether names would be known in capitals, and most of those are written in another way."""
    in_capitals = [name for name in names if bare_name(name).upper() in known_names() and any(map(str.isalpha, name))]
    written = [name for name in in_capitals if written_so(name)]
    return len(written) >= max(1, len(in_capitals) / 2) and len(written) > len(known_among(names))


def common_ending(names: Iterable[str]) -> str:
    """Return what stands behind known symbols in most names that begin with one (EGFR_rnaseq), empty where nothing."""
    endings: Counter[str] = Counter()
    for name in names:
        for found in re.finditer(r"[_.|: ]", name):
            if name[: found.start()] in known_names():
                endings[name[found.start() :]] += 1
    if not endings:
        return ""
    ending, count = endings.most_common(1)[0]
    return ending if count >= _most(endings.total()) else ""
