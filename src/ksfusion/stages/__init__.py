"""One module for each rule of the workflow: it reads its files, calls the domain, writes its files."""
