#!/usr/bin/env python3
"""The page of `ration sim --html` in a real browser: headless chromium plays and steps it.

usage: html_test.py --ration FILE [--programs DIR] [--shots DIR]
exit 0 fine, 1 a check failed, 77 skipped because no browser is installed

A copy of the page gets one more script, which presses keys and clicks as a person would and writes
what it sees into the document; chromium prints the document. --shots keeps screenshots to look at.
"""
import html
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from testing import Checks, parse_arguments

BROWSERS = ["chromium", "chromium-browser", "google-chrome"]

DRIVER = """
<pre id="seen"></pre>
<script>
const seen = {};
const press = key => document.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const at = () => Number(document.body.dataset.tick);
const now = () => document.getElementById("now").textContent;
const strip = i => document.getElementById("panel-" + i).querySelector("svg");
const states = i => [...strip(i).querySelectorAll("g > title")].map(t => t.textContent);

seen.start = [at(), now()];
press("ArrowRight"); press("ArrowRight");
seen.two_events = [at(), now()];
press("ArrowLeft");
seen.one_back = at();
press("ArrowDown");
seen.first_operation_done = [now(), document.getElementById("panel-0").textContent.includes("done")];
press("ArrowDown");
seen.second_operation = now();
press("ArrowUp");
seen.up_again = now();
press("End");
seen.end = [at(), Number(document.body.dataset.total), now()];
press("ArrowRight");
seen.beyond_the_end = at();
press("Home"); press("ArrowLeft");
seen.before_the_start = at();

const rows = document.querySelectorAll("#operations button");
rows[5].click();
seen.clicked = now();
seen.marked = [...rows].findIndex(r => r.getAttribute("aria-current") === "step");
seen.states = states(0);
seen.arcs = strip(0).querySelectorAll("path[marker-end]").length;
seen.nodes = document.querySelectorAll("#panel-0 .node").length;
strip(0).querySelector('g[data-id="0"] rect').dispatchEvent(new MouseEvent("click", { bubbles: true }));
seen.clicked_block = now();

document.querySelector("#choose input").click();
seen.hidden = document.getElementById("panel-0").hidden;
document.querySelector("#choose input").click();
seen.shown = !document.getElementById("panel-0").hidden;

press("d");
const first_theme = document.documentElement.dataset.theme;
press("d");
seen.themes = [first_theme, document.documentElement.dataset.theme];
seen.speed = Number(document.getElementById("speed").value);
press("+");
seen.faster = Number(document.getElementById("speed").value);

/* The search: every look is numbered above the strip. */
let most_looks = 0;
const judged = [];
press("Home");
for (let i = 0; i < Number(document.body.dataset.total); i++) {
  press("ArrowRight");
  for (let k = 0; k < strategies.length; k++) {
    const numbers = [...strip(k).querySelectorAll(":scope > text")].map(t => Number(t.textContent));
    most_looks = Math.max(most_looks, numbers.length, ...numbers);
    const words = document.querySelector(`#panel-${k} .event`).textContent;
    if (words.startsWith("look")) judged.push(words);
  }
}
seen.most_looks = most_looks;
seen.judged = judged;

press("Home"); press(" ");
seen.playing = [document.getElementById("play").textContent, document.getElementById("play").getAttribute("aria-pressed")];
setTimeout(() => {
  seen.played_to = at();
  press(" ");
  seen.paused = [at(), document.getElementById("play").textContent];
  setTimeout(() => {
    seen.still_paused = at();
    location.hash = "#op=3&theme=dark";
    setTimeout(() => {
      seen.from_the_address = [document.documentElement.dataset.theme, now().slice(0, 2)];
      document.getElementById("seen").textContent = JSON.stringify(seen);
    }, 500);
  }, 3000);
}, 4000);
</script>
"""


def find_browser():
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def browse(browser, profile, url, *flags):
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               f"--user-data-dir={profile}", "--virtual-time-budget=20000", *flags, url]
    return subprocess.run(command, capture_output=True, text=True, timeout=90)


def make_page(ration, path, *arguments):
    subprocess.run([ration, "sim", "--html", str(path), *arguments], check=True)
    return path.read_text()


def check_source(checks, text):
    checks.that(not re.search(r"(?:src|href)\s*=|@import|url\((?!#)|fetch\(|XMLHttpRequest|https?://",
                              text), "the page refers to nothing outside itself")
    checks.that("LESSON-DATA" not in text, "the data is in the page")


