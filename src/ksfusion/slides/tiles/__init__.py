"""The tissue of a slide, its grid of tiles, their quality, and which stand for the slide."""
