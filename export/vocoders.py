"""A vocoder as one graph: log-mel frames to sound, with the constants of its mel front end beside it in `vocoder.json`.

    vocoder.onnx    mel float32 (batch, bands, frames) -> wav float32 (batch, samples), hop samples a frame
    vocoder.json    facts, constants of the mel, context in frames, and the graph's size and sha256

Inverse short-time transforms are transposed convolutions: torch's own exports to nothing that onnxruntime knows.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.decoder import Decoder
from ..core.errors import ExportError
from ..core.vocoder import Vocoder
from ..decoders._hifigan import LOUDEST, Generator, InverseSTFT
from .graphs import TOOLS, check_folder
from .runtime_session import Graph, device_named
from .trace import OPSET, Part, Port, write_graph

__all__ = ["PlainInverse", "export_vocoder", "plain_vocoder"]

FORMAT = 1
FRAMES = (1, 2, 13, 200)  # at which the graph is compared
LARGEST_ERROR = 1e-4
HEAD = 4  # frames of the example beside what a network of convolutions sees


class PlainInverse(nn.Module):
    """`InverseSTFT` with the transform and its overlaps as one transposed convolution."""

    basis: Tensor
    weight: Tensor

    def __init__(self, inverse: InverseSTFT) -> None:
        super().__init__()
        self.fft, self.hop, self.cut = inverse.fft, inverse.hop, inverse.cut
        bins = torch.arange(self.fft // 2 + 1, dtype=torch.float64)
        angle = 2 * math.pi * torch.outer(bins, torch.arange(self.fft, dtype=torch.float64)) / self.fft
        fold = torch.full((len(bins), 1), 2.0, dtype=torch.float64)
        fold[0] = fold[-1] = 1.0  # bins that stand for themselves alone
        window = inverse.window.double()
        basis = torch.cat([fold * angle.cos(), -fold * angle.sin()]) / self.fft * window
        self.register_buffer("basis", basis.float()[:, None])
        self.register_buffer("weight", window.square().float()[None, None])

    def forward(self, x: Tensor) -> Tensor:
        """x (B, split (fft + 2), N') -> wav (B, N hop)."""
        x = x.transpose(1, 2).unflatten(2, (-1, self.fft + 2)).flatten(1, 2).transpose(1, 2)
        level, phase = x.chunk(2, dim=1)
        size = level.clamp(max=math.log(LOUDEST)).exp()
        spectrum = torch.cat([size * phase.cos(), size * phase.sin()], 1)
        sound = F.conv_transpose1d(spectrum, self.basis, stride=self.hop)
        weights = F.conv_transpose1d(torch.ones_like(spectrum[:, :1]), self.weight, stride=self.hop)
        return (sound / weights)[:, 0, self.cut : self.cut + spectrum.shape[2] * self.hop]


class PlainGenerator(nn.Module):
    """HiFi-GAN's generator with a plain inverse transform."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator, self.inverse = generator, PlainInverse(cast(InverseSTFT, generator.inverse))

    def forward(self, mel: Tensor) -> Tensor:
        """mel (B, M, F) -> wav (B, hop F)."""
        kept = self.generator.inverse
        self.generator.inverse = self.inverse  # type: ignore[assignment]
        try:
            return self.generator(mel)
        finally:
            self.generator.inverse = kept


def plain_vocoder(vocoder: Vocoder) -> nn.Module:
    """The network in a form that can be traced. Raises `ExportError` where there is none."""
    network = vocoder.network
    if not isinstance(network, Generator):
        raise ExportError(f"{vocoder.facts.name} cannot be exported: only HiFi-GAN's generators have a plain form so far")
    return network if network.inverse is None else PlainGenerator(network)


def export_vocoder(vocoder: Decoder, folder: Path) -> dict[str, Any]:
    """Write a vocoder's graph into a folder, which is to be new or empty, after comparing it with the network.

    Returns what `vocoder.json` says. Raises `ExportError` for a decoder that takes no mel or makes no graph, for a graph whose
    sound is off by more than 1e-4, and for a folder that is in use.
    """
    check_folder(folder)
    if not isinstance(vocoder, Vocoder):
        raise ExportError(
            f"{vocoder.facts.name} cannot be exported by itself: it takes {vocoder.facts.takes}, not log-mel frames"
        )
    bands = vocoder.front.bands
    ports = [Port("mel", ["batch", bands, "frames"], torch.randn(2, bands, HEAD + 7))]
    part = Part("vocoder", plain_vocoder(vocoder), ports, [Port("wav", ["batch", "samples"])])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        made = Path(scratch) / folder.name
        made.mkdir()
        files = write_graph(part, made)
        facts = {**asdict(vocoder.facts), "frame_rate": str(vocoder.facts.frame_rate)}
        told = {
            "format": FORMAT, "model": vocoder.facts.name, "facts": facts, "fingerprint": vocoder.fingerprint,
            "mel": vocoder.front.to_dict(), "edge": vocoder.edge, "opset": OPSET,
            "tools": {name: version(name) for name in TOOLS}, "largest_error": compared(vocoder, made / part.file),
            "files": {name: asdict(file) for name, file in files.items()},
        }  # fmt: skip
        (made / "vocoder.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        os.rename(made, folder)
    return told


def compared(vocoder: Vocoder, path: Path) -> float:
    """The graph's largest error, on frames of noise. Raises `ExportError` where it is too large."""
    graph, worst = Graph(path, device_named("cpu"), 1), 0.0
    for frames in FRAMES:
        mel = torch.randn(1, vocoder.front.bands, frames, generator=torch.Generator().manual_seed(frames))
        with torch.no_grad():
            wanted = vocoder.network(mel).numpy()
        found = graph.run({"mel": mel.numpy()})["wav"]
        if found.shape != wanted.shape:
            raise ExportError(f"{frames} frames make sound of {found.shape} in the graph, of {wanted.shape} in the network")
        worst = max(worst, float(np.abs(found - wanted).max()))
    if worst > LARGEST_ERROR:
        raise ExportError(f"the graph of {vocoder.facts.name} is off by {worst:.2g}, more than {LARGEST_ERROR:g}")
    return worst
