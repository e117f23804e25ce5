// What the pages need beyond the style sheet. Without it they read the same.

// A wide formula scrolls in its own box; whoever uses the keyboard must reach that box. (The theme does this for code,
// tables and outputs.)
function reachWideFormulas() {
  for (const box of document.querySelectorAll('div.math mjx-container, span.math')) {
    if (box.scrollWidth > box.clientWidth) box.setAttribute('tabindex', '0');
    else box.removeAttribute('tabindex');
  }
}
addEventListener('load', async () => {
  await window.MathJax?.startup?.promise;
  reachWideFormulas();
  let waiting;
  addEventListener('resize', () => { clearTimeout(waiting); waiting = setTimeout(reachWideFormulas, 200); });
});

// The theme's toggles of nested chapters are unnamed, and its download link would show the notebook's source.
for (const toggle of document.querySelectorAll('.bd-sidenav summary')) {
  toggle.setAttribute('aria-label', `Pages below ${toggle.closest('li').querySelector('a').textContent.trim()}`);
}
for (const link of document.querySelectorAll('a.btn-download')) link.setAttribute('download', '');

// The excerpts that the search page shows: of the text alone, not of the buttons above it or the source of its formulas.
if (typeof Search !== 'undefined') {
  const textOf = Search.htmlToText;
  Search.htmlToText = (source, anchor) => {
    const page = new DOMParser().parseFromString(source, 'text/html');
    page.querySelectorAll('.bd-header-article, #jb-print-docs-body').forEach((each) => each.remove());
    page.querySelectorAll('.math').forEach((each) => each.replaceWith('…'));
    return textOf(page.documentElement.outerHTML, anchor);
  };
}
