"""The one exception that means: the user's input needs mending."""


class InputError(ValueError):
    """Bad input, told in one sentence that names the file, key or class and the mend.

    Command line and workflow scripts print the sentence alone; every other exception is a defect of ours
    and keeps its traceback.
    """
