"""Gene sets: which genes speak of the tumour and which of its microenvironment."""
