// The sentence with the present word marked; below, the picture as weighted, the weights of the positions, and the
// weight of each channel over its mean. data is bytes, flat: all pictures (height, width, 3); then for each sentence
// and word the map (h, w), highest 255, and the means and weights of the drawn channels.

function draw(svg, { width, state, data, meta }) {
  const sentence = meta.sentences[state.picture][meta.which[state.picture][state.beam]];
  const word = Math.min(state.word, sentence.words.length - 1);
  const jump = stepper(svg, sentence.words, word);
  if (word < state.word) queueMicrotask(() => jump(word)); // the sentence before was longer
  const top = drawSentence(svg, width, sentence.words, word, jump);

  const [rows, columns] = meta.map ?? [1, 1];
  const cells = meta.map ? rows * columns : 0;
  const at = sentence.start + word * (cells + 2 * meta.points);
  const map = meta.map ? data.subarray(at, at + cells) : [255];
  const gap = 14;
  const beside = width >= 560;
  const size = beside ? (width - 2 * gap) / 3.3 : (width - gap) / 2;
  const [high, wide] = meta.sizes[state.picture];
  const scale = size / Math.max(high, wide);
  const before = meta.sizes.slice(0, state.picture).reduce((sum, [h, w]) => sum + h * w * 3, 0);
  const kept = (i, j) => {
    const weight = map[Math.floor(i * rows / high) * columns + Math.floor(j * columns / wide)] / 255;
    return meta.darkest + (1 - meta.darkest) * weight;
  };
  const images = [
    ["the picture, as weighted", paint(high, wide, (i, j, k) => data[before + (i * wide + j) * 3 + k] * kept(i, j))],
    [meta.map ? "\u03b1, weights of positions" : "no spatial attention", paint(rows, columns, (i, j) => map[i * columns + j])],
  ];
  const box = { y: top + 20, width: wide * scale, height: high * scale };
  images.forEach(([title, href], n) => {
    const x = n * (size + gap);
    add(svg, "text", { x, y: top + 13, class: "quiet" }, title);
    add(svg, "image", { x, ...box, href, preserveAspectRatio: "none", style: n ? "image-rendering: pixelated" : "" });
    add(svg, "rect", { x: x - 0.5, y: box.y - 0.5, width: box.width + 1, height: box.height + 1, class: "frame" });
    if (meta.map) ring(svg, { ...box, x }, map, rows, columns);
  });
  const below = box.y + box.height;
  if (!meta.points) return below + 2;
  const from = at + cells;
  const numbers = { means: data.subarray(from, from + meta.points), weights: data.subarray(from + meta.points) };
  const place = beside ? { left: 2 * (size + gap), top, bottom: box.y + size } : { left: 0, top: below + 14 };
  return Math.max(below, drawCurve(svg, { bottom: place.top + 170, right: width, ...place }, numbers, sentence)) + 2;
}

// Buttons beside the range of words, made once; the range ends where the sentence ends. Returns what goes to a word.
function stepper(svg, words, word) {
  const range = svg.parentNode.querySelector("input[id$='-word']");
  const box = range.closest(".attncourse-control");
  const jump = (to) => {
    range.value = to;
    range.dispatchEvent(new Event("input"));
  };
  range.max = words.length - 1;
  range.value = word;
  const said = words[word] === "<end>" ? "the end" : words[word];
  range.setAttribute("aria-valuetext", `${word + 1} of ${words.length}: ${said}`);
  box.querySelector(".attncourse-value").textContent = `${word + 1} of ${words.length}`;
  let row = box.querySelector(".attncourse-steps");
  if (!row) {
    row = add(box, "div", { class: "attncourse-steps", style: "display: flex; gap: 0.6rem" });
    for (const [text, by] of [["Previous word", -1], ["Next word", 1]]) {
      const button = add(row, "button", Object.assign({
        type: "button", style: "flex: 1; min-height: 32px; margin: 0; font: inherit; color: var(--ink); " +
          "background: var(--surface); border: 1px solid var(--edge); border-radius: 5px",
      }, KEYS_ARE_MINE), text);
      button.addEventListener("click", () => jump(Number(range.value) + by)); // it stops at both ends by itself
    }
  }
  return jump;
}

