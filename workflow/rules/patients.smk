# New patients: their table, what the models of a bundle say of them, and a page for each.
rule check_patients:
    input:
        samples=plan.prediction.samples,
    output:
        samples="results/cohort/samples.parquet",
        cases="results/cohort/cases.parquet",
    log:
        "results/logs/check_patients.log",
    conda:
        "../../envs/cohort.yaml"
    params:
        settings=plan.settings("check_patients"),
        code=plan.code("check_patients"),
    shell:
        "ksfusion check-patients --settings {params.settings:q} --samples-output {output.samples}"
        " --cases-output {output.cases} 2> {log}"


# What the stages before have made of the new samples.
NEW_FILES = {
    "manifest": plan.bundle_manifest,
    "samples": "results/samples.tsv",
    "slides": "results/slides.tsv",
    "profiles": "results/genes/profiles.parquet" if plan.reads_genes else [],
    "store": "results/features/store" if plan.has_slides else [],
}


rule predict_cases:
    input:
        **NEW_FILES,
        stain=plan.stain_tables(),
        tiles=expand("results/tiles/{batch}.parquet", batch=BATCHES),
    output:
        table="predictions.tsv",
        members="results/predictions/members.parquet",
        answers="results/predictions/answers.json",
    log:
        "results/logs/predict_cases.log",
    benchmark:
        "results/benchmarks/predict_cases.tsv"
    conda:
        "../../envs/predictions.yaml"
    params:
        bundle=plan.prediction.bundle,
        settings=plan.settings("predict_cases"),
        code=plan.code("predict_cases", method=plan.contents.method),
    shell:
        "ksfusion predict-cases --bundle {params.bundle:q} --samples {input.samples} --slides {input.slides}"
        " --profiles {input.profiles} --store {input.store} --stain {input.stain} --tiles {input.tiles}"
        " --settings {params.settings:q} --output {output.table} --members-output {output.members}"
        " --answers-output {output.answers} 2> {log}"


rule explain_cases:
    input:
        **NEW_FILES,
        answers="results/predictions/answers.json",
        features=expand("results/features/{batch}.h5", batch=BATCHES),
    output:
        directory("results/explanations"),
    log:
        "results/logs/explain_cases.log",
    benchmark:
        "results/benchmarks/explain_cases.tsv"
    conda:
        "../../envs/predictions.yaml"
    params:
        bundle=plan.prediction.bundle,
        manifest=MANIFEST,
        settings=plan.settings("explain_cases"),
        code=plan.code("explain_cases", method=plan.contents.method),
    shell:
        "ksfusion explain-cases --bundle {params.bundle:q} --samples {input.samples} --slides {input.slides}"
        " --profiles {input.profiles} --store {input.store} --answers {input.answers}"
        " --features {input.features} --manifest {params.manifest:q} --settings {params.settings:q}"
        " --output {output} 2> {log}"


rule write_pages:
    input:
        manifest=plan.bundle_manifest,
        answers="results/predictions/answers.json",
        explanations="results/explanations",
        slides="results/slides.tsv",
        overviews=plan.overviews(),
        template=[shipped_with_code(f"predictions/case.{ending}") for ending in ("html.j2", "css")],
    output:
        PAGES,
    log:
        "results/logs/write_pages.log",
    conda:
        "../../envs/predictions.yaml"
    params:
        bundle=plan.prediction.bundle,
        settings=plan.settings("write_pages"),
        code=plan.code("write_pages"),
    shell:
        "ksfusion write-pages --bundle {params.bundle:q} --answers {input.answers}"
        " --explanations {input.explanations}/explanations.json --slides {input.slides}"
        " --overviews {input.overviews} --settings {params.settings:q} --output . 2> {log}"
