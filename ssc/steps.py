"""Names of the test-time steps of a prediction; free of torch, so that the workflow names them at once."""


def step_names(settings: dict) -> list[str]:
    """Names of the steps that the `prediction` section of a config enables, each on top of those before it.

    With all of them: single scale, multi-scale, multi-scale + flip, multi-scale + flip + CRF. The last step's result
    is the prediction.
    """
    names = ["single scale"]
    if len(settings["scales"]) > 1:
        names.append("multi-scale")
    if settings["flip"]:
        names.append(f"{names[-1]} + flip")
    if settings["crf"]["enabled"]:
        names.append(f"{names[-1]} + CRF")
    return names
