"""Start a training: in this process, or as several processes that share every batch, by torchrun's launcher.

A training process is `python -m ssc.training.launch <folder>/job.json`; that folder also takes the reason for which it
fails.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, get_type_hints

import torch
import torch.distributed as dist
from pydantic import BaseModel
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from ssc.data.index import read_index
from ssc.runtime.device import select_device
from ssc.runtime.distributed import is_main
from ssc.runtime.errors import InputError, Interrupted, user_message
from ssc.runtime.files import read_json, write_json
from ssc.runtime.progress import log, log_file
from ssc.training.run import Run
from ssc.training.signals import heed_signals


class Rule(Protocol):
    """What is used of the object `snakemake` of a training's script."""

    output: object  # with the paths `weights` and `losses`
    params: object  # with `precision` and `threads`
    config: dict
    log: list[str]
    resources: object  # with `gpu`, the number of GPUs


def launch(
    train: Callable[..., None],
    rule: Rule,
    *,
    seed: int,
    settings: BaseModel,
    rest: Sequence[float] = (0.0, 0.0),
    **arguments,
) -> None:
    """Run `train(Run(...), settings=settings, **arguments)` as a rule asks for it: in a process for each of its
    GPUs, or in as many on the CPU. The result does not depend on their number.

    Each process has a GPU, or its part of this process's threads on the CPU; `workers` are divided among them.

    Args:
        train: function of a module, such as `train_classifier`.
        rule: the object `snakemake` of the rule's script.
        seed, rest: see `ssc.training.run.Run`.
        settings: the training's section of the configuration.
        arguments: of `train`, as JSON has them (paths become text).

    Raises:
        InputError: too few GPUs, a batch that cannot be divided, or the input that a process refuses.
        RuntimeError: a process failed otherwise; the text holds its traceback.
    """
    options = {key: rule.config[key] for key in ("device", "workers", "compile", "memory", "log")}
    options |= {"output": rule.output.weights, "losses": rule.output.losses, "seed": seed, "rest": rest}
    options |= {"precision": rule.params.precision, "threads": rule.params.threads}
    processes = max(1, rule.resources.gpu)
    if processes == 1:
        with heed_signals():
            train(Run(**options), settings=settings, **arguments)
        return
    _check_device(options["device"], processes)
    _check_batch(arguments["index"], settings, processes)
    options["workers"] = -(-options["workers"] // processes)
    arguments = {"settings": settings.model_dump(mode="json"), **arguments}
    run_processes(train, processes=processes, log_path=rule.log[0], options=options, arguments=arguments)


def run_processes(
    train: Callable[..., None], *, processes: int, log_path: str | Path, options: dict, arguments: dict
) -> None:
    """Run a training in several processes; see `launch`.

    Args:
        train: the training.
        processes: how many.
        log_path: file to which the first process appends its log.
        options: arguments of `Run`.
        arguments: other arguments of the training, with its settings as a dictionary.
    """
    device = select_device(options["device"])
    log.info("%d training processes on %s.", processes, device)
    with TemporaryDirectory(prefix="ssc-training-") as folder:
        job = {
            "module": train.__module__,
            "function": train.__name__,
            "options": options,
            "arguments": arguments,
            "launcher": os.getpid(),
            "threads": max(1, torch.get_num_threads() // processes),
            "backend": "nccl" if device.type == "cuda" else "gloo",
            "log": str(log_path),
        }
        path, failure = Path(folder) / "job.json", Path(folder) / "failure.json"
        path.write_text(json.dumps(job, default=str), encoding="utf-8")
        # As `torchrun --standalone` does, but for its own account of a failure: ours is shorter.
        logging.getLogger("torch.distributed.elastic.multiprocessing.api").setLevel(logging.CRITICAL)
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        # PyTorch's launcher takes over the first four, hands them to the processes, and never gives them back.
        taken = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1)
        before = {each: signal.getsignal(each) for each in taken}
        signal.signal(signal.SIGUSR1, lambda *_: signal.raise_signal(signal.SIGTERM))
        try:
            elastic_launch(config, sys.executable)("-m", "ssc.training.launch", str(path))
        except (ChildFailedError, SignalException) as error:
            # No reason is given where all were killed from outside.
            reason = read_json(failure) if failure.exists() else {"told": False, "text": f"It was killed: {error}"}
            if reason["told"]:
                kind = Interrupted if isinstance(error, SignalException) else InputError
                raise kind(reason["text"]) from None
            raise RuntimeError(f"A training process failed.\n{reason['text']}") from error
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def _check_device(name: str, processes: int) -> None:
    if name == "cpu":
        return
    if name.startswith("cuda:"):
        raise InputError(f"device: {name} is one GPU, but {processes} are asked for; set it to cuda or auto.")
    if (found := torch.cuda.device_count()) < processes:
        raise InputError(
            f"{processes} GPUs are asked for, but PyTorch finds {found}; lower the rule's resource gpu, "
            "or set device: cpu for as many processes without a GPU."
        )


def _check_batch(index: str | Path, settings: BaseModel, processes: int) -> None:
    images = len(read_index(index).split("train"))
    size = min(settings.batch_size, images)
    paired = getattr(settings, "training", None) == "cotraining"  # partners in a batch must meet in one process
    if size % (2 * processes if paired else processes):
        pairs = "in pairs " if paired else ""
        raise InputError(
            f"A batch of {size} photos cannot be divided {pairs}among {processes} processes; "
            "change batch_size or the rule's resource gpu."
        )


def _run(path: Path) -> None:
    """What one training process does."""
    job, failure = read_json(path), path.with_name("failure.json")
    threading.Thread(target=_end_with, args=(job["launcher"],), daemon=True).start()
    torch.set_num_threads(job["threads"])
    if job["backend"] == "nccl":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(job["backend"])
    if is_main():
        log.addHandler(log_file(job["log"]))
        log.setLevel(logging.INFO)
    else:
        log.disabled = True
    try:
        with heed_signals():
            train = getattr(import_module(job["module"]), job["function"])
            settings = get_type_hints(train)["settings"](**job["arguments"].pop("settings"))
            train(Run(**job["options"]), settings=settings, **job["arguments"])
    except Exception as error:
        # The first to fail says why; the others fail for want of it.
        if not failure.exists():
            told = user_message(error)
            write_json(failure, {"told": bool(told), "text": told or traceback.format_exc()})
        os._exit(1)  # without waiting for messages that will never come
    dist.destroy_process_group()


def _end_with(launcher: int) -> None:
    """End this process after its launcher, which may be killed: it must not train beside the job that is resumed."""
    while os.getppid() == launcher:
        time.sleep(1)
    os._exit(1)


if __name__ == "__main__":
    _run(Path(sys.argv[1]))
