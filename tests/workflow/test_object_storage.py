"""The workflow through a bucket: the whole of it by the profile, and single jobs that see no file system but their own.

The whole, not a part: what a bucket can break is the rules whose params name files, and most of them are the report's.
"""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.faults.harness import copy_project, differences, results
from tests.faults.snakemake import ROOT, TINY, Place, jobs, rule_texts

PROFILE = ROOT / "profiles" / "object-storage"
PODS = Path(__file__).parent / "pods"


@pytest.fixture(scope="module")
def server():
    """A local S3 server: the environment of a Snakemake that is to use it, and the resource that reads it."""
    for module in ("snakemake_storage_plugin_s3", "boto3", "moto", "flask_cors"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            pytest.skip(f"No S3 here: {error}; install 'ssc-wsss[object-storage]' and 'moto[server]'.")
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    url = "http://{}:{}".format(*server.get_host_and_port())
    keys = {"ENDPOINT_URL": url, "ACCESS_KEY": "key", "SECRET_KEY": "secret"}
    environment = os.environ | {f"SNAKEMAKE_STORAGE_S3_{name}": value for name, value in keys.items()}
    s3 = boto3.resource(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="key", aws_secret_access_key="secret"
    )
    yield environment, s3
    server.stop()


def fetch(s3, bucket, folder):
    """Copy the results in a bucket to a folder; returns it."""
    for item in s3.Bucket(bucket).objects.filter(Prefix="ssc/results/"):
        path = folder / item.key.removeprefix("ssc/")
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.Bucket(bucket).download_file(item.key, str(path))
    return folder


def test_a_run_through_a_bucket_has_the_results_of_one_on_a_disk(server, campaign, tmp_path):
    environment, s3 = server
    place = campaign.place("object-storage")
    through = ["--profile", PROFILE, "--default-storage-prefix", "s3://whole/ssc", "--cores", "2"]
    place.succeed(*through, environment=environment)
    assert differences(results(fetch(s3, "whole", tmp_path)), campaign.expected) == []
    here = [path.name for path in (place.folder / "results").rglob("*") if path.is_file()]
    assert [name for name in here if not name.startswith(".")] == ["report.html"]
    costs = (tmp_path / "results" / "tiny" / "ssc" / "costs.tsv").read_text()
    assert costs.splitlines()[-1].startswith("all\t")
    assert "Nothing to be done" in place.succeed(*through, environment=environment)


def test_jobs_that_share_no_file_system_exchange_files_through_the_bucket(server, campaign, tmp_path):
    """Each in an empty folder; all that they see beside the bucket is the photos, under the same path everywhere."""
    environment, s3 = server
    photos = campaign.place("volume")
    project = copy_project(tmp_path / "project")
    # What of the sources goes along with a job, Snakemake asks git.
    for arguments in (["init", "--quiet"], ["add", "."]):
        subprocess.run(["git", *arguments], cwd=project, check=True)
    config = yaml.safe_load(photos.configfile.read_text())
    config["dataset"]["root"] = str(photos.folder / "photos")
    (project / "my.yaml").write_text(yaml.safe_dump(config))
    targets = ["superpixels/1-of-2.zip", "warm_start/tiny-stride8-seed0.safetensors"]
    python = [sys.executable, "-m", "snakemake", *(f"results/tiny/{target}" for target in targets)]
    through = ["--profile", PROFILE, "--default-storage-prefix", "s3://pods/ssc", "--executor", "pods", "--jobs", "2"]
    done = subprocess.run(
        [*python, *map(str, through), "--seconds-between-status-checks", "1", "--configfile", "my.yaml"],
        cwd=project,
        env={
            **environment,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]]),
            "PYTHONPATH": os.pathsep.join(map(str, [project, PODS])),  # of the image: the package, the executor
            "TMPDIR": str(tmp_path),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    # The index is made where Snakemake runs, which sees the user's table.
    assert sorted(re.match("pod-(.*)-", path.name)[1] for path in tmp_path.glob("pod-*")) == [
        "superpixels", "warm_start",
    ]  # fmt: skip
    fetched = fetch(s3, "pods", tmp_path / "fetched")
    for target in targets:
        made, expected = (folder / "results" / "tiny" / target for folder in (fetched, campaign.reference.folder))
        assert made.read_bytes() == expected.read_bytes(), target


@pytest.mark.parametrize(
    ("configfile", "targets"),
    [(TINY, ["all", "preview", "ablation"]), (ROOT / "config" / "voc12.yaml", ["all", "test_archive"])],
)
def test_the_same_is_planned_for_a_bucket_as_for_a_disk(server, tmp_path, configfile, targets):
    """What the demo draws and what is downloaded, too, which lie where Snakemake runs."""
    place = Place(tmp_path, configfile=configfile)
    small = "ablation={'seeds': [0], 'experiments': ['baseline', 'ssc'], 'sweeps': {'alpha': {'values': [1, 2]}}}"
    arguments = [*targets, "--dry-run", "--config", "shards=1", small]
    on_disk = place.succeed(*arguments)
    through = ["--profile", PROFILE, "--default-storage-prefix", "s3://planned/ssc", "--cores", "2"]
    in_bucket = place.succeed(*arguments, *through, environment=server[0])
    in_bucket = in_bucket.replace("s3://planned/ssc/", "").replace(" (send to storage)", "")
    planned = [sorted((job.rule, job.outputs) for job in jobs(text)) for text in (on_disk, in_bucket)]
    assert planned[0] == planned[1] != []


def test_the_profile_names_the_rules_that_want_a_gpu():
    given = yaml.safe_load((PROFILE / "config.yaml").read_text())["set-resources"]
    assert set(given) == {name for name, text in rule_texts().items() if "gpu=GPU" in text}
