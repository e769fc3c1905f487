"""The table of the learned metrics: predictors of quality, speech recognisers, speaker encoders."""

from __future__ import annotations

from .metric import Family, Metric
from .word_errors import NORMALISATION

__all__ = ["LEARNED"]

MOS = "MOS, 1 to 5"
SPEECH = "It scores sound without speech too: a click, a tone or noise has a number."
HEARD = "Sound beyond [-1, 1] is clipped; sound under 0.25 s, under -80 dBFS RMS (less its mean) or not finite has no value."
WINDOWS = (
    "16 kHz; a clip under 9.01 s is doubled until it is longer, windows of 9.01 s start every second (one that rounding leaves "
    f"a sample short is dropped, as in the reference), mean over windows. {SPEECH} {HEARD}"
)
P835 = (
    "The network for general, not personalised, enhancement; its raw output goes through the published polynomial per window."
)
PLUGIN = "The file is the user's and is named in the results' arguments."


def _dnsmos(name: str, label: str, what: str) -> Metric:
    text = f"DNSMOS P.835 (Reddy et al. 2022), {what}, without reference. {P835} {WINDOWS}"
    return Metric(f"dnsmos_{name}", f"DNSMOS {label}", MOS, "higher", text)


def _nisqa(name: str, what: str) -> Metric:
    text = f"NISQA v2 (Mittag et al. 2021), {what} (5 is best), without reference, at 16 kHz; up to 52 s. {HEARD} {PLUGIN}"
    return Metric(f"nisqa_{name}", f"NISQA {'MOS' if name == 'mos' else name}", MOS, "higher", text)


def _squim(name: str, label: str, unit: str) -> Metric:
    text = f"SQUIM objective (Kumar et al. 2023): {label} as estimated without reference, at 16 kHz. {HEARD} {PLUGIN}"
    return Metric(f"squim_{name}", f"SQUIM {label}", unit, "higher", text)


def _recognition(prefix: str, by: str, label: str, note: str) -> tuple[Metric, ...]:
    common = f"{by} {note} Edits by jiwer; {NORMALISATION}. {HEARD}"
    return (
        Metric(
            f"{prefix}wer", f"WER{label}", "errors per word", "lower",
            "Word error rate of the transcript against the clip's text: substitutions, deletions and insertions of all clips "
            f"over all words of the texts; not for scripts without spaces between words. {common}",
            weight=f"{prefix}words", digits=3,
        ),
        Metric(
            f"{prefix}cer", f"CER{label}", "errors per character", "lower",
            "Character error rate of the transcript against the clip's text, pooled over all characters; the space between "
            f"words is one. {common}",
            weight=f"{prefix}characters", digits=3,
        ),
        Metric(
            f"{prefix}dwer", f"dWER{label}", "errors per word", "lower",
            "Word error rate of the transcript of the decoded sound against the same recogniser's transcript of the original, "
            f"pooled over all words of the latter; 0 for the original itself. {common}",
            weight=f"{prefix}heard", digits=3,
        ),
    )  # fmt: skip


def _similarity(name: str, label: str, encoder: str) -> Metric:
    text = (
        f"Cosine between the speaker embeddings of original and decoded sound. {encoder} Read it on the scale of the "
        f"calibration: the mean cosine between two originals of one speaker, and of two. {HEARD}"
    )
    return Metric(name, label, "cosine", "higher", text, digits=3)


