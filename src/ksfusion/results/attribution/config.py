"""The settings of gene attributions."""

from __future__ import annotations

from pydantic import Field, field_validator

from ksfusion.core.config_block import Block, Positive
from ksfusion.methods.registry import NETWORKS


class AttributeGenesSettings(Block):
    """Of `ksfusion.stages.attribute_genes`."""

    samples: Positive = Field(
        64, description="largest number of test samples over which gene attributions are averaged"
    )
    permuted: bool = Field(
        False, description="train a model on permuted labels too, and tell how far its genes are the same"
    )


class Attributions(AttributeGenesSettings):
    """Which genes the outputs of methods rest on."""

    methods: list[str] = Field(["ksfusion"], description="methods that read genes, of those under methods; [] for none")

    @field_validator("methods")
    @classmethod
    def _read_genes(cls, methods: list[str]) -> list[str]:
        for name in methods:
            if name not in NETWORKS or "g" not in NETWORKS[name].modalities:
                known = ", ".join(name for name, info in NETWORKS.items() if "g" in info.modalities)
                raise ValueError(f"{name!r} is no network that reads genes; known: {known}")
        if len(set(methods)) < len(methods):
            raise ValueError("a method is listed twice")
        return methods
