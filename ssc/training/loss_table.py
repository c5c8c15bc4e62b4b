"""The losses of a training, written step by step while it runs: a table, and TensorBoard's event files if asked for."""

import importlib
import math
from pathlib import Path
from types import ModuleType
from typing import TextIO

from ssc.runtime.distributed import is_main
from ssc.runtime.errors import InputError
from ssc.runtime.files import write_text
from ssc.training.checkpoint import checkpoint_path


class LossTable:
    """A TSV with the columns step (from 1), lr (of the first parameters) and each loss, empty before it sets in.

    Args:
        path: the file, written when the training has ended; until then the main process adds to `<path>.checkpoint`,
            where a training that fails leaves it.
        tensorboard: write event files to the folder `tensorboard/<name of the table>` beside it as well.

    Raises:
        InputError: TensorBoard is asked for and not installed.
    """

    def __init__(self, path: str | Path, *, tensorboard: bool = False):
        self.path, self._live = Path(path), checkpoint_path(path)
        self._columns: list[str] = ["step", "lr"]
        self._rows: list[dict[str, str]] = []
        self._tensorboard = _tensorboard() if tensorboard else None
        self._events = None
        self._file: TextIO | None = None

    @property
    def text(self) -> str:
        """The table up to now."""
        lines = [self._columns, *([row.get(name, "") for name in self._columns] for row in self._rows)]
        return "".join("\t".join(line) + "\n" for line in lines)

    def begin(self, earlier: str = "") -> None:
        """Begin the checkpoint, with the lines that a resumed training has left as `text`."""
        if earlier:
            self._columns, *lines = [line.split("\t") for line in earlier.splitlines()]
            self._rows = [{k: v for k, v in zip(self._columns, line, strict=True) if v} for line in lines]
        self._write()
        if self._tensorboard:
            folder = self.path.parent / "tensorboard" / self.path.stem
            self._events = self._tensorboard.SummaryWriter(str(folder), purge_step=len(self._rows))

    def add(self, step: int, rate: float, losses: dict[str, float]) -> None:
        """Add the line of a step.

        Raises:
            InputError: a loss is not finite.
        """
        if not all(map(math.isfinite, losses.values())):
            raise InputError(f"The training diverged at step {step} ({losses}); lower the learning rate.")
        values = {"lr": rate, **losses}
        row = {"step": str(step), **{name: f"{value:.6g}" for name, value in values.items()}}
        new = [name for name in row if name not in self._columns]
        self._columns += new
        self._rows.append(row)
        if not is_main():
            return
        if new:
            self._write()
        else:
            self._file.write("\t".join(row.get(name, "") for name in self._columns) + "\n")
            self._file.flush()
        if self._events:
            for name, value in values.items():
                self._events.add_scalar(name, value, step)

    def last(self) -> str:
        """The last line in words, for a line of progress."""
        return ", ".join(f"{name} {value}" for name, value in self._rows[-1].items() if name != "step")

    def end(self) -> None:
        """Write the table, drop its checkpoint, and close the event files."""
        self._file.close()
        write_text(self.path, self.text)
        self._live.unlink(missing_ok=True)
        if self._events:
            self._events.close()

    def _write(self) -> None:
        if self._file:
            self._file.close()
        write_text(self._live, self.text)
        self._file = self._live.open("a", encoding="utf-8")


def _tensorboard() -> ModuleType:
    try:
        return importlib.import_module("torch.utils.tensorboard")
    except ImportError:
        raise InputError(
            "log: tensorboard needs the package tensorboard; pip install 'ssc-wsss[tensorboard]'."
        ) from None