LEARNED: tuple[Family, ...] = (
    Family(
        "dnsmos", "mos",
        (
            _dnsmos("sig", "SIG", "quality of the speech itself"),
            _dnsmos("bak", "BAK", "quality of the background"),
            _dnsmos("ovrl", "OVRL", "overall quality"),
        ),
        opens="dnsmos:open_p835", packages=("speechmos", "onnxruntime"), intrusive=False,
    ),
    Family(
        "dnsmos_p808", "mos",
        (
            Metric(
                "dnsmos_p808", "DNSMOS P.808", MOS, "higher",
                "DNSMOS P.808 (Reddy et al. 2021), overall quality, without reference, from a mel spectrogram in dB of each "
                f"window's peak. {WINDOWS}",
            ),
        ),
        opens="dnsmos:open_p808", packages=("speechmos", "onnxruntime"), intrusive=False,
    ),
    Family(
        "plcmos", "mos",
        (
            Metric(
                "plcmos", "PLCMOS", MOS, "higher",
                "PLCMOS v2 (Diener et al. 2023), quality of concealed speech, without reference, 16 kHz, whole clip. Mean over "
                f"15 raters drawn from a normal distribution with seed 0 (the reference draws anew for each call). {SPEECH} "
                f"{HEARD}",
            ),
        ),
        opens="plcmos:open_plcmos", packages=("speechmos", "onnxruntime"), intrusive=False,
    ),
    Family(
        "utmos", "mos",
        (
            Metric(
                "utmos", "UTMOS", MOS, "higher",
                f"UTMOS22 strong (Saeki et al. 2022), naturalness, without reference, at 16 kHz, whole clip. {HEARD} {PLUGIN}",
            ),
        ),
        opens="mos_plugins:open_utmos", packages=("onnxruntime",), intrusive=False,
        checkpoint="an ONNX file of UTMOS22 strong: waveform float32 (1, T) at 16 kHz to one value",
    ),
    Family(
        "nisqa", "mos",
        (
            _nisqa("mos", "overall quality"),
            _nisqa("noisiness", "freedom from noise"),
            _nisqa("discontinuity", "freedom from gaps"),
            _nisqa("coloration", "freedom from colouring"),
            _nisqa("loudness", "fitness of the loudness"),
        ),
        opens="mos_plugins:open_nisqa", packages=("torch", "onnxruntime"), intrusive=False,
        checkpoint="the nisqa.tar of github.com/gabrielmittag/NISQA (weights CC BY-NC-SA 4.0), or an ONNX file of NISQA v2: "
        "waveform float32 (1, T) at 16 kHz to MOS, noisiness, discontinuity, coloration, loudness",
    ),
    Family(
        "squim", "mos",
        (_squim("stoi", "STOI", "0 to 1"), _squim("pesq", "PESQ", "MOS-LQO, 1 to 4.64"), _squim("si_sdr", "SI-SDR", "dB")),
        opens="mos_plugins:open_squim", packages=("onnxruntime",), intrusive=False,
        checkpoint="an ONNX file of torchaudio's SQUIM_OBJECTIVE: waveform float32 (1, T) at 16 kHz to STOI, PESQ, SI-SDR",
    ),
    Family(
        "pocketsphinx", "intelligibility",
        _recognition(
            "", "Recogniser: pocketsphinx with the US English model of its wheel, 16 kHz, default beams, the cepstral mean "
            "taken over the clip.", "", "English only: clips of another language have no value.",
        ),
        opens="recognition:open_pocketsphinx", packages=("pocketsphinx", "jiwer"), intrusive=False,
        weights=("words", "characters", "heard"),
    ),
    Family(
        "whisper", "intelligibility",
        _recognition(
            "whisper_", "Recogniser: the given Whisper checkpoint in float32, 16 kHz, greedy (one beam, no fallback to "
            "sampling), without timestamps up to 30 s and window by window with them above.", " (Whisper)",
            "Told the clip's language where it knows it, otherwise it finds the language out.",
        ),
        opens="recognition:open_whisper", packages=("transformers", "torch", "jiwer"), intrusive=False,
        checkpoint="a Whisper folder of transformers, with tokenizer and feature extractor",
        weights=("whisper_words", "whisper_characters", "whisper_heard"),
    ),
    Family(
        "ge2e", "speaker",
        (
            _similarity(
                "speaker_similarity", "Speaker sim.",
                "GE2E with the weights of resemblyzer, 16 kHz: raised to -30 dBFS RMS where quieter (louder sound is left as "
                "it is, and its level is heard), silence cut by WebRTC's voice detector (mode 3), mean over parts of 1.6 s, "
                "1.3 per second.",
            ),
        ),
        opens="speaker_similarity:open_ge2e", packages=("resemblyzer", "torch"),
    ),
    Family(
        "speaker_onnx", "speaker",
        (_similarity("speaker_onnx_similarity", "Speaker sim. (ONNX)", f"The given encoder, at 16 kHz, whole clip. {PLUGIN}"),),
        opens="speaker_similarity:open_onnx", packages=("onnxruntime",),
        checkpoint="an ONNX file of a speaker encoder: waveform float32 (1, T) at 16 kHz to an embedding (1, D)",
    ),
)  # fmt: skip