def drive(browser, scratch, text):
    page = scratch / "driven.html"
    page.write_text(text.replace("</body>", DRIVER + "</body>"))
    done = browse(browser, scratch / "profile", page.as_uri(), "--dump-dom")
    found = re.search(r'<pre id="seen">(.*?)</pre>', done.stdout, re.S)
    if not found or not found.group(1):
        sys.exit(f"FAIL: the page's scripts did not reach their end\n{done.stderr[-2000:]}")
    return json.loads(html.unescape(found.group(1)))


def check_keys(checks, seen):
    checks.that(seen["start"] == [0, "Before the first operation"], f"starts at 0: {seen['start']}")
    checks.that(seen["two_events"] == [2, "1. p0 = malloc(96)"], f"→ twice: {seen['two_events']}")
    checks.that(seen["one_back"] == 1, "← goes one event back")
    checks.that(seen["first_operation_done"] == ["1. p0 = malloc(96)", True], "↓ finishes the operation")
    checks.that(seen["second_operation"].startswith("2. "), "↓ again is the second operation")
    checks.that(seen["up_again"].startswith("1. "), "↑ is the first one again")
    checks.that(seen["end"][0] == seen["end"][1] > 19 and seen["end"][2].startswith("19. "),
                f"End is the last operation: {seen['end']}")
    checks.that(seen["beyond_the_end"] == seen["end"][0], "nothing lies beyond the end")
    checks.that(seen["before_the_start"] == 0, "nothing lies before the start")
    checks.that(seen["themes"] in (["dark", "light"], ["light", "dark"]), f"D changes the theme: {seen['themes']}")
    checks.that(seen["faster"] == seen["speed"] + 1, "+ is faster")


def check_mouse(checks, seen):
    checks.that(seen["clicked"] == "6. free(p1)", f"a click on an operation goes there: {seen['clicked']}")
    checks.that(seen["marked"] == 5, "the operation is marked in the list")
    checks.that(seen["clicked_block"] == "1. p0 = malloc(96)", "a click on a block goes to its malloc")
    checks.that(seen["hidden"] and seen["shown"], "a strategy is hidden and shown")


def check_drawing(checks, seen):
    states = seen["states"]
    checks.that(sum("live, p" in s for s in states) == 4, f"four live blocks after free(p1): {states}")
    checks.that(sum(", free" in s for s in states) >= 1, f"and a free one: {states}")
    checks.that(seen["nodes"] >= 1, "the free list is drawn")
    checks.that(seen["most_looks"] >= 2, "a search draws its numbered looks")
    verdicts = [re.search(r"has (\d+) bytes, (too few|enough) for (\d+)", words) for words in seen["judged"]]
    checks.that(verdicts and all(verdicts) and {v[2] for v in verdicts} == {"too few", "enough"} and
                all((int(v[1]) >= int(v[3])) == (v[2] == "enough") for v in verdicts), f"each look is judged: {seen['judged']}")


def check_playing(checks, seen):
    checks.that(seen["playing"] == ["Pause", "true"], f"space plays: {seen['playing']}")
    checks.that(seen["played_to"] > 3, f"time moves it on: {seen['played_to']}")
    checks.that(seen["paused"] == [seen["played_to"], "Play"], f"space pauses: {seen['paused']}")
    checks.that(seen["still_paused"] == seen["paused"][0], "paused stays paused")
    checks.that(seen["from_the_address"] == ["dark", "3."], "#op=3&theme=dark is followed")


def take_shots(checks, browser, scratch, page, shots):
    for theme in ("light", "dark"):
        shot = shots / f"lesson-{theme}.png"
        browse(browser, scratch / "profile", f"{page.as_uri()}#op=14&theme={theme}",
               "--window-size=1400,1250", f"--screenshot={shot}")
        checks.that(shot.exists() and shot.stat().st_size > 20000, f"a screenshot in {theme}")


def main():
    arguments = parse_arguments(__doc__)
    browser = find_browser()
    if browser is None:
        print(f"skipped: none of {', '.join(BROWSERS)} is installed (apt-get install chromium)")
        return 77
    checks = Checks("html")
    with tempfile.TemporaryDirectory(prefix="ration-html-", ignore_cleanup_errors=True) as folder:
        scratch = pathlib.Path(folder)
        text = make_page(arguments.ration, scratch / "lesson.html",
                         "--strategy=first-fit,best-fit,buddy,slab", "gen:lesson")
        check_source(checks, text)
        seen = drive(browser, scratch, text)
        for check in (check_keys, check_mouse, check_drawing, check_playing):
            check(checks, seen)
        take_shots(checks, browser, scratch, scratch / "lesson.html", arguments.shots or scratch)
    return checks.end()


if __name__ == "__main__":
    sys.exit(main())
