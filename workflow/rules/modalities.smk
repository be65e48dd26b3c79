# Whether methods use both modalities: an audit of their models on test samples, apart from the other results.
AUDITED = plan.trained(plan.config.audited())
AUDITED_RUNS = expand(
    "results/models/{task}/{method}/fold{fold}/seed{seed}", task=TASKS, method=AUDITED, fold=FOLDS, seed=SEEDS
)
MODALITIES = ["results/tables/modalities.tsv", *multiext("results/figures/modalities", ".svg", ".png")]
MODALITIES = MODALITIES if AUDITED else []


# The tasks and seeds of a method share a job: starting Python takes longer than many an audit.
rule audit_modalities:
    input:
        **FOLD_FILES,
        runs=MODEL_FILES,
    output:
        expand("results/audits/{task}/{{method}}/fold{{fold}}.parquet", task=TASKS),
    log:
        "results/logs/audit_modalities/{method}/fold{fold}.log",
    benchmark:
        "results/benchmarks/audit_modalities/{method}/fold{fold}.tsv"
    conda:
        "../../envs/training.yaml"
    params:
        folders=RUNS_OF_METHOD,
        settings=plan.settings("audit_modalities"),
        code=lambda wildcards: plan.code("audit_modalities", method=wildcards.method),
    shell:
        f"ksfusion audit-modalities {FOLD_OPTIONS}"
        " --runs {params.folders}"
        " --settings {params.settings:q} --output {output} 2> {log}"


rule make_modalities:
    input:
        audits=expand("results/audits/{task}/{method}/fold{fold}.parquet", task=TASKS, method=AUDITED, fold=FOLDS),
        predictions=expand("{run}/predictions.parquet", run=AUDITED_RUNS),
        metrics=expand("{run}/metrics.json", run=AUDITED_RUNS),
    output:
        table="results/tables/modalities.tsv",
        svg="results/figures/modalities.svg",
        png=report(
            "results/figures/modalities.png",
            caption="../report/modalities.rst",
            category="Results",
            labels={"figure": "Modalities", "what": "methods that read both"},
        ),
    log:
        "results/logs/make_modalities.log",
    benchmark:
        "results/benchmarks/make_modalities.tsv"
    conda:
        "../../envs/results.yaml"
    params:
        runs=AUDITED_RUNS,
        figure=lambda wildcards, output: output.svg.removesuffix(".svg"),
        settings=plan.settings("make_modalities"),
        code=plan.code("make_modalities"),
    shell:
        "ksfusion make-modalities --runs {params.runs} --audits {input.audits} --settings {params.settings:q}"
        " --output {output.table} --figure {params.figure} 2> {log}"
