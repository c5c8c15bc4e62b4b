# The CAM classifier with DRS, CDR and ASM, and the warm start that stands for ImageNet weights where there are none.


rule warm_start:
    input:
        index=TRAIN_INDEX,
        classes=CLASSES,
    output:
        **outputs("warm_start"),
    log:
        f"{RESULTS}/logs/warm_start/{{backbone}}-stride{{stride}}-seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/warm_start/{{backbone}}-stride{{stride}}-seed{{seed}}.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 8
    resources:
        mem_mb=growing(16000),
        runtime=1440,
        gpu=GPU,
    params:
        settings=lambda w: warm_start(w).decisive(),
        precision=config["precision"],
        threads=config["threads"],
        source=lambda w: source_digest("ssc.training.classifier", warm_start(w)),
    script:
        "../workflow_scripts/warm_start.py"


rule train_classifier:
    input:
        index=TRAIN_INDEX,
        classes=CLASSES,
        superpixels=lambda w: (
            shards(rules.superpixels.output.archive) if resolved(w.experiment).classifier.asm.enabled else []
        ),
        initial=start_weights("classifier"),
        loss_weights=loss_network,
    output:
        **outputs("train_classifier"),
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
        settings=lambda w: resolved(w.experiment).classifier.decisive(),
        seed=lambda w: resolved(w.experiment).seed,
        precision=config["precision"],
        threads=config["threads"],
        source=code("ssc.training.classifier", "classifier"),
    script:
        "../workflow_scripts/train_classifier.py"


rule cross_validate:
    input:
        val=SPLIT_INDEX.format(split="val"),
        index=TRAIN_INDEX,
        classes=CLASSES,
        superpixels=rules.train_classifier.input.superpixels,
        initial=start_weights("classifier"),
        loss_weights=loss_network,
    output:
        **outputs("cross_validate"),
    log:
        f"{RUN}/logs/cross_validate.log",
    benchmark:
        f"{RUN}/benchmarks/cross_validate.tsv"
    priority: -1  # the road goes first: the report alone waits for it
    conda:
        "../envs/ssc.yaml"
    threads: 8
    resources:
        mem_mb=growing(24000),
        runtime=1440,
        gpu=GPU,
    params:
        settings=lambda w: resolved(w.experiment).classifier.decisive(),
        seed=lambda w: resolved(w.experiment).seed,
        precision=config["precision"],
        threads=config["threads"],
        source=code("ssc.stages.cross_validation", "classifier"),
    script:
        "../workflow_scripts/cross_validate.py"


rule evaluate_classifier:
    input:
        val=SPLIT_INDEX.format(split="val"),
        train=TRAIN_INDEX,
        classes=CLASSES,
        weights=weights("classifier"),
        checked=checked("classifier"),
    output:
        scores=f"{RUN}/classifier_scores.json",
    log:
        f"{RUN}/logs/evaluate_classifier.log",
    benchmark:
        f"{RUN}/benchmarks/evaluate_classifier.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 4 if GPU else 1
    resources:
        mem_mb=growing(6000),
        runtime=growing(240),
        gpu=GPU,
    params:
        drs=lambda w: resolved(w.experiment).cams.drs,
        precision=config["precision"],
        source=code("ssc.stages.classifier_scores", "classifier"),
    script:
        "../workflow_scripts/evaluate_classifier.py"
