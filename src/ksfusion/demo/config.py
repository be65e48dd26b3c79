"""The settings of the demo's stages: what of the planted cohort they draw."""

from __future__ import annotations

from ksfusion.core.config_block import Block, Name


class DrawDemoSlidesSettings(Block):
    """Of `ksfusion.stages.draw_demo_slides`: ids of slides."""

    slides: list[Name]


class DrawDemoExpressionSettings(Block):
    """Of `ksfusion.stages.draw_demo_expression`: ids of profiles."""

    profiles: list[Name]
