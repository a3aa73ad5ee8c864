"""The page says what the report says, shows it beside what was expected, and obeys nothing that a stranger wrote."""

import builtins
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from initaudit import depth
from initaudit.audit import audit
from initaudit.errors import InitauditError
from initaudit.findings import healthy
from initaudit.outcome import Outcome
from initaudit.registry import load_rules
from initaudit.remedies import Remedy
from initaudit.report import html
from initaudit.report.html import charts, densities
from initaudit.report.html.page import rule_page, verdict
from initaudit.statistics.histogram import bins_of, histogram_of
from initaudit.understanding import Reading
from tests.checkpoints import FIXTURES, faulty, mlp, run, written
from tests.recipes import Draw, gpt2

RULES = tuple(load_rules().values())
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[2J\n\u202e'\"&{{ 7*7 }}"
"""Markup, an escape code, a line break, a change of direction and a template's own words."""


class Page(HTMLParser):
    """What a browser would find on a page: its elements, its text, and the data of its tables."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.text, self.elements, self.tables, self.scripts = "", [], [], []
        self._inside = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._inside = (tag, dict(attributes))

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        tag, attributes = self._inside or ("", {})
        if tag == "script" and attributes.get("type") == "application/json":
            self.tables.append(json.loads(data))
        elif tag == "script":
            self.scripts.append(data)
        elif tag != "style":
            self.text += data

    def all(self, tag, **wanted):
        """The attributes of the elements of a tag that have these."""
        return [
            found for name, found in self.elements if name == tag and all(found.get(k) == v for k, v in wanted.items())
        ]


def audited(path, **options):
    """The report on a checkpoint, with histograms."""
    return audit([path], RULES, Reading(histograms=True, **options))


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A report on a transformer one of whose weights is zero, and one ten times too large."""
    model = gpt2(Draw())
    model["transformer.h.2.mlp.c_fc.weight"][:] = 0
    model["transformer.h.4.attn.c_attn.weight"] *= 10
    return audited(written(tmp_path_factory.mktemp("broken") / "gpt2.safetensors", model))


@pytest.fixture(scope="module")
def page(broken):
    """The page of it."""
    return Page(html.render(broken))


def words_of(page):
    """The text without line breaks."""
    return " ".join(page.text.split())


def test_the_verdict_stands_first(page):
    assert words_of(page).split("initaudit 0")[1].partition("training step ")[2].startswith("Do not train from this")


def test_the_recipe_is_said_in_words(page, broken):
    for line in broken.audited[0].recipe:
        about, _, said = line.partition(": ")
        assert f"{about}{said}" in words_of(page).replace(f"{about} ", about)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (mlp(), "Nothing was found."),
        (faulty(), "Do not train from this: 1 error."),
        ({"fc.bias": np.zeros(4, np.int64)}, "Nothing was judged."),
    ],
    ids=["healthy", "faulty", "integers"],
)
def test_the_verdict_is_one_sentence(tmp_path, content, words):
    assert verdict(audited(written(tmp_path / "m.safetensors", content))) == words


def test_a_healthy_file_beside_one_that_cannot_be_read_is_not_called_healthy(tmp_path):
    good = written(tmp_path / "good.safetensors", mlp())
    report = audit([good, tmp_path / "none.safetensors"], RULES, Reading(histograms=True))
    assert verdict(report) == "Not audited whole; where it could be judged, nothing was found."
    assert "none.safetensors" in Page(html.render(report)).text


def test_every_finding_is_shown_with_its_rule(page, broken):
    for finding in broken.findings:
        assert finding.message in words_of(page)
        assert f"{finding.rule} {finding.name}" in words_of(page)
    assert "Why is this bad?" in page.text


def test_every_finding_has_its_values_drawn_beside_what_was_expected(page, broken):
    charts_of_values = [found for _, found in page.elements if found.get("aria-label", "").find("alues of") >= 0]
    assert len(charts_of_values) == len(broken.findings)
    assert "normal, std 0.02: as 5 of 5 siblings" in page.text


def test_a_mark_says_which_tensor_it_is_and_what_was_predicted(page):
    marks = [found["aria-label"] for found in page.all("path") if found.get("aria-label")]
    marks = [mark for mark in marks if "gain" in mark]
    assert len(marks) == 24  # four weights in each of six blocks
    assert "transformer.h.2.mlp.c_fc.weight: gain 0, predicted 0.277 (error)" in marks
    assert any(mark.startswith("transformer.h.4.attn.c_attn.weight: gain 2.77, predicted 0.277") for mark in marks)


def test_every_chart_says_in_words_what_it_shows(page):
    drawn = page.all("div", role="img")
    assert len(drawn) == len(page.all("figure")) > 0
    assert all(len(found["aria-label"]) > 20 for found in drawn)


