"""The niches: whose genes guide the two streams of the method."""

NICHES = ("tumour", "tme")