// The words in lines as wide as the drawing, the present one on colour; a click goes to a word. Returns the height.
function drawSentence(svg, width, words, word, jump) {
  const style = "font-size: 16px";
  let [x, y] = [0, 22];
  words.forEach((each, n) => {
    const marker = n === word && add(svg, "rect", { class: "mark", rx: 4 });
    const said = each === "<end>" ? "(end)" : each;
    const text = add(svg, "text", { x, y, style: `${style}; cursor: pointer`, class: each === "<end>" ? "quiet" : "" },
      said);
    const length = text.getComputedTextLength();
    if (x > 0 && x + length > width) {
      [x, y] = [0, y + 28];
      text.setAttribute("x", x);
      text.setAttribute("y", y);
    }
    if (marker) {
      text.setAttribute("style", `${style}; fill: var(--surface)`);
      for (const [name, value] of Object.entries({ x: x - 5, y: y - 18, width: length + 10, height: 25 })) {
        marker.setAttribute(name, value);
      }
    }
    text.addEventListener("click", () => jump(n));
    x += length + 10;
  });
  return y + 18;
}

// A frame around the position of the highest weight, seen on any colour.
function ring(svg, box, map, rows, columns) {
  const at = map.indexOf(Math.max(...map));
  const [width, height] = [box.width / columns, box.height / rows];
  const place = { x: box.x + (at % columns) * width, y: box.y + Math.floor(at / columns) * height, width, height };
  add(svg, "rect", { ...place, style: "fill: none; stroke: #fff; stroke-width: 2.5" });
  add(svg, "rect", { ...place, class: "ring" });
}

// The weight of a channel over its mean: all channels lie on one curve. Dashed, the mean weight. Returns the height.
function drawCurve(svg, { left, right, top, bottom }, { means, weights }, { low, high, top: most }) {
  const [x0, x1, y0, y1] = [left + 30, right - 6, top + 26, bottom - 36];
  const x = (mean) => x0 + (x1 - x0) * mean / 255;
  const y = (weight) => y1 + (y0 - y1) * weight / Math.max(most, 1);
  const step = most > 8 ? 4 : most > 4 ? 2 : most > 1.5 ? 1 : 0.5;
  add(svg, "text", { x: left, y: top + 13, class: "quiet" }, "\u03b2, weights of channels (their mean: 1)");
  for (let value = 0; value <= Math.max(most, 1); value += step) {
    const line = value === 1 ? "leader" : "grid";
    add(svg, "line", { x1: x0, x2: x1, y1: y(value), y2: y(value), class: line });
    add(svg, "text", { x: x0 - 6, y: y(value) + 4, class: "quiet", "text-anchor": "end" }, value);
  }
  if (step > 1) add(svg, "line", { x1: x0, x2: x1, y1: y(1), y2: y(1), class: "leader" });
  const points = [...means].map((mean, n) => [x(mean), y(weights[n] / 255 * most)]);
  add(svg, "path", { d: `M${points.map((point) => point.join(" ")).join("L")}`, class: "curve" });
  for (const [cx, cy] of points) add(svg, "circle", { cx, cy, r: 2.2, class: "mark" });
  const text = (value) => value.toPrecision(2).replace("-", "\u2212");
  add(svg, "text", { x: x0, y: y1 + 16, class: "quiet" }, text(low));
  add(svg, "text", { x: x1, y: y1 + 16, class: "quiet", "text-anchor": "end" }, text(high));
  add(svg, "text", { x: (x0 + x1) / 2, y: y1 + 32, class: "quiet", "text-anchor": "middle" }, "mean of the channel");
  return bottom;
}
