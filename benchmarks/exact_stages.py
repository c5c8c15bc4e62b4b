"""Whether this project's stages are the released code's: its outputs for some photos against ours, under a preset.

    python -m benchmarks.exact_stages FOLDER --weights DIR --voc DIR [--preset released] [...]

FOLDER holds `compare.py` and `golden/`, what the authors' code made of seeded weights; the other arguments are those of
that script, which runs a copy of this checkout through Snakemake. It was written for older names of the keys that say
what stands ready: here they get their names of today.
"""

import importlib.util
import sys
from pathlib import Path

from benchmarks.harness import ROOT
from ssc.workflow.config import MOVED


def main() -> int:
    path = Path(sys.argv[1]).absolute() / "compare.py"
    spec = importlib.util.spec_from_file_location("compare", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    configuration = script.configuration

    def renamed(*arguments) -> dict:
        config = configuration(*arguments)
        for own in (config, *config["experiments"].values()):
            for old, new in MOVED.items():
                section, key = old.split(".")
                if key in own.get(section, {}):
                    place, name = new.split(".")
                    own.setdefault(place, {})[name] = own[section].pop(key)
        return config

    script.configuration = renamed
    sys.argv = [str(path), str(ROOT), sys.executable, *sys.argv[2:]]
    return script.main()


if __name__ == "__main__":
    sys.exit(main())
