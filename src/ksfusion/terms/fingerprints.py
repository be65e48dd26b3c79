"""The hash of a slide's thumbnail, as it is made (`ksfusion.slides.reading.fingerprint`) and compared."""

# Rows, and columns, of its bits.
HASH_SIDE = 16
