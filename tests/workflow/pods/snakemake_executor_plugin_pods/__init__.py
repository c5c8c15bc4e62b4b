"""An executor for tests that stands for Kubernetes and cloud batch: each job runs in an empty folder and sees no other.

It is found where the folder above is on PYTHONPATH. What a container image brings (Python, the package `ssc`) is this
machine's; a job gets its command, and the credentials in it, as theirs do.
"""

import subprocess
import tempfile

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=True,
    job_deploy_sources=True,
    pass_envvar_declarations_to_cmd=True,
    auto_deploy_default_storage_provider=False,  # the image has it
)


class Executor(RemoteExecutor):
    def run_job(self, job):
        folder = tempfile.mkdtemp(prefix=f"pod-{job.name}-")
        process = subprocess.Popen(self.format_job_exec(job), shell=True, cwd=folder)
        self.report_job_submission(SubmittedJobInfo(job, external_jobid=process.pid, aux={"process": process}))

    async def check_active_jobs(self, active_jobs):
        for info in active_jobs:
            status = info.aux["process"].poll()
            if status is None:
                yield info
            elif status:
                self.report_job_error(info)
            else:
                self.report_job_success(info)

    def cancel_jobs(self, active_jobs):
        for info in active_jobs:
            info.aux["process"].terminate()
