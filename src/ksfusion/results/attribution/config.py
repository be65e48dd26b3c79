"""The settings of gene attributions."""

from __future__ import annotations

from pydantic import Field, field_validator

from ksfusion.core.config_block import Block, Positive, once_each
from ksfusion.methods.registry import networks_reading


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
        return once_each(networks_reading(methods, "g"), "method")
