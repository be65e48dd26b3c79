"""The units that users' tables come in, and the formats of expression."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

TimeUnit = Literal["days", "months", "years"]
# Of a month and a year as calendars have them on average.
DAYS_IN: dict[TimeUnit, float] = {"days": 1, "months": 30.4375, "years": 365.25}
# Longer than anyone lives.
MOST_DAYS = 150 * 366
Days = Annotated[float, Field(gt=0, le=MOST_DAYS)]

ExpressionFormat = Literal["gdc-star", "ivygap", "matrix", "h5ad"]
ExpressionUnit = Literal["counts", "tpm", "fpkm", "log", "zscore"]
FORMATS: tuple[str, ...] = get_args(ExpressionFormat)
UNITS: tuple[str, ...] = get_args(ExpressionUnit)
# Formats whose path is a folder.
GDC_STAR, IVYGAP = "gdc-star", "ivygap"
FOLDER_FORMATS = (GDC_STAR, IVYGAP)
