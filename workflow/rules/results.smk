RUNS = expand(
    "results/models/{task}/{method}/fold{fold}/seed{seed}", task=TASKS, method=METHODS, fold=FOLDS, seed=SEEDS
)

# What tables and figures read of them.
RUN_INPUT = {
    "predictions": expand("{run}/predictions.parquet", run=RUNS),
    "metrics": expand("{run}/metrics.json", run=RUNS),
    "config": expand("{run}/config.json", run=RUNS),
}

ALPHA_RUNS = expand(
    "results/models/{task}/{method}/fold{fold}/seed{seed}",
    task=TASKS,
    method=plan.trained(plan.alphas),
    fold=FOLDS,
    seed=SEEDS,
)
ALPHA_TABLES = multiext("results/tables/alpha", ".tsv", ".md", ".tex", ".docx")
ALPHA_RESULTS = [*ALPHA_TABLES, "results/figures/alpha.json"]

# How far results on external cohorts are below those on the test samples.
DROPS = ["results/tables/external.tsv"] if plan.config.splits.external else []

# The published values, where they stand beside.
PUBLISHED = given(shipped("paper_tables.tsv"))
PAPER = [PUBLISHED] if plan.config.results.published == "paper" else []
REPRODUCTION = multiext("results/tables/reproduction", ".tsv", ".md") if PAPER else []


rule make_comparisons:
    input:
        **RUN_INPUT,
    output:
        "results/tables/comparisons.tsv",
    log:
        "results/logs/make_comparisons.log",
    benchmark:
        "results/benchmarks/make_comparisons.tsv"
    conda:
        "../../envs/results.yaml"
    params:
        runs=RUNS,
        settings=plan.settings("make_comparisons"),
        code=plan.code("make_comparisons"),
    shell:
        "ksfusion make-comparisons --runs {params.runs} --settings {params.settings:q} --output {output} 2> {log}"


rule make_subgroups:
    input:
        predictions=expand("{run}/predictions.parquet", run=RUNS),
        metrics=expand("{run}/metrics.json", run=RUNS),
        samples="results/cohort/samples.parquet",
        cases="results/cohort/cases.parquet",
    output:
        "results/tables/subgroups.tsv",
    log:
        "results/logs/make_subgroups.log",
    benchmark:
        "results/benchmarks/make_subgroups.tsv"
    conda:
        "../../envs/results.yaml"
    params:
        runs=RUNS,
        settings=plan.settings("make_subgroups"),
        code=plan.code("make_subgroups"),
    shell:
        "ksfusion make-subgroups --runs {params.runs} --samples {input.samples} --cases {input.cases}"
        " --settings {params.settings:q} --output {output} 2> {log}"


rule make_tables:
    input:
        **RUN_INPUT,
        comparisons="results/tables/comparisons.tsv",
        paper=PAPER,
    output:
        report(
            "results/tables/table1.md",
            caption="../report/table1.rst",
            category="Results",
            labels={"table": "Table 1", "what": "all methods"},
        ),
        report(
            "results/tables/table2.md",
            caption="../report/table2.rst",
            category="Results",
            labels={"table": "Table 2", "what": "ablation"},
        ),
        report(
            "results/tables/table_s1.md",
            caption="../report/table_s1.rst",
            category="Results",
            labels={"table": "Table S1", "what": "further metrics"},
        ),
        expand("results/tables/{table}.{ending}", table=["table1", "table2", "table_s1"], ending=["tsv", "tex", "docx"]),
        DROPS,
    log:
        "results/logs/make_tables.log",
    benchmark:
        "results/benchmarks/make_tables.tsv"
    conda:
        "../../envs/results.yaml"
    params:
        runs=RUNS,
        folds=len(FOLDS),
        settings=plan.settings("make_tables"),
        code=plan.code("make_tables"),
    shell:
        "ksfusion make-tables --runs {params.runs} --comparisons {input.comparisons} --settings {params.settings:q}"
        " --output results/tables 2> {log}"


# Only where the cohort is the paper's, as `results.published` says.
rule make_reproduction:
    input:
        tables=expand("results/tables/{table}.tsv", table=["table1", "table2"]),
        paper=PUBLISHED,
    output:
        table="results/tables/reproduction.tsv",
        printed="results/tables/reproduction.md",
    log:
        "results/logs/make_reproduction.log",
    conda:
        "../../envs/results.yaml"
    params:
        settings=plan.settings("make_reproduction"),
        code=plan.code("make_reproduction"),
    shell:
        "ksfusion make-reproduction --tables {input.tables} --settings {params.settings:q} --output {output.table}"
        " --printed {output.printed} 2> {log}"


rule draw_figures:
    input:
        **RUN_INPUT,
        comparisons="results/tables/comparisons.tsv",
        subgroups="results/tables/subgroups.tsv",
        history=expand("{run}/history.tsv", run=RUNS),
    output:
        "results/figures/figures.json",
    log:
        "results/logs/draw_figures.log",
    benchmark:
        "results/benchmarks/draw_figures.tsv"
    conda:
        "../../envs/results.yaml"
    params:
        runs=RUNS,
        settings=plan.settings("draw_figures"),
        code=plan.code("draw_figures"),
    shell:
        "ksfusion draw-figures --runs {params.runs} --comparisons {input.comparisons} --subgroups {input.subgroups}"
        " --settings {params.settings:q} --output results/figures 2> {log}"


