# Which genes the outputs of methods rest on.
ATTRIBUTED = plan.trained(plan.config.attributed())
ATTRIBUTIONS = expand("results/attributions/{task}/{method}/fold{fold}.tsv", task=TASKS, method=ATTRIBUTED, fold=FOLDS)
STABILITY = [f"{table.removesuffix('.tsv')}.stability.tsv" for table in ATTRIBUTIONS]
ATTRIBUTION_FIGURES = expand("results/figures/attributions_{method}_fold{fold}.png", method=ATTRIBUTED, fold=FOLDS)


# The tasks and seeds of a method share a job: starting Python takes longer than much of it.
rule attribute_genes:
    input:
        **FOLD_FILES,
        runs=MODEL_FILES,
        truth="truth/genes.tsv" if plan.config.demo else [],
    output:
        tables=expand("results/attributions/{task}/{{method}}/fold{{fold}}.tsv", task=TASKS),
        stability=expand("results/attributions/{task}/{{method}}/fold{{fold}}.stability.tsv", task=TASKS),
    log:
        "results/logs/attribute_genes/{method}/fold{fold}.log",
    benchmark:
        "results/benchmarks/attribute_genes/{method}/fold{fold}.tsv"
    conda:
        "../../envs/attributions.yaml"
    params:
        folders=RUNS_OF_METHOD,
        settings=plan.settings("attribute_genes"),
        code=lambda wildcards: plan.code("attribute_genes", method=wildcards.method),
    shell:
        f"ksfusion attribute-genes {FOLD_OPTIONS}"
        " --runs {params.folders}"
        " --truth {input.truth} --settings {params.settings:q} --output {output.tables} --stability {output.stability}"
        " 2> {log}"


rule draw_attributions:
    input:
        expand("results/attributions/{task}/{{method}}/fold{{fold}}.tsv", task=TASKS),
    output:
        multiext("results/figures/attributions_{method}_fold{fold}", ".svg", ".png"),
    log:
        "results/logs/draw_attributions/{method}/fold{fold}.log",
    conda:
        "../../envs/results.yaml"
    params:
        stem="results/figures/attributions_{method}_fold{fold}",
        settings=plan.settings("draw_attributions"),
        code=plan.code("draw_attributions"),
    shell:
        "ksfusion draw-attributions --attributions {input} --settings {params.settings:q} --output {params.stem} 2> {log}"


# What the streams of those methods whose attention is shown make of test samples, with their first seed.
EMBEDDED = (
    [method for method in plan.trained(plan.config.heatmaps.methods) if method in METHODS] if plan.has_slides else []
)
EMBEDDED_SEED = (plan.config.heatmaps.seeds or SEEDS)[0]
EMBEDDED_RUNS = expand("results/models/{task}/{{method}}/fold{{fold}}/seed{seed}", task=TASKS, seed=EMBEDDED_SEED)
EMBEDDINGS = expand("results/figures/embeddings_{method}_fold{fold}.png", method=EMBEDDED, fold=FOLDS)


rule draw_embeddings:
    input:
        **FOLD_FILES,
        runs=expand("{run}/{file}", run=EMBEDDED_RUNS, file=MODEL_FILE_NAMES),
    output:
        multiext("results/figures/embeddings_{method}_fold{fold}", ".svg", ".png"),
    log:
        "results/logs/draw_embeddings/{method}/fold{fold}.log",
    benchmark:
        "results/benchmarks/draw_embeddings/{method}/fold{fold}.tsv"
    conda:
        "../../envs/embeddings.yaml"
    params:
        folders=EMBEDDED_RUNS,
        stem="results/figures/embeddings_{method}_fold{fold}",
        settings=plan.settings("draw_embeddings"),
        code=lambda wildcards: plan.code("draw_embeddings", method=wildcards.method),
    shell:
        f"ksfusion draw-embeddings {FOLD_OPTIONS}"
        " --runs {params.folders}"
        " --settings {params.settings:q} --output {params.stem} 2> {log}"
