# The expression of all cohorts, read once: of a study, and of new patients.
rule read_expression:
    input:
        given(plan.expression_files()),
        names=given(plan.gene_names()),
    output:
        profiles="results/genes/profiles.parquet",
        library_sizes="results/genes/library_sizes.tsv",
        findings="results/genes/findings.tsv",
    log:
        "results/logs/read_expression.log",
    benchmark:
        "results/benchmarks/read_expression.tsv"
    conda:
        "../../envs/genes.yaml"
    params:
        settings=plan.settings("read_expression"),
        code=plan.code("read_expression"),
        # A folder's own time misses a file that is overwritten in it.
        files=lambda wildcards: plan.expression_contents(),
    shell:
        "ksfusion read-expression --settings {params.settings:q} --output {output.profiles}"
        " --library-sizes {output.library_sizes} --findings {output.findings} 2> {log}"
