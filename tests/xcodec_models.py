"""`transformers`' X-Codec and Higgs Audio tokenizer with random weights, beside ours: what test_xcodec and test_higgs share."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

import voxzoo
from voxzoo import Audio
from voxzoo.codecs._xcodec import XcodecConfig
from voxzoo.core.model import Model


def settings(name: str, **changes: Any) -> XcodecConfig:
    """Small ones, unless changes is all=True."""
    item = voxzoo.entry(name)
    real = changes.pop("real", False)
    return XcodecConfig.of({**item.config, **({} if real else item.tiny), **changes})


def sound(samples: int, rate: int, seed: int = 0) -> Audio:
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / rate
    wav = 0.2 * np.sin(2 * np.pi * rng.uniform(80, rate / 8) * t) + 0.1 * rng.standard_normal(samples)
    return Audio((wav * (0.6 + 0.4 * np.sin(9 * t))).astype(np.float32), rate)


def resample(wav: torch.Tensor, from_rate: int, to_rate: int) -> torch.Tensor:
    """Torchaudio's with its defaults, from its definition and in double precision: sincs under Hann windows."""
    band = 0.99 * min(from_rate, to_rate)
    count = -(-wav.shape[-1] * to_rate // from_rate)
    out = torch.zeros(*wav.shape[:-1], count, dtype=torch.float64)
    reach = math.ceil(6 * from_rate / band)
    at = torch.arange(count, dtype=torch.int64) * from_rate // to_rate
    padded = torch.nn.functional.pad(wav.double(), (reach, reach + 1))
    for k in range(2 * reach + 1):
        x = ((at + k - reach).double() / from_rate - torch.arange(count).double() / to_rate) * band
        window = torch.cos(x.clamp(-6, 6) * math.pi / 12) ** 2
        out += padded[..., at + k] * torch.sinc(x) * window * band / from_rate
    return out.to(wav.dtype)


def reference(transformers: Any, c: XcodecConfig, seed: int = 0) -> Any:
    """The published model of these settings. Its weights keep the variance of what goes through; its sound is quiet."""
    semantic = dict(c.semantic)
    backbone = {"hubert": transformers.HubertConfig, "wavlm": transformers.WavLMConfig}[semantic.pop("model_type")](**semantic)
    acoustic = transformers.DacConfig(
        encoder_hidden_size=c.encoder_hidden_size, downsampling_ratios=list(c.downsampling_ratios),
        decoder_hidden_size=c.decoder_hidden_size, upsampling_ratios=list(c.upsampling_ratios), hidden_size=c.hidden_size,
    )  # fmt: skip
    of_stream = math.ceil(c.sample_rate / c.hop) * math.ceil(math.log2(c.codebook_size)) / 1000
    arguments: dict[str, Any] = {
        "target_bandwidths": [of_stream * k for k in range(1, c.num_quantizers + 1)], "sample_rate": c.sample_rate,
        "codebook_size": c.codebook_size, "kernel_size": c.kernel_size, "unit_kernel_size": c.unit_kernel_size,
        "block_dilations": list(c.block_dilations), "strides": list(c.strides), "channel_ratios": list(c.channel_ratios),
        "acoustic_model_config": acoustic, "semantic_model_config": backbone,
    }  # fmt: skip
    torch.manual_seed(seed)
    if c.projected:
        own = {"codebook_dim": c.codebook_dim, "semantic_sample_rate": c.semantic_sample_rate}
        config = transformers.HiggsAudioV2TokenizerConfig(**arguments, **own, downsample_factor=c.downsample_factor)
        theirs = transformers.HiggsAudioV2TokenizerModel(config).eval()
    else:
        theirs = transformers.XcodecModel(transformers.XcodecConfig(**arguments)).eval()
    with torch.no_grad():
        for name, value in [*theirs.named_parameters(), *theirs.named_buffers()]:
            if name.endswith(".codebook.embed"):
                value.copy_(0.3 * torch.randn_like(value))
            elif name.endswith("weight") and not name.startswith("semantic_model"):
                value.copy_(torch.randn_like(value) / math.sqrt(value[0].numel()))
        theirs.acoustic_encoder.conv2.weight.mul_(0.05)
        theirs.acoustic_decoder.conv2.bias.zero_()
        theirs.acoustic_decoder.conv2.weight.div_(10 * theirs.decode(_some_codes(c)).audio_values.std())
    return theirs


def _some_codes(c: XcodecConfig) -> torch.Tensor:
    return torch.randint(0, c.codebook_size, (1, c.num_quantizers, 30))


def loaded(name: str, folder: Path, theirs: Any) -> Model:
    """Ours, from the folder that theirs was saved in."""
    theirs.save_pretrained(folder)
    return voxzoo.load(name, weights=folder)


def check_parity(theirs: Any, model: Model, clip: Audio, ties: bool = False) -> list[int]:
    """Codes equal, sound to 1e-4; -> how many different codes each stream used.

    With `ties`, a frame may differ from where single precision cannot tell which of two codewords is the nearer.
    """
    padded = torch.zeros(1, 1, model._padded(len(clip)))
    padded[0, 0, : len(clip)] = torch.from_numpy(clip.samples)
    with torch.no_grad():
        wanted = theirs.encode(padded).audio_codes
        tokens = model.encode(clip)
        wav = theirs.decode(torch.stack(list(tokens.codes), 1)).audio_values[0, 0, : len(clip)].numpy()
    found = torch.cat(list(tokens.codes))
    assert found.shape == wanted[0].shape
    for frame in (found != wanted[0]).any(0).nonzero().flatten().tolist():
        assert ties, f"frame {frame}: {found[:, frame].tolist()}, not {wanted[0, :, frame].tolist()}"
        assert _gap(model, padded[0], wanted[0, :, frame], found[:, frame], frame) < 1e-6
    assert np.abs(model.decode(tokens).samples - wav).max() <= 1e-4
    return [len(codes.unique()) for codes in wanted[0]]


def _gap(model: Model, wav: torch.Tensor, wanted: torch.Tensor, found: torch.Tensor, frame: int) -> float:
    """How far apart, in their own size, are the distances to the two first codewords that differ."""
    k = int((wanted != found).nonzero()[0])
    with torch.no_grad():
        left = model.network.encode(wav)[0, frame]
        quantizers = list(model.network.quantizer)
        for quantizer, code in zip(quantizers[:k], wanted, strict=False):
            left = left - quantizer.decode(code)
        left = quantizers[k].project_in(left).double()
        a, b = ((left - quantizers[k].codebook.embed[code].double()).pow(2).sum() for code in (wanted[k], found[k]))
    return float(abs(a - b) / max(a, b))
