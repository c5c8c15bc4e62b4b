# All that comes from the network: the archives of published data sets, and ImageNet weights. On a cluster this runs
# where Snakemake does, since the other machines may have no network.


# Checksums say what the archives are and what is in them. The two rules have no digest of their source, so that no
# change of this project fetches gigabytes again.
rule download_archive:
    output:
        local(temp(f"{ARCHIVES}/{{release}}")),
    log:
        "results/logs/download_archive/{release}.log",
    benchmark:
        "results/benchmarks/download_archive/{release}.tsv"
    localrule: True
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(500),
        runtime=growing(1440),
    params:
        checksum=lambda w: RELEASES[w.release].checksum,
    script:
        "../workflow_scripts/download_archive.py"


rule unpack_archive:
    input:
        local(f"{ARCHIVES}/{{release}}"),
    output:
        local(directory(f"{FOLDER}/{{release}}")),
    log:
        "results/logs/unpack_archive/{release}.log",
    benchmark:
        "results/benchmarks/unpack_archive/{release}.tsv"
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(240),
    script:
        "../workflow_scripts/unpack_archive.py"


# With `snakemake --cache` they are shared between working folders, too (which forbids a benchmark). Nothing else can be:
# Snakemake would not see that photos of the same name differ.
rule download_weights:
    output:
        f"{WEIGHTS}/{{network}}.safetensors",
    log:
        "results/logs/download_weights/{network}.log",
    cache: "omit-software"
    localrule: True
    conda:
        "../envs/ssc.yaml"
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        source=source_digest("ssc.interop.backbone_weights"),
    script:
        "../workflow_scripts/download_weights.py"
