"""Every page of the built book, opened in Chromium in both themes with the network closed: `make test-site`.

A page is loaded once a theme (the ``visit`` fixture, which the tests of that page share); each test then asks one
question. The tests that change the page, by a key press or a narrower window, stand last.
"""

import contextlib
import ctypes.util
import functools
import http.server
import json
import os
import re
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from playwright.sync_api import Error, Page, sync_playwright

SITE = Path(os.environ.get("SITE", Path(__file__).parents[2] / "_build" / "html")).resolve()
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")

# what Sphinx makes for itself is not read: the index of terms, and folders that begin with _
PAGES = sorted(p.relative_to(SITE).as_posix() for p in SITE.rglob("*.html") if p.relative_to(SITE).parts[0][0] != "_")
PAGES = [page for page in PAGES if page not in ("index.html", "genindex.html")]  # index.html only leads to book/

WIDGET_VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]'
RAW_TEX = re.compile(r"\\\(|\\\[|\$\$|\\begin\{\w+\*?\}|\$[^$\n]{0,120}\\[a-zA-Z]+[^$\n]*\$")
# a path, a hash, a repr or a counter says nothing about a picture
USELESS_ALT = re.compile(r"\s*|\S+\.(png|jpe?g|svg|webp)|[0-9a-f_/-]{16,}|<.*>|(figure|image)[\s_\d.-]*", re.IGNORECASE)


