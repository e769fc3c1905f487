"""The trainer, its losses and data, and the laws of the codec network it trains; synthetic sound and tiny sizes only."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from torch import Tensor
from vector_quantize_pytorch import ResidualVQ

import voxzoo
from voxzoo.codecs.multiscale import MultiScaleConfig
from voxzoo.codecs.rvq import RVQ, RVQCodec, RVQConfig
from voxzoo.core.errors import CorpusError, MissingExtraError, ModelError, UnknownModelError, VoxzooError, WeightsError
from voxzoo.core.registry import entry, model_class
from voxzoo.core.weights import save_folder
from voxzoo.training import trainer
from voxzoo.training.checkpoint import export_checkpoint, load_checkpoint, save_checkpoint
from voxzoo.training.codec import CodecTraining
from voxzoo.training.data import Segments, SegmentSettings, active_level, clip_weights, held_out, prepare
from voxzoo.training.discriminator import Discriminator
from voxzoo.training.losses import CodecLoss, LossWeights, LoudnessLoss, mel_filters, spectrum
from voxzoo.training.quantizer import ResidualQuantizer
from voxzoo.training.recipes import RECIPES, Recipe, Start, find_recipe
from voxzoo.training.run import Run, pick_precision
from voxzoo.training.schedule import Budget, rate_factor
from voxzoo.training.start import narrow, start_weights

WIDTH = {"encoder_dim": 16, "decoder_dim": 16, "fine_dim": 16, "codebook_dim": 8, "codebook_size": 16}
TINY = RVQConfig(encoder_layers=2, decoder_layers=2, fine_layers=1, **WIDTH)
QUICK = {"frames": 20, "batch": 2, "kmeans_batches": 2, "warmup_steps": 2, "learning_rate": 3e-3}
RECIPE = Recipe("vox-rvq-16k", TINY.to_dict(), **QUICK)
SLOWER = MultiScaleConfig(encoder_layers=1, decoder_layers=1, fine_layers=1, **{**WIDTH, "codebook_dim": 6})
MULTISCALE = Recipe("vox-snac-16k", SLOWER.to_dict(), keep=((1, 0.2), (3, 0.8)), **{**QUICK, "kmeans_batches": 8})


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Six clips of voice-like sound at two rates, one file that is not sound, one that is missing."""
    rows = []
    for i in range(6):
        rate = 16000 if i % 2 else 24000
        t = np.arange(int(0.9 * rate)) / rate
        wav = sum(np.sin(2 * np.pi * f * (110 + 20 * i) * t) / f for f in range(1, 12)) * (0.02 + 0.1 * np.sin(9 * t) ** 2)
        soundfile.write(tmp_path / f"{i}.wav", wav, rate)
        rows.append({"path": f"{i}.wav"})
    (tmp_path / "bad.wav").write_bytes(b"not sound")
    rows += [{"audio_filepath": "bad.wav"}, {"path": "missing.wav"}]
    path = tmp_path / "manifest.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


@pytest.fixture
def codec() -> RVQCodec:
    torch.manual_seed(0)
    return RVQCodec(TINY).eval()


def noise(frames: float, clips: int = 2) -> Tensor:
    return torch.randn(clips, int(320 * frames), generator=torch.Generator().manual_seed(1)) * 0.1


# the codec network


