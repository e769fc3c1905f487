"""Stage I: sound is hidden, and the numbers that stood there are named (Hsu et al. 2021, HuBERT, arXiv:2106.07447).

The numbers are clusters of cepstra first, then the codewords of Spin, which say less of who speaks (SpinHuBERT, Chang et al.
2024). The sound may be noisy while the numbers are of the clean clip, as for WavLM (Chen et al. 2021, arXiv:2110.13900).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .ctc_data import Batch
from .spin_recipe import MaskedStage
from .ssl_clusters import Targets
from .ssl_encoder import Trained
from .ssl_step import Speech, StageRun


class MaskedRun(StageRun):
    """Masked prediction of the targets of all clips."""

    stage: MaskedStage

    def __init__(
        self, stage: MaskedStage, encoder: Trained, speech: Speech, samples: int, device: str, seed: int, precision: str,
        targets: Targets, classes: int,
    ) -> None:  # fmt: skip
        self.targets, self.classes = targets, classes
        super().__init__(stage, encoder, speech, samples, device, seed, precision)

    def parts(self) -> dict[str, nn.Module]:
        """One layer, from features to classes."""
        return {"classes": nn.Linear(self.encoder.dim, self.classes)}

    def losses(self, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross entropy where sound is hidden, and where it is not."""
        wav = self.speech.augmenter.waves(batch.wav, batch.level, self.stage.noise, rng)
        loss, right, hidden, seen = self._predicted(batch, wav)
        terms = {
            "masked": (loss * hidden).sum() / hidden.sum().clamp(min=1),
            "seen": (loss * seen).sum() / seen.sum().clamp(min=1),
        }
        total = terms["masked"] + self.stage.seen * terms["seen"]
        return total, {**terms, "wrong": 1 - (right * hidden).sum() / hidden.sum().clamp(min=1)}

    def scores(self, batch: Batch, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
        """The same of clean sound."""
        loss, right, hidden, _ = self._predicted(batch, batch.wav)
        count = float(hidden.sum())
        return {"masked": (float((loss * hidden).sum()), count), "wrong": (count - float((right * hidden).sum()), count)}

    def _predicted(self, batch: Batch, wav: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of every frame the loss, whether it is named rightly, and whether it was hidden or seen."""
        hidden = spans((len(wav), self.encoder.frames_of(wav)), self.stage.begin, self.stage.span, wav.device)
        x = self.encoded(wav, hidden)
        with self.cast():
            logits = self.model["classes"](x)
        wanted = self.targets.rows(self.speech.store, batch.clips, x.shape[1])
        valid = self.valid_frames(batch, x.shape[1])
        loss = F.cross_entropy(logits.float().flatten(0, 1), wanted.flatten(), reduction="none").view_as(wanted)
        return loss, (logits.argmax(2) == wanted).float(), (hidden & valid).float(), (valid & ~hidden).float()


def spans(shape: tuple[int, int], begin: float, span: int, device: torch.device) -> Tensor:
    """bool (B, N): frames hidden, in spans that begin at each frame by chance, and may overlap."""
    starts = (torch.rand(shape, device=device) < begin).float()
    return F.max_pool1d(F.pad(starts, (span - 1, 0))[:, None], span, 1)[:, 0] > 0
