"""Unit HiFi-GAN: discrete units straight to sound, with their durations predicted, as GSLM's successors and LLaMA-Omni use it.

Polyak et al. 2021, "Speech Resynthesis from Discrete Disentangled Self-Supervised Representations", arXiv:2104.00355; Lee et
al. 2022, "Direct speech-to-speech translation with discrete units", arXiv:2107.05604; published with fairseq (MIT).
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core.code_decoder import CodeDecoder
from ..core.errors import ModelError, TokensError, WeightsError
from ..core.tokens import Tokens
from ..core.vocoder import windowed
from ..core.weights import peek_config
from ._published import checkpoint, generator_config, published_config
from ._unit_hifigan import CodeGenerator, UnitConfig

__all__ = ["UnitHiFiGAN"]


class UnitHiFiGAN(CodeDecoder):
    """Units (N,) to sound."""

    network: CodeGenerator

    @classmethod
    def build(cls, config: Mapping[str, Any]) -> nn.Module:
        """The network with random weights."""
        return CodeGenerator(UnitConfig.from_dict(config))

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Facts that follow from the configuration; the frames of the context are units that last one frame."""
        c = UnitConfig.from_dict(config)
        return {"sample_rate": c.sample_rate, "frame_rate": Fraction(c.sample_rate, c.hop), "context": c.reach}

    @classmethod
    def sizes(cls, config: Mapping[str, Any]) -> tuple[int, ...]:
        """Of one stream."""
        return (UnitConfig.from_dict(config).units,)

    def synthesize(self, codes: Any, *, durations: Any = "auto", speaker: Any = None, **how: Any) -> Any:
        """Sound of units.

        Args:
            codes: `Tokens` or bare units, as `CodeDecoder.synthesize` says.
            durations: "predict", for units without repeats (deduplicated); "one", for one unit a frame; or the frames of each
                unit. "auto" is "one" for `Tokens`, which hold every frame, else "predict" where something predicts.
            speaker: a number, or a vector, for those that know speakers; the first one by default.

        Raises:
            TokensError: units out of range, none of them, or durations that are not theirs.
            ModelError: a speaker that is not known, or "predict" where nothing predicts.
        """
        if isinstance(durations, str) and durations == "auto":
            predicts = UnitConfig.from_dict(self.config).duration_dim and not isinstance(codes, Tokens)
            durations = "predict" if predicts else "one"
        return super().synthesize(codes, durations=durations, speaker=speaker, **how)

    def _sound(self, codes: Tensor, **how: Any) -> Tensor:
        units, c = codes[0], UnitConfig.from_dict(self.config)
        frames = self.network.frames(units, self._durations(units, how["durations"], c), self._speaker(how["speaker"], c))
        return windowed(self.network, frames, c.hop, c.reach)[0]

    def _durations(self, units: Tensor, given: Any, c: UnitConfig) -> Tensor | None:
        if isinstance(given, str):
            if given not in ("one", "predict"):
                raise TokensError(f"durations={given!r}; expected 'auto', 'predict', 'one', or the frames of each unit")
            if given == "predict" and not c.duration_dim:
                raise ModelError(f"{self.facts.name} predicts no durations; give them, or one unit for each frame")
            return self.network.durations(units) if given == "predict" else None
        durations = torch.as_tensor(given, device=self.device)
        if durations.shape != units.shape or durations.is_floating_point() or int(durations.min()) < 1:
            raise TokensError(f"durations of shape {tuple(durations.shape)}; expected {len(units)} whole numbers above 0")
        return durations.long()

    def _speaker(self, given: Any, c: UnitConfig) -> Tensor | None:
        if not c.speakers and not c.speaker_vector:
            if given is not None:
                raise ModelError(f"{self.facts.name} has one voice; leave out speaker={given!r}")
            return None
        if c.speaker_vector:
            vector = torch.as_tensor(given if given is not None else [], dtype=torch.float32, device=self.device)
            if vector.shape != (c.speaker_vector,):
                raise ModelError(
                    f"{self.facts.name} wants a speaker's vector of shape ({c.speaker_vector},), not {tuple(vector.shape)}"
                )
            return vector
        number = 0 if given is None else given
        if type(number) is not int or not 0 <= number < c.speakers:
            raise ModelError(f"speaker={given!r}; {self.facts.name} has 0 to {c.speakers - 1}")
        return torch.tensor(number, device=self.device)

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """By the upsampling and the embedding in `config.json`."""
        data = peek_config(folder)
        return "upsample_rates" in data and "num_embeddings" in data

    @classmethod
    def read(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Our own form and the published one."""
        if "upsample_rates" not in peek_config(folder):
            return super().read(folder)
        data = published_config(folder)
        try:
            predictor = data.get("dur_predictor_params") or {}
            config = {
                **generator_config(data),
                "sample_rate": data.get("sampling_rate", 16000),
                "units": data["num_embeddings"],
                "embedding": data["embedding_dim"],
                "duration_dim": predictor.get("var_pred_hidden_dim", 0),
                "duration_kernel": predictor.get("var_pred_kernel_size", 3),
            }
        except KeyError as error:
            raise WeightsError(f"{str(folder)!r} is no unit HiFi-GAN: its configuration lacks {error}") from None
        if data.get("f0") or data.get("f0_quantizer"):
            raise ModelError(f"{str(folder)!r} is a vocoder of units and pitch; those of units alone are read")
        if data.get("embedder_params"):
            config["speaker_vector"] = data.get("embedder_dim", 256)
        elif data.get("multispkr"):
            config["speakers"] = data.get("num_speakers", 200)
        return config, checkpoint(folder)
