# What a run reads of the stages before.
FOLD_FILES = {
    "store": "results/features/store",
    "expression": "results/genes/fold{fold}/expression.parquet",
    "selected": "results/genes/fold{fold}/selected.tsv",
    "samples": "results/samples.tsv",
    "cases": "results/cohort/cases.parquet",
    "splits": "results/cohort/splits.tsv",
    # Nothing is trained before the gate has passed. Not ancient: what else changed would then go unseen whenever the
    # gate is renewed in the same run.
    "gate": "results/cohort/leakage.tsv",
}


# Only where `training.search` is on.
rule search_settings:
    input:
        **FOLD_FILES,
    output:
        chosen="results/search/{task}/{method}/fold{fold}/chosen.json",
        trials="results/search/{task}/{method}/fold{fold}/trials.tsv",
    log:
        "results/logs/search_settings/{task}/{method}/fold{fold}.log",
    benchmark:
        "results/benchmarks/search_settings/{task}/{method}/fold{fold}.tsv"
    conda:
        "../../envs/training.yaml"
    params:
        settings=lambda wildcards: plan.search_settings(wildcards.task, wildcards.method),
        code=lambda wildcards: plan.code("search_settings", method=wildcards.method),
    shell:
        "ksfusion search-settings --store {input.store} --expression {input.expression} --selected {input.selected}"
        " --samples {input.samples} --cases {input.cases} --splits {input.splits} --method {wildcards.method}"
        " --fold {wildcards.fold} --settings {params.settings:q} --chosen {output.chosen} --trials {output.trials}"
        " 2> {log}"


# The seeds of a method share a job: starting Python and reading the features takes longer than many a training.
rule train_model:
    input:
        **FOLD_FILES,
        chosen=plan.chosen_settings(),
    output:
        expand(
            "results/models/{{task}}/{{method}}/fold{{fold}}/seed{seed}/{file}",
            seed=SEEDS,
            file=["model.safetensors", "config.json", "predictions.parquet", "history.tsv", "metrics.json"],
        ),
    log:
        "results/logs/train_model/{task}/{method}/fold{fold}.log",
    benchmark:
        "results/benchmarks/train_model/{task}/{method}/fold{fold}.tsv"
    conda:
        "../../envs/training.yaml"
    params:
        seeds=SEEDS,
        folders=expand("results/models/{{task}}/{{method}}/fold{{fold}}/seed{seed}", seed=SEEDS),
        settings=lambda wildcards: plan.training_settings(wildcards.task, wildcards.method),
        code=lambda wildcards: plan.code("train_model", method=wildcards.method),
    # $TENSORBOARD is set by the Snakefile: what Snakemake compares is the parameters and this text, so that switching
    # training.tensorboard redoes no run.
    shell:
        "ksfusion train-model --store {input.store} --expression {input.expression} --selected {input.selected}"
        " --samples {input.samples} --cases {input.cases} --splits {input.splits} --method {wildcards.method}"
        " --fold {wildcards.fold} --chosen {input.chosen} --settings {params.settings:q} --seed {params.seeds}"
        " --output {params.folders} $TENSORBOARD 2> {log}"
