"""Training of speaker-invariant tokens: the objective, each stage, and runs of stages that are taken up again or refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

import voxzoo
from voxzoo.cli.main import main
from voxzoo.core.errors import CorpusError, ModelError, UnknownModelError, VoxzooError, WeightsError
from voxzoo.core.weights import read_state
from voxzoo.tokenizers._dcspin import DCSpinConfig
from voxzoo.tokenizers._units_backbones import described
from voxzoo.training import spin_train, trainer
from voxzoo.training.ctc_data import read_spoken
from voxzoo.training.ctc_run import paths_of
from voxzoo.training.data import prepare
from voxzoo.training.perturb import Strength
from voxzoo.training.spin_loss import Codebook, sinkhorn, swapped
from voxzoo.training.spin_recipe import (
    QUIET,
    MaskedStage,
    PhonesStage,
    SpinRecipe,
    SpinStage,
    Stage,
    find_recipe,
    with_spin,
    with_stages,
)
from voxzoo.training.spin_run import SpinRun
from voxzoo.training.spin_train import train
from voxzoo.training.ssl_clusters import LEARNT_FROM, Cepstra, Targets, enough, features, groups, label_all, means, nearest
from voxzoo.training.ssl_encoder import VoxTrained
from voxzoo.training.ssl_masked import MaskedRun, spans
from voxzoo.training.ssl_phones import PhonesRun
from voxzoo.training.ssl_step import Speech, StageRun

CONFIG = dict(voxzoo.entry("vox-dcspin-16k").config)
SMALL = {"mels": 16, "block": 8, "context": 1, "reference": 2, "dim": 24, "layers": 3, "heads": 2, "hidden": 32, "kernel": 3}
TINY = {**CONFIG, "encoder": {**CONFIG["encoder"], **SMALL}, "codebook_size": 12, "hidden": 16}
FAST: dict[str, Any] = {"warmup_steps": 2, "noise": QUIET, "drop": 0.0}
STAGES: tuple[Stage, ...] = (
    MaskedStage("cepstra", 0.2, 3e-3, clusters=8, **FAST),
    SpinStage("first", 0.2, 3e-3, codebooks=(10,), hidden=16, frozen=0, beside=False, **FAST),
    MaskedStage("codes", 0.2, 3e-3, targets="codes", **FAST),
    PhonesStage("phones", 0.2, 3e-3, **FAST),
    SpinStage("spin", 0.2, 3e-3, codebooks=(12, 20), hidden=16, frozen=1, phones=0.5, **FAST),
)
RECIPE = SpinRecipe("vox-dcspin-16k", STAGES, seconds=4.0, valid_every=1000, valid_seconds=2.0)
TONES = {"AA": 300, "IY": 900, "S": 3500}
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "draw_curves", lambda folder, history: None)  # slow, and tested elsewhere


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of ten clips, tones for phones, the last without labels; and its cache."""
    folder = tmp_path_factory.mktemp("speech")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(10):
        parts, phones, time = [np.zeros(1600)], [[0.0, 0.1, "SIL"]], 0.1
        for label in rng.choice(list(TONES), 4):
            parts += [0.2 * np.sin(2 * np.pi * TONES[label] * np.arange(1920) / 16000), np.zeros(640)]
            phones += [[round(time, 3), round(time + 0.12, 3), label], [round(time + 0.12, 3), round(time + 0.16, 3), "SIL"]]
            time += 0.16
        soundfile.write(folder / f"{i}.wav", np.concatenate(parts) + 0.001 * rng.standard_normal(12 * 320 * 3 + 320), 16000)
        rows.append({"path": f"{i}.wav", "speaker": f"s{i}", **({"phones": phones} if i < 9 else {})})
    (folder / "manifest.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    bare = [{"path": row["path"], "speaker": row["speaker"]} for row in rows]
    (folder / "bare.jsonl").write_text("\n".join(json.dumps(row) for row in bare))
    prepare([folder / "manifest.jsonl"], folder / "cache")
    return folder


@pytest.fixture(scope="module")
def speech(home: Path) -> Speech:
    clips = prepare([home / "manifest.jsonl"], home / "cache")
    spoken = read_spoken([home / "manifest.jsonl"])
    return Speech.of(clips, [spoken[path] for path in paths_of(home / "cache")], 16000, "cpu", 20.0)


def encoder() -> VoxTrained:
    torch.manual_seed(0)
    return VoxTrained(DCSpinConfig.from_dict(TINY).encoder)


def cosines(words: int = 6, frames: int = 11, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.tanh(torch.randn(2, frames, words, generator=generator))


# the objective


def test_targets_use_all_codewords_alike_and_frames_sum_to_one() -> None:
    valid = torch.ones(2, 11)
    valid[1, 7:] = 0
    share = sinkhorn(cosines() / 5, valid, rounds=300)
    assert torch.allclose(share.sum(2), valid, atol=1e-5)
    assert torch.allclose(share.sum((0, 1)), torch.full((6,), 18 / 6), rtol=1e-3)
    few = sinkhorn(cosines(), valid)
    assert torch.allclose(few.sum(2), valid, atol=1e-5)  # frames come last, and are exact after any number of rounds


def test_targets_of_half_precision_are_computed_in_single() -> None:
    whole = sinkhorn(cosines().bfloat16().float(), torch.ones(2, 11))
    half = sinkhorn(cosines().bfloat16(), torch.ones(2, 11))
    assert half.dtype == torch.float32
    assert torch.equal(whole, half)
    assert torch.isfinite(sinkhorn(torch.full((1, 4, 3), 1.0), torch.ones(1, 4))).all()


def test_the_loss_is_that_of_a_plain_loop() -> None:
    """Over the frames of sound alone, as the published code lays them end to end."""
    first, second = cosines(seed=1), cosines(seed=2)
    valid = torch.ones(2, 11)
    valid[0, 9:] = 0
    got = swapped(first, second, valid)
    a, b = (x[valid > 0].double().numpy() for x in (first, second))
    want = 0.5 * (plain_loss(a, b) + plain_loss(b, a))
    assert float(got) == pytest.approx(want, rel=1e-5)


def plain_loss(told: np.ndarray, asked: np.ndarray) -> float:
    frames, words = told.shape
    q = np.exp(told / 0.02).T
    q /= q.sum()
    for _ in range(3):
        for k in range(words):
            q[k] /= q[k].sum() * words
        for n in range(frames):
            q[:, n] /= q[:, n].sum() * frames
    q *= frames
    total = 0.0
    for n in range(frames):
        logits = asked[n] / 0.1
        logs = logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
        total -= float((q[:, n] * logs).sum())
    return total / frames


def test_gradients_reach_projections_and_codewords_and_not_the_targets() -> None:
    book = Codebook(5, [4], 6)
    x = torch.randn(2, 8, 5, requires_grad=True)
    swapped(*(book.logits(part) for part in x.split(1)), torch.ones(1, 8)).backward()
    for parameter in book.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0
    assert x.grad is not None
    told = cosines(seed=3).requires_grad_()
    assert not sinkhorn(told, torch.ones(2, 11)).requires_grad
    book.codebook.data.mul_(3)
    book.normalise()
    assert torch.allclose(book.codebook.norm(dim=1), torch.ones(6))


def test_codewords_begin_where_k_means_ends() -> None:
    """Bunches of frames that have much in common besides get a codeword each, which random ones do not give them."""
    generator = torch.Generator().manual_seed(0)
    bunches = torch.randn(6, 12, generator=generator)
    x = 5 + bunches.repeat(40, 1) + 0.05 * torch.randn(240, 12, generator=generator)
    torch.manual_seed(0)
    book = Codebook(12, [16], 6)
    book.start(x[torch.randperm(240, generator=generator)], seed=1)
    codes = book(x[None])[0].view(40, 6)
    assert (codes == codes[:1]).float().mean() > 0.8  # k-means may halve a bunch
    assert len(codes.unique()) >= 5
    assert torch.allclose(book.codebook.norm(dim=1), torch.ones(6))


# targets


def test_k_means_finds_what_there_is_and_refuses_too_little() -> None:
    middles = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    x = (middles.repeat(50, 1) + 0.1 * torch.randn(150, 2, generator=torch.Generator().manual_seed(0))).half()
    found = means(x, 3, seed=1)
    assert sorted(tuple(row) for row in found.round().abs().tolist()) == [(0, 0), (0, 10), (10, 0)]
    brute = torch.cdist(x.float(), found).argmin(1)
    assert torch.equal(nearest(x, found), brute)
    with pytest.raises(CorpusError, match="150 frames, too few for 200 clusters"):
        means(x, 200, seed=0)


def test_every_clip_is_labelled_as_it_would_be_alone(speech: Speech) -> None:
    counts = encoder().counts(speech.store.lengths)
    cepstra = Cepstra(16000, 320, "cpu")
    cepstra.learn(speech.store, speech.train, counts, 5, 0, 64000)
    targets = label_all(speech.store, counts, cepstra.encode, 64000)
    for clip in (0, 7):
        alone = cepstra.encode(speech.store.batch(np.array([clip])).wav)[0, : counts[clip]]
        rows = targets.rows(speech.store, np.array([clip, 3]), 60)
        assert (rows[0, : counts[clip]] == alone).float().mean() > 0.95  # silence after the end is told by its level
    assert len(torch.unique(targets.line)) == 5
    assert len(features(speech.store, speech.train, counts, cepstra.frames, 64000)) == counts[speech.train].sum()


def test_k_means_learns_from_as_many_clips_as_it_needs() -> None:
    counts = np.full(1000, 1000)
    drawn = enough(counts, np.arange(0, 1000, 2), 0)
    assert len(drawn) == LEARNT_FROM // 1000
    assert len(set(drawn.tolist())) == len(drawn)
    assert set(enough(counts, np.arange(7), 0).tolist()) == set(range(7))


def test_groups_hold_every_clip_once() -> None:
    lengths = np.array([5, 9, 2, 7, 7, 1])
    found = list(groups(lengths, np.arange(6), 15))
    assert sorted(np.concatenate(found).tolist()) == list(range(6))
    assert all(len(part) * lengths[part].max() <= 15 for part in found)


def test_hidden_spans() -> None:
    torch.manual_seed(0)
    hidden = spans((50, 200), 0.05, 10, torch.device("cpu"))
    assert hidden.float().mean() == pytest.approx(1 - 0.95**10, abs=0.05)
    for row in hidden:
        edges = np.flatnonzero(np.diff(np.r_[0, row.int().numpy(), 0]))
        lengths = edges[1::2] - edges[::2]
        assert all(n >= 10 for n in lengths[:-1])


# stages


def steps(run: StageRun, count: int) -> list[dict[str, float]]:
    run.model.train()
    return [{key: float(value) for key, value in run.train_step(0.3).items()} for _ in range(count)]


def test_hidden_sound_is_learnt(speech: Speech) -> None:
    net = encoder()
    counts = net.counts(speech.store.lengths)
    cepstra = Cepstra(16000, 320, "cpu")
    cepstra.learn(speech.store, speech.train, counts, 8, 0, 64000)
    targets = label_all(speech.store, counts, cepstra.encode, 64000)
    run = MaskedRun(STAGES[0], net, speech, 64000, "cpu", 0, "fp32", targets, 8)
    found = steps(run, 40)
    for term, most in (("seen", 0.7), ("masked", 0.95)):
        assert np.mean([row[term] for row in found[-10:]]) < most * np.mean([row[term] for row in found[:3]]), term
    assert net.hidden.grad is not None
    assert net.hidden.grad.abs().sum() > 0
    assert 0 < run.validate()["wrong"] < 1


def test_phones_are_learnt(speech: Speech) -> None:
    run = PhonesRun(STAGES[3], encoder(), speech, 64000, "cpu", 0, "fp32")
    before = run.validate()
    steps(run, 40)
    after = run.validate()
    assert after["frame_error"] < 0.7 * before["frame_error"]


def test_spin_keeps_lower_layers_and_moves_the_upper(speech: Speech) -> None:
    net = encoder()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    run = SpinRun(STAGES[4], net, speech, 64000, "cpu", 0, "fp32")
    losses = steps(run, 12)
    for term in ("primary", "auxiliary1", "frames"):
        assert losses[-1][term] < losses[0][term], term
    for key, value in net.state_dict().items():
        lower = key.startswith(("encoder.front", "encoder.layers.0.", "hidden"))
        assert torch.equal(value, before[key]) == lower, key
    assert [tuple(book.codebook.shape) for book in run.codebooks] == [(12, 16), (20, 16)]
    assert {"moved_voice", "moved_noise", "codes", "perplexity", "pnmi"} <= set(run.validate())


def test_without_another_voice_the_hearings_differ_in_noise_alone(speech: Speech) -> None:
    still = replace(STAGES[4], voice=None)
    run = SpinRun(still, encoder(), speech, 64000, "cpu", 0, "fp32")
    batch = speech.store.batch(speech.train[:3])
    assert torch.equal(run.other(batch, np.random.default_rng(0), QUIET), batch.wav)
    voiced = SpinRun(STAGES[4], encoder(), speech, 64000, "cpu", 0, "fp32")
    other = voiced.other(batch, np.random.default_rng(0), QUIET)
    assert other.shape == batch.wav.shape
    assert (other - batch.wav).abs().max() > 0.01


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(home: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, stages=(replace(STAGES[3], share=1.0),))
    told: dict[str, Any] = {"config": TINY, "precision": "fp32", "cache": home / "cache"}
    train(recipe, [home / "manifest.jsonl"], tmp_path, max_steps=8, stop=3, **told)
    good = (tmp_path / "1-phones" / "checkpoint.pt").read_bytes()
    bad = replace(recipe, stages=(replace(recipe.stages[0], learning_rate=1e30, warmup_steps=0),))
    with pytest.raises(VoxzooError, match="another stage"):
        train(bad, [home / "manifest.jsonl"], tmp_path, max_steps=8, **told)
    content = torch.load(tmp_path / "1-phones" / "checkpoint.pt", weights_only=True)
    content["model"]["ctc.bias"][0] = torch.nan
    broken = tmp_path / "broken"
    (broken / "1-phones").mkdir(parents=True)
    torch.save(content, broken / "1-phones" / "checkpoint.pt")
    kept = (broken / "1-phones" / "checkpoint.pt").read_bytes()
    with pytest.raises(VoxzooError, match="no longer finite"):
        train(recipe, [home / "manifest.jsonl"], broken, max_steps=8, **told)
    assert (broken / "1-phones" / "checkpoint.pt").read_bytes() == kept
    assert (tmp_path / "1-phones" / "checkpoint.pt").read_bytes() == good


# runs


@pytest.fixture(scope="module")
def whole(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of all stages, two steps each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "draw_curves", lambda folder, history: None)
        told: dict[str, Any] = {"config": TINY, "precision": "fp32", "cache": home / "cache"}
        return train(RECIPE, [home / "manifest.jsonl"], tmp_path_factory.mktemp("whole"), max_steps=10, **told)


def test_a_run_leaves_a_tokenizer_and_k_means_of_its_encoder(whole: Path) -> None:
    wav = np.random.default_rng(1).standard_normal(16000).astype(np.float32) / 10
    for folder, kind in ((whole, "cosine"), (whole / "kmeans", "kmeans")):
        model = voxzoo.load(folder)
        assert model.facts.name == "vox-dcspin-16k"
        assert model.config["quantizer"] == kind
        assert model.facts.codebook_sizes == (12,)
        assert model.encode(wav, 16000).codes[0].shape == (1, 50)
    before = read_state(whole / "4-phones" / "encoder.safetensors")["encoder.norm.weight"]
    assert torch.equal(voxzoo.load(whole / "kmeans").network.state_dict()["encoder.norm.weight"], before.half().float())


def test_a_run_taken_up_ends_as_it_would_have(whole: Path, home: Path, tmp_path: Path) -> None:
    """Left off within every stage."""
    told: dict[str, Any] = {"config": TINY, "precision": "fp32", "cache": home / "cache", "max_steps": 10}
    for _ in STAGES:
        train(RECIPE, [home / "manifest.jsonl"], tmp_path, stop=1, **told)
        train(RECIPE, [home / "manifest.jsonl"], tmp_path, stop=2, **told)
    train(RECIPE, [home / "manifest.jsonl"], tmp_path, **told)
    for name in ("model.safetensors", "config.json", "kmeans/model.safetensors", "3-codes/encoder.safetensors"):
        assert (whole / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_later_stages_begin_where_an_earlier_run_ended(whole: Path, home: Path, tmp_path: Path) -> None:
    told: dict[str, Any] = {"config": TINY, "precision": "fp32", "cache": home / "cache", "max_steps": 1}
    recipe = with_spin(with_stages(RECIPE, ["spin"]), single=True, voice=False)
    train(recipe, [home / "bare.jsonl"], tmp_path / "a", start_from=whole / "3-codes", **{**told, "cache": tmp_path / "c"})
    assert (tmp_path / "a" / "model.safetensors").exists()
    with pytest.raises(WeightsError, match="expected the folder of a stage"):
        train(recipe, [home / "manifest.jsonl"], tmp_path / "b", start_from=tmp_path, **told)
    other = {**TINY, "encoder": {**TINY["encoder"], "dim": 32}}
    with pytest.raises(ModelError, match="of another encoder"):
        train(recipe, [home / "manifest.jsonl"], tmp_path / "b", start_from=whole / "3-codes", **{**told, "config": other})
    with pytest.raises(ModelError, match="a stage of Spin before it"):
        train(with_stages(RECIPE, ["codes"]), [home / "manifest.jsonl"], tmp_path / "d", **told)


def test_what_a_later_stage_would_stumble_over_is_said_at_once(home: Path, tmp_path: Path) -> None:
    told: dict[str, Any] = {"config": TINY, "precision": "fp32", "max_steps": 5}
    with pytest.raises(CorpusError, match="name no phones"):
        train(RECIPE, [home / "bare.jsonl"], tmp_path, cache=tmp_path / "cache", **told)
    big = with_spin(RECIPE, size=5000)
    with pytest.raises(ModelError, match="5000 codewords, but a step has at most 200 frames"):
        train(big, [home / "manifest.jsonl"], tmp_path, cache=home / "cache", **told)
    assert not list(tmp_path.glob("1-*"))
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(CorpusError, match="hold no clips"):
        train(RECIPE, [empty], tmp_path / "e", **told)


@pytest.mark.parametrize(
    ("change", "said"), [({"seed": 1}, "seed"), ({"batch": 3.0}, "samples"), ({"precision": "bf16"}, "precision")]
)
def test_a_run_of_other_settings_is_not_gone_on_with(home: Path, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    told: dict[str, Any] = {"config": TINY, "precision": "fp32", "cache": home / "cache", "max_steps": 10}
    train(RECIPE, [home / "manifest.jsonl"], tmp_path, stop=1, **told)
    with pytest.raises(VoxzooError, match=f"another {said}"):
        train(RECIPE, [home / "manifest.jsonl"], tmp_path, **told | change)


def test_a_backbone_of_units_is_trained_alike(home: Path, tmp_path: Path, transformers: Any) -> None:
    """A small HuBERT, saved as transformers does: only layers above the frozen ones move, and the run's folder loads."""
    sizes = {
        "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32, "conv_dim": [8] * 7,
        "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
    }  # fmt: skip
    transformers.HubertModel(transformers.HubertConfig(**sizes)).save_pretrained(tmp_path / "hubert")
    stage = replace(STAGES[4], frozen=2, share=1.0)
    recipe = replace(RECIPE, model="dcspin", stages=(stage,))
    told: dict[str, Any] = {"precision": "fp32", "cache": home / "cache", "max_steps": 2}
    folder = train(recipe, [home / "manifest.jsonl"], tmp_path / "run", backbone=str(tmp_path / "hubert"), layer=3, **told)
    model, twin = voxzoo.load(folder), voxzoo.load(folder / "kmeans")
    assert model.facts.name == twin.facts.name == "dcspin"
    assert model.config["backbone"] == described({"model_type": "hubert", **sizes})
    mine, start = (m.network.backbone.state_dict() for m in (model, twin))
    moved = {key for key in mine if not torch.equal(mine[key], start[key])}
    assert moved
    assert all(key.startswith("network.encoder.layers.2.") for key in moved)
    with pytest.raises(ModelError, match="wants --backbone"):
        train(recipe, [home / "manifest.jsonl"], tmp_path / "other", **told)
    with pytest.raises(ModelError, match="an encoder of its own"):
        train(RECIPE, [home / "manifest.jsonl"], tmp_path / "other", backbone="mfcc", **told)


# recipes and the command


def test_recipes_are_found_and_cut() -> None:
    assert [stage.name for stage in find_recipe("vox-dcspin-16k").stages] == ["cepstra", "first", "codes", "phones", "spin"]
    assert sum(stage.share for stage in find_recipe("vox-dcspin-16k").stages) == pytest.approx(1)
    assert [with_stages(RECIPE, names).stages[-1].phones for names in (["spin"], ["phones", "spin"])] == [0, 0.5]
    cut = with_stages(find_recipe("vox-dcspin-16k"), ["spin", "phones"])
    assert [stage.name for stage in cut.stages] == ["phones", "spin"]
    assert sum(stage.share for stage in cut.stages) == pytest.approx(1)
    with pytest.raises(UnknownModelError, match="dcspin, vox-dcspin-16k"):
        find_recipe("spin")
    with pytest.raises(ModelError, match="stages polish; vox-dcspin-16k has cepstra"):
        with_stages(RECIPE, ["polish"])
    with pytest.raises(ModelError, match="belong to one of Spin's"):
        with_spin(with_stages(RECIPE, ["phones"]), single=True)
    last = with_spin(RECIPE, single=True, voice=False, size=9).stages[-1]
    assert isinstance(last, SpinStage)
    assert (last.codebooks, last.voice) == ((9,), None)


def test_settings_reach_the_trainer(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def fake(*given: Any, **settings: Any) -> Path:
        seen.append((given, settings))
        return Path("run")

    monkeypatch.setattr(spin_train, "train", fake)
    manifest = str(home / "manifest.jsonl")
    command = f"train vox-dcspin-16k --data {manifest} -o run --stages phones spin --codebooks single --minutes 5"
    assert main([*command.split(), "--noise", manifest]) == 0
    (recipe, *_), told = seen[0]
    assert [stage.name for stage in recipe.stages] == ["phones", "spin"]
    assert recipe.stages[-1].codebooks == (500,)
    assert recipe.stages[-1].voice == Strength()
    assert {"max_minutes": 5.0, "noise": manifest, "rooms": None, "backbone": None}.items() <= told.items()
    assert main(f"train dcspin --data {manifest} -o run --backbone x --layer 9 --clusters 100 --no-perturbation".split()) == 0
    (recipe, *_), told = seen[1]
    assert recipe.stages[-1].codebooks == (100, 4096)
    assert recipe.stages[-1].voice is None
    assert (told["backbone"], told["layer"]) == ("x", 9)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("vox-dcspin-16k --backbone x", "no use for --backbone"),
        ("vox-rvq-16k --no-perturbation", "no use for --no-perturbation"),
        ("vox-s3-16k --codebooks single", "no use for --codebooks"),
        ("dcspin --rooms nowhere.jsonl", "no manifest 'nowhere.jsonl'"),
    ],
)
def test_options_that_do_not_fit(home: Path, capsys: Capture, command: str, said: str) -> None:
    recipe, *options = command.split()
    assert main(["train", recipe, "--data", str(home / "manifest.jsonl"), "-o", "run", *options]) == 2
    assert said in capsys.readouterr().err


def test_a_folder_with_a_run_is_left_alone(home: Path, whole: Path, capsys: Capture) -> None:
    assert main(["train", "vox-dcspin-16k", "--data", str(home / "manifest.jsonl"), "-o", str(whole)]) == 2
    assert "holds a run already" in capsys.readouterr().err


def test_targets_are_cut_out_of_their_line(speech: Speech) -> None:
    targets = Targets(torch.arange(9, dtype=torch.int16), np.array([0, 4, 6]), np.array([4, 2, 3]))
    assert targets.rows(speech.store, np.array([1, 0]), 2).tolist() == [[4, 5], [0, 1]]
