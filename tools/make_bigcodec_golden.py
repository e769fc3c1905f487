"""Make `tests/golden/bigcodec.safetensors`: a tiny BigCodec of the published code, random weights, its codes and sound.

    git clone https://github.com/Aria-K-Alethia/BigCodec && git -C BigCodec checkout 09845ab1f5bc7a3d1589c16de820ef15bc2afefe
    PYTHONPATH=BigCodec python tools/make_bigcodec_golden.py tests/golden/bigcodec.safetensors

Needs torch, einops and safetensors. Clips are padded as the repository's `inference.py` pads them.
"""

from __future__ import annotations

import sys

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from vq.codec_decoder import CodecDecoder  # type: ignore[import-not-found]
from vq.codec_encoder import CodecEncoder  # type: ignore[import-not-found]

RATES = (2, 5, 2)
LENGTHS = (1, 19, 20, 21, 613)


def randomise(model: nn.Module) -> nn.Module:
    """Random activations, and an encoder that neither drowns the sound in biases nor loses it."""
    for name, parameter in model.named_parameters():
        if name.endswith(("alpha", "beta")):
            nn.init.normal_(parameter, std=0.3)
        elif isinstance(model, CodecEncoder) and name.endswith("weight_v"):
            nn.init.normal_(parameter)
        elif isinstance(model, CodecEncoder) and name.endswith("weight_g"):
            nn.init.uniform_(parameter, 0.8, 1.4)
    return model.eval()


def main() -> None:
    """Write the file."""
    torch.manual_seed(0)
    encoder = randomise(CodecEncoder(ngf=2, up_ratios=RATES, out_channels=16))
    decoder = randomise(
        CodecDecoder(in_channels=16, upsample_initial_channel=16, up_ratios=RATES, vq_dim=16, codebook_size=64, codebook_dim=8)
    )
    saved = {f"CodecEnc.{key}": value for key, value in encoder.state_dict().items()}
    saved |= {f"generator.{key}": value for key, value in decoder.state_dict().items()}
    for samples in LENGTHS:
        wav = 0.3 * torch.randn(1, samples) * torch.linspace(0.2, 1, samples)
        with torch.no_grad():
            latent = encoder(F.pad(wav, (0, 20 - samples % 20))[:, None])
            quantized, codes, _ = decoder(latent, vq=True)
            sound = decoder(quantized, vq=False)
        saved |= {f"wav.{samples}": wav[0], f"codes.{samples}": codes[0, 0].to(torch.int16), f"sound.{samples}": sound[0, 0]}
    save_file({key: value.contiguous() for key, value in saved.items()}, sys.argv[1])


if __name__ == "__main__":
    main()
