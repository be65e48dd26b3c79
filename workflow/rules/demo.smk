# The demo cohort: drawn only where the configuration asks for it. What is in truth/ no stage reads that makes
# a result: where models look is scored by it.
rule draw_demo_slides:
    output:
        slides=expand("slides/{slide}.tiff", slide=plan.demo_slides()),
        truth="truth/slides.tsv",
        tiles="truth/tiles.parquet",
    log:
        "results/logs/draw_demo_slides.log",
    benchmark:
        "results/benchmarks/draw_demo_slides.tsv"
    conda:
        "../../envs/slides.yaml"
    threads: 8
    params:
        settings=plan.settings("draw_demo_slides"),
        code=plan.code("draw_demo_slides"),
    shell:
        "ksfusion draw-demo-slides --settings {params.settings:q} --output slides --truth {output.truth}"
        " --tile-truth {output.tiles} --threads {threads} 2> {log}"


rule draw_demo_expression:
    output:
        gdc=directory("expression/gdc"),
        ivygap=directory("expression/ivygap"),
        truth="truth/cases.tsv",
        genes="truth/genes.tsv",
    log:
        "results/logs/draw_demo_expression.log",
    benchmark:
        "results/benchmarks/draw_demo_expression.tsv"
    conda:
        "../../envs/genes.yaml"
    params:
        settings=plan.settings("draw_demo_expression"),
        code=plan.code("draw_demo_expression"),
    shell:
        "ksfusion draw-demo-expression --settings {params.settings:q} --output expression --truth {output.truth}"
        " --gene-truth {output.genes} 2> {log}"


# Plain models that read what was planted, beside the methods in the report.
rule score_oracles:
    input:
        samples="results/samples.tsv",
        cases="results/cohort/cases.parquet",
        splits="results/cohort/splits.tsv",
    output:
        "results/tables/oracles.tsv",
    log:
        "results/logs/score_oracles.log",
    conda:
        "../../envs/results.yaml"
    params:
        settings=plan.settings("score_oracles"),
        code=plan.code("score_oracles"),
    shell:
        "ksfusion score-oracles --samples {input.samples} --cases {input.cases} --splits {input.splits}"
        " --settings {params.settings:q} --output {output} 2> {log}"
