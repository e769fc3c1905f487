"""Stage II, which may be left out: the encoder learns to tell phones, from sequences and, where they are known, from times.

Connectionist temporal classification (Graves et al. 2006) on the labels of the clips that have some; their frames' labels
beside it, which say at once what the sequences say in the long run.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.errors import CorpusError
from .ctc_data import UNKNOWN, Batch
from .ctc_model import framewise, halves
from .ctc_scores import distance, runs
from .spin_recipe import PhonesStage
from .ssl_encoder import Trained
from .ssl_masked import spans
from .ssl_step import Speech, StageRun


class PhonesRun(StageRun):
    """Recognition of phones."""

    stage: PhonesStage

    def __init__(
        self, stage: PhonesStage, encoder: Trained, speech: Speech, samples: int, device: str, seed: int, precision: str
    ) -> None:
        check_labels(speech)
        super().__init__(stage, encoder, speech, samples, device, seed, precision)

    def parts(self) -> dict[str, nn.Module]:
        """A layer for the sequences and one for the frames."""
        dim, labels = self.encoder.dim, len(self.speech.labels)
        return {"ctc": nn.Linear(dim, labels), "frames": nn.Linear(dim, labels)}

    def losses(self, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Both readings of noisy sound, some of it hidden."""
        s = self.stage
        wav = self.speech.augmenter.waves(batch.wav, batch.level, s.noise, rng)
        hidden = spans((len(wav), self.encoder.frames_of(wav)), s.begin, s.span, wav.device) if s.begin else None
        ctc, frames = self._read(self.encoded(wav, hidden))
        terms = {"ctc": self._sequences(ctc, batch), "frames": framewise(frames, self._labels(batch, frames.shape[1]))}
        return s.ctc * terms["ctc"] + s.frames * terms["frames"], terms

    def scores(self, batch: Batch, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
        """Phone error rate by the best path, and the share of frames named wrongly."""
        ctc, frames = self._read(self.encoded(batch.wav))
        labels = self._labels(batch, frames.shape[1])
        known = labels != UNKNOWN
        wrong = float(((frames.argmax(2) != labels) & known).sum())
        errors = phones = 0
        best, targets = ctc.argmax(2).cpu().numpy(), batch.targets.cpu().numpy()
        for row, count, target, size in zip(
            best, self.encoder.counts(batch.lengths), targets, batch.target_lengths, strict=True
        ):
            if size:
                errors += distance([label for label in runs(row[:count]) if label], target[:size].tolist())
                phones += size
        return {"frame_error": (wrong, float(known.sum())), "per": (float(errors), float(phones))}

    def _read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with self.cast():
            return self.model["ctc"](x), self.model["frames"](x)

    def _labels(self, batch: Batch, frames: int) -> Tensor:
        return halves(batch.grid, frames, self.encoder.step // 2)

    def _sequences(self, logits: Tensor, batch: Batch) -> Tensor:
        logs = logits.float().log_softmax(2).transpose(0, 1)
        lengths = torch.from_numpy(self.encoder.counts(batch.lengths))
        sizes = torch.tensor(batch.target_lengths)  # these and `lengths` stay on the host, where CTC wants them
        each = F.ctc_loss(logs, batch.targets, lengths, sizes, reduction="none", zero_infinity=True)
        share = ((sizes > 0) / sizes.sum().clamp(min=1)).to(each.device, non_blocking=True)
        return (each * share).sum()


def check_labels(speech: Speech) -> None:
    """Raise `CorpusError` where the clips to train on have no phones."""
    if len(speech.labels) < 3 or not any(speech.store.targets[clip] for clip in speech.train):
        raise CorpusError(
            "the manifests name no phones; wanted `phones` or `labels` in their rows, or this stage left out (--stages)"
        )
