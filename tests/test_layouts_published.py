"""Layouts beside what was published: examples of the systems' own, and what their functions gave, written out here."""

from __future__ import annotations

import numpy as np
import pytest

from voxzoo.corpus.layout import Utterance
from voxzoo.corpus.layout_tree import from_slots, slot_levels
from voxzoo.corpus.layout_turns import take_turns
from voxzoo.corpus.layouts import make_layout
from voxzoo.tokenizers._step_audio_ids import interleave

from layout_facts import SPIRIT, STEP, equal, tree  # isort: skip


def ids(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


FOUR = Utterance((ids(11, 12, 13), ids(21, 22, 23), ids(31, 32, 33), ids(41, 42, 43)))
X = 99  # the special id
DELAY = [[X, X, X, X], [11, X, X, X], [12, 21, X, X], [13, 22, 31, X], [X, 23, 32, 41], [X, X, 33, 42], [X, X, X, 43]]
START = [[X, X, X, X], [11, X, X, X], [12, X, X, X], [13, X, X, X]]
COARSE = [*START, [X, 21, X, X], [X, 22, 31, X], [X, 23, 32, 41], [X, X, 33, 42], [X, X, X, 43]]


@pytest.mark.parametrize(
    ("name", "options", "rows"),
    [
        ("delay", {}, DELAY),
        ("parallel", {"first": True}, [[X] * 4, [11, 21, 31, 41], [12, 22, 32, 42], [13, 23, 33, 43]]),
        ("coarse-first", {}, [*START, [X, 21, 31, 41], [X, 22, 32, 42], [X, 23, 33, 43]]),
        ("coarse-first", {"delays": "0,1,2"}, COARSE),
    ],
)
def test_patterns_of_audiocraft(name: str, options: dict[str, object], rows: list[list[int]]) -> None:
    """What `build_pattern_sequence` of its four providers gives."""
    assert make_layout(name, equal(4, 64), special=X, **options).pack(FOUR)["ids"].tolist() == rows


def test_the_special_of_musicgen_is_its_card() -> None:
    assert make_layout("delay", equal(4, 2048)).to_dict()["special"] == 2048


def test_slots_of_snac() -> None:
    """Mini-Omni's `reconstruct_tensors` of 0, 1, 2 ... in two frames, for 7 slots and for 15."""
    assert [level for level, _ in slot_levels(3)] == [0, 1, 2, 2, 1, 2, 2]
    assert [level for level, _ in slot_levels(4)] == [0, 1, 2, 3, 3, 2, 3, 3, 1, 2, 3, 3, 2, 3, 3]
    seven = [[0, 100], [1, 4, 101, 104], [2, 3, 5, 6, 102, 103, 105, 106]]
    two = np.arange(2)[:, None] * 100
    assert [stream.tolist() for stream in from_slots(np.arange(7) + two, 3)] == seven
    fifteen = [
        [0, 100], [1, 8, 101, 108], [2, 5, 9, 12, 102, 105, 109, 112],
        [3, 4, 6, 7, 10, 11, 13, 14, 103, 104, 106, 107, 110, 111, 113, 114],
    ]  # fmt: skip
    assert [stream.tolist() for stream in from_slots(np.arange(15) + two, 4)] == fifteen
    codes = Utterance(tuple(ids(*stream) for stream in seven))
    assert make_layout("snac", tree(3)).pack(codes)["ids"].tolist() == [*range(7), *range(100, 107)]


def test_mini_omni() -> None:
    """Slot j: j + 1 paddings, its codes, end of audio, paddings; id = code + 152000 + j * 4160. Text first, end, paddings."""
    codes = Utterance((ids(0, 100), ids(1, 4, 101, 104), ids(2, 3, 5, 6, 102, 103, 105, 106)), ids(7, 8, 9))
    plain = make_layout("mini-omni", tree(3), shift=False).pack(codes)["ids"]
    for j in range(7):
        assert plain[:, j].tolist() == [4097] * (j + 1) + [j, 100 + j, 4096] + [4097] * (6 - j)
    assert plain[:, 7].tolist() == [7, 8, 9, 151936, *[151937] * 6]
    shifted = make_layout("mini-omni", tree(3)).pack(codes)["ids"]
    assert (shifted - plain).tolist() == [[152000 + 4160 * j for j in range(7)] + [0]] * 10


def test_orpheus() -> None:
    """Position p of the speech is `<custom_token_k>`, id 128256 + k, k = 10 + code + (p % 7) * 4096."""
    codes = Utterance((ids(0, 5), ids(1, 2, 3, 4), ids(*range(8))), ids(128000, 42))
    packed = make_layout("orpheus", tree(3)).pack(codes)["ids"].tolist()
    assert packed[:7] == [128259, 128000, 42, 128009, 128260, 128261, 128257]
    assert packed[-2:] == [128258, 128262]
    numbers = [i - 128256 for i in packed[7:-2]]
    assert [k - 10 - (p % 7) * 4096 for p, k in enumerate(numbers)] == [0, 1, 0, 1, 2, 2, 3, 5, 3, 4, 5, 4, 6, 7]


def test_moshi() -> None:
    """17 channels, the seven acoustic ones of each side a step late, 2048 where there is nothing yet."""
    own = tuple(ids(10 * k, 10 * k + 1) for k in range(8))
    other = tuple(ids(1000 + k) for k in range(8))
    rows = make_layout("moshi", equal(8, 2048)).pack(Utterance(own, ids(500), other))["ids"]
    none, late = 2048, [10 * k for k in range(1, 8)]
    assert rows.shape == (3, 17)
    assert rows[0].tolist() == [500, 0, *[none] * 7, 1000, *[none] * 7]
    assert rows[1].tolist() == [3, 1, *late, none, *range(1001, 1008)]
    assert rows[2].tolist() == [3, none, *[x + 1 for x in late], *[none] * 8]
    first = make_layout("moshi", equal(8, 2048), first=True).pack(Utterance(own))["ids"]
    assert first[0].tolist() == [32000, *[2048] * 16]


def test_valle() -> None:
    packed = make_layout("valle", equal(4, 1024)).pack(Utterance(FOUR.codes, ids(1, 2)))
    assert packed["ids"].tolist() == [11, 12, 13, 1024]
    assert packed["nar_ids"].tolist() == [[21, 31, 41], [22, 32, 42], [23, 33, 43]]
    assert packed["text_ids"].tolist() == [1, 2]


def turns(packed: np.ndarray, border: int) -> str:
    """t and s for ids below and above a border, as "13t 26s"."""
    kinds = "".join("ts"[int(i >= border)] for i in packed)
    runs, last = [], 0
    for place in range(1, len(kinds) + 1):
        if place == len(kinds) or kinds[place] != kinds[last]:
            runs.append(f"{place - last}{kinds[last]}")
            last = place
    return " ".join(runs)


@pytest.mark.parametrize(
    ("text", "speech", "expected"),
    [
        (13, 26, "13t 26s"),
        (16, 60, "13t 26s 3t 34s"),
        (0, 30, "30s"),
        (30, 30, "13t 26s 13t 4s 4t"),
        (26, 52, "13t 26s 13t 26s"),
    ],
)
def test_glm_4_voice(text: int, speech: int, expected: str) -> None:
    """13 text ids followed by 26 of speech until text ends."""
    packed = make_layout("glm-4-voice", equal(1, 16384)).pack(Utterance((np.arange(speech),), np.arange(text)))["ids"]
    assert turns(packed, 152353) == expected
    assert packed.max() < 168960


IGNORE, FILL, END, SPEECH = -1, 6563, 6561, 151936


def speech(a: int, b: int) -> list[int]:
    return list(range(100 + a, 100 + b))


@pytest.mark.parametrize(
    ("text", "frames", "layout", "targets"),
    [
        (12, 50, ["sos", (0, 5), (0, 15), (5, 10), (15, 30), (10, 12), "task", (30, 50)],
         [*[IGNORE] * 5, *speech(0, 15), FILL, *[IGNORE] * 4, *speech(15, 30), FILL, *[IGNORE] * 2, *speech(30, 50), END]),
        (10, 31, ["sos", (0, 5), (0, 15), (5, 10), (15, 30), (10, 10), "task", (30, 31)],
         [*[IGNORE] * 5, *speech(0, 15), FILL, *[IGNORE] * 4, *speech(15, 30), FILL, *speech(30, 31), END]),
        (3, 4, ["sos", (0, 3), "task", (0, 4)], [*[IGNORE] * 4, *speech(0, 4), END]),
        (4, 13, ["sos", (0, 4), "task", (0, 13)], [*[IGNORE] * 5, *speech(0, 13), END]),
        (12, 30, ["sos", (0, 12), "task", (0, 30)], [*[IGNORE] * 13, *speech(0, 30), END]),
    ],
)  # fmt: skip
def test_cosyvoice(text: int, frames: int, layout: list[object], targets: list[int]) -> None:
    """What CosyVoice's `prepare_lm_input_target` gives when it chooses to stream."""
    wanted: list[int] = []
    after = False
    for part in layout:
        if isinstance(part, tuple):
            wanted += [SPEECH + 100 + i for i in range(*part)] if after else list(range(*part))
            after = not after
        else:
            wanted.append(SPEECH + {"sos": 6564, "task": 6565}[str(part)])
            after = part == "task"
    packed = make_layout("cosyvoice2", equal(1, 6561)).pack(Utterance((np.arange(100, 100 + frames),), np.arange(text)))
    assert packed["ids"].tolist() == wanted
    assert packed["targets"].tolist() == targets


def test_specials_of_cosyvoice_3() -> None:
    data = make_layout("cosyvoice3", equal(1, 6561)).to_dict()
    assert [data[key] for key in ("sos", "end", "task", "fill")] == [6561, 6562, 6563, 6564]


@pytest.mark.parametrize(("linguistic", "semantic"), [(0, 0), (2, 3), (5, 6), (4, 9), (9, 4), (17, 25)])
def test_step_audio(linguistic: int, semantic: int) -> None:
    first, second = np.arange(linguistic), np.arange(semantic) + 7
    packed = make_layout("step-audio", STEP).pack(Utterance((first, second)))["ids"].tolist()
    assert packed == interleave(first.tolist(), second.tolist(), rest=True)
    if (linguistic, semantic) == (5, 6):
        assert packed[:7] == [65536, 65537, 66567, 66568, 66569, 65538, 65539]


def test_omniflatten() -> None:
    """A chunk: 10 of the user's speech, 2 of the user's text, 2 of the assistant's text, 10 of the assistant's speech."""
    own, other = np.arange(100, 112), np.arange(3)
    pad, quiet, base = 151936 + 1025, 151936 + 1024, 151936
    packed = make_layout("omniflatten", equal(1)).pack(Utterance((own,), ids(7, 8, 9), (other,), ids(5)))["ids"].tolist()
    first = [*(base + other), *[quiet] * 7, 5, pad, 7, 8, *(base + own[:10])]
    assert packed == [*first, *[quiet] * 10, pad, pad, 9, pad, *(base + own[10:]), *[quiet] * 8]
    three = make_layout("omniflatten-3", equal(1)).pack(Utterance((own[:10],), ids(7), (other,)))["ids"].tolist()
    assert three == [*(base + other), *[quiet] * 7, 7, pad, *(base + own[:10])]
    two = make_layout("omniflatten-2", equal(1)).pack(Utterance((own[:10],), other=(other,)))["ids"].tolist()
    assert two == [*(base + other), *[quiet] * 7, *(base + own[:10])]


def test_minicpm_o() -> None:
    """<unit> heard, <|speak|> text <|chunk_eos|> speech </unit>; <|turn_eos|> in the last that speaks; then <|listen|>."""
    own, heard, base = np.arange(30), np.arange(500, 560), 151936
    packed = make_layout("minicpm-o", equal(1, 6561)).pack(Utterance((own,), ids(1, 2, 3), (heard,)))["ids"].tolist()
    assert packed == [
        151683, *(base + heard[:25]), 151706, 1, 151718, *(base + own[:25]), 151684,
        151683, *(base + heard[25:50]), 151706, 2, 3, 151717, 151718, *(base + own[25:]), 151684,
        151683, *(base + heard[50:]), 151705, 151684,
    ]  # fmt: skip


def test_csm() -> None:
    codes = tuple(ids(k, k + 40) for k in range(32))
    packed = make_layout("csm", equal(32, 2048)).pack(Utterance(codes, ids(128000, 58, 15)))
    assert packed["ids"].shape == (6, 33)
    assert packed["ids"][:3].tolist() == [[*[0] * 32, text] for text in (128000, 58, 15)]
    assert packed["ids"][3:].tolist() == [[*range(32), 0], [*range(40, 72), 0], [0] * 33]
    assert packed["mask"].tolist() == [[*[0] * 32, 1]] * 3 + [[*[1] * 32, 0]] * 3


def test_units_of_mhubert() -> None:
    """The start of LJ037-0171 on the card of voidful/mhubert-base."""
    start = "991,393,946,215,215,327,487,487,219,219,522,522,975,975,975,975,668,576,576,384,761,907,430,748,12,12,977,877"
    packed = make_layout("dedup", equal(1)).pack(Utterance((ids(*map(int, start.split(","))),)))
    units = [991, 393, 946, 215, 327, 487, 219, 522, 975, 668, 576, 384, 761, 907, 430, 748, 12, 977, 877]
    assert packed["ids"].tolist() == units
    assert packed["durations"].tolist() == [1, 1, 1, 2, 1, 2, 2, 2, 4, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1]
    ends = make_layout("dedup", equal(1, 1000), ends=True).pack(Utterance((ids(4, 4),)))["ids"].tolist()
    assert ends == [1000, 4, 1001]


def test_spirit_lm() -> None:
    """What Spirit LM's `units_to_string` makes of these units, behind the [Speech] that its prompts begin with."""
    units = ids(5, 5, 7, 7, 7, 1, 2, 2, 3, 3, 3, 3, 9, 9, 4, 4, 4, 8, 8, 8, 6, 6, 6, 6, 0, 0, 11, 11, 12)
    pitch = ids(3, 3, 4, 4, 4, 1, 2, 2, 2, 5, 5, 3, 3, 3)
    base = make_layout("spirit-lm", equal(1, 501)).pack(Utterance((units,)))["string"]
    assert base == "[Speech][Hu5][Hu7][Hu1][Hu2][Hu3][Hu9][Hu4][Hu8][Hu6][Hu0][Hu11][Hu12]"
    said = Utterance((units, pitch, ids(71, 83)), words="hi")
    expressive = "[St71][Pi3][Hu5][Hu7][Pi4][Hu1][Hu2][Hu3][Pi1][Pi2][Hu9][Hu4][Hu8][Pi5][Hu6][Pi3][Hu0][St83][Hu11][Hu12]"
    for order, string in (("text-speech", f"[Text]hi[Speech]{expressive}"), ("speech-text", f"[Speech]{expressive}[Text]hi")):
        assert make_layout("spirit-lm", SPIRIT, order=order).pack(said)["string"] == string


def test_turns() -> None:
    a, b = np.arange(5), np.arange(10, 16)
    assert take_turns(a, b, (2, 3)).tolist() == [0, 1, 10, 11, 12, 2, 3, 13, 14, 15, 4]
    assert take_turns(a[:1], b, (2, 3), whole=True).tolist() == [0, 10, 11, 12, 13, 14, 15]
