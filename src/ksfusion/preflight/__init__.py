"""What is looked at before any job: a configuration, its tables, the files they name, packages and weights."""
