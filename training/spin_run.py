"""Stage III: a clip and the same clip in another voice are to get the same codewords (Spin; with two codebooks DC-Spin)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import ModelError
from .augment import Hardness
from .ctc_data import UNKNOWN, Batch
from .ctc_model import framewise, halves
from .ctc_scores import normalised_information
from .perturb import perturbed
from .spin_loss import Codebook, swapped
from .spin_recipe import SOME_NOISE, SpinStage
from .ssl_encoder import Trained
from .ssl_phones import check_labels
from .ssl_step import Speech, StageRun


class SpinRun(StageRun):
    """Speaker-invariant clustering. Of the codebooks the first is the primary one."""

    stage: SpinStage

    def __init__(
        self, stage: SpinStage, encoder: Trained, speech: Speech, samples: int, device: str, seed: int, precision: str
    ) -> None:
        check_sizes(stage, encoder, speech, samples)
        if stage.phones:
            check_labels(speech)
        encoder.freeze(stage.frozen)
        self.codes: list[np.ndarray] = []
        self.pairs: list[np.ndarray] = []
        super().__init__(stage, encoder, speech, samples, device, seed, precision)

    def parts(self) -> dict[str, nn.Module]:
        """A projection and a codebook of each size, and a layer that names phones."""
        books = [Codebook(self.encoder.dim, [self.stage.hidden], size) for size in self.stage.codebooks]
        phones = {"frames": nn.Linear(self.encoder.dim, len(self.speech.labels))} if self.stage.phones else {}
        return {**{f"codebook{i}": book for i, book in enumerate(books)}, **phones}

    @property
    def codebooks(self) -> list[Codebook]:
        """The primary one first."""
        return [part for name, part in self.model.items() if isinstance(part, Codebook)]

    def start(self, x: Tensor) -> None:
        """Codewords to begin with, from frames (n, D) in random order."""
        for number, book in enumerate(self.codebooks):
            book.start(x, self.seed + number)

    def other(self, batch: Batch, rng: np.random.Generator, noise: Hardness) -> Tensor:
        """The second hearing (B, T), in time with the first: another voice, in noise."""
        wav, s = batch.wav, self.stage
        if s.voice is not None:
            wav = perturbed(wav, self.encoder.sample_rate, s.voice, rng)
        return self.speech.augmenter.waves(wav, batch.level, noise, rng)

    def losses(self, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Swapped prediction by every codebook; both hearings go through the encoder at once."""
        x = self.encoded(torch.cat([batch.wav, self.other(batch, rng, self.stage.noise)]))
        valid = self.valid_frames(batch, x.shape[1])
        terms = {}
        for i, book in enumerate(self.codebooks):
            with self.cast():
                first, second = book.logits(x).chunk(2)
            terms["primary" if not i else f"auxiliary{i}"] = swapped(first, second, valid)
        total = sum(terms.values(), torch.zeros((), device=x.device))
        if self.stage.phones:
            with self.cast():
                named = self.model["frames"](x)
            terms["frames"] = framewise(named, halves(batch.grid, x.shape[1], self.encoder.step // 2).repeat(2, 1))
            total = total + self.stage.phones * terms["frames"]
        return total, terms

    def after_step(self) -> None:
        """Codewords are of length 1."""
        for book in self.codebooks:
            book.normalise()

    def scores(self, batch: Batch, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
        """How many frames keep their token in another voice, and in noise."""
        clean = self._codes(batch.wav)
        valid = self.valid_frames(batch, clean.shape[1])
        count = float(valid.sum())
        out = {}
        voice = self.speech.augmenter.waves(batch.wav, batch.level, SOME_NOISE, rng)
        out["moved_noise"] = (float(((self._codes(voice) != clean) & valid).sum()), count)
        if self.stage.voice is not None:
            voice = perturbed(batch.wav, self.encoder.sample_rate, self.stage.voice, rng)
            out["moved_voice"] = (float(((self._codes(voice) != clean) & valid).sum()), count)
        self.codes.append(clean[valid].cpu().numpy())
        labels = halves(batch.grid, clean.shape[1], self.encoder.step // 2)
        known = valid & (labels != UNKNOWN)
        self.pairs.append(torch.stack([clean[known], labels[known]]).cpu().numpy())
        return out

    def summary(self) -> dict[str, float]:
        """Use of the codebook, and what its tokens tell of phones."""
        codes, pairs = np.concatenate(self.codes), np.concatenate(self.pairs, 1)
        self.codes, self.pairs = [], []
        use = np.bincount(codes).astype(float)
        share = use[use > 0] / use.sum()
        out = {"codes": float((use > 0).sum()), "perplexity": float(np.exp(-(share * np.log(share)).sum()))}
        return out | ({"pnmi": normalised_information(pairs, len(self.speech.labels))} if pairs.size else {})

    def _codes(self, wav: Tensor) -> Tensor:
        codes: Tensor = self.codebooks[0](self.encoded(wav))
        return codes


def check_sizes(stage: SpinStage, encoder: Trained, speech: Speech, samples: int) -> None:
    """Raise `ModelError` for a codebook larger than the frames of a step: they could not use all of it alike."""
    most = min(samples, int(speech.store.lengths[speech.train].sum())) // encoder.step
    if max(stage.codebooks) > most:
        raise ModelError(
            f"a codebook of {max(stage.codebooks)} codewords, but a step has at most {most} frames to share out among them; "
            "take a smaller codebook, or more seconds a step (--batch)"
        )
