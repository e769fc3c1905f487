"""The network of the S3 tokenizers: Whisper's log-mel, two convolutions, blocks of attention, one code a frame.

S3 v1: Du et al. 2024, "CosyVoice", arXiv:2407.05407; v2: "CosyVoice 2", arXiv:2412.10117; v3: "CosyVoice 3", arXiv:2505.17589.
Parameters have the names that the package s3tokenizer gives them.

In lower precision the convolutions, which cost little, and the quantizer stay in float32: that halves the number of codes that
come out otherwise.

Clips of a batch are padded on the right; what lies beyond a clip's end is set to zero before each convolution and left out of
attention, so that a clip's codes are those it has alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core import packed
from ..core.errors import ModelError

__all__ = ["DEFAULTS", "HEAD", "VERSIONS", "Network", "angles", "complete", "token_frames"]

HEAD = 64  # channels of an attention head in all published models
BOUND = 0.9990000128746033  # of the digits before they are rounded
# What the versions have in common, then their own.
COMMON: dict[str, Any] = {
    "sample_rate": 16000,
    "n_fft": 400,
    "hop": 160,
    "mels": 128,
    "dim": 1280,
    "heads": 20,
    "layers": 6,
    "hidden": 5120,
    "attn_eps": 1e-5,
    "mlp_eps": 1e-5,
}
VERSIONS: dict[str, dict[str, Any]] = {
    "v1": {"positions": 1500, "codes": 4096},
    "v1-25hz": {"positions": 1500, "codes": 4096},
    "v2": {"kernel": 31, "codes": 6561},
    "v3": {"kernel": 31, "codes": 6561, "layers": 12},
}
DEFAULTS = {version: {"version": version, **COMMON, **own} for version, own in VERSIONS.items()}


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with every argument filled in. Raises `ModelError` when it is not the configuration of an S3 tokenizer."""
    version = config.get("version")
    if not isinstance(version, str) or version not in DEFAULTS:
        raise ModelError(f"an S3 tokenizer got version {version!r}; expected one of {', '.join(DEFAULTS)}")
    if unknown := set(config) - set(DEFAULTS[version]):
        raise ModelError(f"S3 {version} has no configuration {sorted(unknown)[0]!r}; it has {', '.join(DEFAULTS[version])}")
    full = {**DEFAULTS[version], **config}
    for key, value in full.items():
        kind = (int, float) if key.endswith("_eps") else int
        if key != "version" and (not isinstance(value, kind) or isinstance(value, bool) or not 0 < value < 2**31):
            raise ModelError(f"S3 {version} got {key} {value!r}; expected a number above 0")
    if full["dim"] % (2 * full["heads"]) or full["dim"] < 4:
        raise ModelError(
            f"S3 {version} got dim {full['dim']} for {full['heads']} heads; expected an even number of channels each"
        )
    if not 2 * full["hop"] <= full["n_fft"] <= 4 * full["hop"]:
        raise ModelError(f"S3 {version} got n_fft {full['n_fft']} for hop {full['hop']}; expected 2 to 4 times as much")
    if full["sample_rate"] % (4 * full["hop"]):
        raise ModelError(
            f"S3 {version} got sample_rate {full['sample_rate']} and hop {full['hop']}; expected whole tokens a second"
        )
    if full.get("positions", 2**31) < 30 * full["sample_rate"] // full["hop"] // token_frames(full):
        raise ModelError(f"S3 {version} got {full['positions']} positions; expected as many as there are tokens in 30 s")
    if "kernel" in full and (full["kernel"] % 2 == 0 or 3 ** digits(full["codes"]) != full["codes"]):
        raise ModelError(f"S3 {version} got kernel {full['kernel']}, codes {full['codes']}; expected odd, and a power of three")
    return full


def token_frames(config: Mapping[str, Any]) -> int:
    """Frames of the spectrogram for one token."""
    return 2 if config["version"] == "v1" else 4


def digits(codes: int) -> int:
    """Of a code, in base three."""
    return next(n for n in range(1, 22) if 3**n >= codes)


def angles(length: int, channels: int) -> Tensor:
    """Of rotary positions: (length, channels / 2)."""
    rates = 1.0 / 10000.0 ** (torch.arange(0, channels, 2).float() / channels)
    return torch.outer(torch.arange(length).float(), rates)


