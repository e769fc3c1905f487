"""`CodeDecoder`: the codes of a tokenizer to sound, without a mel between them.

A family implements `build`, `sizes` and `_sound`, and reads its published form in `read`.
Letters: K streams, N frames, T samples.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .audio import Audio
from .decoder import Decoder
from .errors import TokensError
from .tokens import Tokens

__all__ = ["CodeDecoder"]


class CodeDecoder(Decoder):
    """Codes to sound."""

    @classmethod
    @abstractmethod
    def sizes(cls, config: Mapping[str, Any]) -> tuple[int, ...]:
        """Codes of each stream it can take; it may be given fewer streams."""

    @abstractmethod
    def _sound(self, codes: Tensor, **how: Any) -> Tensor:
        """codes (K, N), checked -> wav (T,)."""

    def synthesize(self, codes: Any, **how: Any) -> Any:
        """Sound of codes.

        Args:
            codes: `Tokens` of a tokenizer with such codebooks, or bare codes (K, N), or (N,) of one stream: arrays or lists.
            how: what the family takes beside them.

        Returns:
            `Audio`, of `Tokens` that know their clip's length as long as that; a list for `Tokens` of several clips.

        Raises:
            TokensError: codes of other codebooks or another rate, no frames, or codes out of range.
        """
        if not isinstance(codes, Tokens):
            return self._audio(self._checked(codes), how)
        self._check_tokens(codes)
        clips = [codes[i] for i in range(len(codes))]
        audios = [self._audio(self._checked(torch.cat(list(clip.torch().codes))), how) for clip in clips]
        whole = codes.facts.sample_rate == self.facts.sample_rate
        lengths = [int(clip.lengths[0]) if whole else len(audio) for clip, audio in zip(clips, audios, strict=True)]
        rate = self.facts.sample_rate
        audios = [Audio(audio.samples[:length], rate) for audio, length in zip(audios, lengths, strict=True)]
        return audios if codes.batched else audios[0]

    @torch.no_grad()
    def _audio(self, codes: Tensor, how: Mapping[str, Any]) -> Audio:
        return Audio(self._sound(codes, **how).float().cpu().numpy(), self.facts.sample_rate)

    def _check_tokens(self, tokens: Tokens) -> None:
        sizes, facts = self.sizes(self.config), tokens.facts
        if tuple(facts.codebook_sizes[: len(tokens.codes)]) != sizes[: len(tokens.codes)]:
            raise TokensError(
                f"tokens of {facts.name}, with codebooks of {facts.codebook_sizes}, are not for {self.facts.name}, which takes "
                f"{sizes}"
            )
        if set(facts.frame_rates) != {self.facts.frame_rate}:
            raise TokensError(
                f"tokens of {facts.name} run at {facts.frame_rates[0]} Hz; {self.facts.name} takes {self.facts.frame_rate} Hz"
            )

    def _checked(self, given: Any) -> Tensor:
        """Codes (K, N) int64 on the decoder's device."""
        sizes = self.sizes(self.config)
        try:
            codes = torch.as_tensor(given, device=self.device)
        except (TypeError, ValueError, RuntimeError):
            raise TokensError(f"cannot make sound of a {type(given).__name__}; expected codes (K, N)") from None
        codes = codes[None] if codes.ndim == 1 else codes
        if codes.ndim != 2 or not 1 <= len(codes) <= len(sizes):
            raise TokensError(f"codes of shape {tuple(codes.shape)}; {self.facts.name} takes (K, N), K from 1 to {len(sizes)}")
        if not codes.shape[1]:
            raise TokensError(f"no codes were given; {self.facts.name} wants at least one frame")
        if codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
            raise TokensError(f"codes are {codes.dtype}; expected whole numbers")
        codes = codes.long()
        for k, (row, size) in enumerate(zip(codes, sizes, strict=False)):
            if int(row.min()) < 0 or int(row.max()) >= size:
                raise TokensError(f"stream {k} holds codes from {int(row.min())} to {int(row.max())}; expected 0 to {size - 1}")
        return codes
