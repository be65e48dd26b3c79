# Four rules over batches of slides. The sample table is no input of theirs, not even an ancient one: a batch is redone
# when its own slides (`slides` of tile_slides), settings or code change, not when another slide is added to the table.
rule tile_slides:
    input:
        slides=lambda wildcards: ancient(given(plan.raw_slides(wildcards.batch))),
        stored=lambda wildcards: ancient(plan.stored_slides(wildcards.batch)),
        drawn=lambda wildcards: plan.drawn_slides(wildcards.batch),
        masks=lambda wildcards: given(plan.masks(wildcards.batch)),
    output:
        "results/tiles/{batch}.parquet",
    log:
        "results/logs/tile_slides/{batch}.log",
    benchmark:
        "results/benchmarks/tile_slides/{batch}.tsv"
    priority: 1
    conda:
        "../../envs/slides.yaml"
    params:
        samples=MANIFEST,
        settings=plan.settings("tile_slides"),
        slides=lambda wildcards: plan.slide_identities(wildcards.batch),
        code=plan.code("tile_slides"),
    shell:
        "ksfusion tile-slides --samples {params.samples:q} --batch {wildcards.batch} --masks {input.masks:q}"
        " --settings {params.settings:q} --output {output} 2> {log}"


rule fit_stain:
    input:
        stored=lambda wildcards: ancient(plan.stored_slides(wildcards.batch)),
        tiles="results/tiles/{batch}.parquet",
        target=given(plan.stain_target()),
    output:
        "results/stain/{batch}.parquet",
    log:
        "results/logs/fit_stain/{batch}.log",
    benchmark:
        "results/benchmarks/fit_stain/{batch}.tsv"
    conda:
        "../../envs/slides.yaml"
    params:
        samples=MANIFEST,
        settings=plan.settings("fit_stain"),
        code=plan.code("fit_stain"),
    shell:
        "ksfusion fit-stain --samples {params.samples:q} --tiles {input.tiles} --settings {params.settings:q}"
        " --output {output} 2> {log}"


rule draw_overviews:
    input:
        slides=lambda wildcards: ancient(given(plan.raw_slides(wildcards.batch))),
        stored=lambda wildcards: ancient(plan.stored_slides(wildcards.batch)),
        drawn=lambda wildcards: plan.drawn_slides(wildcards.batch),
        masks=lambda wildcards: given(plan.masks(wildcards.batch)),
        tiles="results/tiles/{batch}.parquet",
        patches="results/patches/{batch}.parquet",
    output:
        "results/slides/{batch}.tsv",
    log:
        "results/logs/draw_overviews/{batch}.log",
    benchmark:
        "results/benchmarks/draw_overviews/{batch}.tsv"
    conda:
        "../../envs/slides.yaml"
    params:
        samples=MANIFEST,
        settings=plan.settings("draw_overviews"),
        code=plan.code("draw_overviews"),
    shell:
        "ksfusion draw-overviews --samples {params.samples:q} --tiles {input.tiles} --patches {input.patches}"
        " --masks {input.masks:q} --settings {params.settings:q} --output {output} 2> {log}"


rule extract_features:
    input:
        tiles="results/tiles/{batch}.parquet",
        stain="results/stain/{batch}.parquet",
        patches="results/patches/{batch}.parquet",
        stored=lambda wildcards: ancient(plan.stored_slides(wildcards.batch)),
        target=given(plan.stain_target()),
        weights=given(plan.encoder_weights()),
    output:
        "results/features/{batch}.h5",
    log:
        "results/logs/extract_features/{batch}.log",
    benchmark:
        "results/benchmarks/extract_features/{batch}.tsv"
    conda:
        "../../envs/features.yaml"
    params:
        samples=MANIFEST,
        settings=plan.settings("extract_features"),
        code=plan.code("extract_features"),
    # $STAGE is set by the Snakefile, as $TENSORBOARD is: to set slides.stage redoes nothing.
    shell:
        "ksfusion extract-features --samples {params.samples:q} --tiles {input.tiles} --stain {input.stain}"
        " --patches {input.patches} --threads {threads} --settings {params.settings:q} --output {output}"
        ' ${{STAGE:+--stage "$STAGE"}} 2> {log}'