def sinusoids(length: int, channels: int) -> Tensor:
    """Whisper's positions (length, channels): sines, then cosines."""
    step = torch.log(torch.tensor(10000.0)) / (channels // 2 - 1)
    table = torch.arange(length)[:, None] * torch.exp(-step * torch.arange(channels // 2))[None]
    return torch.cat([table.sin(), table.cos()], 1)


class Padding:
    """How long the clips of a batch are. `lengths` is None when all of them fill it."""

    def __init__(self, lengths: Tensor, width: int) -> None:
        self.lengths, self.width = lengths, width
        self.list: list[int] | None = lengths.tolist()
        if min(self.list or [0]) == width:
            self.list = None

    @property
    def mask(self) -> Tensor:
        """bool (B, width): where there is sound."""
        return torch.arange(self.width, device=self.lengths.device) < self.lengths[:, None]

    def cut(self, x: Tensor) -> Tensor:
        """x (B, D, width), zero beyond each clip's end."""
        return x if self.list is None else x * self.mask[:, None]

    def after(self, stride: int) -> Padding:
        """Behind a convolution of 3 frames that is padded by 1."""
        return Padding((self.lengths - 1) // stride + 1, (self.width - 1) // stride + 1)


class Linear(packed.Linear):
    """On a CPU under autocast to bfloat16, the matrix is converted and laid out once, rather than at each call."""

    rounded: Tensor | None = None

    def forward(self, x: Tensor, add: Tensor | None = None, gelu: bool = False) -> Tensor:
        """x (..., I) -> (..., O); then either `add` (..., O) is added, or GELU is taken."""
        if not halved(x):
            return super().forward(x, add, gelu)
        if self.rounded is None:
            self.rounded = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach().bfloat16())
        rows = x.reshape(-1, x.shape[-1]).bfloat16()
        bias = None if self.bias is None else self.bias.bfloat16()
        y: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self.rounded, bias, "gelu" if gelu else "none", [], "none")
        y = y.view(*x.shape[:-1], -1)
        return y if add is None else y + add


def halved(x: Tensor) -> bool:
    """Whether products with x are to be taken in bfloat16 on a CPU, for inference."""
    if not packed.AVAILABLE or x.device.type != "cpu" or torch.is_grad_enabled():
        return False
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16


class Memory(nn.Module):
    """A convolution of each channel alone. As one over pictures of height 1 it is twenty times as fast on a CPU."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(dim, 1, kernel) / kernel)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, N, D) -> (B, N, D), float32."""
        weight = self.weight[:, :, None].contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, enabled=False):
            picture = x.float().transpose(1, 2)[:, :, None]
            y = F.conv2d(picture, weight, padding=(0, self.weight.shape[2] // 2), groups=x.shape[2])
        return y[:, :, 0].transpose(1, 2)


class Attention(nn.Module):
    """Self-attention over the whole clip; in v2 and v3 with rotary positions and a memory, which is a convolution of values."""

    def __init__(self, dim: int, heads: int, kernel: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key = Linear(dim, dim), Linear(dim, dim, bias=False)
        self.value, self.out = Linear(dim, dim), Linear(dim, dim)
        if kernel:
            self.fsmn_block = Memory(dim, kernel)
        self.memory = bool(kernel)

    def forward(self, x: Tensor, shortcut: Tensor, turn: tuple[Tensor, Tensor] | None, padding: Padding) -> Tensor:
        """x (B, N, D) -> shortcut + attention (B, N, D)."""
        q, k, v = (part.unflatten(2, (self.heads, -1)) for part in (self.query(x), self.key(x), self.value(x)))
        if turn is not None:
            q, k = rotated(q, *turn), rotated(k, *turn)
        y = attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), padding).transpose(1, 2).flatten(2)
        if self.memory:
            values = padding.cut(v.flatten(2).transpose(1, 2)).transpose(1, 2)
            shortcut = shortcut + values + self.fsmn_block(values)
        return self.out(y, add=shortcut)


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (B, N, H, D), turned by the angles of its places."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def attend(q: Tensor, k: Tensor, v: Tensor, padding: Padding) -> Tensor:
    """(B, H, N, D) each -> (B, H, N, D). On a CPU clip by clip, so that padding costs nothing and cannot be felt."""
    if padding.list is None:
        return F.scaled_dot_product_attention(q, k, v)
    return (clip_by_clip if q.device.type == "cpu" else masked)(q, k, v, padding)


def masked(q: Tensor, k: Tensor, v: Tensor, padding: Padding) -> Tensor:
    """All clips at once; none sees what lies beyond its end."""
    return F.scaled_dot_product_attention(q, k, v, padding.mask[:, None, None])


def clip_by_clip(q: Tensor, k: Tensor, v: Tensor, padding: Padding) -> Tensor:
    """The same, zero beyond each clip's end."""
    out = torch.zeros_like(q)
    for i, n in enumerate(padding.list or []):
        one = [x[i : i + 1, :, :n] for x in (q, k, v)]
        out[i, :, :n] = F.scaled_dot_product_attention(one[0], one[1], one[2])[0]
    return out


class Block(nn.Module):
    """Attention and a feed-forward network, each after a norm and with a shortcut."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        dim = config["dim"]
        self.attn = Attention(dim, config["heads"], config.get("kernel", 0))
        self.attn_ln = nn.LayerNorm(dim, config["attn_eps"])
        self.mlp = nn.ModuleDict({"0": Linear(dim, config["hidden"]), "2": Linear(config["hidden"], dim)})
        self.mlp_ln = nn.LayerNorm(dim, config["mlp_eps"])

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor] | None, padding: Padding) -> Tensor:
        """x (B, N, D) -> (B, N, D)."""
        x = self.attn(self.attn_ln(x), x, turn, padding)
        return self.mlp["2"](self.mlp["0"](self.mlp_ln(x), gelu=True), add=x)


class Encoder(nn.Module):
    """Spectrograms to vectors, one for each token."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        dim = config["dim"]
        self.conv1 = nn.Conv1d(config["mels"], dim, 3, token_frames(config) // 2, padding=1)
        self.conv2 = nn.Conv1d(dim, dim, 3, 2, padding=1)
        self.rotary = "positions" not in config
        self.head = dim // config["heads"]
        if not self.rotary:
            self.positional_embedding = nn.Parameter(sinusoids(config["positions"], dim))
        self.blocks = nn.ModuleList([Block(config) for _ in range(config["layers"])])

    def forward(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """mel (B, M, L), frames of each clip (B,) -> (B, N, D); what lies beyond a clip's end is of no meaning."""
        with torch.autocast(mel.device.type, enabled=False):
            x, padding = self.convolved(mel, Padding(lengths, mel.shape[2]))
        turn = None
        if self.rotary:
            table = angles(x.shape[1], self.head).to(x.device)[:, None]
            turn = table.cos().to(x.dtype), table.sin().to(x.dtype)
        else:
            x = x + self.positional_embedding[: x.shape[1]]
        for block in self.blocks:
            x = block(x, turn, padding)
        return x

    def convolved(self, mel: Tensor, padding: Padding) -> tuple[Tensor, Padding]:
        """mel (B, M, L) -> (B, N, D), and how long the clips now are."""
        x = F.gelu(self.conv1(padding.cut(mel)))
        padding = padding.after(self.conv1.stride[0])
        x = F.gelu(self.conv2(padding.cut(x))).transpose(1, 2)
        return x, padding.after(2)


class Nearest(nn.Module):
    """v1: the nearest of V codewords to the vector at length 1; of equal ones the first."""

    def __init__(self, dim: int, codes: int) -> None:
        super().__init__()
        self.embed = nn.Parameter(torch.randn(codes, dim) / dim**0.5)

    def forward(self, x: Tensor) -> Tensor:
        """x float32 (B, N, D) -> codes (B, N)."""
        rows = F.normalize(x, dim=-1).flatten(0, 1)
        distance = rows.pow(2).sum(1, keepdim=True) - 2 * rows @ self.embed.T + self.embed.pow(2).sum(1)
        return distance.argmin(1).view(x.shape[:2])


class Scalar(nn.Module):
    """v2 and v3: digits of three values each, the first the least significant."""

    powers: Tensor

    def __init__(self, dim: int, codes: int) -> None:
        super().__init__()
        self.project_down = nn.Linear(dim, digits(codes))
        self.register_buffer("powers", 3 ** torch.arange(digits(codes)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x float32 (B, N, D) -> codes (B, N)."""
        found = (self.project_down(x).tanh() * BOUND).round().long() + 1
        return (found * self.powers).sum(-1)


class Network(nn.Module):
    """Spectrograms to codes."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        kind = Nearest if "positions" in config else Scalar
        self.quantizer = nn.ModuleDict({"_codebook": kind(config["dim"], config["codes"])})

    def forward(self, mel: Tensor, lengths: Tensor) -> Tensor:
        """mel (B, M, L), frames of each clip (B,) -> codes (B, N). Raises `ModelError` when half precision does not suffice."""
        x = self.encoder(mel, lengths).float()
        if torch.is_autocast_enabled(x.device.type) and not bool(torch.isfinite(x).all()):
            kind = torch.get_autocast_dtype(x.device.type)
            raise ModelError(
                f"numbers of S3 overflowed in {kind}; load it with dtype='float32', or 'bfloat16', whose range is larger"
            )
        with torch.autocast(x.device.type, enabled=False):
            return self.quantizer["_codebook"](x)
