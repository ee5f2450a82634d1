"""The page in other languages: as the browser wishes, by hand, with no English left in it, and not wider than the window."""

from __future__ import annotations

import re

from .conftest import overflow
from .test_every_tab import TABS, filled

# every text, label and title that can be seen; not what somebody typed, a log, or a file as it will be
SEEN = """() => {
  const said = [], skip = 'script, style, pre, code, textarea, dialog, .ez-log, .ez-name, .ez-prompt, #ez-publish-card, .prose';
  const seen = (e) => e.getClientRects().length && !e.closest(skip);
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) walk.currentNode.parentElement && seen(walk.currentNode.parentElement) && said.push(walk.currentNode.textContent.trim());
  for (const e of document.querySelectorAll('[title], [aria-label], [placeholder]'))
    for (const name of ['title', 'aria-label', 'placeholder']) seen(e) && e.hasAttribute(name) && said.push(e.getAttribute(name).trim());
  return [...new Set(said)].filter(Boolean);
}"""
SENTENCE = re.compile(r"[A-Za-z]{2,},? [a-z]{2,} [a-z]{2,}")
OWN = re.compile(r"zibbo|my cat|a run with a very long|a picture, number|Stable Diffusion|pip install|^Step|wandb sync|has no effect|Name or service")  # of the story, names, commands


def leftover(page) -> list[str]:
    """What reads like English."""
    return [text for text in page.evaluate(SEEN) if SENTENCE.search(text) and not OWN.search(text)]


def test_the_page_speaks_as_the_browser_wishes_and_as_is_chosen(easel, open_page, shots):
    app = easel()
    filled(app)
    page = open_page(app.url, language="ja-JP")
    page.locator("#ez-pictures .ez-tile").first.wait_for()
    assert page.evaluate("document.documentElement.lang") == "ja"
    for name in (tab.lower() for tab in TABS):
        page.locator(f"#ez-tab-{name}-button").click()
        page.wait_for_timeout(1500)
        if name == "train":
            page.locator(".ez-all > .label-wrap").click()
            page.evaluate("document.querySelectorAll('.ez-group').forEach(g => g.open = true)")
        if name != "publish":  # the card of a result is a file, and English
            assert leftover(page) == [], name
    page.locator("[data-language]").select_option("de")
    page.get_by_role("tab", name="Ergebnisse", exact=True).wait_for()
    page.reload()
    page.get_by_role("tab", name="Ergebnisse", exact=True).click()
    page.locator("h1", has_text="Ergebnisse").wait_for()
    for name in (tab.lower() for tab in TABS):
        page.locator(f"#ez-tab-{name}-button").click()
        for width in (900, 390, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_timeout(300)
            assert not overflow(page), (name, width)
    page.screenshot(path=str(shots / "german.png"))
    page.locator("[data-language]").select_option("")
    page.get_by_role("tab", name="結果", exact=True).wait_for()
