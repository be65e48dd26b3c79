"""What spreadsheets and table readers make of names: dates of genes such as MARCH1, numbers of ids such as 1E5."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

# Symbols that are read as dates begin with March (MARCH1, MARC1), September (SEPT2), October (OCT4) or December (DEC1);
# what is shown in their place is the month in the language of the spreadsheet. Beginnings without accents: English,
# German, Dutch, Scandinavian, French, Italian, Spanish, Portuguese, Romanian, Polish, Czech, Hungarian, Finnish,
# Turkish, Russian, Ukrainian and Greek, and as many letters more as an abbreviation has.
MONTHS_OF_SYMBOLS = (
    "mar|mrz|maerz|mrt|maal|brez|bre|мар|бер|μαρ",  # noqa: RUF001
    "sep|set|szept|wrz|zar|syys|eyl|сен|вер|σεπ",
    "okt|oct|ott|out|paz|rij|loka|eki|окт|жов|οκτ",
    "dec|dez|dic|des|gru|pro|joul|ara|дек|гру|δεκ",  # noqa: RUF001
)
MONTH = rf"(?:{'|'.join(MONTHS_OF_SYMBOLS)})[^\W\d_]{{0,2}}\.?"
DAY, YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:\d{2}|\d{4})"
# 1-Mar, 1. Mrz, 01/set, 1-Mar-24; Mar-01, marc. 1; and as Chinese, Japanese and Korean write a day.
SYMBOL_AS_DATE = re.compile(
    rf"{DAY}\.?[-./ ]?{MONTH}(?:[-./ ]{YEAR})?|{MONTH}[-./ ]{YEAR}|{MONTH} \d{{1,2}}\.?"
    r"|\d{1,2}[月월]\s?\d{1,2}[日일]"
)
# 2024-03-01, also with a time; 01.03.2024, 3/1/2024, 1.3.24 with points or strokes alone.
DATE_IN_NUMBERS = re.compile(
    r"\d{4}[-./]\d{1,2}[-./]\d{1,2}(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?"
    r"|\d{1,2}([-./])\d{1,2}\1\d{4}"
)
# What readers of tables take for a number: 007, 1E5; and what spreadsheets have written of one: 1.00E+05, 7.0.
READ_AS_NUMBER = re.compile(r"0\d+|\d+[eE]\d+")
WRITTEN_AS_NUMBER = re.compile(r"\d(?:[.,]\d+)?[eE][+-]\d+|\d+\.0+")
# A day of an English month, as ids may become.
ID_AS_DATE = re.compile(rf"{DAY}-[A-Z][a-z]{{2}}(?:-{YEAR})?|[A-Z][a-z]{{2}}-\d{{2}}")
ENGLISH_MONTHS = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}
# The days from 1982 to 2036 as spreadsheets count them.
SERIAL_NUMBER = re.compile(r"[34]\d{4}")
# Of the names of a table of symbols, no more are numbers.
FEW = 0.02
# A letter, then letters and digits alone: what most symbols and all Ensembl ids look like, and no date.
SYMBOL = re.compile(r"[A-Za-z][A-Za-z0-9]*")
# pandas numbers columns of one name.
NUMBERED = re.compile(r"\.\d+$")


def is_date(name: str) -> bool:
    """Return whether the name of a gene is a date, as spreadsheets of many languages write it."""
    # Nearly all names end here: they have no digit, or the form of a symbol.
    if not any(map(str.isdecimal, name)) or SYMBOL.fullmatch(name):
        return False
    text = _plain(name)
    forms = (text, NUMBERED.sub("", text))
    return any(SYMBOL_AS_DATE.fullmatch(form) or DATE_IN_NUMBERS.fullmatch(form) for form in forms)


def dates_among(names: Collection[str]) -> list[str]:
    """Return the names of genes that are dates, each once, sorted; serial numbers of days among symbols too."""
    found = {name for name in names if is_date(name)}
    numbers = [name for name in names if name.isdecimal()]
    if len(numbers) < FEW * len(names):
        found |= set(filter(SERIAL_NUMBER.fullmatch, numbers))
    return sorted(found)


def looks_converted(name: str) -> bool:
    """Return whether an id is what readers of tables make a number or a date of, or what they have made of one."""
    if not name[:1].isdecimal() and name[:3] not in ENGLISH_MONTHS:
        return False
    forms = (READ_AS_NUMBER, WRITTEN_AS_NUMBER, DATE_IN_NUMBERS)
    if any(form.fullmatch(name) for form in forms):
        return True
    return bool(ID_AS_DATE.fullmatch(name)) and not ENGLISH_MONTHS.isdisjoint(re.findall("[A-Z][a-z]+", name))


def _plain(name: str) -> str:
    """Return a name in small letters without accents."""
    letters = unicodedata.normalize("NFKD", name.strip().casefold())
    return unicodedata.normalize("NFC", "".join(letter for letter in letters if not unicodedata.combining(letter)))
