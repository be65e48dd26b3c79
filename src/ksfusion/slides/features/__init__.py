"""The features of patches: extracted, imported, kept, gathered, exported."""
