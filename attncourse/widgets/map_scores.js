// The picture, its map, and the overlap of the cut map with the object; below, the IoU at every threshold.
// data is bytes, flat: all pictures (side, side, 3), all masks (side, side), then for each kind of map and each place
// one map (side, side) per picture, its maximum 255.

function draw(svg, { width, state, data, meta }) {
  const { side, scenes, places } = meta;
  const pixels = side * side;
  const take = (start, length) => data.subarray(start, start + length);
  const photo = take(state.scene * pixels * 3, pixels * 3);
  const mask = take((scenes * 3 + state.scene) * pixels, pixels);
  const order = (state.map * places + state.place) * scenes + state.scene;
  const map = take((scenes * 4 + order) * pixels, pixels);

  const cut = 2.55 * meta.thresholds[state.threshold];
  const overlap = (i, j, k) => {
    const at = i * side + j;
    const grey = (photo[at * 3] + photo[at * 3 + 1] + photo[at * 3 + 2]) / 3;
    const [inMap, onObject] = [map[at] >= cut, mask[at] === 1];
    if (!inMap && !onObject) return grey;
    return 0.3 * grey + 0.7 * meta.colours[inMap && onObject ? 0 : inMap ? 1 : 2][k];
  };
  const shown = [
    ["picture", (i, j, k) => photo[(i * side + j) * 3 + k]], ["map", (i, j) => map[i * side + j]],
    ["overlap", overlap],
  ];
  const gap = 10;
  const size = (width - 2 * gap) / 3;
  shown.forEach(([title, value], n) => {
    const x = n * (size + gap);
    add(svg, "text", { x, y: 13, class: "quiet" }, title);
    add(svg, "image", {
      x, y: 20, width: size, height: size, href: paint(side, side, value), style: "image-rendering: pixelated",
    });
    add(svg, "rect", { x: x - 0.5, y: 19.5, width: size + 1, height: size + 1, class: "frame" });
  });
  const below = drawLegend(svg, meta, 20 + size + 20);
  return drawCurve(svg, width, below, meta, state);
}

// One coloured square and word for each part of the overlap. Returns the height used.
function drawLegend(svg, meta, y) {
  let x = 0;
  meta.legend.forEach((word, n) => {
    add(svg, "rect", { x, y: y - 10, width: 11, height: 11, style: `fill: rgb(${meta.colours[n].join(" ")})` });
    add(svg, "text", { x: x + 16, y, class: "quiet" }, word);
    x += 34 + 7 * word.length;
  });
  return y + 8;
}

// The IoU over the thresholds, the chosen one marked, and what a flat map scores, dashed. Returns the height used.
function drawCurve(svg, width, start, meta, state) {
  const ious = meta.ious[state.map][state.place][state.scene];
  const [left, right, top, bottom] = [30, width - 8, start + 24, start + 114];
  const across = (n) => left + (right - left) * n / (ious.length - 1);
  const up = (value) => bottom + (top - bottom) * value;
  for (const value of [0, 0.5, 1]) {
    add(svg, "line", { x1: left, x2: right, y1: up(value), y2: up(value), class: "grid" });
    add(svg, "text", { x: left - 6, y: up(value) + 4, class: "quiet", "text-anchor": "end" }, value);
  }
  add(svg, "text", { x: 0, y: start + 12, class: "quiet" }, "IoU; dashed: a flat map");
  const flat = up(meta.areas[state.scene]);
  add(svg, "line", { x1: left, x2: right, y1: flat, y2: flat, class: "leader" });
  add(svg, "path", { d: `M${ious.map((iou, n) => `${across(n)} ${up(iou)}`).join("L")}`, class: "curve up" });
  const chosen = ious[state.threshold];
  add(svg, "circle", { cx: across(state.threshold), cy: up(chosen), r: 5, class: "mark" });
  ious.forEach((_, n) => {
    if (n % 2 && width < 420) return;
    const anchor = n === ious.length - 1 ? "end" : "middle";
    const x = n === ious.length - 1 ? right + 8 : across(n);
    add(svg, "text", { x, y: bottom + 17, class: "quiet", "text-anchor": anchor }, `${meta.thresholds[n]} %`);
  });
  add(svg, "text", { x: (left + right) / 2, y: bottom + 35, class: "quiet", "text-anchor": "middle" },
    "cut at this share of the map's maximum");
  return bottom + 42;
}
