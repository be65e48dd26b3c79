# Which patches stand for a slide, and the one place of their features: the same wherever the features come from.
rule sample_patches:
    input:
        "results/tiles/{batch}.parquet",
    output:
        "results/patches/{batch}.parquet",
    log:
        "results/logs/sample_patches/{batch}.log",
    conda:
        "../../envs/slides.yaml"
    params:
        settings=plan.settings("sample_patches"),
        code=plan.code("sample_patches"),
    shell:
        "ksfusion sample-patches --tiles {input} --settings {params.settings:q} --output {output} 2> {log}"


# Before anything is encoded, as its priority and that of the tiles see to: it is no input of encoding, which a slide
# more would then redo for all batches.
rule check_tiles:
    input:
        expand("results/tiles/{batch}.parquet", batch=BATCHES),
    output:
        "results/tiles/failed.tsv",
    log:
        "results/logs/check_tiles.log",
    priority: 1
    conda:
        "../../envs/cohort.yaml"
    params:
        settings=plan.settings("check_tiles"),
        code=plan.code("check_tiles"),
    shell:
        "ksfusion check-tiles --tiles {input} --settings {params.settings:q} --output {output} 2> {log}"


rule build_store:
    input:
        features=expand("results/features/{batch}.h5", batch=BATCHES),
        # All training reads the store: this is where a run with too many failed slides ends, its ledger written.
        slides="results/slides.tsv",
        samples="results/samples.tsv",
    output:
        directory("results/features/store"),
    log:
        "results/logs/build_store.log",
    conda:
        "../../envs/features.yaml"
    params:
        settings=plan.settings("build_store"),
        code=plan.code("build_store"),
    shell:
        "ksfusion build-store --features {input.features} --slides {input.slides} --samples {input.samples}"
        " --settings {params.settings:q} --output {output} 2> {log}"
