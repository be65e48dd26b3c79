rule check_cohort:
    input:
        samples=given(plan.config.cohort.samples),
        cases=given(plan.config.cohort.cases),
    output:
        samples="results/cohort/samples.parquet",
        cases="results/cohort/cases.parquet",
        audit="results/cohort/audit.tsv",
    log:
        "results/logs/check_cohort.log",
    conda:
        "../../envs/cohort.yaml"
    params:
        settings=plan.settings("check_cohort"),
        code=plan.code("check_cohort"),
    shell:
        "ksfusion check-cohort --settings {params.settings:q} --samples-output {output.samples} --cases-output {output.cases}"
        " --audit {output.audit} 2> {log}"


rule split_cases:
    input:
        samples="results/cohort/samples.parquet",
        cases="results/cohort/cases.parquet",
        file=given(plan.split_files()),
    output:
        # Kept, not made anew: a case that is in a split stays there.
        update("results/cohort/splits.tsv"),
    log:
        "results/logs/split_cases.log",
    conda:
        "../../envs/cohort.yaml"
    params:
        settings=plan.settings("split_cases"),
        code=plan.code("split_cases"),
    shell:
        "ksfusion split-cases --samples {input.samples} --cases {input.cases} --settings {params.settings:q}"
        " --output {output} 2> {log}"


rule check_leakage:
    input:
        samples="results/cohort/samples.parquet",
        splits="results/cohort/splits.tsv",
        profiles="results/genes/profiles.parquet",
        tiles=expand("results/tiles/{batch}.parquet", batch=BATCHES),
    output:
        "results/cohort/leakage.tsv",
    log:
        "results/logs/check_leakage.log",
    conda:
        "../../envs/cohort.yaml"
    params:
        settings=plan.settings("check_leakage"),
        code=plan.code("check_leakage"),
    shell:
        "ksfusion check-leakage --samples {input.samples} --splits {input.splits} --profiles {input.profiles}"
        " --tiles {input.tiles} --settings {params.settings:q} --output {output} 2> {log}"
