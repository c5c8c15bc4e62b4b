# DeepLabV2: training on the pseudo-labels, prediction, evaluation.


rule train_segmentation:
    input:
        index=TRAIN_INDEX,
        classes=CLASSES,
        pseudo_labels=artefacts("pseudo_labels", "pseudo_labels/{shard}.zip"),
        confidence=confidence_files,
        initial=weight_file("segmentation"),
    output:
        weights=f"{RUN}/segmentation.safetensors",
        history=f"{RUN}/segmentation_losses.json",
    log:
        f"{RUN}/logs/train_segmentation.log",
    benchmark:
        f"{RUN}/benchmarks/train_segmentation.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 8
    resources:
        mem_mb=growing(32000),
        runtime=2880,
        gpu=GPU,
    params:
        settings=setting("segmentation"),
        seed=setting("seed"),
        precision=setting("precision"),
        threads=setting("threads"),
        source=source_digest("ssc.training.segmentation"),
    script:
        "../workflow_scripts/train_segmentation.py"


rule predictions:
    input:
        index=SHARD_INDEX,
        classes=CLASSES,
        weights=trained("segmentation"),
        checked=trained_facts("segmentation"),
    output:
        labels=f"{RUN}/predictions/{{split}}/{{shard}}.zip",
        steps=f"{RUN}/prediction_steps/{{split}}/{{shard}}.zip",
    log:
        f"{RUN}/logs/predictions/{{split}}/{{shard}}.log",
    benchmark:
        f"{RUN}/benchmarks/predictions/{{split}}/{{shard}}.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: lambda wildcards: 4 if GPU or resolved(wildcards.experiment)["prediction"]["crf"]["enabled"] else 1
    resources:
        mem_mb=growing(6000),
        runtime=growing(240),
        gpu=GPU,
    params:
        settings=setting("prediction"),
        precision=setting("precision"),
        source=source_digest("ssc.prediction"),
    script:
        "../workflow_scripts/predictions.py"


rule count_predictions:
    input:
        index=SHARD_INDEX,
        classes=CLASSES,
        labels=artefact("predictions", "predictions/{split}/{shard}.zip"),
        steps=artefact("predictions", "prediction_steps/{split}/{shard}.zip"),
        masks=f"{RESULTS}/masks/{{split}}/{{shard}}.zip",
    output:
        f"{RUN}/prediction_counts/{{split}}/{{shard}}.json",
    log:
        f"{RUN}/logs/count_predictions/{{split}}/{{shard}}.log",
    benchmark:
        f"{RUN}/benchmarks/count_predictions/{{split}}/{{shard}}.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        split="{split}",
        stage="segmentation",
        steps=prediction_steps,
        source=source_digest("ssc.stages.evaluate"),
    script:
        "../workflow_scripts/count_labels.py"


rule evaluate_predictions:
    input:
        index=predicted_index,
        classes=CLASSES,
        shards=prediction_count_files,
    output:
        figures=f"{RUN}/segmentation.json",
        images=f"{RUN}/segmentation_images.tsv",
    log:
        f"{RUN}/logs/evaluate_predictions.log",
    benchmark:
        f"{RUN}/benchmarks/evaluate_predictions.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        split=setting("prediction", "split"),
        stage="segmentation",
        steps=prediction_steps,
        source=source_digest("ssc.stages.evaluate"),
    script:
        "../workflow_scripts/evaluate_labels.py"


rule voc_test_archive:
    input:
        index=f"{RESULTS}/index/test.tsv",
        predictions=artefacts("predictions", "predictions/test/{shard}.zip"),
    output:
        f"{RUN}/voc_test.tar.gz",
    log:
        f"{RUN}/logs/voc_test_archive.log",
    benchmark:
        f"{RUN}/benchmarks/voc_test_archive.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        source=source_digest("ssc.stages.voc_test_archive"),
    script:
        "../workflow_scripts/voc_test_archive.py"
