# What a run reads of the stages before.
FOLD_FILES = {
    "store": "results/features/store" if plan.has_slides else [],
    "expression": "results/genes/fold{fold}/expression.parquet",
    "selected": "results/genes/fold{fold}/selected.tsv",
    "samples": "results/samples.tsv",
    "cases": "results/cohort/cases.parquet",
    "splits": "results/cohort/splits.tsv",
    # Nothing is trained before the gate has passed. Not ancient: what else changed would then go unseen whenever the
    # gate is renewed in the same run.
    "gate": "results/cohort/leakage.tsv",
}
FOLD_OPTIONS = (
    "--store {input.store} --expression {input.expression} --selected {input.selected}"
    " --samples {input.samples} --cases {input.cases} --splits {input.splits}"
)

# The folders of the seeds of a method, and what stands in each.
RUN_FOLDERS = expand("results/models/{{task}}/{{method}}/fold{{fold}}/seed{seed}", seed=SEEDS)
MODEL_FILE_NAMES = ["model.safetensors", "config.json"]
RUN_FILE_NAMES = [*MODEL_FILE_NAMES, "predictions.parquet", "history.tsv", "metrics.json"]
RUN_FILES = expand("{folder}/{file}", folder=RUN_FOLDERS, file=RUN_FILE_NAMES)
# The folders of the tasks and seeds of a method, and what its models are read from.
RUNS_OF_METHOD = expand("results/models/{task}/{{method}}/fold{{fold}}/seed{seed}", task=TASKS, seed=SEEDS)
MODEL_FILES = expand("{run}/{file}", run=RUNS_OF_METHOD, file=MODEL_FILE_NAMES)
# Of a method that learns from another one: its runs, seed by seed, and what is read of them.
TEACHERS = {
    name: expand("results/models/{{task}}/{teacher}/fold{{fold}}/seed{seed}", teacher=info.teacher, seed=SEEDS)
    for name, info in registry.NETWORKS.items()
    if info.teacher
}
TEACHER_FILES = {
    name: expand("{run}/{file}", run=runs, file=[*MODEL_FILE_NAMES, "metrics.json"]) for name, runs in TEACHERS.items()
}


# Short trainings that share a job, and its folders, method by method.
TOGETHER = [method for method in METHODS if method in plan.config.training.together]
TOGETHER_FOLDERS = expand("results/models/{{task}}/{method}/fold{{fold}}/seed{seed}", method=TOGETHER, seed=SEEDS)


# Only where `training.search` is on.
rule search_settings:
    input:
        **FOLD_FILES,
        teacher=lambda wildcards: expand(
            TEACHER_FILES.get(wildcards.method, []), task=wildcards.task, fold=wildcards.fold
        ),
    output:
        chosen="results/search/{task}/{method}/fold{fold}/chosen.json",
        trials="results/search/{task}/{method}/fold{fold}/trials.tsv",
    log:
        "results/logs/search_settings/{task}/{method}/fold{fold}.log",
    benchmark:
        "results/benchmarks/search_settings/{task}/{method}/fold{fold}.tsv"
    wildcard_constraints:
        method="|".join(map(re.escape, registry.NETWORKS)),
    conda:
        "../../envs/training.yaml"
    params:
        teacher=lambda wildcards: expand(
            TEACHERS.get(wildcards.method, [])[:1], task=wildcards.task, fold=wildcards.fold
        ),
        settings=lambda wildcards: plan.search_settings(wildcards.task, wildcards.method),
        code=lambda wildcards: plan.code("search_settings", method=wildcards.method),
    shell:
        f"ksfusion search-settings {FOLD_OPTIONS}"
        " --method {wildcards.method}"
        " --fold {wildcards.fold} --teacher {params.teacher} --settings {params.settings:q} --chosen {output.chosen}"
        " --trials {output.trials} 2> {log}"