rule make_alpha_table:
    input:
        predictions=expand("{run}/predictions.parquet", run=ALPHA_RUNS),
        metrics=expand("{run}/metrics.json", run=ALPHA_RUNS),
        paper=PAPER,
    output:
        ALPHA_TABLES,
    log:
        "results/logs/make_alpha_table.log",
    conda:
        "../../envs/results.yaml"
    params:
        runs=ALPHA_RUNS,
        settings=plan.settings("make_alpha_table"),
        code=plan.code("make_tables"),
    shell:
        "ksfusion make-tables --runs {params.runs} --settings {params.settings:q} --output results/tables 2> {log}"


rule draw_alpha:
    input:
        predictions=expand("{run}/predictions.parquet", run=ALPHA_RUNS),
        metrics=expand("{run}/metrics.json", run=ALPHA_RUNS),
        config=expand("{run}/config.json", run=ALPHA_RUNS),
    output:
        "results/figures/alpha.json",
    log:
        "results/logs/draw_alpha.log",
    conda:
        "../../envs/results.yaml"
    params:
        runs=ALPHA_RUNS,
        settings=plan.settings("draw_alpha"),
        code=plan.code("draw_figures"),
    shell:
        "ksfusion draw-figures --runs {params.runs} --settings {params.settings:q} --output results/figures 2> {log}"


rule draw_genes:
    input:
        "results/genes/fold{fold}/ranking.tsv",
    output:
        multiext("results/figures/genes_fold{fold}", ".svg", ".png"),
    log:
        "results/logs/draw_genes/fold{fold}.log",
    conda:
        "../../envs/results.yaml"
    params:
        stem="results/figures/genes_fold{fold}",
        settings=plan.settings("draw_genes"),
        code=plan.code("draw_genes"),
    shell:
        "ksfusion draw-genes --ranking {input} --settings {params.settings:q} --output {params.stem} 2> {log}"


# The pictures themselves are not tracked: their names depend on the split. The list holds their digests.
rule draw_heatmaps:
    input:
        **FOLD_FILES,
        features=expand("results/features/{batch}.h5", batch=BATCHES),
        run=expand(
            "results/models/{{task}}/{{method}}/fold{{fold}}/seed{{seed}}/{file}",
            file=[*MODEL_FILE_NAMES, "predictions.parquet"],
        ),
    output:
        pictures="results/heatmaps/{task}/{method}/fold{fold}/seed{seed}/heatmaps.tsv",
        table="results/heatmaps/{task}/{method}/fold{fold}/seed{seed}/attention.parquet",
    log:
        "results/logs/draw_heatmaps/{task}/{method}/fold{fold}/seed{seed}.log",
    benchmark:
        "results/benchmarks/draw_heatmaps/{task}/{method}/fold{fold}/seed{seed}.tsv"
    conda:
        "../../envs/heatmaps.yaml"
    params:
        manifest=MANIFEST,
        settings=plan.settings("draw_heatmaps"),
        code=lambda wildcards: plan.code("draw_heatmaps", method=wildcards.method),
    shell:
        f"ksfusion draw-heatmaps {FOLD_OPTIONS}"
        " --features {input.features}"
        " --run results/models/{wildcards.task}/{wildcards.method}/fold{wildcards.fold}/seed{wildcards.seed}"
        " --manifest {params.manifest:q} --settings {params.settings:q} --output"
        " results/heatmaps/{wildcards.task}/{wildcards.method}/fold{wildcards.fold}/seed{wildcards.seed} 2> {log}"


rule write_report:
    input:
        tables=expand("results/tables/{table}.tsv", table=["table1", "table2", "table_s1"]),
        comparisons="results/tables/comparisons.tsv",
        subgroups="results/tables/subgroups.tsv",
        external=DROPS,
        alpha=ALPHA_RESULTS if plan.alpha_listed else [],
        figures="results/figures/figures.json",
        slides="results/slides.tsv",
        samples="results/samples.tsv",
        audit="results/cohort/audit.tsv",
        leakage="results/cohort/leakage.tsv",
        expression_findings="results/genes/findings.tsv",
        gene_findings=expand("results/genes/fold{fold}/findings.tsv", fold=FOLDS),
        selected=expand("results/genes/fold{fold}/selected.tsv", fold=FOLDS),
        ranks=expand("results/figures/genes_fold{fold}.png", fold=FOLDS),
        overviews=plan.overviews(),
        heatmaps=plan.heatmaps_shown(),
        oracles="results/tables/oracles.tsv" if plan.config.demo else [],
        modalities=MODALITIES,
        localisation=LOCALISATION,
        attributions=ATTRIBUTIONS,
        stability=STABILITY,
        attribution_figures=ATTRIBUTION_FIGURES,
        embeddings=EMBEDDINGS,
        template=given([shipped_with_code(f"results/report/report.{ending}") for ending in ("html.j2", "css", "js")]),
    output:
        report("results/report.html", caption="../report/report.rst", category="Results", labels={"what": "report"}),
    log:
        "results/logs/write_report.log",
    conda:
        "../../envs/results.yaml"
    params:
        modalities=MODALITIES[:1],
        settings=plan.settings("write_report"),
        code=plan.code("write_report"),
    shell:
        "ksfusion write-report --tables results/tables --comparisons {input.comparisons} --figures results/figures"
        " --subgroups {input.subgroups} --external {input.external} --slides {input.slides}"
        " --samples {input.samples} --audit {input.audit} --leakage {input.leakage}"
        " --expression-findings {input.expression_findings} --gene-findings {input.gene_findings}"
        " --selected {input.selected} --overviews {input.overviews}"
        " --heatmaps {input.heatmaps} --oracles {input.oracles} --modalities {params.modalities}"
        " --localisation {input.localisation} --attributions {input.attributions}"
        " --embeddings {input.embeddings}"
        " --settings {params.settings:q} --output {output} 2> {log}"
