# The demo cohort: drawn only where the configuration asks for it.
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
        "ksfusion draw-demo-expression --settings {params.settings:q} --output expression --truth {output.truth} 2> {log}"