# The seeds of a method share a job: starting Python and reading the features takes longer than many a training.
rule train_model:
    input:
        **FOLD_FILES,
        chosen=plan.chosen_settings(),
        teacher=lambda wildcards: expand(
            TEACHER_FILES.get(wildcards.method, []), task=wildcards.task, fold=wildcards.fold
        ),
    output:
        RUN_FILES,
    log:
        "results/logs/train_model/{task}/{method}/fold{fold}.log",
    benchmark:
        "results/benchmarks/train_model/{task}/{method}/fold{fold}.tsv"
    wildcard_constraints:
        method="|".join(re.escape(name) for name in registry.NETWORKS if name not in TOGETHER),
    conda:
        "../../envs/training.yaml"
    params:
        seeds=SEEDS,
        folders=RUN_FOLDERS,
        teachers=lambda wildcards: expand(TEACHERS.get(wildcards.method, []), task=wildcards.task, fold=wildcards.fold),
        settings=lambda wildcards: plan.training_settings(wildcards.task, wildcards.method),
        code=lambda wildcards: plan.code("train_model", method=wildcards.method),
    # $TENSORBOARD is set by the Snakefile: what Snakemake compares is the parameters and this text, so that switching
    # training.tensorboard redoes no run.
    shell:
        f"ksfusion train-model {FOLD_OPTIONS}"
        " --method {wildcards.method}"
        " --fold {wildcards.fold} --chosen {input.chosen} --teacher {params.teachers} --settings {params.settings:q}"
        " --seed {params.seeds} --output {params.folders} $TENSORBOARD 2> {log}"


if TOGETHER:

    # What was finished before with the same settings, code and inputs is not trained anew.
    rule train_together:
        input:
            **FOLD_FILES,
            chosen=expand(plan.chosen_settings(), task="{task}", method=TOGETHER, fold="{fold}"),
        output:
            expand("{folder}/{file}", folder=TOGETHER_FOLDERS, file=RUN_FILE_NAMES),
        log:
            "results/logs/train_together/{task}/fold{fold}.log",
        benchmark:
            "results/benchmarks/train_together/{task}/fold{fold}.tsv"
        conda:
            "../../envs/training.yaml"
        params:
            seeds=SEEDS,
            folders=TOGETHER_FOLDERS,
            methods=TOGETHER,
            settings=lambda wildcards: [plan.training_settings(wildcards.task, name) for name in TOGETHER],
            code=[plan.code("train_together", method=name) for name in TOGETHER],
        shell:
            f"ksfusion train-together {FOLD_OPTIONS}"
            " --method {params.methods}"
            " --fold {wildcards.fold} --chosen {input.chosen} --settings {params.settings:q} --seed {params.seeds}"
            " --output {params.folders} $TENSORBOARD 2> {log}"


# Regressions in the place of networks, in seconds, so that the tasks of one share a job, which waits for patches and
# genes only where it reads them.
rule fit_baseline:
    input:
        **{name: FOLD_FILES[name] for name in ("samples", "cases", "splits", "gate")},
        store=branch(lambda wildcards: "p" in registry.BASELINES[wildcards.method].modalities, then=FOLD_FILES["store"]),
        expression=branch(
            lambda wildcards: "g" in registry.BASELINES[wildcards.method].modalities,
            then=lambda wildcards: FOLD_FILES["expression"].format(fold=wildcards.fold),
        ),
        selected=branch(
            lambda wildcards: "g" in registry.BASELINES[wildcards.method].modalities,
            then=lambda wildcards: FOLD_FILES["selected"].format(fold=wildcards.fold),
        ),
    output:
        expand("{run}/{file}", run=RUNS_OF_METHOD, file=RUN_FILE_NAMES),
    log:
        "results/logs/fit_baseline/{method}/fold{fold}.log",
    benchmark:
        "results/benchmarks/fit_baseline/{method}/fold{fold}.tsv"
    wildcard_constraints:
        method="|".join(map(re.escape, registry.BASELINES)),
    conda:
        "../../envs/training.yaml"
    params:
        seeds=SEEDS,
        folders=RUNS_OF_METHOD,
        settings=lambda wildcards: plan.baseline_settings(wildcards.method),
        code=lambda wildcards: plan.code("fit_baseline", method=wildcards.method),
    shell:
        f"ksfusion fit-baseline {FOLD_OPTIONS}"
        " --method {wildcards.method}"
        " --fold {wildcards.fold} --settings {params.settings:q} --seed {params.seeds} --output {params.folders}"
        " 2> {log}"
