"""A page shows every spike of a sample; in a browser its slider, buttons and pointing work."""

import json
import math
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from evtorch import torch_api as snn

INF = math.inf
INPUTS = torch.tensor([[1e-3, 4e-3], [2e-3, INF]], dtype=torch.float64)
HIDDEN = snn.Events(torch.tensor([3e-3, 6e-3, INF]), torch.tensor([2, 0, -1]))


def data_of(page: Path) -> Any:
    (text,) = re.findall(r'type="application/json">(.*?)</script>', page.read_text(), re.DOTALL)
    return json.loads(text)


def test_the_page_holds_every_spike_and_loads_nothing(tmp_path):
    name = "</script><b>"
    layers = {"inputs": INPUTS, name: HIDDEN, "silent": torch.full((2, 1), INF)}
    page = snn.plot.view(layers, tmp_path / "view.html", title="1 < 2", duration=1e-2)
    inputs, events, silent = data_of(page)["layers"]
    assert inputs == {
        "name": "inputs",
        "neurons": 2,
        "time": pytest.approx([1, 2, 4], rel=1e-12),
        "neuron": [0, 1, 0],
    }
    assert (events["name"], events["neurons"], events["neuron"]) == (name, 3, [2, 0])
    assert events["time"] == pytest.approx([3, 6], rel=1e-6)
    assert (silent["neurons"], silent["time"]) == (2, [])
    assert data_of(page)["end"] == pytest.approx(10)
    text = page.read_text()
    assert "<title>1 &lt; 2</title>" in text
    assert not re.search(r"https?:|src=|@import|url\(", text)
    assert os.listdir(tmp_path) == ["view.html"]


def test_units_and_layers_without_names(tmp_path):
    page = snn.plot.view([INPUTS[None][0], INPUTS], str(tmp_path / "view.html"), unit="us")
    data = data_of(page)
    assert [layer["name"] for layer in data["layers"]] == ["layer 0", "layer 1"]
    assert (data["unit"], data["end"]) == ("µs", pytest.approx(4000))


def test_a_spike_at_the_end_may_be_rounded_beyond_it(tmp_path):
    late = torch.tensor([[0.1]])
    assert late.double().item() > 0.1
    page = snn.plot.view([late], tmp_path / "view.html", duration=0.1)
    assert data_of(page)["end"] == data_of(page)["layers"][0]["time"][0]


def test_names_and_titles_are_what_they_are(tmp_path):
    page = snn.plot.view({"__TITLE__": INPUTS}, tmp_path / "view.html", title="__DATA__")
    assert data_of(page)["layers"][0]["name"] == "__TITLE__"
    assert "<title>__DATA__</title>" in page.read_text()


@pytest.mark.parametrize(
    ("layers", "options", "kind", "message"),
    [
        ({}, {}, ValueError, "at least one layer"),
        (INPUTS, {}, TypeError, "mapping of names to spikes or a sequence .* got Tensor"),
        (HIDDEN, {}, TypeError, "got Events; for a single layer"),
        ({0: INPUTS}, {}, TypeError, "strings as names, got 0"),
        ({"a": INPUTS[None]}, {}, ValueError, r"layers\['a'\] .* such as layers\['a'\]\[0\]"),
        ({"a": INPUTS * math.nan}, {}, ValueError, r"layers\['a'\] must not be NaN"),
        ({"a": INPUTS[:0]}, {}, ValueError, "at least one neuron"),
        ({"a": INPUTS * INF}, {}, ValueError, "pass duration="),
        ({"a": INPUTS}, {"duration": 3e-3}, ValueError, "spikes until 0.004 s"),
        ({"a": INPUTS}, {"duration": 0.0}, ValueError, "duration"),
        ({"a": INPUTS}, {"unit": "h"}, ValueError, "unit must be one of s, ms, us"),
    ],
)
def test_bad_input_is_named(layers, options, kind, message, tmp_path):
    with pytest.raises(kind, match=message):
        snn.plot.view(layers, tmp_path / "view.html", **options)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*missing; create it"):
        snn.plot.view({"a": INPUTS}, tmp_path / "missing" / "view.html")


USE = """<script>
const results = [], said = () => document.getElementById("now").textContent;
const counts = () => panels.map((panel) => panel.count.textContent.split(" of ")[0]).join(" ");
const note = () => results.push(`${said()}: ${counts()}`);
const press = (name) => { document.getElementById(name).click(); note(); };
note();
slider.value = 3.5;
slider.dispatchEvent(new Event("input"));
note();
press("after"); press("after"); press("before"); press("before");
const panel = panels[1], box = panel.canvas.getBoundingClientRect();
const point = (type, t, neuron, buttons) => panel.canvas.dispatchEvent(new PointerEvent(type,
  { clientX: box.left + x(t) + 3, clientY: box.top + y(panel, neuron), buttons }));
point("pointermove", 6, 0, 0);
results.push(tip.style.display, tip.textContent);
point("pointerdown", 5, 1, 1);
results.push(tip.style.display, counts());
const wide = document.documentElement;
results.push(String(wide.scrollWidth <= wide.clientWidth));
const written = document.createElement("pre");
written.textContent = JSON.stringify(results);
written.id = "results";
document.body.append(written);
</script>"""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.mark.parametrize("width", [1200, 500])
def test_the_page_answers_in_a_browser(width, tmp_path):
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        pytest.skip(f"none of the browsers {', '.join(NAMES)} is installed")
    page = snn.plot.view({"inputs": INPUTS, "hidden": HIDDEN}, tmp_path / "view.html")
    page.write_text(page.read_text().replace("</body>", USE + "</body>"))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},800"]
    done = subprocess.run(
        [*command, f"{page.as_uri()}#t=2"], capture_output=True, text=True, timeout=60
    )
    found = re.findall(r'<pre id="results">(.*?)</pre>', done.stdout)
    assert found, done.stderr
    *times, shown, tip, hidden, counts, fits = json.loads(found[0])
    assert times == [
        "2 ms: 2 0",
        "3.5 ms: 2 1",
        "4 ms: 3 1",
        "6 ms: 3 2",
        "4 ms: 3 1",
        "3 ms: 2 1",
    ]
    assert (shown, tip) == ("block", "hidden, neuron 0, 6 ms")
    assert (hidden, counts, fits) == ("none", "3 1", "true")
