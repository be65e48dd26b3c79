# Four rules over batches of slides. The validated sample table is ancient: a batch is redone when its own slides,
# settings or code change, not when another slide is added to the table.
rule tile_slides:
    input:
        samples=ancient("results/cohort/samples.parquet"),
        slides=lambda wildcards: [ancient(path) for path in plan.slide_files(wildcards.batch)],
    output:
        "results/tiles/{batch}.parquet",
    log:
        "results/logs/tile_slides/{batch}.log",
    benchmark:
        "results/benchmarks/tile_slides/{batch}.tsv"
    conda:
        "../../envs/slides.yaml"
    params:
        settings=plan.settings("tile"),
        slides=lambda wildcards: plan.slide_identities(wildcards.batch),
        code=plan.code("tile"),
    shell:
        "ksfusion tile --samples {input.samples} --batch {wildcards.batch} --settings {params.settings:q}"
        " --output {output} 2> {log}"


rule fit_stain:
    input:
        samples=ancient("results/cohort/samples.parquet"),
        tiles="results/tiles/{batch}.parquet",
        target=plan.stain_target(),
    output:
        "results/stain/{batch}.parquet",
    log:
        "results/logs/fit_stain/{batch}.log",
    benchmark:
        "results/benchmarks/fit_stain/{batch}.tsv"
    conda:
        "../../envs/slides.yaml"
    params:
        settings=plan.settings("stain"),
        code=plan.code("stain"),
    shell:
        "ksfusion stain --samples {input.samples} --tiles {input.tiles} --settings {params.settings:q}"
        " --output {output} 2> {log}"


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
        settings=plan.settings("sample"),
        code=plan.code("sample"),
    shell:
        "ksfusion sample --tiles {input} --settings {params.settings:q} --output {output} 2> {log}"


rule extract_features:
    input:
        samples=ancient("results/cohort/samples.parquet"),
        tiles="results/tiles/{batch}.parquet",
        stain="results/stain/{batch}.parquet",
        patches="results/patches/{batch}.parquet",
        target=plan.stain_target(),
        weights=plan.encoder_weights(),
    output:
        "results/features/{batch}.h5",
    log:
        "results/logs/extract_features/{batch}.log",
    benchmark:
        "results/benchmarks/extract_features/{batch}.tsv"
    conda:
        "../../envs/features.yaml"
    params:
        settings=plan.settings("features"),
        code=plan.code("features"),
    shell:
        "ksfusion features --samples {input.samples} --tiles {input.tiles} --stain {input.stain}"
        " --patches {input.patches} --threads {threads} --settings {params.settings:q} --output {output} 2> {log}"


rule build_store:
    input:
        expand("results/features/{batch}.h5", batch=BATCHES),
    output:
        directory("results/features/store"),
    log:
        "results/logs/build_store.log",
    conda:
        "../../envs/features.yaml"
    params:
        code=plan.code("store"),
    shell:
        "ksfusion store --features {input} --output {output} 2> {log}"
