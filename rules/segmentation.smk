# DeepLabV2: training on the pseudo-labels, prediction, evaluation.


rule train_segmentation:
    input:
        index=TRAIN_INDEX,
        classes=CLASSES,
        pseudo_labels=owned("pseudo_labels", shards(rules.random_walk.output.labels)),
        confidence=lambda w: (
            owned("pseudo_labels", shards(rules.random_walk.output.confidence))(w)
            if resolved(w.experiment).segmentation.uses_confidence()
            else []
        ),
        initial=start_weights("segmentation"),
        val_index=lambda w: SPLIT_INDEX.format(split="val") if selects(w) else [],
        val_masks=lambda w: shards(rules.masks.output.archive.replace("{split}", "val")) if selects(w) else [],
    output:
        **outputs("train_segmentation"),
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
        settings=lambda w: resolved(w.experiment).segmentation.decisive(),
        seed=lambda w: resolved(w.experiment).seed,
        precision=config["precision"],
        threads=config["threads"],
        source=code("ssc.training.segmentation", "segmentation"),
    script:
        "../workflow_scripts/train_segmentation.py"


rule predictions:
    input:
        index=SHARD_INDEX,
        classes=CLASSES,
        weights=weights("segmentation"),
        checked=checked("segmentation"),
    output:
        **outputs("predictions"),
    log:
        f"{RUN}/logs/predictions/{{split}}/{{shard}}.log",
    benchmark:
        f"{RUN}/benchmarks/predictions/{{split}}/{{shard}}.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: lambda w: 4 if GPU or resolved(w.experiment).prediction.crf.enabled else 1
    resources:
        mem_mb=growing(6000),
        runtime=growing(240),
        gpu=GPU,
    params:
        settings=lambda w: resolved(w.experiment).prediction.decisive(),
        precision=config["precision"],
        source=code("ssc.stages.predictions", "prediction", "segmentation"),
    script:
        "../workflow_scripts/predictions.py"


rule count_predictions:
    input:
        index=SHARD_INDEX,
        classes=CLASSES,
        labels=owned("predictions", rules.predictions.output.labels),
        steps=owned("predictions", rules.predictions.output.steps),
        masks=rules.masks.output.archive,
    output:
        **outputs("count_predictions"),
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
        steps=lambda w: resolved(w.experiment).prediction.steps(),
        source=source_digest("ssc.stages.evaluate"),
    script:
        "../workflow_scripts/count_labels.py"


rule evaluate_predictions:
    input:
        index=owned("predictions", SPLIT_INDEX),
        classes=CLASSES,
        shards=owned("predictions", shards(rules.count_predictions.output.counts)),
    output:
        **outputs("evaluate_predictions"),
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
        split=lambda w: resolved(w.experiment).prediction.split,
        stage="segmentation",
        steps=lambda w: resolved(w.experiment).prediction.steps(),
        chosen_by_masks=lambda w: "epoch" if selects(w) else None,
        source=source_digest("ssc.stages.evaluate"),
    script:
        "../workflow_scripts/evaluate_labels.py"


rule voc_test_archive:
    input:
        index=SPLIT_INDEX.format(split="test"),
        predictions=owned("predictions", shards(rules.predictions.output.labels.replace("{split}", "test"))),
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