def test_headings_do_not_skip_a_level(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_table_holds_every_tensor_judged_or_not(tmp_path):
    report = audited(written(tmp_path / "m.safetensors", {**faulty(), "mask": np.ones(3, np.int64)}))
    (table,) = Page(html.render(report)).tables
    rows = {row[0]: row for row in table["rows"]}
    assert set(rows) == {*mlp(), "mask"}
    assert table["schemes"][rows["mask"][7]] == "not judged"
    assert table["severities"][rows["fc2.weight"][8]] == "error"
    assert rows["fc2.weight"][9] == ["checkpoint-1-finding-0"]
    assert rows["fc2.weight"][10] == "|"
    assert len(rows["fc1.weight"][10]) == bins_of(64 * 96)


def test_what_is_intended_is_listed_with_its_convention_and_source(tmp_path):
    model = mlp()
    model |= {f"fc{at}.lora_A.weight": model["fc1.weight"][:8] for at in (1, 2)}
    model |= {f"fc{at}.lora_B.weight": np.zeros((96, 8), np.float32) for at in (1, 2)}
    text = words_of(Page(html.render(audited(written(tmp_path / "m.safetensors", model)))))
    assert "adapter starts as the identity 2 tensors Hu et al. 2021 (LoRA)" in text


def test_a_plain_chain_shows_what_is_left_of_a_signal(tmp_path):
    text = words_of(Page(html.render(audited(written(tmp_path / "m.safetensors", mlp())))))
    assert re.search(r"Behind 3 layers 0\.3\d+ of a signal of size 1 is left", text)


def test_each_checkpoint_has_a_section(tmp_path):
    for name in ("one", "two"):
        written(tmp_path / f"{name}.safetensors", mlp())
    page = Page(html.render(audited(tmp_path)))
    assert [found["id"] for found in page.all("section") if "id" in found] == ["checkpoint-1", "checkpoint-2"]
    assert len(page.tables) == 2


def test_names_are_shown_and_never_obeyed(tmp_path):
    model = {HOSTILE + name: values for name, values in faulty().items()}
    page = Page(html.render(audited(written(tmp_path / "m.safetensors", model))))
    assert len(page.scripts) == 1
    assert not page.all("img")
    assert not [found for _, found in page.elements if any(name.startswith("on") for name in found)]
    assert "{{ 7*7 }}" in page.text
    assert not {"\x1b", "\u202e"} & set(page.text + json.dumps(page.tables, ensure_ascii=False))
    assert any(row[0].startswith("</script><script>") for row in page.tables[0]["rows"])


def test_a_megabyte_of_a_name_is_cut(tmp_path):
    model = {"x" * 10**6 + name: values for name, values in faulty().items()}
    assert len(html.render(audited(written(tmp_path / "m.safetensors", model)))) < 200_000


def test_a_page_of_a_rule_is_markdown_and_nothing_else():
    def check(tensor):
        """A summary.

        ## Why

        A *word*, <script>alert(1)</script>, ![picture](https://example.org/a.png) and [a link](javascript:alert(1)).
        """

    shown = rule_page(replace(RULES[0], check=check))
    assert "<em>word</em>" in shown
    assert not Page(shown).scripts
    assert not [found for tag, found in Page(shown).elements if tag in ("img", "script") or "javascript" in str(found)]


def test_nothing_is_fetched_from_anywhere(page):
    assert not [found for _, found in page.elements if {"src", "srcset", "data", "poster"} & set(found)]
    assert not page.all("link")
    assert all(found["href"].startswith("#") for found in page.all("a"))
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none'")


def test_equal_reports_give_equal_pages(broken):
    assert html.render(broken) == html.render(broken)


def test_a_thousand_tensors_stay_well_under_five_megabytes(tmp_path):
    draw, model = Draw(), {}
    for block in range(125):
        for layer in range(8):
            model[f"model.layers.{block}.self_attn.a_rather_long_name_{layer}.weight"] = draw.normal(16, 16, std=0.02)
    assert len(html.render(audited(written(tmp_path / "m.safetensors", model)))) < 1_000_000


def test_values_at_the_ends_of_float64_are_no_reason_to_fail(tmp_path):
    model = {"a.weight": np.full((8, 8), 1e308), "b.weight": np.tile([-1.7e308, 1.7e308], (8, 4))}
    model |= {"c.weight": np.linspace(0, 5e-322, 64).reshape(8, 8), "d.weight": np.full((8, 8), np.nan)}
    assert "IA502" in html.render(audited(written(tmp_path / "m.safetensors", model)))


def test_a_report_without_histograms_makes_a_page_without_them():
    report = audit([FIXTURES / "bad" / "IA101-zero-weight.safetensors"], RULES)
    assert "alues of fc2" not in html.render(report)
    assert "Nothing was judged." in html.render(Outcome((), (), RULES))


def test_the_command_writes_a_page_from_the_run_that_prints(tmp_path):
    outcome = run(
        "check", FIXTURES / "bad" / "IA101-zero-weight.safetensors", "--report", f"html={tmp_path / 'r.html'}"
    )
    assert outcome.status == 1
    assert "IA101" in outcome.out
    assert "All values of fc2.weight are 0." in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_missing_library_is_said_before_anything_is_read(monkeypatch, tmp_path):
    monkeypatch.setattr(html, "find_spec", lambda name: None if name == "vl_convert" else find_spec(name))
    monkeypatch.setattr("initaudit.audit.audit", lambda *a, **k: pytest.fail("it was audited"))
    outcome = run("check", FIXTURES / "good", "--report", f"html={tmp_path / 'r.html'}")
    assert outcome.status == 2
    assert outcome.complaints == ["initaudit: a page needs vl_convert: pip install 'initaudit[report]'"]
    with pytest.raises(InitauditError):
        html.render(Outcome((), (), ()))


def test_other_forms_need_none_of_the_libraries(monkeypatch):
    taken = builtins.__import__

    def refuse(name, *more, **options):
        assert name.partition(".")[0] not in ("jinja2", "vl_convert", "markupsafe")
        return taken(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert run("check", FIXTURES / "good", "--output-format", "json").status == 0


REMEDIES = {
    "normal": (Remedy("normal", "normal", {"std": 0.3}, ""), scipy.stats.norm(scale=0.3)),
    "uniform": (Remedy("uniform", "uniform", {"std": 0.3}, ""), scipy.stats.uniform(-(0.27**0.5), 2 * 0.27**0.5)),
    "trunc_normal": (
        Remedy("trunc_normal", "trunc_normal", {"std": 0.3, "cut": 2.0}, ""),
        scipy.stats.truncnorm(-2, 2, scale=0.3 / 0.8796256610),
    ),
}


@pytest.mark.parametrize("law", REMEDIES)
def test_densities_are_those_of_scipy(law, broken):
    remedy, distribution = REMEDIES[law]
    density = densities.of_remedy(remedy, broken.audited[0].model.weights[0])
    places = np.linspace(-1, 1, 2001)
    np.testing.assert_allclose(density.at(places), distribution.pdf(places), rtol=1e-6, atol=1e-12)


def test_the_density_of_a_scheme_has_the_deviation_that_was_measured(tmp_path):
    model = audited(FIXTURES / "good").audited
    for tensor in (tensor for one in model for tensor in one.model.weights):
        density = densities.of_scheme(tensor)
        if density is not None and density.components:
            places = np.linspace(-density.edge, density.edge, 20001)
            variance = np.trapezoid(density.at(places) * places**2, places)
            assert math.sqrt(variance) == pytest.approx(tensor.std, rel=0.1)


def test_a_band_lies_about_what_the_healthy_siblings_have(broken):
    one = broken.audited[0]
    found = depth.lanes(one.model, healthy(one.model, one.findings, (), ()))
    (lane,) = [lane for lane in found if lane.place.endswith("c_attn.weight")]
    assert [level.depth for level in lane.levels] == list(range(6))
    outside = [level.depth for level in lane.levels if not level.band[0] < level.gain < level.band[1]]
    assert outside == [4]


def test_a_weight_without_siblings_does_not_predict_itself(tmp_path):
    one = audited(written(tmp_path / "m.safetensors", {"fc.weight": Draw().normal(64, 64, std=0.3)})).audited[0]
    assert depth.predicted_gain(one.model.weights[0], healthy(one.model, (), (), ())) is None


def test_a_bar_that_is_cut_off_is_said_to_be():
    values = np.concatenate([np.zeros(4000), np.random.default_rng(0).standard_normal(4000)])
    _, note = charts.values_of(histogram_of(values), None)
    assert re.search(r"The bar at 0 is cut off: it holds 5\d%", note)


def test_the_parts_of_the_page_are_in_the_package():
    assert {path.name for path in Path(html.__file__).parent.iterdir()} >= {"page.html", "page.css", "page.js"}


def test_a_model_of_many_faults_still_makes_a_page_that_opens(tmp_path):
    draw = Draw()
    model = {
        f"model.layers.{block}.some_module_{layer}.dense.weight": draw.normal(8, 16, std=10.0 ** (block % 7 - 4))
        for block in range(40)
        for layer in range(50)
    }
    report = audited(written(tmp_path / "m.safetensors", model))
    assert len(report.findings) > 50
    text = html.render(report)
    assert len(text) < 4_000_000
    assert Page(text).text.count("more place") == 1
