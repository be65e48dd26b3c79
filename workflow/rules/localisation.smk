# Where it is known what patches show: planted in the demo, or annotated by the user. Whether attention falls on it.
LOCATED = [method for method in METHODS if method in registry.NETWORKS and "p" in registry.METHODS[method].modalities]
LOCATED_RUNS = expand("results/models/{task}/{method}/fold{{fold}}/seed{seed}", method=LOCATED, task=TASKS, seed=SEEDS)
LOCALISATION = ["results/localisation.tsv"]
REGIONS = [] if plan.config.demo else ["results/regions.parquet"]


rule read_regions:
    input:
        regions=given(plan.regions()),
        slides=ancient(plan.stored_slides_with_regions()),
        features=expand("results/features/{batch}.h5", batch=BATCHES),
    output:
        patches="results/regions.parquet",
        listed="results/regions.tsv",
    log:
        "results/logs/read_regions.log",
    benchmark:
        "results/benchmarks/read_regions.tsv"
    conda:
        "../../envs/heatmaps.yaml"
    params:
        samples=MANIFEST,
        settings=plan.settings("read_regions"),
        code=plan.code("read_regions"),
    shell:
        "ksfusion read-regions --samples {params.samples:q} --regions {input.regions:q} --features {input.features}"
        " --settings {params.settings:q} --output {output.patches} --listed {output.listed} 2> {log}"


# All runs of a fold share a job: starting Python takes longer than most of them.
rule locate_attention:
    input:
        **FOLD_FILES,
        truth="truth/tiles.parquet" if plan.config.demo else [],
        regions=REGIONS,
        runs=expand("{run}/{file}", run=LOCATED_RUNS, file=MODEL_FILE_NAMES),
        features=expand("results/features/{batch}.h5", batch=BATCHES),
    output:
        "results/localisation/fold{fold}.tsv",
    log:
        "results/logs/locate_attention/fold{fold}.log",
    benchmark:
        "results/benchmarks/locate_attention/fold{fold}.tsv"
    conda:
        "../../envs/heatmaps.yaml"
    params:
        folders=LOCATED_RUNS,
        settings=plan.settings("locate_attention"),
        code=plan.code("locate_attention"),
    shell:
        f"ksfusion locate-attention {FOLD_OPTIONS}"
        " --runs {params.folders}"
        " --features {input.features} --truth {input.truth} --regions {input.regions} --settings {params.settings:q}"
        " --output {output} 2> {log}"


rule make_localisation:
    input:
        truth="truth/tiles.parquet" if plan.config.demo else [],
        regions=REGIONS,
        located=expand("results/localisation/fold{fold}.tsv", fold=FOLDS),
        store="results/features/store",
        features=expand("results/features/{batch}.h5", batch=BATCHES),
        samples="results/samples.tsv",
        splits="results/cohort/splits.tsv",
    output:
        "results/localisation.tsv",
    log:
        "results/logs/make_localisation.log",
    conda:
        "../../envs/heatmaps.yaml"
    params:
        settings=plan.settings("make_localisation"),
        code=plan.code("make_localisation"),
    shell:
        "ksfusion make-localisation --located {input.located} --store {input.store} --features {input.features}"
        " --samples {input.samples} --splits {input.splits} --truth {input.truth} --regions {input.regions}"
        " --settings {params.settings:q} --output {output} 2> {log}"
