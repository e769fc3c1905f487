"""CAM++: who speaks in a recording, as a vector of 192 numbers that CosyVoice's flows take.

Wang et al. 2023, "CAM++: A Fast and Efficient Network for Speaker Verification Using Context-Aware Masking",
arXiv:2303.00332; published as `campplus.onnx` beside CosyVoice's weights, and run by ONNX Runtime. It hears Kaldi's 80 mel
bands without dither, less their mean over the clip.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.audio import Audio
from ..core.errors import AudioError, MissingExtraError, WeightsError
from ..core.kaldi_fbank import kaldi_fbank

__all__ = ["CamPlus"]

RATE = 16000  # Hz
BANDS = 80


class CamPlus:
    """The published graph. A graph is data: custom operators are not registered, so a file cannot bring code of its own."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """path: of `campplus.onnx`.

        Raises `WeightsError` for a file that is missing or no such graph, `MissingExtraError` without onnxruntime.
        """
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtraError("onnxruntime", "eval") from None
        self.path = os.fspath(path)
        if not Path(path).is_file():
            raise WeightsError(f"there is no file {self.path!r}: give the path of campplus.onnx, which lies beside flow.pt")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors come as exceptions
        try:
            self.session: Any = onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes have no common base
            raise WeightsError(f"{self.path!r} is not an ONNX model that runs here: {error}") from None
        takes = [item.shape for item in self.session.get_inputs()]
        if len(takes) != 1 or len(takes[0]) != 3 or (takes[0][2] not in (BANDS, None) and not isinstance(takes[0][2], str)):
            raise WeightsError(f"{self.path!r} takes {takes}; CAM++ takes one input (1, frames, {BANDS}): is it another graph?")

    def embed(self, audio: Any) -> np.ndarray:
        """The vector float32 (192,) of a path or an `Audio`.

        Raises `AudioError` for a recording of less than a frame (25 ms), and for one that gives no finite vector.
        """
        sound = audio if isinstance(audio, Audio) else Audio.read(audio)
        frames = kaldi_fbank(torch.from_numpy(sound.resample(RATE).samples)[None], BANDS, RATE)
        if not frames.shape[1]:
            raise AudioError(f"{sound.duration:.3f} s are too short to tell a voice from; a few seconds are wanted")
        frames = frames - frames.mean(1, keepdim=True)
        name = self.session.get_inputs()[0].name
        vector: np.ndarray = np.asarray(self.session.run(None, {name: frames.numpy()})[0], np.float32).reshape(-1)
        if not np.isfinite(vector).all():
            raise AudioError("this recording gives no finite vector of a voice")
        return vector