@dataclass
class Visit:
    """A loaded page and what went wrong while it loaded."""

    tab: Page
    page: str
    theme: str
    console: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def base():
    """The site's address, on this machine only."""
    if not PAGES:
        pytest.exit(f"no pages in {SITE}: run `make book` first", returncode=1)
    handler = functools.partial(QuietHandler, directory=SITE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.handle_error = lambda *args: None  # the browser left in the middle of an answer
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def contexts(base):
    """One browser, and in it one context for each theme; nothing leaves this machine, by name or by route."""
    if not os.access(CHROMIUM, os.X_OK):
        pytest.exit(f"no Chromium at {CHROMIUM}: `apt install chromium`, or set CHROMIUM=path", returncode=1)
    if not ctypes.util.find_library("atomic") and sys.platform == "linux":
        pytest.exit("Playwright needs libatomic: `apt install libatomic1`", returncode=1)
    closed = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-proxy-server"]
    with sync_playwright() as play:
        try:
            browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-quic", *closed])
        except Error as error:
            pytest.exit(f"{CHROMIUM} does not start: {str(error).splitlines()[0]}", returncode=1)
        made = {}
        for theme in ("light", "dark"):
            made[theme] = browser.new_context(color_scheme=theme, reduced_motion="reduce")
            made[theme].route(re.compile(f"^(?!{re.escape(base)}|data:|blob:)"), lambda route: route.abort())
        yield made
        browser.close()


@pytest.fixture(
    scope="module",
    params=[(page, theme) for page in PAGES or [""] for theme in ("light", "dark")],
    ids=lambda param: "-".join(param),
)
def visit(request, contexts, base):
    page, theme = request.param
    tab = contexts[theme].new_page()
    seen = Visit(tab, page, theme)
    tab.set_viewport_size({"width": 1366, "height": 900})
    tab.on("console", lambda message: seen.console.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: seen.console.append(f"uncaught: {error}"))
    tab.on("request", lambda request: seen.elsewhere.append(request.url) if leaves(base, request.url) else None)
    tab.on("websocket", lambda socket: seen.elsewhere.append(socket.url))
    tab.on("response", lambda answer: seen.failed.append(answer.url) if answer.status >= 400 else None)
    tab.on("requestfailed", lambda request: seen.failed.append(request.url))
    tab.goto(base + page, wait_until="load")
    tab.evaluate("window.MathJax && MathJax.startup && MathJax.startup.promise")
    if tab.locator(WIDGET_VIEW).count():
        expect_widgets(tab)
    # what a reader opens by a click is tested too
    tab.evaluate("document.querySelectorAll('main details').forEach(each => each.open = true)")
    yield seen
    tab.close()


def leaves(base: str, url: str) -> bool:
    return not url.startswith((base, "data:", "blob:"))


def expect_none(found: list) -> None:
    __tracebackhide__ = True
    assert not found, "\n".join(["", *map(str, found)])


def expect_widgets(tab: Page) -> None:
    """Wait until each view has drawn something; test_widgets_are_rendered says which has not."""
    with contextlib.suppress(Error):
        tab.wait_for_function(
            """selector => [...document.querySelectorAll(selector)].every(
                 view => view.previousElementSibling?.matches('.widget-subarea') &&
                         view.previousElementSibling.offsetHeight > 0)""",
            arg=WIDGET_VIEW,
            timeout=8000,
        )


def test_theme_applies(visit):
    assert visit.tab.evaluate("document.documentElement.dataset.theme") == visit.theme


def test_nothing_from_elsewhere(visit):
    hints = "[...document.querySelectorAll('link[rel~=preconnect], link[rel~=dns-prefetch]')].map(link => link.href)"
    expect_none(visit.elsewhere + visit.tab.evaluate(hints))


def test_no_failed_request(visit, base):
    expect_none([url for url in visit.failed if not leaves(base, url)])


def test_math_is_rendered(visit):
    text = visit.tab.evaluate(
        """() => {
            const copy = document.querySelector('main').cloneNode(true);
            copy.querySelectorAll('pre, code, script, mjx-container').forEach(each => each.remove());
            return copy.textContent;
        }"""
    )
    expect_none(RAW_TEX.findall(text))
    formulas = visit.tab.locator(".math")
    assert formulas.count() == visit.tab.locator(".math:has(mjx-container)").count()
    errors = visit.tab.locator("mjx-merror, [data-mjx-error], mtext[mathcolor=red]")
    expect_none(errors.all_text_contents())


def test_widgets_are_rendered(visit):
    broken = visit.tab.evaluate(
        """selector => [...document.querySelectorAll(selector)].map(view => view.previousElementSibling).filter(
             drawn => !drawn?.matches('.widget-subarea') || drawn.offsetHeight === 0 ||
                      drawn.querySelector('.jupyter-widgets-error-widget')).map(drawn => drawn?.outerHTML)""",
        WIDGET_VIEW,
    )
    expect_none(broken)


def test_images_load_and_say_what_they_show(visit):
    images = visit.tab.evaluate(
        """() => Promise.all([...document.images].map(async image => {
             image.loading = 'eager';
             await image.decode().catch(() => {});
             return [image.getAttribute('src'), image.getAttribute('alt'), image.naturalWidth];
           }))"""
    )
    expect_none([src for src, _, width in images if width == 0])
    expect_none([(src, alt) for src, alt, _ in images if alt is None or USELESS_ALT.fullmatch(alt)])


@functools.cache
def anchors(path: Path) -> frozenset[str]:
    soup = BeautifulSoup(path.read_text("utf-8"), "html.parser")
    return frozenset(each.get("id") or each.get("name") for each in soup.select("[id], a[name]"))


def test_links_resolve(visit, base):
    broken = []
    for url in visit.tab.evaluate("[...document.querySelectorAll('a[href], area[href]')].map(link => link.href)"):
        parts = urlsplit(url)
        if parts.scheme == "file" or parts.hostname == "localhost":
            broken.append(url)
        if not url.startswith(base):
            continue  # another site, which this test does not ask
        path, anchor = SITE / unquote(parts.path).lstrip("/"), unquote(parts.fragment)
        path = path / "index.html" if path.is_dir() else path
        if not path.is_file() or (anchor and path.suffix == ".html" and anchor not in anchors(path)):
            broken.append(url)
    expect_none(broken)


def test_no_axe_violation(visit):
    found = Axe().run(
        visit.tab,
        options={
            "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
            "resultTypes": ["violations"],
            "preload": False,
        },
    )
    nodes = [(rule["id"], node["target"]) for rule in found.response["violations"] for node in rule["nodes"]]
    expect_none(nodes)


def test_whatever_takes_focus_has_a_name(visit):
    session = visit.tab.context.new_cdp_session(visit.tab)  # Chromium's own accessibility tree: computed names
    nameless = []
    for node in session.send("Accessibility.getFullAXTree")["nodes"]:
        focusable = any(p["name"] == "focusable" and p["value"]["value"] for p in node.get("properties", []))
        if focusable and not node["ignored"] and not node.get("name", {}).get("value", "").strip():
            html = session.send("DOM.getOuterHTML", {"backendNodeId": node["backendDOMNodeId"]})["outerHTML"]
            # a box that takes focus because it scrolls is read out by its text
            if not BeautifulSoup(html, "html.parser").get_text(strip=True):
                nameless.append(html[:120])
    session.detach()
    expect_none(nameless)


def test_widgets_answer_a_key(visit):
    """The first control of each widget takes the focus, an arrow key changes it, and the summary says so."""
    widgets = visit.tab.locator(".attncourse-widget")
    for number in range(widgets.count()):
        widget = widgets.nth(number)
        control, status = widget.locator("input[type=range], select").first, widget.locator("[role=status]")
        before = status.inner_text()
        for key in ("ArrowRight", "ArrowDown", "ArrowLeft"):  # the control may stand at one end of its range
            control.focus()
            visit.tab.keyboard.press(key)
            visit.tab.wait_for_timeout(50)
            if status.inner_text() != before:
                break
        assert status.inner_text() != before, f"widget {number + 1} did not answer"


def test_code_keeps_its_text(visit):
    """What the copy button takes: a cell's source, however its lines are shown."""
    source = SITE / "_sources" / visit.page.replace(".html", ".ipynb")
    if not source.exists():
        pytest.skip("not a notebook")
    hidden = {"remove-cell", "remove-input"}
    written = ["".join(cell["source"]) for cell in json.loads(source.read_text("utf-8"))["cells"]
               if cell["cell_type"] == "code" and not hidden & set(cell["metadata"].get("tags", []))]
    shown = visit.tab.locator(".cell_input pre").evaluate_all("all => all.map(pre => pre.textContent)")
    assert [text.strip() for text in shown] == [text.strip() for text in written]


@pytest.mark.parametrize("width", [1366, 390])
def test_no_line_of_code_is_cut_off(visit, width):
    visit.tab.set_viewport_size({"width": width, "height": 844})
    visit.tab.wait_for_timeout(100)
    expect_none(visit.tab.locator(".cell_input pre").evaluate_all(
        "all => all.filter(pre => pre.scrollWidth > pre.clientWidth + 1).map(pre => pre.textContent)"))


def test_nothing_scrolls_sideways_on_a_telephone(visit):
    visit.tab.set_viewport_size({"width": 390, "height": 844})
    visit.tab.wait_for_timeout(100)
    extra = visit.tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert extra <= 1, f"the page is {extra} px too wide"


def test_console_stayed_silent(visit):
    """Last, so that it also hears what the key presses and the narrow window caused."""
    expect_none(visit.console)
