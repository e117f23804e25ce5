// Runs between RequireJS and the widget manager, on the pages that show a widget.

// the modules lie beside this file, wherever the site is served from (or opened from disk)
requirejs.config({ baseUrl: new URL('.', document.currentScript.src).href.replace(/\/$/, '') });

// core ipywidgets typeset their labels through MathJax 2's interface; the pages carry MathJax 3
addEventListener('load', () => {
  if (window.MathJax) {
    MathJax.Hub = { Queue: ([, , element]) => MathJax.startup.promise.then(() => MathJax.typesetPromise([element])) };
  }
});
