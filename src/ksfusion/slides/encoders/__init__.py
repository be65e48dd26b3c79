"""The networks that turn patches into features."""
