"""A stand-in model that does what prompts ask for; a module of its own, so that other processes can import it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fakes import FakeAssessor

if TYPE_CHECKING:
    from piqa_cli.assessor import Grounding
    from piqa_cli.images import LoadedPair


class Moody(FakeAssessor):
    """A prompt "wait" makes it slow, "die" kills its process."""

    def ground(self, pairs: Sequence[LoadedPair]) -> list[Grounding]:
        """As `FakeAssessor`, after what the prompts ask for."""
        for pair in pairs:
            if pair.pair.prompt == "wait":
                time.sleep(0.2)
            if pair.pair.prompt == "die":
                os.kill(os.getpid(), signal.SIGKILL)
        return super().ground(pairs)
