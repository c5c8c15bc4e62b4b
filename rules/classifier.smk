# The CAM classifier with DRS, CDR and ASM.


rule train_classifier:
    input:
        index=TRAIN_INDEX,
        classes=CLASSES,
        superpixels=superpixel_files,
        initial=weight_file("classifier"),
        loss_weights=loss_network_file,
    output:
        weights=f"{RUN}/classifier.safetensors",
        history=f"{RUN}/classifier_losses.json",
    log:
        f"{RUN}/logs/train_classifier.log",
    benchmark:
        f"{RUN}/benchmarks/train_classifier.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 8
    resources:
        mem_mb=growing(24000),
        runtime=1440,
        gpu=GPU,
    params:
        settings=setting("classifier"),
        seed=setting("seed"),
        precision=setting("precision"),
        threads=setting("threads"),
        source=source_digest("ssc.training.classifier"),
    script:
        "../workflow_scripts/train_classifier.py"
