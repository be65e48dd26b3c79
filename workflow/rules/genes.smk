rule select_genes:
    input:
        profiles="results/genes/profiles.parquet",
        library_sizes="results/genes/library_sizes.tsv",
        samples="results/samples.tsv",
        splits="results/cohort/splits.tsv",
        sets=given(plan.gene_sets()),
    output:
        ranking="results/genes/fold{fold}/ranking.tsv",
        selected="results/genes/fold{fold}/selected.tsv",
        conflicts="results/genes/fold{fold}/conflicts.tsv",
        expression="results/genes/fold{fold}/expression.parquet",
    log:
        "results/logs/select_genes/fold{fold}.log",
    conda:
        "../../envs/genes.yaml"
    params:
        settings=plan.settings("select_genes"),
        code=plan.code("select_genes"),
    shell:
        "ksfusion select-genes --profiles {input.profiles} --library-sizes {input.library_sizes} --samples {input.samples}"
        " --splits {input.splits} --fold {wildcards.fold} --settings {params.settings:q}"
        " --output results/genes/fold{wildcards.fold} 2> {log}"


rule check_expression:
    input:
        profiles="results/genes/profiles.parquet",
        samples="results/samples.tsv",
        splits="results/cohort/splits.tsv",
        genes=multiext("results/genes/fold{fold}/", "ranking.tsv", "selected.tsv", "expression.parquet"),
    output:
        "results/genes/fold{fold}/findings.tsv",
    log:
        "results/logs/check_expression/fold{fold}.log",
    conda:
        "../../envs/genes.yaml"
    params:
        settings=plan.settings("check_expression"),
        code=plan.code("check_expression"),
    shell:
        "ksfusion check-expression --profiles {input.profiles} --samples {input.samples} --splits {input.splits}"
        " --genes results/genes/fold{wildcards.fold} --fold {wildcards.fold} --settings {params.settings:q}"
        " --output {output} 2> {log}"
