import re
from html.parser import HTMLParser

from dashboards.report import front_html
from dashboards.summary import cards, columns, footnote, front_rows
from search.objectives.mark import RuntimeMark
from tests.dashboards.frames import ACCURACY, bleu_sweep, bleu_trials, sweep, trials

SHOWN = trials(
    {
        "packed_bytes": 1_000,
        "validation_accuracy": 0.90,
        "accuracy": 0.89,
        "front": True,
        "compression_ratio": 400.0,
    },
    {"packed_bytes": 4_000, "validation_accuracy": 0.975, "accuracy": 0.96, "front": True, "name": "best"},
    {"packed_bytes": 9_000, "validation_accuracy": 0.80, "name": "dominated"},
    {
        "state": "failed",
        "reason": "FloatingPointError: loss is nan",
        "validation_accuracy": None,
        "name": "diverged",
    },
)


class Page(HTMLParser):
    """What a browser would see: elements with attributes, and text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.rows = 0
        self._inside = ""
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.words.append(data)


def test_the_page_loads_nothing_and_says_so() -> None:
    page = front_html(SHOWN, sweep())
    seen = Page(page)
    for tag, attributes in seen.elements:
        assert not {"src", "href", "srcset", "data", "action"} & attributes.keys(), (tag, attributes)
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in seen.elements}
    [policy] = [
        a["content"] or "" for _, a in seen.elements if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert not re.search(
        r"@import|url\(\s*['\"]?http", "".join(re.findall(r"<style>(.*?)</style>", page, re.S))
    )
    assert "Plotly.newPlot" in page
    call = page[page.rindex("Plotly.newPlot") :].replace(" ", "")
    assert '"showSendToCloud":false' in call
    assert len(page.encode()) < 6_000_000


def test_the_page_tells_the_sweep() -> None:
    text = Page(front_html(SHOWN, sweep())).text
    for part in ("digits-1", "Study digits", "2 January 2026, 03:04 UTC", "3 min 20 s"):
        assert part in text
    for part in ("97.00 %", "400 kB", "2 students", "3 finished, 1 failed"):
        assert part in text
    assert (
        "diverged : FloatingPointError: loss is nan" in text
        or "diverged: FloatingPointError: loss is nan" in text
    )


def test_the_table_holds_the_front_with_the_command_to_take_each() -> None:
    seen = Page(front_html(SHOWN, sweep()))
    for i in (0, 1):
        assert f"rayduce export {i:032x} student.rdz" in seen.text
    assert f"{2:032x}" not in seen.text
    assert len(re.findall("<tr>", front_html(SHOWN, sweep()).partition("<h2>The front</h2>")[2])) == 3


def shipping(page: str) -> str:
    """The panel that says what to ship."""
    return page.partition("<h2>What do I ship?</h2>")[2].partition("</section>")[0]


def test_the_page_says_what_to_ship_within_the_limits_of_the_sweep() -> None:
    text = Page(shipping(front_html(SHOWN, sweep(), " --store 'my store'"))).text
    assert text.startswith("4 kB best Test accuracy 96.00 %")
    assert "The smallest of at most 1 point lost, chosen on validation, as measured." in text
    assert f"rayduce export {1:032x}"[:23] + " student.rdz --store 'my store' Copy" in text
    small = sweep(params={"limits.packed_bytes": "2000"})
    found = Page(shipping(front_html(SHOWN, small))).text
    assert found.startswith("1 kB") and "The best of at most 2 kB packed size" in found
    assert "The smallest for other losses, at most 2 kB packed size" in found
    none = Page(shipping(front_html(SHOWN, sweep(params={"limits.packed_bytes": "500"})))).text
    assert none.startswith("No student fits; the nearest is qd-4bit") and "at most 500 B packed size" in none


def test_the_page_answers_for_other_losses_too() -> None:
    """Of a teacher of 98 %: 90 % loses 8 points, 97.5 % half a point."""
    frame = SHOWN.assign(name=["small", "best", "dominated", "diverged"])
    found = dict(_answers(shipping(front_html(frame, sweep()))))
    assert found["0.5 points"] == found["1 point"] == ["best", "4 kB", "0.50", ""]
    assert found["5 points"] == ["best", "4 kB", "0.50", ""]
    assert found["any: the best"] == ["best", "4 kB", "0.50", ""]
    worse = frame.assign(validation_accuracy=frame["validation_accuracy"] - 0.01)
    found = dict(_answers(shipping(front_html(worse, sweep()))))
    assert found["1 point"] == ["none", "", "", ""] and found["2 points"] == ["best", "4 kB", "1.50", ""]


def _answers(panel: str) -> list[tuple[str, list[str]]]:
    rows = re.findall("<tr><td.*?</tr>", panel)
    cells = [re.findall("<td[^>]*>(.*?)</td>", row) for row in rows]
    return [(first, others) for first, *others in cells]


def test_strings_from_the_store_are_text() -> None:
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&amp;'\""
    frame = trials(
        {"name": hostile, "method": hostile, "front": True, "accuracy": 0.9},
        {"name": hostile, "state": "failed", "reason": hostile},
    )
    page = front_html(frame, sweep(name=hostile, study=hostile))
    seen = Page(page)
    assert "img" not in {tag for tag, _ in seen.elements}
    assert "<script>alert" not in page
    assert "onerror" not in {name for _, attributes in seen.elements for name in attributes}
    assert seen.text.count(hostile) >= 4


def test_nothing_measured_still_makes_a_page() -> None:
    for frame in (trials(), trials({"state": "running", "validation_accuracy": None, "packed_bytes": None})):
        text = Page(front_html(frame, sweep(metrics={}, seconds=float("nan")))).text
        assert "No trial has finished yet." in text
        assert "not measured yet" in text
        assert "nan" not in text.lower().replace("finance", "")


TRANSLATORS = bleu_trials(
    {"packed_bytes": 1_000, "validation_bleu": 30.0, "bleu": 29.0, "front": True},
    {"packed_bytes": 4_000, "validation_bleu": 35.0, "bleu": 34.25, "front": True, "name": "best"},
    {"packed_bytes": 9_000, "validation_bleu": 12.0, "name": "dominated"},
)


def test_a_page_of_translators_speaks_of_bleu() -> None:
    page = front_html(TRANSLATORS, bleu_sweep())
    text = Page(page).text
    for part in ("Validation BLEU", "Test BLEU", "test BLEU, 400 kB", "35.00", "34.25", "2 students"):
        assert part in text
    assert "a beam on test. nrefs:1|case:mixed|tok:13a." in text, "without it the number means nothing"
    assert "accuracy" not in text
    beside = text.replace("29 %", "").replace("95 % sure", "")
    assert "%" not in beside, "only the sparsity is a share"
    assert "Validation BLEU" in page[page.rindex("Plotly.newPlot") :]


def test_a_point_of_bleu_is_one_bleu() -> None:
    by_label = {card.label: card for card in cards(TRANSLATORS, bleu_sweep())}
    assert by_label["Teacher, full precision"].value == "35.00"
    best = by_label["Smallest within 1 point on validation"]
    assert best.note == "4 kB, validation: 1.00 points lost"
    rows = front_rows(TRANSLATORS, bleu_sweep())
    assert [row["loss"] for row in rows] == ["6.00", "0.75"]
    assert [(row["validation"], row["test"]) for row in rows] == [("30.00", "29.00"), ("35.00", "34.25")]


def test_the_second_card_is_the_smallest_student_within_a_point() -> None:
    by_label = {card.label: card for card in cards(SHOWN, sweep())}
    best = by_label["Smallest within 1 point on validation"]
    assert best.value == "100x smaller"
    assert best.note == "4 kB, validation: 0.50 points lost", "of the split that its label names"
    none = {card.label: card for card in cards(SHOWN.iloc[:1], sweep())}
    assert none["Smallest within 1 point on validation"].note == "none so far"


def test_a_front_of_several_architectures_says_which_is_on_it_at_which_size() -> None:
    told = "Along the front: GhostNet up to 1 kB, then ResNet up to 4 kB"
    several = SHOWN.iloc[::-1].assign(model=["ResNet", "ResNet", "ResNet", "GhostNet"])
    (card,) = (card for card in cards(several, sweep()) if card.label == "On the front")
    assert card.note.endswith(f". {told}") and told in front_html(several, sweep())
    for frame in (SHOWN, several.assign(model="ResNet")):
        assert not any("Along" in card.note for card in cards(frame, sweep()))
    by_onnx = sweep(params={"size": "onnx_bytes"}, metrics={**sweep().metrics, "teacher_onnx_bytes": 8e5})
    swapped = several.assign(onnx_bytes=[9_000, 9_000, 2_000, 8_000])
    assert any("ResNet up to 2 kB, then GhostNet up to 8 kB" in card.note for card in cards(swapped, by_onnx))


def test_the_front_is_told_by_what_its_sweep_was_asked_to_keep_low() -> None:
    params = {"size": "onnx_bytes", "minimized": "macs"}
    of = sweep(params=params, metrics={**sweep().metrics, "teacher_onnx_bytes": 800_000.0})
    frame = SHOWN.assign(onnx_bytes=[8_000, 2_000, *[9_000] * (len(SHOWN) - 2)])
    rows = front_rows(frame, of)
    assert [row["onnx_bytes"] for row in rows] == sorted((row["onnx_bytes"] for row in rows), key=_kilobytes)
    assert all(row["macs"] == "12,000" for row in rows)
    titles = [column.title for column in columns(ACCURACY, of.asked)]
    assert titles[-3:] == ["ONNX size", "Multiply-adds", "Take it away"]
    page = front_html(frame, of)
    assert '<th class="">ONNX size</th>' in page and "12,000" in page
    assert "The front is of accuracy and ONNX size, multiply-adds: on two axes alone" in page
    assert "on two axes alone" not in front_html(frame, sweep())
    best = next(card for card in cards(frame, of) if card.label.startswith("Smallest within"))
    assert best.value.endswith("smaller") and "kB" in best.note


def _kilobytes(text: str) -> float:
    return float(text.split()[0])


def test_rows_of_the_table_are_sorted_by_size_and_full_of_text() -> None:
    rows = front_rows(SHOWN.iloc[::-1], sweep())
    assert [row["size"] for row in rows] == ["1 kB", "4 kB"]
    assert rows[1]["loss"] == "1.00"
    assert rows[1]["latency"] == "0.250"
    assert all(row[column.key] for row in rows for column in columns(ACCURACY))


def test_the_footnote_says_what_onnx_runtime_makes_of_the_teacher() -> None:
    values = {"onnx_bytes": 120_000.0, "accuracy": 0.96, "latency_ms": 0.05}
    found = footnote(sweep(mark=RuntimeMark("static", values=values)))
    assert "ONNX Runtime's own int8 of the teacher: 120 kB ONNX, 96.00 % accuracy, 0.050 ms." in found
    assert "ONNX Runtime's own" not in footnote(sweep())
    hostile = sweep(mark=RuntimeMark(reason="<script>alert(1)</script>", values={"latency_ms": 1e300}))
    page = front_html(trials({"front": True}), hostile)
    assert "none: &lt;script&gt;alert" in page and "<script>alert" not in page
