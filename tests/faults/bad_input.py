"""Bad inputs: every case of tests/faults/bad_inputs.py, laid on a folder with a finished run."""

import shutil
from concurrent.futures import ThreadPoolExecutor

from tests.faults.bad_inputs import CASES, Case
from tests.faults.harness import Campaign, Outcome, differences, results, traceback_in
from tests.faults.snakemake import Place

QUICK = 15  # every so many-th case in a quick campaign


def bad_input(campaign: Campaign) -> Outcome:
    """Each case must end in its message, write no result and leave those of the finished run alone."""
    outcome = Outcome("bad input")
    cases = CASES[::QUICK] if campaign.quick else CASES
    _ = campaign.expected  # before the threads ask for it
    with ThreadPoolExecutor(2) as pool:
        for case, told in zip(cases, pool.map(lambda case: _refused(campaign, case), cases), strict=True):
            outcome.count("cases")
            print(f"    {case.name}", flush=True)
            outcome.lost += [f"{case.name}: {text}" for text in told]
    return outcome


def _refused(campaign: Campaign, case: Case) -> list[str]:
    """A message for each thing that is not as it should be."""
    place = Place(campaign.folder / f"bad-{CASES.index(case)}", campaign.project, cores=1)
    shutil.copytree(campaign.reference.folder / "results", place.folder / "results")
    status, text = place.run(*case.prepare(place.folder))
    left = results(place.folder)
    shutil.rmtree(place.folder)
    wrong = differences({path: left[path] for path in left if path in campaign.expected}, campaign.expected)
    wrong += [f"{path} was written" for path in left if path not in campaign.expected]
    if status == 0 or case.message not in text or traceback_in(text):
        wrong.append(f"no such message as {case.message!r}: {text[-1500:]}")
    return wrong
