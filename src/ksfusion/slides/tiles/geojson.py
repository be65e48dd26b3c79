"""GeoJSON as QuPath and LazySlide export it: its polygons, features and their classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def features_of(content: Any) -> Iterator[Any]:
    """Yield the features of a GeoJSON object, or of a list of them."""
    if isinstance(content, dict) and isinstance(content.get("features"), list):
        content = content["features"]
    yield from content if isinstance(content, list) else [content]


def polygons(content: Any, left_out: list[str]) -> Iterator[list[Any]]:
    """Yield the polygons of a GeoJSON object, or of a list of them, each as a list of rings.

    Parameters
    ----------
    content
        Parsed content of the file.
    left_out
        Gets the classes whose polygons are left out.
    """
    if isinstance(content, list):
        for item in content:
            yield from polygons(item, left_out)
        return
    kind = content.get("type") if isinstance(content, dict) else None
    try:
        if kind == "FeatureCollection":
            yield from polygons(content["features"], left_out)
        elif kind == "Feature":
            ignored = next(filter(is_left_out, class_names(content)), None)
            if ignored is None:
                yield from polygons(content["geometry"], left_out)
            elif ignored not in left_out:
                left_out.append(ignored)
        elif kind == "GeometryCollection":
            yield from polygons(content["geometries"], left_out)
        elif kind == "MultiPolygon":
            yield from content["coordinates"]
        elif kind == "Polygon":
            yield content["coordinates"]
        else:
            raise ValueError(f"holds {kind or type(content).__name__} where a Polygon or MultiPolygon is expected")
    except KeyError as error:
        raise ValueError(f"a {kind} has no {error}") from None


def class_names(feature: dict[str, Any]) -> list[str]:
    """Return the names of a feature's class; QuPath joins those of one derived from another by a colon."""
    properties = feature.get("properties")
    given = properties.get("classification") if isinstance(properties, dict) else None
    if isinstance(given, dict):
        given = given.get("names", given.get("name"))
    names = given if isinstance(given, list) else [given]
    return [part.strip() for name in names if isinstance(name, str) for part in name.split(":")]


def is_left_out(name: str) -> bool:
    """Return whether QuPath makes no objects of a class: its name ends with an asterisk, or is that of background."""
    return name.endswith("*") or name.lower() in ("background", "ignore")
