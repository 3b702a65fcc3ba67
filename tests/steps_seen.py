"""Note each step that an item goes through."""
from codedata.run.talk import Step


class StepsSeen(Step):
    """Hold a step, and in `seen` what it was before."""

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        self.__dict__.setdefault("seen", []).append(str(self))
