"""The table of the learned metrics: complete, light to import, and every family opens what it names."""

import importlib
import subprocess
import sys

import numpy as np
import pytest

from voxzoo.core.audio import Audio
from voxzoo.core.errors import VoxzooError
from voxzoo.eval.learned_table import LEARNED
from voxzoo.eval.metric import Family, MetricError, Original, Pair

METRICS = [metric for family in LEARNED for metric in family.metrics]


def test_names_are_unique_and_definitions_complete() -> None:
    names = [metric.name for metric in METRICS]
    given = names + [weight for family in LEARNED for weight in family.weights]
    assert len(set(given)) == len(given)
    assert len({metric.label for metric in METRICS}) == len(METRICS)
    assert len({family.name for family in LEARNED}) == len(LEARNED)
    for metric in METRICS:
        assert "16 kHz" in metric.definition
        assert "0.25 s" in metric.definition
        assert "  " not in metric.definition
        assert metric.definition.endswith(".")


@pytest.mark.parametrize("family", LEARNED, ids=lambda family: family.name)
def test_a_family_opens_a_function_and_weighs_by_what_it_gives(family: Family) -> None:
    module, _, function = family.opens.partition(":")
    assert callable(getattr(importlib.import_module(f"voxzoo.eval.{module}"), function))
    weights = {metric.weight for metric in family.metrics if metric.weight}
    assert weights == set(family.weights)
    assert {metric.name for metric in family.metrics}.isdisjoint(weights)
    assert family.group in {"mos", "intelligibility", "speaker"}
    assert family.intrusive == (family.group == "speaker")
    for metric in family.metrics:
        assert all(package in family.definition(metric) for package in family.packages)


@pytest.mark.parametrize("family", [f for f in LEARNED if f.checkpoint], ids=lambda family: family.name)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_checkpoint_that_is_not_there_is_an_error_in_one_line(family: Family) -> None:
    with pytest.raises(VoxzooError) as caught:
        family.open("no/such/file")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", [f for f in LEARNED if not f.checkpoint], ids=lambda family: family.name)
def test_sound_that_cannot_be_judged_has_a_reason_and_no_number(family: Family) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("pocketsphinx")
    pytest.importorskip("_webrtcvad")
    rng = np.random.default_rng(0)
    original = Original(Audio(rng.normal(0, 0.1, 16000).astype(np.float32), 16000), 16000, "text")
    measure = family.open()
    for decoded, reason in (
        (np.zeros(16000), "the decoded sound is silent"),
        (original.samples[:1600], "the decoded sound is shorter than 0.25 s"),
        (np.zeros(0), "the decoded sound is shorter than 0.25 s"),
        (np.full(16000, np.nan), "the decoded sound is not finite"),
    ):
        with pytest.raises(MetricError) as caught:
            measure(Pair(original, decoded.astype(np.float32)))
        assert str(caught.value) == reason  # the same words for every clip, so that they can be counted


def test_the_table_and_the_modules_import_nothing_heavy() -> None:
    modules = ["learned_table", "dnsmos", "plcmos", "mos_plugins", "recognition", "word_errors", "speaker_embedding",
               "speaker_similarity"]  # fmt: skip
    code = "import importlib, sys\n" + "\n".join(f"importlib.import_module('voxzoo.eval.{m}')" for m in modules)
    code += "\nprint(*sorted({'torch', 'librosa', 'onnxruntime', 'jiwer', 'pocketsphinx', 'transformers'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == []
