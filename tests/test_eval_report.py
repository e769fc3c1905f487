import base64
import hashlib
import json
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import browser, complaints, needs_browser, scheme, size
from report_results import HOSTILE, RTL, results, with_examples

import voxzoo
from voxzoo import Audio, VoxzooError
from voxzoo.eval.pictures import levels, scale_of, spectrogram
from voxzoo.eval.report import page, write_report
from voxzoo.eval.report_data import page_data, to_json

SPEECH = Path(voxzoo.__file__).parent / "bundled" / "demo" / "speech.wav"


class Parts(HTMLParser):
    """The elements of a page with their attributes, and the text of its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": []}
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside in self.texts:
            self.texts[self.inside].append(data)


def made_page(made: dict[str, Any], folder: Path) -> str:
    return page(page_data(made, folder))


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


# ---------------------------------------------------------------- without a browser


def test_nothing_is_loaded_and_only_our_script_may_run(tmp_path: Path) -> None:
    text = made_page(with_examples(results(), tmp_path, SPEECH, 1), tmp_path)
    parts = Parts(text)
    assert not re.search(r"""(?:src|href|action|data|poster)\s*=\s*["']?\s*(?:https?:)?//""", text, re.IGNORECASE)
    assert not re.search(
        r"url\(|@import|https?://|fetch\(|XMLHttpRequest|import\(", "".join(parts.texts["style"]) + parts.texts["script"][-1]
    )
    for tag, attributes in parts.elements:
        assert tag not in ("iframe", "object", "embed", "base")
        assert "src" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "#").startswith(("#", "data:,"))
    policy = next(a["content"] for tag, a in parts.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "http" not in policy
    for kind, content in (("script", parts.texts["script"][-1]), ("style", "".join(parts.texts["style"]))):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    text = made_page(results(), tmp_path)
    assert [tag for tag, _ in Parts(text).elements].count("script") == 2
    assert "<img" not in text
    data = data_of(text)
    assert HOSTILE in data["clips"][0]["id"]
    assert data["clips"][1]["id"] == RTL
    assert data["about"]["machine"] == f"2 cores {HOSTILE}"
    made = results(1)
    made["about"]["machine"] = "{{style}} {{data}}"
    assert data_of(made_page(made, tmp_path))["about"]["machine"] == "{{style}} {{data}}"


def test_columns_hold_every_value(tmp_path: Path) -> None:
    made = results()
    data = page_data(made, tmp_path)
    for k, metric in enumerate(made["metrics"]):
        for j, entry in enumerate(made["entries"]):
            for i, clip in enumerate(made["clips"]):
                value, shown = clip["values"][entry["label"]].get(metric["name"]), data["values"][k][j][i]
                assert (shown is None) == (value is None)
                assert value is None or shown == pytest.approx(value, rel=1e-6)
    assert len(data["reasons"]) == 5
    assert data["reasons"][0] == [2, 1, 0, f"no utterance found {HOSTILE}"]


def test_what_is_no_number_is_null(tmp_path: Path) -> None:
    made = results(2)
    values = made["clips"][0]["values"]["gsm"]
    values["pesq_wb"], values["stoi"], values["wer"] = float("nan"), float("inf"), [1.0, 2.0]
    made["entries"][1]["summary"]["stoi"]["mean"] = float("nan")
    data = data_of(made_page(made, tmp_path))
    assert [data["values"][k][5][0] for k in (0, 1, 5)] == [None, None, None]
    assert data["entries"][1]["summary"]["stoi"]["mean"] is None
    assert to_json({"a": [float("-inf"), "<"]}) == '{"a":[null,"\\u003c"]}'


def test_names_that_are_no_utf8_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxzoo.eval.report.write_plots", lambda results, folder: [])
    made = results(2)
    made["clips"][0]["id"] = "x\udc80"
    write_report(made, tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert data_of(text)["clips"][0]["id"] == "x\udc80"


def test_only_the_listed_examples_are_embedded_and_a_lost_file_is_said(tmp_path: Path) -> None:
    made = with_examples(results(), tmp_path, SPEECH, 2)
    (tmp_path / made["examples"][0]["decoded"]["gsm"]).unlink()
    (tmp_path / made["examples"][1]["decoded"]["gsm"]).write_bytes(b"no sound")
    data = page_data(made, tmp_path)
    assert [example["id"] for example in data["examples"]] == [clip["id"] for clip in made["clips"][:2]]
    tracks = data["examples"][0]["tracks"]
    assert [track["label"] for track in tracks] == [entry["label"] for entry in made["entries"]]
    assert base64.b64decode(tracks[0]["audio"]) == (tmp_path / made["examples"][0]["original"]).read_bytes()
    assert base64.b64decode(tracks[1]["picture"])[:8] == b"\x89PNG\r\n\x1a\n"
    for example in data["examples"]:
        assert example["tracks"][-1]["audio"] is None
        assert "gsm" in example["tracks"][-1]["problem"]
    page(data)


def test_no_folder_of_the_machine_is_told(tmp_path: Path) -> None:
    made = with_examples(results(3), tmp_path / "run", SPEECH, 1)
    made["about"]["source"]["path"] = "/mnt/someone/sound/dev/manifest.jsonl"
    made["about"]["arguments"] = {"weights": {"m": "/mnt/someone/models/m"}, "checkpoints": {"utmos": "/opt/else/w/u.pt"}}
    made["rejected"] = [{"id": "a", "path": "/mnt/someone/sound/dev/a.wav", "reason": "'/mnt/someone/sound/dev/a.wav' ends"}]
    made["clips"][0]["reasons"]["gsm"] = {"stoi": "/mnt/someone/models/m/x failed"}
    (tmp_path / "run" / made["examples"][0]["decoded"]["gsm"]).unlink()
    text = made_page(made, tmp_path / "run")
    for place in ("/mnt", "someone", "/opt", str(tmp_path)):
        assert place not in text
    data = data_of(text)
    assert data["about"]["source"]["path"] == "dev/manifest.jsonl"
    assert data["about"]["arguments"] == {"weights": {"m": "models/m"}, "checkpoints": {"utmos": "w/u.pt"}}
    assert data["rejected"] == [{"id": "a", "path": "dev/a.wav", "reason": "'dev/a.wav' ends"}]
    assert made["about"]["source"]["path"].startswith("/mnt")  # the results themselves stay as they are


@pytest.mark.slow
def test_five_examples_of_eight_entries_stay_small(tmp_path: Path) -> None:
    made = with_examples(results(5, entries=9), tmp_path, SPEECH, 5, seconds=6.0)
    sound = sum(path.stat().st_size for path in tmp_path.rglob("*.flac"))
    assert len(made_page(made, tmp_path)) < 1.4 * sound + 3_000_000


def test_other_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VoxzooError, match=r"have format 'other/2'; a report is made of 'voxzoo.bench/1'"):
        write_report({**results(1), "format": "other/2"}, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_twenty_entries_of_a_thousand_clips(tmp_path: Path) -> None:
    text = made_page(results(1000, entries=20), tmp_path)
    assert len(text) < 6_000_000


# ---------------------------------------------------------------- in the browser


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A browser with the report of 12 clips and two examples of six seconds."""
    folder = tmp_path_factory.mktemp("report")
    made = with_examples(results(), folder, SPEECH, seconds=6.0)
    (folder / "report.html").write_text(made_page(made, folder))
    with browser(folder / "profile") as driver:
        driver.get((folder / "report.html").as_uri())
        driver.made, driver.folder = made, folder
        yield driver


def js(driver: Any, code: str, *arguments: Any) -> Any:
    return driver.execute_script(f"return {code}", *arguments)


def column(driver: Any, name: str) -> list[float | None]:
    """Values of a column of the results, top to bottom."""
    number = [metric["name"] for metric in driver.made["metrics"]].index(name)
    cells = js(
        driver, f"[...document.querySelectorAll('.results tbody tr')].map(r => r.cells[{number + 1}].dataset.value ?? null)"
    )
    return [None if cell is None else float(cell) for cell in cells]


def header(driver: Any, name: str) -> Any:
    number = [metric["name"] for metric in driver.made["metrics"]].index(name)
    return driver.find_elements("css selector", ".results th[aria-sort]")[number + 1]


def until(driver: Any, code: str, seconds: float = 8.0) -> None:
    end = time.monotonic() + seconds
    while not js(driver, code):
        assert time.monotonic() < end, f"never came true: {code}"
        time.sleep(0.05)


@needs_browser
def test_the_page_shows_everything_without_complaint(shown: Any) -> None:
    assert complaints(shown) == []
    assert shown.title == "Codec benchmark | Voxzoo"
    assert js(shown, "document.querySelectorAll('.results tbody tr').length") == 6
    assert js(shown, "document.querySelectorAll('#curves .mark[tabindex]').length") == 5
    assert js(shown, "document.querySelectorAll('#scatter .dot').length") == 11  # one of 12 has no PESQ
    assert js(shown, "document.querySelectorAll('.example img').length") == 12
    assert js(shown, "[...document.querySelectorAll('.example img')].every(i => i.complete && i.naturalWidth == 600)")
    assert js(shown, "document.querySelectorAll('canvas.strip').length") == 4
    assert js(shown, "document.querySelectorAll('#tokens .chart path').length") == 6
    assert js(shown, "document.querySelectorAll('#definitions dt').length") >= 8
    assert js(shown, "document.querySelectorAll('img[onerror], script').length") == 2
    assert HOSTILE in js(shown, "document.querySelector('.example h3').textContent")
    text = js(shown, "document.body.innerText")
    assert "[object" not in text
    assert "undefined" not in text
    assert "NaN" not in text


@needs_browser
def test_headers_sort_with_mouse_and_keyboard_and_missing_is_last(shown: Any) -> None:
    head = header(shown, "pesq_wb")
    head.find_element("tag name", "button").click()
    values = column(shown, "pesq_wb")
    assert head.get_attribute("aria-sort") == "descending"
    assert values[-1] is None
    assert values[:-1] == sorted((v for v in values if v is not None), reverse=True)
    head.find_element("tag name", "button").send_keys("\ue007")  # Enter
    values = column(shown, "pesq_wb")
    assert head.get_attribute("aria-sort") == "ascending"
    assert values[-1] is None
    assert values[:-1] == sorted(v for v in values if v is not None)
    header(shown, "wer").find_element("tag name", "button").click()  # lower is better: the best comes first
    values = column(shown, "wer")
    assert values == sorted(v for v in values if v is not None)
    assert head.get_attribute("aria-sort") == "none"


@needs_browser
@pytest.mark.slow
def test_groups_are_hidden_and_shown(shown: Any) -> None:
    count = "[...document.querySelectorAll('.results thead tr:last-child th')].filter(h => h.offsetParent).length"
    chip = shown.find_element("css selector", "#results .chip input")
    assert js(shown, count) == 9
    chip.click()
    assert js(shown, count) == 5
    chip.send_keys(" ")
    assert js(shown, count) == 9
    intervals = shown.find_elements("css selector", "#results .chip input")[-1]
    intervals.click()
    assert js(shown, "[...document.querySelectorAll('.interval')].every(e => !e.offsetParent)")
    intervals.click()


@needs_browser
@pytest.mark.slow
def test_missing_values_say_why_on_focus(shown: Any) -> None:
    shown.execute_script("document.querySelector('.missing').focus()")
    tip = shown.find_element("id", "tip")
    assert tip.is_displayed()
    assert tip.text == f"1 \u00d7 no utterance found {HOSTILE}"
    shown.switch_to.active_element.send_keys("\ue00c")  # Escape
    assert not tip.is_displayed()


def pick(driver: Any, section: str, number: int, value: str) -> None:
    find = f"const s = document.querySelectorAll('#{section} select')[{number}];"
    driver.execute_script(find + "s.value = arguments[0]; s.dispatchEvent(new Event('change'))", value)


@needs_browser
@pytest.mark.slow
def test_curves_follow_the_choices(shown: Any) -> None:
    def marks() -> list[list[float]]:
        found: list[list[float]] = js(
            shown, "[...document.querySelectorAll('#curves .chart .mark')].map(m => [m.getBBox().x, m.getBBox().y])"
        )
        return found

    first = marks()
    pick(shown, "curves", 0, "wer")
    second = marks()
    assert [x for x, _ in first] == [x for x, _ in second]
    assert [y for _, y in first] != [y for _, y in second]
    assert "WER" in js(shown, "document.querySelector('#curves .axes').textContent")
    assert js(shown, "document.querySelectorAll('#curves .reference').length") == 1  # the original's own WER
    pick(shown, "curves", 1, "tokens entropy")
    assert len(marks()) == 2  # models only
    pick(shown, "curves", 1, "metric file_rate")
    assert len(marks()) == 5


TICKS = """[...document.querySelectorAll('#curves .axes text:not(.axis)')].map(
t => [t.textContent, t.getAttribute('text-anchor'), +t.getAttribute('x'), +t.getAttribute('y')])"""
MARKS = """[...document.querySelectorAll('#curves .chart .mark')].map(m => [m, m.getBBox()]).map(
([m, b]) => [m.getAttribute('aria-label').split('\\n')[0], b.x + b.width / 2, b.y + b.height / 2])"""


@needs_browser
@pytest.mark.slow
def test_rates_stand_where_they_should(shown: Any) -> None:
    """A point's place is that of its rate and score, by the ticks of the axes."""
    pick(shown, "curves", 0, "stoi")
    pick(shown, "curves", 1, "nominal")
    ticks = js(shown, TICKS)
    across = {float(text): x for text, anchor, x, _ in ticks if anchor == "middle"}
    up = {float(text): y - 4 for text, anchor, _, y in ticks if anchor == "end"}
    by_label = {entry["label"]: entry for entry in shown.made["entries"]}
    marks = js(shown, MARKS)
    for label, x, y in marks:
        entry = by_label[label]
        kilobits, stoi = entry["bitrate"] / 1000, entry["summary"]["stoi"]["mean"]
        assert x == pytest.approx(
            np.interp(np.log(kilobits), np.log(sorted(across)), sorted(across.values()), left=x, right=x), abs=2
        )
        low, high = min(up), max(up)
        assert y == pytest.approx(up[low] + (stoi - low) / (high - low) * (up[high] - up[low]), abs=2)


@needs_browser
@pytest.mark.slow
def test_scatter_names_its_clips_and_its_test(shown: Any) -> None:
    pick(shown, "scatter", 0, "stoi")
    facts = shown.find_element("css selector", "#scatter .facts").text
    test = next(t for t in shown.made["tests"] if (t["a"], t["b"]) == ("vox-rvq-16k:2", "vox-rvq-16k:8"))
    assert f"+{-test['difference']:.4f}" in facts  # the second choice minus the first
    assert "p = 0.012, 12 clips" in facts
    pick(shown, "scatter", 1, "opus:6")
    assert "vox-rvq-16k:8 \u2212 opus:6" in shown.find_element("css selector", "#scatter .facts").text
    shown.execute_script("document.querySelector('#scatter svg').focus()")
    shown.switch_to.active_element.send_keys("\ue014")  # right
    tip = shown.find_element("id", "tip").text
    assert tip.splitlines()[0] in [clip["id"] for clip in shown.made["clips"]] or HOSTILE in tip or RTL in tip
    pick(shown, "scatter", 2, "opus:6")
    assert "Choose two different" in shown.find_element("css selector", "#scatter .facts").text


@needs_browser
def test_players_play_and_switch_at_the_same_position(shown: Any) -> None:
    assert js(shown, "document.querySelectorAll('audio').length") == 0  # nothing is decoded before it is asked for
    play = shown.find_element("css selector", ".example .play")
    play.click()
    until(shown, "document.querySelector('audio') && document.querySelector('audio').currentTime > 0.3")
    assert js(shown, "document.querySelector('audio').duration") == pytest.approx(6.0, abs=0.01)
    before, began = js(shown, "document.querySelector('audio').currentTime"), time.monotonic()
    shown.find_elements("css selector", ".example input[type=radio]")[2].click()
    until(shown, "document.querySelectorAll('audio').length == 2 && !document.querySelectorAll('audio')[1].paused")
    first, second = js(shown, "[...document.querySelectorAll('audio')].map(a => [a.dataset.track, a.paused, a.currentTime])")
    assert (first[0], first[1]) == ("original", True)
    assert (second[0], second[1]) == ("vox-rvq-16k:8", False)
    assert before - 0.05 <= second[2] <= before + time.monotonic() - began + 0.05
    play.click()
    until(shown, "[...document.querySelectorAll('audio')].every(a => a.paused)")
    others = shown.find_elements("css selector", ".example .play")
    play.click()
    others[1].click()  # one player at a time
    until(shown, "[...document.querySelectorAll('audio')].filter(a => !a.paused).length == 1")
    seek = "const s = document.querySelectorAll('.transport input')[1]; s.value = 5.8; s.dispatchEvent(new Event('input'))"
    shown.execute_script(seek)
    until(shown, "[...document.querySelectorAll('audio')].every(a => a.paused)")  # it ends
    assert others[1].get_attribute("aria-label") == "Play"
    assert complaints(shown) == []


@needs_browser
@pytest.mark.slow
def test_a_spectrogram_seeks(shown: Any) -> None:
    picture = shown.find_elements("css selector", ".example .picture")[3]
    shown.execute_script("arguments[0].scrollIntoView({block: 'center'})", picture)
    picture.click()  # in the middle
    assert float(js(shown, "document.querySelector('.transport input').value")) == pytest.approx(3.0, abs=0.02)
    assert js(shown, "document.querySelectorAll('.example input[type=radio]')[3].checked")
    assert js(shown, "document.querySelector('.playhead').style.left") == "50%" or js(
        shown, "Math.abs(parseFloat(document.querySelector('.playhead').style.left) - 50) < 1"
    )


@needs_browser
@pytest.mark.slow
def test_the_difference_is_that_of_the_levels(shown: Any) -> None:
    shown.find_element("css selector", "#examples .chip input").click()
    until(shown, "[...document.querySelectorAll('canvas.difference')].every(c => c.fillIn === null && c.width == 600)")
    assert complaints(shown) == []
    read = (
        "(c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data])(document.querySelector('canvas.difference'))"
    )
    until(shown, f"{read}[3] == 255")
    drawn = np.array(js(shown, read)).reshape(128, 600, 4)[..., :3]
    example = shown.made["examples"][0]
    pictures = [
        spectrogram(Audio.read(shown.folder / path)) for path in (example["original"], example["decoded"]["vox-rvq-16k:2"])
    ]
    every = [spectrogram(Audio.read(path)) for path in shown.folder.rglob("*.flac")]
    original, decoded = (levels(picture, scale_of(every)).astype(int) for picture in pictures)
    share = np.clip((decoded - original) * 80 / 64 / 30, -1, 1)[..., None]
    wanted = 247 + (np.where(share > 0, [178, 24, 43], [33, 102, 172]) - 247) * abs(share)
    assert abs(drawn - wanted).max() <= 0.51
    shown.find_element("css selector", "#examples .chip input").click()
    complaints(shown)  # of this test's own reading back


@needs_browser
@pytest.mark.slow
def test_tokens_of_each_entry(shown: Any) -> None:
    pick(shown, "tokens", 0, "vox-rvq-16k:8")
    assert js(shown, "document.querySelectorAll('#tokens .chart path').length") == 24
    assert "Gini 0.39 to 0.60" in shown.find_element("id", "tokens").text
    rows = js(shown, "document.querySelectorAll('#tokens .scroller')[1].querySelectorAll('tbody tr').length")
    assert rows == 8


@needs_browser
@pytest.mark.slow
def test_the_results_are_saved_again(shown: Any, tmp_path: Path) -> None:
    shown.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
    shown.execute_script("document.querySelector('.download').click()")
    path, end = tmp_path / "results.json", time.monotonic() + 8
    while not (path.exists() and path.stat().st_size and not list(tmp_path.glob("*.crdownload"))):
        assert time.monotonic() < end
        time.sleep(0.05)
    saved, made = json.loads(path.read_text()), shown.made
    for key in ("format", "about", "metrics", "entries", "tests", "calibration"):
        assert saved[key] == made[key]
    assert [clip["id"] for clip in saved["clips"]] == [clip["id"] for clip in made["clips"]]
    assert saved["clips"][2]["reasons"] == made["clips"][2]["reasons"]
    assert saved["clips"][3]["values"]["gsm"]["stoi"] == pytest.approx(made["clips"][3]["values"]["gsm"]["stoi"], rel=1e-6)


@needs_browser
def test_it_fits_a_phone_in_both_schemes(shown: Any) -> None:
    size(shown, 390, 844)
    until(shown, "document.querySelector('#curves svg').clientWidth < 390")
    for name in ("dark", "light"):
        scheme(shown, name)
        assert js(shown, "document.documentElement.scrollWidth") == 390
    assert js(shown, "document.querySelector('#results .scroller').scrollWidth") > 390  # it scrolls inside its box
    texts = (
        "[...document.querySelectorAll('body *')].filter(e => !e.childElementCount && e.textContent.trim() && e.offsetParent)"
    )
    assert js(shown, f"Math.min(...{texts}.map(e => parseFloat(getComputedStyle(e).fontSize)))") >= 11
    size(shown, 1280, 900)
    assert complaints(shown) == []


CONTRAST = """
(() => { const lin = c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const rgb = t => t.match(/[\\d.]+/g).map(Number);
const lum = t => { const [r, g, b] = rgb(t).slice(0, 3).map(v => lin(v / 255)); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const clear = e => /, 0\\)$/.test(getComputedStyle(e).backgroundColor);
const ground = e => { while (clear(e)) e = e.parentElement; return getComputedStyle(e).backgroundColor; };
const found = [];
for (const e of document.querySelectorAll('main *, header *')) {
  if (![...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim()) || !e.getClientRects().length) continue;
  const s = getComputedStyle(e), ink = e.namespaceURI.endsWith('svg') ? s.fill : s.color;
  const [a, b] = [lum(ink), lum(ground(e))].sort((x, y) => y - x), ratio = (a + 0.05) / (b + 0.05);
  if (ratio < 4.5) found.push([e.tagName, e.className.baseVal ?? e.className, e.textContent.slice(0, 20), ratio]);
} return found; })()
"""


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("name", ["light", "dark"])
def test_text_stands_out_from_its_ground(shown: Any, name: str) -> None:
    """At least 4.5 to 1, as WCAG AA asks."""
    scheme(shown, name)
    try:
        assert js(shown, CONTRAST.strip()) == []
    finally:
        scheme(shown, "light")


def poor(kind: str) -> dict[str, Any]:
    made = results(1 if kind == "one clip" else 4)
    if kind == "one entry":
        made = results(4, entries=2)
    if kind == "nothing":
        made = {**results(0, entries=1, tokens=False), "calibration": {}}
        made["about"]["seconds"] = 0.0
    if kind == "no metrics":
        made["metrics"], made["tests"], made["calibration"] = [], [], None
        for entry in made["entries"]:
            entry["summary"], entry["tokens"], entry["facts"] = {}, None, None
    if kind == "rejected":
        made["rejected"] = [{"id": HOSTILE, "path": "x.wav", "reason": "no samples"}]
        made["tests"] = [{**test, "difference": None, "low": None, "high": None, "p": None} for test in made["tests"]]
        made["calibration"] = {"speaker_similarity": {"same": None, "different": None, "pairs": [0, 0]}}
        made["entries"][1]["tokens"]["rates"]["ngram"] = {"missing": "held-out n-grams need at least two clips"}
    return made


@needs_browser
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["one clip", "one entry", "nothing", "no metrics", "rejected"])
def test_poor_results_show_too(shown: Any, tmp_path: Path, kind: str) -> None:
    (tmp_path / "report.html").write_text(made_page(poor(kind), tmp_path))
    before = shown.current_url
    shown.get((tmp_path / "report.html").as_uri())
    try:
        assert complaints(shown) == []
        assert js(shown, "document.querySelectorAll('#run dl').length") == 1
        assert not re.search(r"\[object|undefined|NaN", js(shown, "document.querySelector('main').innerText"))
        shown.execute_script(
            "for (const s of document.querySelectorAll('select')) for (const o of s.options) {"
            "s.value = o.value; s.dispatchEvent(new Event('change')) }"
        )
        assert complaints(shown) == []
    finally:
        shown.get(before)


@needs_browser
@pytest.mark.slow
def test_a_large_report_opens_fast(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(made_page(results(1000, entries=20), tmp_path))
    with browser(tmp_path / "profile") as driver:
        driver.get((tmp_path / "report.html").as_uri())
        assert complaints(driver) == []
        assert js(driver, "document.querySelectorAll('#scatter .dot').length") == 999
        print("ready after", js(driver, "performance.timing.domComplete - performance.timing.navigationStart"), "ms")
