"""The table of models, one file of entries a family. An entry is data: nothing here imports torch or a model's code."""

from __future__ import annotations

from .entries import (
    baichuan,
    bigcodec,
    dac,
    dcspin,
    encodec,
    focalcodec,
    glm4voice,
    higgs,
    mimi,
    neucodec,
    s3,
    snac,
    soundstream,
    speechtokenizer,
    spin,
    step_audio,
    ticodec,
    units,
    vox,
    vox_s3,
    wavtokenizer,
    xcodec,
    xcodec2,
)
from .registry import Entry

__all__ = ["ENTRIES"]

ENTRIES: tuple[Entry, ...] = (
    *vox.ENTRIES,
    *vox_s3.ENTRIES,
    *encodec.ENTRIES,
    *snac.ENTRIES,
    *dac.ENTRIES,
    *mimi.ENTRIES,
    *speechtokenizer.ENTRIES,
    *bigcodec.ENTRIES,
    *ticodec.ENTRIES,
    *baichuan.ENTRIES,
    *wavtokenizer.ENTRIES,
    *focalcodec.ENTRIES,
    *xcodec.ENTRIES,
    *higgs.ENTRIES,
    *xcodec2.ENTRIES,
    *neucodec.ENTRIES,
    *soundstream.ENTRIES,
    *s3.ENTRIES,
    *glm4voice.ENTRIES,
    *step_audio.ENTRIES,
    *units.ENTRIES,
    *spin.ENTRIES,
    *dcspin.ENTRIES,
)