@pytest.mark.parametrize("samples", [1, 319, 320, 321, 1000])
def test_lengths(codec: RVQCodec, samples: int) -> None:
    codes = codec.encode(noise(4)[:, :samples])
    assert [c.shape for c in codes] == [(2, -(-samples // 320))] * 8
    assert codes[0].dtype == torch.int64
    assert codec.decode(codes).shape == (2, 320 * codes[0].shape[1])


@torch.no_grad()
def test_encoder_is_causal_to_the_sample(codec: RVQCodec) -> None:
    wav = noise(12)
    latent = codec.encoder(wav)[0]
    changed = wav.clone()
    changed[:, 320 * 7 :] += 0.3
    assert torch.equal(codec.encoder(changed)[0][:, :7], latent[:, :7])
    assert not torch.allclose(codec.encoder(changed)[0][:, 7], latent[:, 7])


@torch.no_grad()
def test_decoder_looks_ahead_by_its_lookahead(codec: RVQCodec) -> None:
    codes = codec.encode(noise(12))
    changed = [torch.cat([c[:, :7], (c[:, 7:] + 1) % 16], dim=1) for c in codes]
    before, after = codec.decode(codes), codec.decode(changed)
    assert torch.equal(after[:, : 320 * (7 - TINY.lookahead)], before[:, : 320 * (7 - TINY.lookahead)])
    assert not torch.allclose(after, before)


@torch.no_grad()
@pytest.mark.parametrize("cuts", [[1] * 9, [2, 7], [1, 3, 5], [9]])
def test_streaming_equals_offline(codec: RVQCodec, cuts: list[int]) -> None:
    wav = noise(9)
    codes = codec.encode(wav)
    sound = codec.decode(codes)
    state, parts = None, []
    for piece in wav.split([320 * n for n in cuts], dim=1):
        part, state = codec.encode_step(piece, state)
        parts.append(part)
    assert all(torch.equal(torch.cat(got, dim=1), want) for got, want in zip(zip(*parts, strict=True), codes, strict=True))
    state, parts = None, []
    for piece in zip(*(c.split(cuts, dim=1) for c in codes), strict=True):
        part, state = codec.decode_step(piece, state)
        parts.append(part)
    assert state is not None
    streamed = torch.cat([*parts, codec.flush(state)], dim=1)[:, TINY.delay :]
    torch.testing.assert_close(streamed, sound, rtol=0, atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("streams", [1, 2, 5])
def test_any_prefix_of_the_streams_decodes(codec: RVQCodec, streams: int) -> None:
    wav = noise(5)
    prefix = codec.encode(wav, streams)
    assert len(prefix) == streams
    assert all(torch.equal(a, b) for a, b in zip(prefix, codec.encode(wav), strict=False))
    assert codec.decode(prefix).shape == wav.shape


@torch.no_grad()
def test_synthesis_is_an_exact_inverse_of_the_analysis(codec: RVQCodec) -> None:
    wav = noise(20)
    frames = torch.nn.functional.pad(wav, (480, 0)).unfold(1, 640, 160) @ codec.encoder.basis @ codec.decoder.basis
    again = codec.decoder.overlap_add(frames, None)[0][:, 480:]
    torch.testing.assert_close(again, wav[:, : again.shape[1]], rtol=0, atol=1e-5)


def test_our_search_equals_the_library() -> None:
    torch.manual_seed(0)
    model = CodecTraining(RVQ, replace(RECIPE, codebook_decay=0.9, dead_code=0.0))
    model.start_codebooks(noise(64, 4))
    model.train()
    for seed in range(3):
        model(noise(20) * (seed + 1), torch.tensor([8, 4]))
    codec = model.sync()
    assert isinstance(codec, RVQCodec)
    library = ResidualVQ(dim=8, num_quantizers=8, codebook_size=16, kmeans_init=True, rotation_trick=False).eval()
    library.load_state_dict(model.quantizer.state_dict(), strict=True)  # runs of earlier versions hold one
    latent = codec.latent(noise(30)).detach()
    _, indices, _ = library(latent)
    codes = codec.quantize(latent)
    assert torch.equal(torch.stack(codes, dim=-1), indices)
    torch.testing.assert_close(codec.lookup(codes), library.get_output_from_indices(indices))


def test_the_quantizer_learns_as_the_library_does() -> None:
    ours = ResidualQuantizer(dim=8, sizes=[16] * 3, steps=[1] * 3, vectors=16, decay=0.9, dead_code=0.5)
    kind = {"kmeans_init": True, "decay": 0.9, "threshold_ema_dead_code": 0.5, "rotation_trick": False}
    library = ResidualVQ(dim=8, num_quantizers=3, codebook_size=16, **kind)
    latents = torch.randn(4, 6, 20, 8, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(0)
    ours.start(latents[0])
    found = [ours(latent) for latent in latents[1:]]
    torch.manual_seed(0)
    library(latents[0])
    for latent, (words, commitment) in zip(latents[1:], found, strict=True):
        _, _, losses, wanted = library(latent, return_all_codes=True)
        torch.testing.assert_close(words, wanted)
        torch.testing.assert_close(commitment, losses.mean())
    for a, b in zip(ours.codebooks, library.codebooks, strict=True):
        torch.testing.assert_close(a, b)


def test_slower_streams_share_a_word_and_remember_longer() -> None:
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(dim=4, sizes=[8] * 3, steps=[4, 2, 1], vectors=32, decay=0.9, dead_code=0.5)
    quantizer.start(torch.randn(16, 8, 4))
    words, _ = quantizer(torch.randn(3, 8, 4))
    assert words.shape == (3, 3, 8, 4)
    for k, step in enumerate((4, 2, 1)):
        shared = words[k].unflatten(1, (-1, step))
        assert torch.equal(shared, shared[:, :, :1].expand_as(shared))
    assert not torch.equal(words[1, :, 0], words[1, :, 2])
    books = [layer._codebook for layer in quantizer.layers]
    assert [book.decay**step for book, step in zip(books, (4, 2, 1), strict=True)] == pytest.approx([0.9] * 3)
    assert [book.threshold_ema_dead_code for book in books] == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(("name", "most"), [("vox-rvq-16k", 12e6), ("vox-snac-16k", 8e6)])
def test_full_size_fits_the_package(name: str, most: float) -> None:
    codec = model_class(entry(name)).build(find_recipe(name).config)
    assert 2 * sum(value.numel() for value in codec.state_dict().values()) < most


# losses


def test_losses_vanish_on_equal_sounds_and_weigh_added_sound_more() -> None:
    loss, wav = CodecLoss(LossWeights()), noise(12)
    level = torch.full((2,), 0.1)
    _, terms = loss(wav, wav, level)
    assert all(float(value) < 0.05 for value in terms.values())
    tone = 0.1 * torch.sin(torch.arange(wav.shape[1]) * 0.8)
    loud = lambda got, want: float(loss(got, want, level)[1]["loudness"])  # noqa: E731
    assert loud(wav + tone, wav) > 1.2 * loud(wav, wav + tone)


def test_loudness_does_not_depend_on_level_and_knows_the_threshold() -> None:
    model, window = LoudnessLoss(512, 16000), torch.hann_window(512)
    power = lambda wav: spectrum(wav, window, 256).abs().square()  # noqa: E731
    want, got = noise(12), noise(12).flip(1)
    levels = torch.full((2,), 0.1)
    quiet = model(power(0.01 * got), power(0.01 * want), 0.01 * levels)
    torch.testing.assert_close(quiet, model(power(got), power(want), levels), rtol=1e-3, atol=1e-4)
    faint = model(power(want), power(want * 0), torch.full((2,), 1e4))  # 80 dB below speech of that level
    assert float(faint) < 0.2


def test_mel_filters_cover_the_band() -> None:
    filters = mel_filters(1024, 80, 16000)
    assert filters.shape == (513, 80)
    assert bool((filters.sum(0) > 0.9).all())


def test_discriminator_losses_have_gradients() -> None:
    critic, wav = Discriminator(filters=4), noise(8)
    got = (wav * 0.5).requires_grad_()
    adversarial, matching = critic.generator_loss(got, wav)
    (adversarial + matching).backward()
    assert got.grad is not None
    assert float(got.grad.abs().sum()) > 0
    assert float(critic.critic_loss(got, wav).detach()) > 0
    assert float(critic.generator_loss(wav, wav)[1].detach()) == 0


# data


def test_cache_skips_bad_files_and_names_them(manifest: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clips = prepare([manifest], tmp_path / "cache", workers=1)
    assert len(clips.lengths) == 6
    assert set(clips.lengths) == {14400}
    index = json.loads((tmp_path / "cache" / "clips.json").read_text())
    assert [Path(r["path"]).name for r in index["rejected"]] == ["bad.wav", "missing.wav"]
    assert "bad.wav" in caplog.text
    assert clips.cut(0, 14000, 1000)[400:].max() == 0


def test_cache_of_other_manifests_is_refused(manifest: Path, tmp_path: Path) -> None:
    prepare([manifest], tmp_path / "cache", workers=1)
    other = tmp_path / "other.jsonl"
    other.write_text('{"path": "0.wav"}\n')
    with pytest.raises(CorpusError, match="other clips"):
        prepare([other], tmp_path / "cache", workers=1)


def test_segments_follow_from_seed_and_index(manifest: Path, tmp_path: Path) -> None:
    clips = prepare([manifest], tmp_path / "cache", workers=1)
    settings = SegmentSettings(3200, 4)
    one, two = (Segments(clips, settings, clip_weights(clips, {}), seed=3) for _ in range(2))
    one.batch(0)
    for a, b in zip(one.batch(7), two.batch(7), strict=True):
        np.testing.assert_array_equal(a, b)
    wav, level = one.batch(8)
    assert np.abs(wav).max() <= 1
    assert ((level > 10**-2.3) & (level < 0.26)).all()


def test_boost_and_held_out_clips(manifest: Path, tmp_path: Path) -> None:
    clips = prepare([manifest], tmp_path / "cache", workers=1)
    weights = clip_weights(clips, {"0.wav": 5.0})
    assert weights[0] == pytest.approx(0.5)
    train, valid = held_out(clips, {}, every=3)
    assert list(np.flatnonzero(valid)) == [0, 3]
    assert not (train[[0, 3]]).any()


def test_active_level_ignores_pauses() -> None:
    tone = 0.1 * np.sin(np.arange(16000) * 0.3).astype(np.float32)
    assert active_level(np.concatenate([tone, np.zeros(32000, np.float32)])) == pytest.approx(0.0707, rel=0.02)
    assert active_level(np.zeros(100, np.float32)) > 0


@pytest.mark.parametrize("text", ["", "{", '{"file": "a.wav"}', "[1]"])
def test_manifests_that_cannot_be_used(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_text(text)
    with pytest.raises(CorpusError):
        prepare([path], tmp_path / "cache", workers=1)


# the trainer


def test_resume_equals_an_unbroken_run_bit_for_bit(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    whole = trainer.train(RECIPE, [manifest], tmp_path / "whole", max_steps=8, cache=cache)

    class Killed(Exception):
        pass

    def killed(run: Run, folder: Path) -> None:
        save(run, folder)
        if run.step == 4:
            raise Killed

    save = trainer.save
    monkeypatch.setattr(trainer, "save", killed)
    with pytest.raises(Killed):
        trainer.train(RECIPE, [manifest], tmp_path / "parts", max_steps=8, cache=cache, checkpoint_minutes=0)
    parts = trainer.train(RECIPE, [manifest], tmp_path / "parts", max_steps=8, cache=cache)
    one, two = (load_checkpoint(folder / "checkpoint.pt") for folder in (whole, parts))
    assert one["step"] == two["step"] == 8
    for name, value in one["model"].items():
        assert torch.equal(value, two["model"][name]), name
    assert (whole / "model.safetensors").read_bytes() == (parts / "model.safetensors").read_bytes()


def test_a_run_learns_and_leaves_weights_and_curves(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "REPORT_EVERY", 10)
    folder = trainer.train(RECIPE, [manifest], tmp_path / "run", max_steps=60)
    rows = json.loads((folder / "history.json").read_text())
    train = [row for row in rows if row["set"] == "train"]
    assert len(train) == 6
    assert train[-1]["mel"] < 0.9 * train[0]["mel"]
    assert (folder / "curves.png").stat().st_size > 1000
    codec = RVQCodec(RVQConfig.from_dict(json.loads((folder / "config.json").read_text())["config"]))
    weights = load_file(folder / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16}
    codec.load_state_dict(weights, strict=True)
    assert torch.equal(codec.codebooks.half(), weights["codebooks"])
    assert voxzoo.load(folder).facts.codebook_sizes == (16,) * 8
    export_checkpoint(folder / "checkpoint.pt", tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_adversarial_runs_resume(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "REPORT_EVERY", 1)
    recipe = replace(RECIPE, adversarial=True, adversarial_from=0.3)
    trainer.train(recipe, [manifest], tmp_path / "run", max_steps=2)
    folder = trainer.train(recipe, [manifest], tmp_path / "run", max_steps=4)
    last = [row for row in json.loads((folder / "history.json").read_text()) if row["set"] == "train"][-1]
    assert {"critic", "adversarial", "matching"} <= set(last)
    assert "critic" in load_checkpoint(folder / "checkpoint.pt")


def test_what_a_user_can_get_wrong(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownModelError, match="vox-rvq-16k"):
        trainer.train("vox-rvq-17k", [manifest], tmp_path / "run")
    with pytest.raises(ModelError, match="no device"):
        trainer.train(RECIPE, [manifest], tmp_path / "run", device="toaster")
    with pytest.raises(VoxzooError, match="precision"):
        pick_precision("fp8", "cpu")
    trainer.train(RECIPE, [manifest], tmp_path / "run", max_steps=1)
    with pytest.raises(VoxzooError, match="another configuration or seed"):
        trainer.train(RECIPE, [manifest], tmp_path / "run", max_steps=2, seed=5)
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"half a file")
    with pytest.raises(WeightsError, match="cannot resume"):
        trainer.train(RECIPE, [manifest], tmp_path / "run", max_steps=2)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="train"):
        trainer.train(RECIPE, [manifest], tmp_path / "run")


def test_a_checkpoint_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1})

    def fail(content: object, out: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path)["step"] == 1


def test_schedule() -> None:
    assert [rate_factor(step, 0.0, 4, 0.5) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rate_factor(10, 0.75, 4, 0.5) == 0.5
    assert rate_factor(10, 1.0, 4, 0.5) == 0.0
    assert Budget(10, None).spent(10, 0.0)
    assert not Budget(None, 5.0).spent(10**6, 4.9)
    assert Budget(100, 5.0).done(50, 4.0) == 0.8


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_consistent(name: str) -> None:
    recipe = find_recipe(name)
    if recipe.trainee != "codec":
        assert recipe.frames * recipe.config["mel"]["hop"] >= 4 * max(size for size, _, _ in recipe.resolutions)
        return
    facts = entry(name).facts
    assert sum(chance for _, chance in recipe.keep) == pytest.approx(1)
    assert max(streams for streams, _ in recipe.keep) == facts.streams
    for size, rate in zip(facts.codebook_sizes, facts.frame_rates, strict=True):
        vectors = recipe.batch * recipe.frames * recipe.kmeans_batches * rate / max(facts.frame_rates)
        assert vectors >= 4 * size
        assert recipe.frames * rate / max(facts.frame_rates) % 1 == 0


# starting from another model


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small trained model's folder."""
    torch.manual_seed(3)
    codec = RVQCodec(TINY)
    save_folder(tmp_path / "source", "vox-rvq-16k", TINY.to_dict(), codec.state_dict())
    return tmp_path / "source"


def test_a_start_takes_weights_and_leaves_layers_out(source: Path) -> None:
    have = load_file(source / "model.safetensors")
    network = RVQCodec(RVQConfig.from_dict({**TINY.to_dict(), "encoder_layers": 1, "streams": 3}))
    books = network.codebooks.clone()
    start_weights(network, Start(str(source), {"encoder.blocks": (1,)}))
    got = network.state_dict()
    assert torch.equal(got["encoder.blocks.0.up.weight"], have["encoder.blocks.1.up.weight"])
    assert torch.equal(got["decoder.blocks.1.taps"], have["decoder.blocks.1.taps"])
    assert torch.equal(network.codebooks, books)


def test_a_narrower_latent_passes_on_what_fits(source: Path) -> None:
    torch.manual_seed(0)
    state = dict(load_file(source / "model.safetensors"))
    state["encoder.out.weight"][5:] = 0.1 * torch.randn(3, 5) @ state["encoder.out.weight"][:5]  # 5 directions used of 8
    x = torch.randn(40, 16)
    through = lambda s: (  # noqa: E731
        (x @ s["encoder.out.weight"].T + s["encoder.out.bias"]) @ s["decoder.embed.weight"].T + s["decoder.embed.bias"]
    )
    whole = through(state)
    narrow(state, "encoder.out", "decoder.embed", 5)
    assert state["encoder.out.weight"].shape == (5, 16)
    torch.testing.assert_close(through(state), whole, rtol=1e-4, atol=1e-4)
    network = RVQCodec(RVQConfig.from_dict({**TINY.to_dict(), "codebook_dim": 6}))
    start_weights(network, Start(str(source), latent=("encoder.out", "decoder.embed")))
    assert not network.encoder.out.bias.any()


def test_a_start_that_does_not_fit_is_refused(source: Path, manifest: Path, tmp_path: Path) -> None:
    wider = replace(RECIPE, config={**RECIPE.config, "decoder_dim": 24}, start_from=Start(str(source)))
    with pytest.raises(WeightsError, match=r"cannot start from .*source: decoder\.embed\.weight wants \(24, 8\), .* \(16, 8\)"):
        trainer.train(wider, [manifest], tmp_path / "run", max_steps=1)
    deeper = replace(RECIPE, config={**RECIPE.config, "encoder_layers": 3}, start_from=Start(str(source)))
    with pytest.raises(WeightsError, match=r"encoder\.blocks\.2.*there is nothing"):
        trainer.train(deeper, [manifest], tmp_path / "run", max_steps=1)
    few = replace(RECIPE, config={**RECIPE.config, "codebook_size": 128})
    with pytest.raises(VoxzooError, match="80 vectors are too few to start 128 codes"):
        trainer.train(few, [manifest], tmp_path / "run", max_steps=1)


def test_the_model_to_start_from_can_be_chosen() -> None:
    chosen = find_recipe("vox-snac-16k", "elsewhere").start_from
    assert chosen == replace(find_recipe("vox-snac-16k").start_from, model="elsewhere")
    assert find_recipe("vox-rvq-16k", "elsewhere").start_from == Start("elsewhere")


def test_a_multi_scale_codec_trains_from_another_one(
    source: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "REPORT_EVERY", 10)
    start = Start(str(source), {"encoder.blocks": (1,), "decoder.blocks": (0,)}, ("encoder.out", "decoder.embed"))
    recipe = replace(MULTISCALE, start_from=start)
    one, two = (trainer.train(recipe, [manifest], tmp_path / name, max_steps=30) for name in ("one", "two"))
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()
    train = [row for row in json.loads((one / "history.json").read_text()) if row["set"] == "train"]
    assert train[-1]["mel"] < train[0]["mel"]
    model = voxzoo.load(one)
    assert model.facts.frame_rates == (Fraction(25, 2), Fraction(25), Fraction(50))
    export_checkpoint(one / "checkpoint.pt", tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (one / "model.safetensors").read_bytes()


def test_checkpoints_without_a_name_are_of_the_first_codec(manifest: Path, tmp_path: Path) -> None:
    folder = trainer.train(RECIPE, [manifest], tmp_path / "run", max_steps=2)
    content = load_checkpoint(folder / "checkpoint.pt")
    del content["name"]
    save_checkpoint(folder / "checkpoint.pt", content)
    export_checkpoint(folder / "checkpoint.pt", tmp_path / "again")
    assert voxzoo.load(tmp_path / "again").facts.name == "vox-rvq-16k"
    trainer.train(RECIPE, [manifest], folder, max_steps=3)
