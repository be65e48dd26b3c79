"""Units of time, and how many days each has."""

# A year of 365.25 days has twelve months.
DAYS_IN = {"days": 1, "months": 30.4375, "years": 365.25}
