"""New patients, predicted by a bundle: the plan of a run, its answers, and the page of each patient."""
