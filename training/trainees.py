"""Which class trains what: a recipe names one of these."""

from __future__ import annotations

from .codec import CodecTraining
from .trainee import Trainee
from .vocoder import VocoderTraining

__all__ = ["TRAINEES"]

TRAINEES: dict[str, type[Trainee]] = {"codec": CodecTraining, "vocoder": VocoderTraining}
