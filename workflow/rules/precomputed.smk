# In place of slides.smk where another tool has extracted the features: no slide is read. A file that is not there is
# no input; its slide becomes a row of the ledger.
rule import_tiles:
    input:
        lambda wildcards: given(plan.precomputed(wildcards.batch)),
    output:
        "results/tiles/{batch}.parquet",
    log:
        "results/logs/import_tiles/{batch}.log",
    priority: 1
    conda:
        "../../envs/features.yaml"
    params:
        samples=MANIFEST,
        settings=plan.settings("import_tiles"),
        slides=lambda wildcards: plan.slide_scales(wildcards.batch),
        code=plan.code("import_tiles"),
    shell:
        "ksfusion import-tiles --samples {params.samples:q} --batch {wildcards.batch} --settings {params.settings:q}"
        " --output {output} 2> {log}"


rule import_features:
    input:
        lambda wildcards: given(plan.precomputed(wildcards.batch)),
        tiles="results/tiles/{batch}.parquet",
        patches="results/patches/{batch}.parquet",
    output:
        "results/features/{batch}.h5",
    log:
        "results/logs/import_features/{batch}.log",
    benchmark:
        "results/benchmarks/import_features/{batch}.tsv"
    conda:
        "../../envs/features.yaml"
    params:
        settings=plan.settings("import_features"),
        code=plan.code("import_features"),
    shell:
        "ksfusion import-features --tiles {input.tiles} --patches {input.patches} --settings {params.settings:q}"
        " --output {output} 2> {log}"
