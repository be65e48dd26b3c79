# What became of every slide and sample: of a study, and of new patients.
rule write_ledger:
    input:
        samples="results/cohort/samples.parquet",
        cases="results/cohort/cases.parquet",
        profiles="results/genes/profiles.parquet",
        tiles=expand("results/tiles/{batch}.parquet", batch=BATCHES),
        stain=plan.stain_tables(),
        patches=expand("results/patches/{batch}.parquet", batch=BATCHES),
        features=expand("results/features/{batch}.h5", batch=BATCHES),
    output:
        slides="results/slides.tsv",
        samples="results/samples.tsv",
        timing="results/slides_timing.tsv",
    log:
        "results/logs/write_ledger.log",
    conda:
        "../../envs/cohort.yaml"
    params:
        settings=plan.settings("write_ledger"),
        code=plan.code("write_ledger"),
    shell:
        "ksfusion write-ledger --slides-output {output.slides} --samples-output {output.samples}"
        " --timing-output {output.timing} --samples {input.samples}"
        " --cases {input.cases} --profiles {input.profiles} --tiles {input.tiles} --stain {input.stain}"
        " --patches {input.patches} --features {input.features} --settings {params.settings:q} 2> {log}"
